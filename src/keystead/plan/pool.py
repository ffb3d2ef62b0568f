"""Pure: the pool's room, and which identity the next credential goes to.

- Sticky: a live Federation never moves while its identity stays in the grant.
- New ones go to the identity that can write soonest among those with room; this balances load and yields the shortest
  schedule (:mod:`keystead.plan.turns`).
- A slot counts as taken until Azure has confirmed that it is free: entries being revoked hold theirs.
- Nothing is placed where something else goes by the name that ours would have, while there is another place.
- Nothing is placed on an identity that was never listed, that Azure called full, or that needs a change by somebody:
  one whose list says so, and one where a write of ours was refused that is still to come.
- Nothing is placed on an identity of our making before it is proven; what it will offer then is known all the same.
"""

import dataclasses
import datetime
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from keystead.model.credentials import IdentityState, room
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Federation
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.snapshot import Failure, Snapshot
from keystead.plan.steps import DeleteCredential, WriteCredential
from keystead.plan.turns import Paces, Turns, saturated
from keystead.plan.validation import Member

_OF_THE_IDENTITY = frozenset(
    {
        Reason.AZURE_FORBIDDEN,
        Reason.AZURE_LOCKED,
        Reason.AZURE_POLICY,
        Reason.REGION_UNSUPPORTED,
        Reason.PROVIDER_NOT_REGISTERED,
        Reason.SUBSCRIPTION_DISABLED,
        Reason.SUBSCRIPTION_NOT_FOUND,
        Reason.IDENTITY_NOT_FOUND,
    }
)
_OVERDUE = datetime.timedelta(minutes=1)
"""A step whose time came this long ago is not being tried: something else holds it."""


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How the slots of one identity are used."""

    ours: int
    foreign: int
    pending: int
    room: int
    spare: int
    """Slots that are left once all is written that can be: what others named and deleted never is."""


@dataclass
class Pool:
    """Room as it stands, and as this plan goes on to use it."""

    members: tuple[Member, ...]
    states: dict[IdentityId, IdentityState]
    occupancy: dict[IdentityId, Occupancy]
    turns: Turns
    withheld: frozenset[IdentityId] = frozenset()
    """Members that are not proven yet."""
    crowded: frozenset[IdentityId] = frozenset()
    """Members whose last slot a probe holds for the moment."""
    expected: int = 0
    """Slots that those will offer."""
    unlisted: bool = False
    """The resource group in which the pool grows was not read yet: there may be more members."""
    growing: bool = False
    """More slots will come by themselves."""
    placed: int = 0
    """How often this plan has found room."""
    unplaced: int = 0
    """How often it has found none."""

    @functools.cached_property
    def free(self) -> int:
        """Slots free before this plan places anything."""
        return sum(each.room for each in self.occupancy.values())

    @functools.cached_property
    def unread(self) -> bool:
        """Some identity was not listed yet, so nobody knows whether there is room."""
        return self.unlisted or any(
            not state.known and state.problem is None and identity not in self.withheld
            for identity, state in self.states.items()
        )

    @functools.cached_property
    def broken(self) -> tuple[Member, IdentityState] | None:
        """The first member that cannot be used."""
        found = ((each, self.states[each.identity]) for each in self.members if each.identity not in self.withheld)
        return next(((member, state) for member, state in found if state.problem is not None), None)

    @functools.cached_property
    def tenants(self) -> set[str]:
        return {state.tenant_id for state in self.states.values() if state.tenant_id}

    @property
    def offering(self) -> list[IdentityId]:
        """Identities that have a slot left."""
        return [self.members[index].identity for index in self.turns.members()]

    def place(
        self, barred: Callable[[IdentityId], bool] = lambda _: False, horizon: float = float("inf")
    ) -> tuple[IdentityId, float] | None:
        """Take a slot on the identity that can write soonest, and say in how many seconds that is.

        ``None`` when there is no room, or not all is read. Those that *barred* says no to are passed over, unless there
        is no other: then whoever asks tells why. Nobody is
        asked about turns beyond the *horizon*.
        """
        # Placed before the whole pool is in view, the first claims would all go to the identities read first, for good.
        if not self.turns or self.unread:
            return None
        turn = self.turns.take(lambda index: barred(self.members[index].identity), horizon)
        if turn is None:
            return None
        self.placed += 1
        return self.members[turn.place].identity, turn.start

    def wait(self) -> bool:
        """Take a slot for somebody whose turn is far off, wherever that will be; false when there is none."""
        if not self.turns.forgo():
            return False
        self.placed += 1
        return True

    def follow(self, identity: IdentityId) -> bool:
        """Take the slot that an adopted credential left when it was deleted; false where others have filled it."""
        held = self.occupancy[identity]
        if held.spare < 1:
            return False
        self.occupancy[identity] = dataclasses.replace(held, spare=held.spare - 1)
        return True


def survey(
    members: tuple[Member, ...],
    snapshot: Snapshot,
    holdings: Holdings,
    withheld: frozenset[IdentityId] = frozenset(),
) -> Pool:
    """The pool as the snapshot shows it; those *withheld* offer nothing yet."""
    ledger: dict[IdentityId, list[Federation]] = defaultdict(list)
    for federation in (*snapshot.federations, *snapshot.other_federations):
        ledger[federation.identity].append(federation)
    refusing = _refusing(snapshot, holdings)
    states = {
        each.identity: _with(
            snapshot.identities.get(each.identity) or IdentityState(each.identity), refusing.get(each.identity)
        )
        for each in members
    }
    occupancy = {
        each.identity: occupy(states[each.identity], ledger[each.identity], each.reserved, holdings) for each in members
    }
    expected = 0
    for identity in withheld:
        held = occupancy[identity]
        expected += room(foreign=held.foreign, reserved=0, ours=held.ours, pending=held.pending)
        occupancy[identity] = dataclasses.replace(held, room=0)
    turns = _turns(members, snapshot, holdings, ledger, occupancy)
    return Pool(members, states, occupancy, turns, withheld, expected=expected)


def _turns(
    members: tuple[Member, ...],
    snapshot: Snapshot,
    holdings: Holdings,
    ledger: dict[IdentityId, list[Federation]],
    occupancy: dict[IdentityId, Occupancy],
) -> Turns:
    """Who could write when, once all is written that waits already, for this grant and for others."""
    limits = snapshot.limits
    paces = Paces(
        limits.lane_pace.total_seconds(), limits.subscription_pace.total_seconds(), limits.tenant_pace.total_seconds()
    )
    queued = {identity: lane.queued for identity, lane in snapshot.lanes.items() if lane.queued}
    for member in members:
        # Deletes take a turn on the lane as well; what waits there already is among what the ledger still owes Azure.
        owed = sum(
            1
            for each in ledger[member.identity]
            # What is under way has had its turn: the lane's own wait accounts for it.
            if each.place not in snapshot.in_flight and _owes(each, holdings)
        )
        if owed:
            queued[member.identity] = max(queued.get(member.identity, 0), owed)
    waiting: dict[str, list[int]] = defaultdict(list)
    for identity, count in queued.items():
        waiting[identity.subscription].append(count)
    turns = Turns(paces, tenant_free_at=saturated(queued.values(), paces.identity, paces.tenant))
    free_at = {name: saturated(counts, paces.identity, paces.subscription) for name, counts in waiting.items()}
    for index, member in enumerate(members):
        identity, room = member.identity, occupancy[member.identity].room
        if room:
            lane = snapshot.lanes.get(identity)
            turns.add(
                index,
                identity.subscription,
                room=room,
                when=(lane.writable_in.total_seconds() if lane else 0.0) + paces.identity * queued.get(identity, 0),
                subscription_free_at=free_at.get(identity.subscription, 0.0),
            )
    return turns


def _refusing(snapshot: Snapshot, holdings: Holdings) -> dict[IdentityId, Failure]:
    """Identities that refuse writes for reasons of their own, whoever asks.

    Only a step that is tried again can tell that they do no more. What became needless, or is held by something else,
    would shut its identity to everybody for good.
    """
    found: dict[IdentityId, Failure] = {}
    for federation in snapshot.federations if snapshot.failures else ():
        for unit, step in ((federation.unit, WriteCredential), (federation.name, DeleteCredential)):
            failure = snapshot.failures.get(unit)
            if failure is None or failure.step != step.__name__ or failure.reason not in _OF_THE_IDENTITY:
                continue
            overdue = failure.retry_at is not None and failure.retry_at + _OVERDUE < snapshot.now
            if not overdue and _owes(federation, holdings):
                found.setdefault(federation.identity, failure)
    return found


def _with(state: IdentityState, refused: Failure | None) -> IdentityState:
    if refused is None or state.problem is not None:
        return state
    return dataclasses.replace(state, problem=refused.reason, problem_detail=refused.message)


def _owes(federation: Federation, holdings: Holdings) -> bool:
    """A write or a delete is still to come. Not where something else goes by the name: that is nobody's turn, ever."""
    held = holdings.of(federation)
    if federation.deleting:
        return held is Holding.PRESENT
    return held in (Holding.ABSENT, Holding.UNKNOWN) and not holdings.is_void(federation)


def usable(state: IdentityState) -> bool:
    """Whether anything may be written there: listed, and nothing wrong that only a person can mend."""
    return state.known and (state.problem is None or CATALOGUE[state.problem].heals)


def occupy(state: IdentityState, ledger: Iterable[Federation], reserved: int, holdings: Holdings) -> Occupancy:
    """Who holds which slots of one identity; no room where nothing is known, or Azure said it is full."""
    entries = list(ledger)
    names = {each.credential.name.lower() for each in entries}
    ours = sum(1 for held in state.credentials if held.name.lower() in names)
    foreign = len(state.credentials) - ours
    # Trusts, not entries: an adopted credential that is gone and its successor take one slot, and one that stands
    # under another name has its slot.
    missing = [each for each in entries if holdings.of(each) in (Holding.ABSENT, Holding.UNKNOWN)]
    standing = {held.trust for held in state.credentials} if missing else set()
    pending = len({each.credential.trust for each in missing} - standing)
    written = len({each.credential.trust for each in missing if not each.adopted} - standing)
    offered = usable(state) and not state.full
    free = room(foreign=foreign, reserved=reserved, ours=ours, pending=pending) if offered else 0
    spare = 0 if state.full else room(foreign=foreign, reserved=0, ours=ours, pending=written)
    return Occupancy(ours, foreign, pending, free, spare)
