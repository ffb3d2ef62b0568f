"""Leader election by a Lease, as client-go does it, with monotonic time for our own patience.

- A holder renews well before its lease ends and stops writing before others may take over. It says so the moment its
  time is over, not when the request it waits for has failed.
- A machine that slept has not counted the seconds: when the wall has moved further than the lease lasts, nothing is
  written before the next renewal. A wall that is set back, or forward, costs no more than that.
- Whoever sees that another holds the lease holds it no more, whatever time is left. A record that somebody deleted counts
  for those who saw it until it would have run out.
- Another's lease is free when its record has not changed for its own duration on *our* clock: the clocks of others are
  never compared with ours.
- Released on a clean stop, so that a standby takes over at once.
"""

import asyncio
import contextlib
import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from keystead.kube.client import Api
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError, Refused, Retryable

log = structlog.get_logger("keystead.lease")
_GRAIN = 1e-3  # seconds


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds."""

    duration: float = 15.0
    renew_every: float = 4.0
    retry_every: float = 2.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """Another's record, when it was first seen as it is, and how long it lasts from then."""

    record: tuple[Any, ...]
    at: float
    lasts: float


class Lease:
    """Holds, or waits for, one Lease object."""

    def __init__(
        self, api: Api, clock: Clock, *, namespace: str, name: str, identity: str, times: LeaseTimes | None = None
    ) -> None:
        self._api = api
        self._clock = clock
        self._times = times or LeaseTimes()
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._folder}/{name}"
        self._name = name
        self._identity = identity
        self._expires = float("-inf")
        self._renewed = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        self._seen: _Seen | None = None

    @property
    def held(self) -> bool:
        return self._clock.monotonic() < self._expires

    def may_write(self, seconds: float) -> bool:
        """A write that ends within *seconds* may start: the lease outlives it."""
        slept = (self._clock.now() - self._renewed).total_seconds() > self._times.duration
        return self._clock.monotonic() + seconds < self._expires and not slept

    async def acquire(self) -> None:
        """Return when we hold it."""
        while (wait := await self._try("acquire", self._times.duration / 2)) is not None:
            spread = random.uniform(1.0, 1.2)  # noqa: S311 - so that those who wait do not ask in step
            await self._clock.sleep(max(wait, self._times.retry_every) * spread)

    async def keep(self, lost: Callable[[], None]) -> None:
        """Renew until the lease is lost, then say so and return."""
        wait = self._times.renew_every
        while True:
            await self._clock.sleep(min(wait, self._left()))
            if not self.held:
                break
            asked = await self._try("renew", min(self._times.duration / 2, self._left()))
            wait = self._times.renew_every if asked is None else max(asked, self._times.retry_every)
        log.warning("lease lost", lease=self._name)
        lost()

    def _left(self) -> float:
        """Seconds that the lease lasts, rounded up to what a clock can tell."""
        return max(_GRAIN, self._expires - self._clock.monotonic())

    async def release(self) -> None:
        """Let it go, so that others need not wait for it to run out."""
        if not self.held:
            return
        self._expires = float("-inf")
        with contextlib.suppress(KeysteadError, TimeoutError):
            async with asyncio.timeout(3):
                current = await self._api.get(self._path)
                if current and current["spec"].get("holderIdentity") == self._identity:
                    current["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._instant()}
                    await self._api.request("PUT", self._path, body=current)

    async def _try(self, what: str, seconds: float) -> float | None:
        """Take or renew; ``None`` when done, else how long to wait at least (0: as usual)."""
        asked, wall = self._clock.monotonic(), self._clock.now()
        try:
            async with asyncio.timeout(seconds):
                taken = await self._write(await self._api.get(self._path))
        except (KeysteadError, TimeoutError) as error:
            tell = log.warning if isinstance(error, Refused) and error.code != "AlreadyExists" else log.info
            tell("lease: no answer", lease=self._name, what=what, error=str(error) or "in time")
            return error.after or 0.0 if isinstance(error, Retryable) else 0.0
        if not taken:
            self._expires = float("-inf")  # another holds it, whatever we thought, and two must not
            return 0.0
        # Counted from before the request: the record may be as old as that.
        self._expires = asked + self._times.duration
        self._renewed = wall
        return None

    async def _write(self, current: dict[str, Any] | None) -> bool:
        if current is None:
            if not self.held and self._seen is not None and not self._is_over(self._seen):
                return False  # somebody deleted the record, and its holder may not know yet
            fresh = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": self._spec(transitions=0, acquired=self._instant()),
            }
            await self._api.post(self._folder, fresh)
            return True
        spec = current.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and not self._ran_out(spec):
            return False
        ours = holder == self._identity
        acquired = spec.get("acquireTime") if ours else self._instant()
        transitions = int(spec.get("leaseTransitions") or 0) + (0 if ours else 1)
        current["spec"] = self._spec(transitions=transitions, acquired=acquired or self._instant())
        await self._api.request("PUT", self._path, body=current)  # carries resourceVersion: only one can win
        return True

    def _ran_out(self, spec: dict[str, Any]) -> bool:
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if self._seen is None or self._seen.record != record:
            lasts = float(spec.get("leaseDurationSeconds") or self._times.duration)
            self._seen = _Seen(record, self._clock.monotonic(), lasts)
        return self._is_over(self._seen)

    def _is_over(self, seen: "_Seen") -> bool:
        return self._clock.monotonic() - seen.at >= seen.lasts

    def _spec(self, *, transitions: int, acquired: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "acquireTime": acquired,
            "renewTime": self._instant(),
            "leaseTransitions": transitions,
        }

    def _instant(self) -> str:
        return self._clock.now().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
