"""The sandbox's time: durations that may be hastened, and instants that may not.

- Every duration that the sandbox imposes (propagation, caches, buckets, holds, role delay, fault windows) is measured
  in sandbox seconds with :meth:`Clock.now` and waited for with :meth:`Clock.sleep`.
- Every instant that leaves the sandbox (``iat``, ``exp``, ``created``, ``Date``) is :meth:`Clock.wall`, so that real
  clients and real issuers agree with it at any rate.
- Only a :class:`VirtualClock` moves both, with the event loop that everything else in the simulation runs on too.
"""

import asyncio
import contextlib
import datetime
import time
from typing import Protocol

_NO_TIME = 2e-6  # seconds; what is left of a sleep by rounding, and less than loops resolve


class Clock(Protocol):
    """What the sandbox's services are given in place of the time."""

    @property
    def rate(self) -> float:
        """Sandbox seconds in one wall second."""

    def now(self) -> float:
        """Sandbox seconds; they never go back."""

    def wall(self) -> datetime.datetime:
        """The present instant, aware, UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait for sandbox *seconds*; zero or less yields once."""

    def to_wall_seconds(self, seconds: float) -> float:
        """How long a client waits for sandbox *seconds* on its own watch."""


class ScaledClock:
    """Durations pass *rate* times as fast as on the wall; instants are the wall's."""

    def __init__(self, rate: float = 1.0) -> None:
        if rate <= 0:
            raise ValueError(f"a clock's rate must be above zero, not {rate}")
        self.rate = rate
        self._passed = 0.0  # at the last change of the rate
        self._started = time.monotonic()

    def now(self) -> float:
        return self._passed + (time.monotonic() - self._started) * self.rate

    def set_rate(self, rate: float) -> None:
        """From now on; what has passed stays. Who sleeps on this clock itself sleeps on at the old rate."""
        if rate <= 0:
            raise ValueError(f"a clock's rate must be above zero, not {rate}")
        self._passed, self._started = self.now(), time.monotonic()
        self.rate = rate

    def wall(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)  # noqa: TID251 - this is the clock that everyone else takes

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) / self.rate)

    def to_wall_seconds(self, seconds: float) -> float:
        return seconds / self.rate


class VirtualClock:
    """All time is the running event loop's, so whoever drives the loop drives the sandbox."""

    rate = 1.0

    def __init__(self, epoch: datetime.datetime) -> None:
        if epoch.tzinfo is None:
            raise ValueError("the epoch must be aware, or instants could not be compared with a token's")
        self._epoch = epoch.astimezone(datetime.UTC)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime.datetime:
        return self._epoch + datetime.timedelta(seconds=self.now())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def to_wall_seconds(self, seconds: float) -> float:
        return seconds


class WorldClock:
    """The clock of one world: any other clock, which may also be advanced, and set back with the world's state.

    - Only durations move: instants stay the other clock's.
    - Who sleeps has slept for what is skipped, and goes on at a new rate at once; a sleep that ends within a skip ends
      with it.
    - Who sleeps does not notice that the clock is set back: a write that is under way takes as long as it takes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._skipped = 0.0
        self._set_back = 0.0
        self._moved = asyncio.Event()

    @property
    def rate(self) -> float:
        return self._clock.rate

    def now(self) -> float:
        return self._lived() - self._set_back

    def wall(self) -> datetime.datetime:
        return self._clock.wall()

    async def sleep(self, seconds: float) -> None:
        until = self._lived() + max(0.0, seconds)
        await self._clock.sleep(0)
        while (left := until - self._lived()) > _NO_TIME:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._clock.to_wall_seconds(left)):
                    await self._moved.wait()

    def to_wall_seconds(self, seconds: float) -> float:
        return self._clock.to_wall_seconds(seconds)

    def advance(self, seconds: float) -> None:
        """Let sandbox *seconds* have passed."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back, so not by {seconds} seconds")
        self._skipped += seconds
        self._wake()

    def set_back(self, now: float) -> None:
        """Make it *now* again, together with the state of then."""
        self._set_back = self._lived() - now

    def set_rate(self, rate: float) -> None:
        """TypeError when the clock underneath has no rate of its own."""
        if not isinstance(self._clock, ScaledClock):
            raise TypeError("this clock's rate is not its own: it follows an event loop")
        self._clock.set_rate(rate)
        self._wake()

    def _lived(self) -> float:
        """Sandbox seconds that never go back."""
        return self._clock.now() + self._skipped

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
