"""What Azure holds: each identity with its credentials, read rarely, corrected by every confirmed write.

- An identity is first read when a grant needs it, again on the drift interval and after every refusal.
- Lists are paced: one in four seconds on an identity, five a second in a subscription, fifteen in the tenant (Azure
  allows no more).
- Reading never blocks a pass: it runs beside, and puts the grants back on the queue when something was learnt. A list
  of the drift interval that shows what was known brings nobody back before the next; lists that are due within a tenth
  of the interval of each other are made together.
- A credential is sighted anew by each list; those that the ledger names start from none, so that what is abandoned
  later counts from then on.
"""

import asyncio
import bisect
import dataclasses
import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from keystead.model.clock import Clock
from keystead.model.credentials import Credential, IdentityState
from keystead.model.errors import KeysteadError, Refused, Retryable, Waits
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.observe.ports import IdentityReader
from keystead.plan.sweep import SIGHTINGS

log = structlog.get_logger("keystead.inventory")
_TOGETHER = 0.1  # of the drift interval
_GRAIN = 1e-6  # seconds


@dataclass(frozen=True, slots=True)
class ListPaces:
    """Seconds."""

    identity: float = 4.0
    subscription: float = 0.2
    tenant: float = 1 / 15
    drift: float = 600.0
    retry: float = 15.0


@dataclass
class _Watched:
    """One identity and what is going on about it."""

    state: IdentityState
    grants: set[str] = field(default_factory=set)
    due: float = float("-inf")
    earliest: float = float("-inf")
    reading: asyncio.Task[None] | None = None
    corrections: int = 0
    looked_for: str = ""
    """The principal that somebody else's list made us look for last."""
    refusals: int = 0
    """In a row."""
    sightings: dict[Credential, int] = field(default_factory=dict)
    vouched: frozenset[str] = frozenset()
    """Lower-case names that the ledger knew at the last look."""
    routine: bool = False
    """The next list is nothing but the drift interval's: nobody waits for it."""


class Inventory:
    """All identities that any grant or ledger entry names."""

    def __init__(
        self, reader: IdentityReader, clock: Clock, requeue: Callable[[str, float], None], paces: ListPaces
    ) -> None:
        """*requeue* is given a grant's name and the seconds after which it should be looked at, at the latest."""
        self._reader = reader
        self._clock = clock
        self._requeue = requeue
        self._paces = paces
        self._watched: dict[IdentityId, _Watched] = {}
        self._subscriptions: dict[str, float] = {}
        self._held_until = float("-inf")
        self._turns: list[float] = []
        """The tenant's, in order: when the lists to come will start."""
        self.reachable: bool | None = None
        """Whether Azure answered last time; ``None`` before it was asked."""

    def states(self, identities: Iterable[IdentityId], grant: str) -> Mapping[IdentityId, IdentityState]:
        """What is known now; what is due is read beside."""
        found = {}
        for identity in identities:
            watched = self._watched.setdefault(identity, _Watched(IdentityState(identity)))
            watched.grants.add(grant)
            found[identity] = watched.state
            if watched.due <= self._clock.monotonic():
                self._read(identity, watched)
        return found

    def known(self, identity: IdentityId) -> IdentityState | None:
        """What is known of one identity."""
        watched = self._watched.get(identity)
        return watched.state if watched is not None else None

    def all_states(self) -> Iterable[IdentityState]:
        """Every identity that was ever asked about, in order."""
        return [self._watched[each].state for each in sorted(self._watched)]

    def next_due(self, identities: Iterable[IdentityId]) -> float | None:
        """Seconds until some of these should be read again; those that are due nearly at the same time together."""
        due = [self._watched[each].due for each in identities if each in self._watched]
        if not due:
            return None
        together = min(due) + self._paces.drift * _TOGETHER
        return max(0.0, max(each for each in due if each <= together) - self._clock.monotonic())

    def sightings(self, identities: Iterable[IdentityId]) -> dict[tuple[IdentityId, Credential], int]:
        """How many separate lists have shown each credential."""
        return {
            (identity, credential): count
            for identity in identities
            if identity in self._watched
            for credential, count in self._watched[identity].sightings.items()
        }

    def vouched(self, identity: IdentityId, names: Iterable[str]) -> None:
        """The ledger names these credentials: whatever lists have shown of them so far was no orphan."""
        watched = self._watched.get(identity)
        if watched is None:
            return
        watched.vouched = frozenset(name.lower() for name in names)
        if watched.sightings:
            watched.sightings = {
                each: count for each, count in watched.sightings.items() if each.name.lower() not in watched.vouched
            }

    def corrected(self, identity: IdentityId, credential: Credential, present: bool) -> None:  # noqa: FBT001 - a port's shape
        """Azure has confirmed a write of ours."""
        watched = self._watched.get(identity)
        if watched is None:
            return
        others = tuple(each for each in watched.state.credentials if each.name.lower() != credential.name.lower())
        held = tuple(sorted((*others, credential))) if present else others
        watched.state = dataclasses.replace(watched.state, credentials=held, full=watched.state.full and present)
        watched.corrections += 1

    def doubted(self, identity: IdentityId, reason: Reason) -> None:
        """Azure refused something: read again soon; a full identity offers nothing until then."""
        watched = self._watched.get(identity)
        if watched is None:
            return
        if reason is Reason.IDENTITY_FULL:
            watched.state = dataclasses.replace(watched.state, full=True)
        watched.corrections += 1  # a list that is under way may be from before
        watched.due = float("-inf")
        watched.routine = False

    def anew(self, identity: IdentityId, principal_id: str) -> None:
        """Another list shows this principal: where it is another one than was read, what was read is of the past.

        That list may itself be the older of the two, so that each principal makes us look once.
        """
        watched = self._watched.get(identity)
        if watched is None or not watched.state.principal_id or not principal_id:
            return
        if principal_id in (watched.state.principal_id, watched.looked_for):
            return
        watched.looked_for = principal_id
        watched.state = IdentityState(identity)
        watched.corrections += 1
        watched.due = float("-inf")

    async def until_read(self, told: Callable[[], None] = lambda: None) -> None:
        """Wait until the lists under way have been taken, with a word after each; what went wrong is in the states."""
        while readings := [each.reading for each in self._watched.values() if each.reading and not each.reading.done()]:
            await asyncio.wait(readings, return_when=asyncio.FIRST_COMPLETED)
            told()

    async def stop(self) -> None:
        readings = [each.reading for each in self._watched.values() if each.reading is not None]
        for reading in readings:
            reading.cancel()
        await asyncio.gather(*readings, return_exceptions=True)

    def _read(self, identity: IdentityId, watched: _Watched) -> None:
        if watched.reading is None or watched.reading.done():
            watched.due = float("inf")
            watched.reading = asyncio.create_task(self._list(identity, watched), name=f"list:{identity.name}")

    async def _list(self, identity: IdentityId, watched: _Watched) -> None:
        await self._pace(identity, watched)
        before = watched.corrections
        try:
            state = watched.state
            if not state.client_id or watched.routine:
                # No list tells whether it was made anew meanwhile, with as many credentials or none, under another client.
                state = await self._reader.identity(identity)
            credentials = await self._reader.credentials(identity)
            if state is watched.state and not set(watched.state.credentials) <= set(credentials):
                # What vanished may have vanished with the identity: made anew, it has another client and principal.
                state = await self._reader.identity(identity)
        except KeysteadError as error:
            self._failed(identity, watched, error)
            news = True
        else:
            self.reachable = True
            news = self._learnt(watched, state, credentials, stale=watched.corrections != before)
        for grant in tuple(watched.grants):
            self._requeue(grant, 0.0 if news else self._paces.drift)

    async def _pace(self, identity: IdentityId, watched: _Watched) -> None:
        now = self._clock.monotonic()
        free = max(now, watched.earliest, self._held_until, self._subscriptions.get(identity.subscription, now))
        start = self._take_turn(free, now)
        watched.earliest = start + self._paces.identity
        self._subscriptions[identity.subscription] = start + self._paces.subscription
        await self._clock.sleep(start - now)

    def _take_turn(self, free: float, now: float) -> float:
        """The tenant's first turn from *free* on, before those already given where there is time between them."""
        pace = self._paces.tenant
        self._turns = [each for each in self._turns if each > now - pace]
        for each in self._turns:
            if each - free >= pace - _GRAIN:
                break
            if free - each < pace:
                free = each + pace
        bisect.insort(self._turns, free)
        return free

    def _hold(self, identity: IdentityId, until: float, waits: Waits) -> None:
        """Azure spoke of the whole subscription, or of the tenant."""
        if waits is Waits.TENANT:
            self._held_until = max(self._held_until, until)
        else:
            before = self._subscriptions.get(identity.subscription, until)
            self._subscriptions[identity.subscription] = max(before, until)

    def _learnt(
        self, watched: _Watched, state: IdentityState, credentials: tuple[Credential, ...], *, stale: bool
    ) -> bool:
        """Whether anything was learnt that a grant waits for, or did not know."""
        before, seen, routine = watched.state, watched.sightings, watched.routine
        if stale:
            # A write of ours was confirmed while the list was under way: which of the two is newer, nobody knows.
            watched.due, watched.routine = float("-inf"), False
            watched.state = dataclasses.replace(watched.state, problem=None, problem_detail="")
            return True
        watched.state = dataclasses.replace(
            watched.state,
            client_id=state.client_id or watched.state.client_id,
            principal_id=state.principal_id or watched.state.principal_id,
            tenant_id=state.tenant_id or watched.state.tenant_id,
            credentials=credentials,
            listed_at=self._now(),
            problem=None,
            problem_detail="",
            full=False,
        )
        watched.refusals = 0
        watched.sightings = {
            each: min(SIGHTINGS, seen.get(each, 0) + 1)
            for each in credentials
            if each.name.lower() not in watched.vouched
        }
        watched.due, watched.routine = self._clock.monotonic() + self._paces.drift, True
        same = dataclasses.replace(before, listed_at=watched.state.listed_at) == watched.state
        return not (routine and same and seen == watched.sightings)

    def _failed(self, identity: IdentityId, watched: _Watched, error: KeysteadError) -> None:
        refused = isinstance(error, Refused)
        if not refused:
            self.reachable = False
        after = getattr(error, "after", None)
        if isinstance(error, Retryable) and error.waits is not Waits.IDENTITY and after is not None:
            self._hold(identity, self._clock.monotonic() + after, error.waits)
        # What needs a change by somebody is asked ever more rarely, down to the drift interval.
        wait = min(self._paces.drift, self._paces.retry * 2.0**watched.refusals) if refused else self._paces.retry
        watched.refusals = min(watched.refusals + 1, 20) if refused else 0
        watched.due = self._clock.monotonic() + (after if after is not None else wait)
        watched.routine = False
        if error.reason is Reason.IDENTITY_NOT_FOUND:
            watched.state = IdentityState(identity)  # nothing that was known of it is so any more
        watched.state = dataclasses.replace(watched.state, problem=error.reason, problem_detail=str(error))
        log.warning("identity could not be read", identity=str(identity), reason=error.reason, error=str(error))

    def _now(self) -> datetime.datetime:
        return self._clock.now()
