"""Whose turn it is: a de-duplicating, delaying queue with urgency, and fairness between namespaces.

Rules:
- A key is in line once; one that is worked on is not handed out again, but comes back if it was asked for meanwhile.
- Urgent keys (stores, new and changed ExternalSecrets) go first, yet every fourth turn is a routine one when any waits.
- Within an urgency the namespaces take turns, however many keys each has.
- Failures back off per key, from one second to seven minutes, as External Secrets Operator's do.
- A turn says since when it was asked for: what was read before does not serve it.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import NamedTuple

from keystead.model.clock import Clock

FIRST_BACK_OFF, LONGEST_BACK_OFF = 1.0, 420.0
_ROUTINE_EVERY = 4


class Key(NamedTuple):
    """An object to look at."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A key whose turn it is, since when it was asked for (monotonic), and how often it failed in a row."""

    key: Key
    asked_at: float
    failures: int


class _Line:
    """Keys by namespace; the namespaces take turns."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, deque[Key]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._places)

    def push(self, key: Key) -> None:
        self._places.setdefault(key.namespace, deque()).append(key)

    def pop(self) -> Key:
        namespace, keys = self._places.popitem(last=False)
        key = keys.popleft()
        if keys:
            self._places[namespace] = keys
        return key

    def remove(self, key: Key) -> None:
        keys = self._places[key.namespace]
        keys.remove(key)
        if not keys:
            del self._places[key.namespace]


class Agenda:
    """Keys to look at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._urgent, self._routine = _Line(), _Line()
        self._asked: dict[Key, tuple[float, bool]] = {}
        """Keys in line: since when, and whether urgent."""
        self._working: set[Key] = set()
        self._again: dict[Key, tuple[float, bool]] = {}
        """Keys that were asked for while they are being worked on."""
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._ready = asyncio.Semaphore(0)
        self._turns = 0

    @property
    def idle(self) -> bool:
        """Nothing in line and nothing being worked on; delayed keys may wait."""
        return not self._asked and not self._working

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Put *key* in line now; asked again, it counts as asked for now."""
        self._stop_timer(key)
        now = self._clock.monotonic()
        if key in self._working:
            self._again[key] = (now, urgent or self._again.get(key, (now, False))[1])
            return
        _, was_urgent = self._asked.get(key, (now, False))
        if key not in self._asked:
            self._line(urgent=urgent).push(key)
            self._ready.release()
        elif urgent and not was_urgent:
            self._routine.remove(key)
            self._urgent.push(key)
        self._asked[key] = (now, urgent or was_urgent)

    def add_after(self, key: Key, seconds: float) -> None:
        """Put *key* in line after *seconds*, instead of any later or earlier time set before."""
        self._stop_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_later(max(0.0, seconds), self.add, key)

    def back_off(self, key: Key, *, at_least: float = 0.0) -> float:
        """Put *key* in line after its next delay; how long that is."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least, min(LONGEST_BACK_OFF, FIRST_BACK_OFF * float(2 ** min(failures, 20))))
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Its failures are over."""
        self._failures.pop(key, None)

    def drop(self, key: Key) -> None:
        """The object is gone."""
        self._stop_timer(key)
        self._failures.pop(key, None)

    async def take(self) -> Turn:
        """Wait for the next turn; end it with :meth:`done`."""
        await self._ready.acquire()
        self._turns += 1
        routine_turn = self._turns % _ROUTINE_EVERY == 0
        line = self._routine if self._routine and (routine_turn or not self._urgent) else self._urgent
        key = line.pop()
        asked_at, _ = self._asked.pop(key)
        self._working.add(key)
        return Turn(key, asked_at, self._failures.get(key, 0))

    def done(self, key: Key) -> None:
        """The turn is over; whoever asked meanwhile gets another."""
        self._working.discard(key)
        again = self._again.pop(key, None)
        if again is not None:
            asked_at, urgent = again
            self.add(key, urgent=urgent)
            self._asked[key] = (asked_at, self._asked[key][1])

    def _line(self, *, urgent: bool) -> _Line:
        return self._urgent if urgent else self._routine

    def _stop_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
