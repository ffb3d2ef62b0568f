"""A de-duplicating, delaying queue of keys, as controllers need it.

- A key is in line at most once, however often it is added.
- A key being worked on is not handed out again before it is done; added meanwhile, it goes back in line then.
- Groups of keys (kinds, say) take turns, however many keys each has in line; within a group it is first come, first
  served. Without groups every key is alike.
- Delays keep the earliest time; failures back off per key, exponentially, until told to forget.
- A closed queue hands out nothing more: whoever waits is told, and what is in line stays there.
- Nothing is remembered of a key that is neither in line, nor worked on, nor delayed, nor failing.
"""

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from keystead.model.clock import Clock

_FIRST, _LONGEST = 0.5, 300.0
_GRAIN = 1e-5  # seconds: a wait below the clock's own grain need not move it
_SLACK = 64  # delays that were overtaken and may lie about
K = TypeVar("K", bound=Hashable)


class Closed(Exception):
    """The queue hands out nothing more."""


class WorkQueue(Generic[K]):
    """Keys to look at. *first* and *longest* bound a key's back-off, in seconds."""

    def __init__(
        self,
        clock: Clock,
        *,
        first: float = _FIRST,
        longest: float = _LONGEST,
        group: Callable[[K], Hashable] | None = None,
    ) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._group = group or (lambda _key: None)
        self._line: OrderedDict[Hashable, deque[K]] = OrderedDict()
        self._wanted: set[K] = set()
        """In line, or to be put in line when done."""
        self._working: set[K] = set()
        self._delayed: list[tuple[float, int, K]] = []
        self._due: dict[K, tuple[float, int]] = {}
        """Per key the one entry among the delayed that counts."""
        self._failures: dict[K, int] = {}
        self._pushes = 0
        self._closed = False
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timed = 0
        """How many of the idle wait for the first delay too."""

    def __len__(self) -> int:
        return len(self._wanted)

    @property
    def idle(self) -> bool:
        """Nothing in line and nothing being worked on; delayed keys may wait."""
        return not self._wanted and not self._working

    def add(self, key: K) -> None:
        """Put *key* in line now."""
        self._due.pop(key, None)
        if key in self._wanted:
            return
        self._wanted.add(key)
        if key not in self._working:
            self._push(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Put *key* in line after *seconds*, unless it is there sooner."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if key in self._wanted or (key in self._due and self._due[key][0] <= due):
            return
        self._pushes += 1
        self._due[key] = (due, self._pushes)
        heapq.heappush(self._delayed, (due, self._pushes, key))
        if len(self._delayed) > 2 * len(self._due) + _SLACK:
            self._delayed = [each for each in self._delayed if self._due.get(each[2]) == each[:2]]
            heapq.heapify(self._delayed)
        if self._delayed[0][2] == key:
            self._wake()  # whoever waits for a later time has to wait less

    def retry(self, key: K) -> float:
        """Put *key* in line after its back-off; returns the wait in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait = min(self._longest, self._first * float(2 ** min(failures, 20)))
        self.add_after(key, wait)
        return wait

    def forget(self, key: K) -> None:
        """The key has succeeded: its next failure backs off from the start."""
        self._failures.pop(key, None)

    def done(self, key: K) -> None:
        """*key* is not being worked on any more."""
        self._working.discard(key)
        if key in self._wanted:
            self._push(key)

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        while self._idle:
            self._wake()

    async def get(self) -> K:
        """The next key; the caller must say :meth:`done`. Raises Closed."""
        while True:
            if self._closed:
                raise Closed
            self._collect()
            if self._line:
                key = self._pop()
                if self._delayed and not self._timed:
                    self._wake()  # somebody has to watch the time
                return key
            await self._sleep()

    def take_due(self, seconds: float) -> list[K]:
        """Take all keys that are in line, or would be within *seconds*, out of the queue, for somebody who ends."""
        now = self._clock.monotonic()
        taken = self._wanted | {key for key, (due, _) in self._due.items() if due <= now + seconds}
        for key in taken:
            self._due.pop(key, None)
        self._wanted.clear()
        self._line.clear()
        return sorted(taken, key=str)

    def _push(self, key: K) -> None:
        self._line.setdefault(self._group(key), deque()).append(key)
        self._wake()

    def _pop(self) -> K:
        group, keys = self._line.popitem(last=False)
        key = keys.popleft()
        if keys:
            self._line[group] = keys  # at the end: the other groups come first
        self._wanted.discard(key)
        self._working.add(key)
        return key

    def _collect(self) -> None:
        now = self._clock.monotonic()
        while self._delayed and self._delayed[0][0] <= now + _GRAIN:
            due, push, key = heapq.heappop(self._delayed)
            if self._due.get(key) == (due, push):
                self.add(key)

    async def _sleep(self) -> None:
        """Until something is added, or the first delay is over."""
        woken = asyncio.get_running_loop().create_future()
        self._idle.append(woken)
        timer = None
        if self._delayed:
            left = self._delayed[0][0] - self._clock.monotonic()
            self._timed += 1
            timer = asyncio.create_task(self._clock.sleep(left))
            timer.add_done_callback(lambda _: _settle(woken))
        try:
            await woken
        except asyncio.CancelledError:
            if woken.done() and not woken.cancelled():
                self._wake()  # what woke us is for somebody else now
            raise
        finally:
            if timer is not None:
                self._timed -= 1
                timer.cancel()
            if woken in self._idle:
                self._idle.remove(woken)

    def _wake(self) -> None:
        while self._idle:
            if _settle(self._idle.popleft()):
                return


def _settle(woken: asyncio.Future[None]) -> bool:
    """Wake whoever waits for it; False when that had happened before."""
    if woken.done():
        return False
    woken.set_result(None)
    return True
