"""Things of Azure that are read as a whole, rarely: the identities of a resource group, the role holders of a vault.

- Read when a grant first needs it, then on the drift interval, and again after a doubt.
- Azure's lists show what was just written late. What Azure has confirmed to us is laid over every list for some minutes.
- What is refused is asked for ever more rarely, down to the drift interval, and said in the log once.
- Reading never blocks a pass: it runs beside, and puts the grants back on the queue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import structlog

from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError, Refused
from keystead.model.growth import FoundIdentity, Look, RoleHolders
from keystead.model.ids import GroupId, VaultId
from keystead.model.reasons import Reason
from keystead.observe.ports import PoolReader

log = structlog.get_logger("keystead.looks")
_SETTLES = 300.0  # seconds until a list must show what Azure has confirmed
_DEADLINE = 60.0  # seconds for one reading, all pages

K = TypeVar("K")
T = TypeVar("T")
Change = Callable[[T], T]
"""Lays one confirmed write over what was read; twice is once."""


@dataclass(frozen=True, slots=True)
class LookPaces:
    """Seconds."""

    drift: float = 600.0
    retry: float = 15.0


@dataclass
class _Watched(Generic[T]):
    look: Look[T]
    grants: set[str] = field(default_factory=set)
    due: float = float("-inf")
    reading: asyncio.Task[None] | None = None
    refusals: int = 0
    changes: list[tuple[float, Change[T]]] = field(default_factory=list)
    doubts: int = 0


class Looks(Generic[K, T]):
    """All things of one kind, by their keys."""

    def __init__(
        self,
        read: Callable[[K], Awaitable[T]],
        empty: T,
        clock: Clock,
        requeue: Callable[[str], None],
        paces: LookPaces,
    ) -> None:
        self._read = read
        self._empty = empty
        self._clock = clock
        self._requeue = requeue
        self._paces = paces
        self._watched: dict[K, _Watched[T]] = {}

    def view(self, key: K, grant: str) -> Look[T]:
        """What is known now; what is due is read beside."""
        watched = self._watched.setdefault(key, _Watched(Look(self._empty)))
        watched.grants.add(grant)
        idle = watched.reading is None or watched.reading.done()
        if idle and watched.due <= self._clock.monotonic():
            watched.due = float("inf")
            watched.reading = asyncio.create_task(self._look(key, watched), name=f"look:{key}")
        return watched.look

    def known(self, key: K) -> T:
        """What is known of it, without asking."""
        watched = self._watched.get(key)
        return watched.look.value if watched is not None else self._empty

    def next_due(self, keys: Iterable[K]) -> float | None:
        """Seconds until one of these should be read again."""
        now = self._clock.monotonic()
        return min((max(0.0, self._watched[key].due - now) for key in keys if key in self._watched), default=None)

    def corrected(self, key: K, change: Change[T]) -> None:
        """Azure has confirmed a write of ours."""
        watched = self._watched.setdefault(key, _Watched(Look(self._empty)))
        watched.changes.append((self._clock.monotonic() + _SETTLES, change))
        watched.look = replace(watched.look, value=change(watched.look.value))

    def doubted(self, key: K) -> None:
        """What was last read may not be so: read again soon."""
        watched = self._watched.get(key)
        if watched is not None:
            watched.doubts += 1  # a reading under way may be from before
            watched.due = float("-inf")

    async def until_read(self) -> None:
        """Wait for the readings under way."""
        readings = [each.reading for each in self._watched.values() if each.reading is not None]
        await asyncio.gather(*readings, return_exceptions=True)

    async def stop(self) -> None:
        readings = [each.reading for each in self._watched.values() if each.reading is not None]
        for reading in readings:
            reading.cancel()
        await asyncio.gather(*readings, return_exceptions=True)

    async def _look(self, key: K, watched: _Watched[T]) -> None:
        doubts = watched.doubts
        try:
            async with asyncio.timeout(_DEADLINE):
                value = await self._read(key)
        except (KeysteadError, TimeoutError) as error:
            self._failed(key, watched, error)
        else:
            now = self._clock.monotonic()
            watched.changes = [(until, change) for until, change in watched.changes if until > now]
            for _, change in watched.changes:
                value = change(value)
            watched.look = Look(value, self._clock.now())
            watched.refusals = 0
            watched.due = now + self._paces.drift if watched.doubts == doubts else float("-inf")
        for grant in tuple(watched.grants):
            self._requeue(grant)

    def _failed(self, key: K, watched: _Watched[T], error: KeysteadError | TimeoutError) -> None:
        refused = isinstance(error, Refused)
        wait = min(self._paces.drift, self._paces.retry * 2.0**watched.refusals) if refused else self._paces.retry
        watched.refusals = min(watched.refusals + 1, 20) if refused else 0
        after = getattr(error, "after", None)
        watched.due = self._clock.monotonic() + (after if after is not None else wait)
        reason = error.reason if isinstance(error, KeysteadError) else Reason.AZURE_UNAVAILABLE
        if reason is not watched.look.problem:
            log.warning("could not be read", what=str(key), reason=reason, error=str(error))
        watched.look = replace(watched.look, problem=reason, detail=str(error))


class PoolLooks:
    """What growing pools and role parity look at."""

    def __init__(self, reader: PoolReader, clock: Clock, requeue: Callable[[str], None], paces: LookPaces) -> None:
        nobody: tuple[FoundIdentity, ...] = ()
        self.groups: Looks[GroupId, tuple[FoundIdentity, ...]] = Looks(reader.identities, nobody, clock, requeue, paces)
        self.roles: Looks[VaultId, RoleHolders] = Looks(reader.role_holders, RoleHolders(), clock, requeue, paces)

    async def until_read(self) -> None:
        """Wait for the readings under way."""
        await self.groups.until_read()
        await self.roles.until_read()

    async def stop(self) -> None:
        """Read nothing more."""
        await self.groups.stop()
        await self.roles.stop()
