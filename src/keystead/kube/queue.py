"""A de-duplicating, delaying queue of keys, as controllers need it.

- A key is in line at most once, however often it is added.
- A key being worked on is not handed out again before it is done; added meanwhile, it goes back in line then.
- Delays keep the earliest time; failures back off per key, exponentially, until told to forget.
"""

import asyncio
import heapq
from collections import deque
from typing import Any

from keystead.model.clock import Clock

_FIRST, _LONGEST = 0.5, 300.0
_GRAIN = 1e-5  # seconds: a wait below the clock's own grain need not move it


class WorkQueue:
    """Keys to look at."""

    def __init__(self, clock: Clock, *, first: float = _FIRST, longest: float = _LONGEST) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._line: deque[str] = deque()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._delayed: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._line)

    @property
    def idle(self) -> bool:
        """Nothing in line and nothing being worked on; delayed keys may wait."""
        return not self._line and not self._working

    def add(self, key: str) -> None:
        """Put *key* in line now."""
        self._due.pop(key, None)
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._line.append(key)
            self._wake()

    def add_after(self, key: str, seconds: float) -> None:
        """Put *key* in line after *seconds*, unless it is there sooner."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if key in self._waiting or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, key))
        self._wake()

    def retry(self, key: str) -> float:
        """Put *key* in line after its back-off; returns the wait in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait = min(self._longest, self._first * float(2 ** min(failures, 20)))
        self.add_after(key, wait)
        return wait

    def forget(self, key: str) -> None:
        """The key has succeeded: its next failure backs off from the start."""
        self._failures.pop(key, None)

    def done(self, key: str) -> None:
        """*key* is not being worked on any more."""
        self._working.discard(key)
        if key in self._waiting and key not in self._line:
            self._line.append(key)
        self._wake()

    async def get(self) -> str:
        """The next key; the caller must say :meth:`done`."""
        while True:
            self._collect()
            if self._line:
                key = self._line.popleft()
                self._waiting.discard(key)
                self._working.add(key)
                return key
            self._changed.clear()
            await self._sleep()

    def _collect(self) -> None:
        now = self._clock.monotonic()
        while self._delayed and self._delayed[0][0] <= now + _GRAIN:
            due, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                self.add(key)

    async def _sleep(self) -> None:
        """Until something is added, or the first delay is over."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._changed.wait())]
        if self._delayed:
            left = self._delayed[0][0] - self._clock.monotonic()
            waits.append(asyncio.create_task(self._clock.sleep(left)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _wake(self) -> None:
        self._changed.set()
