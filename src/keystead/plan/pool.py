"""Pure: the pool's room, and which identity the next credential goes to.

- Sticky: a live Federation never moves while its identity stays in the grant.
- New ones go to the identity that can write soonest among those with room; this balances load and yields the shortest
  schedule (:mod:`keystead.plan.turns`).
- A slot counts as taken until Azure has confirmed that it is free: entries being revoked hold theirs.
- Nothing is placed where something else goes by the name that ours would have, while there is another place.
- Nothing is placed on an identity that was never listed, that Azure called full, or that needs a change by somebody.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from keystead.model.credentials import IdentityState, room
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE
from keystead.model.records import Federation
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.snapshot import Snapshot
from keystead.plan.turns import Paces, Turns, saturated
from keystead.plan.validation import Member


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How the slots of one identity are used."""

    ours: int
    foreign: int
    pending: int
    room: int


@dataclass
class Pool:
    """Room as it stands, and as this plan goes on to use it."""

    members: tuple[Member, ...]
    states: dict[IdentityId, IdentityState]
    occupancy: dict[IdentityId, Occupancy]
    turns: Turns

    @functools.cached_property
    def free(self) -> int:
        """Slots free before this plan places anything."""
        return sum(each.room for each in self.occupancy.values())

    @functools.cached_property
    def unread(self) -> bool:
        """Some identity was not listed yet, so nobody knows whether there is room."""
        return any(not state.known and state.problem is None for state in self.states.values())

    @functools.cached_property
    def broken(self) -> tuple[int, IdentityState] | None:
        """The first member that cannot be used, and its index in the grant."""
        found = ((index, self.states[each.identity]) for index, each in enumerate(self.members))
        return next(((index, state) for index, state in found if state.problem is not None), None)

    @functools.cached_property
    def tenants(self) -> set[str]:
        return {state.tenant_id for state in self.states.values() if state.tenant_id}

    def place(
        self, barred: Callable[[IdentityId], bool] = lambda _: False, horizon: float = float("inf")
    ) -> tuple[IdentityId, float] | None:
        """Take a slot on the identity that can write soonest, in so many seconds; ``None`` when there is no room, or not
        all is read.

        Those that *barred* says no to are passed over, unless there is no other: then whoever asks tells why. Nobody is
        asked about turns beyond the *horizon*.
        """
        # Placed before the whole pool is in view, the first claims would all go to the identities read first, for good.
        if not self.turns or self.unread:
            return None
        turn = self.turns.take(lambda index: barred(self.members[index].identity), horizon)
        return (self.members[turn.index].identity, turn.start) if turn is not None else None


def survey(members: tuple[Member, ...], snapshot: Snapshot, holdings: Holdings) -> Pool:
    """The pool as the snapshot shows it."""
    ledger: dict[IdentityId, list[Federation]] = defaultdict(list)
    for federation in (*snapshot.federations, *snapshot.other_federations):
        ledger[federation.identity].append(federation)
    states = {each.identity: snapshot.identities.get(each.identity) or IdentityState(each.identity) for each in members}
    occupancy = {
        each.identity: occupy(states[each.identity], ledger[each.identity], each.reserved, holdings) for each in members
    }
    return Pool(members, states, occupancy, _turns(members, snapshot, holdings, ledger, occupancy))


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
            if each.credential.name not in snapshot.in_flight
            and each.deleting == (holdings.of(each) is Holding.PRESENT)
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


def usable(state: IdentityState) -> bool:
    """Whether anything may be written there: listed, and nothing wrong that only a person can mend."""
    return state.known and (state.problem is None or CATALOGUE[state.problem].heals)


def occupy(state: IdentityState, ledger: Iterable[Federation], reserved: int, holdings: Holdings) -> Occupancy:
    """Who holds which slots of one identity; no room where nothing is known, or Azure said it is full."""
    entries = list(ledger)
    names = {each.credential.name.lower() for each in entries}
    ours = sum(1 for held in state.credentials if held.name.lower() in names)
    foreign = len(state.credentials) - ours
    pending = sum(1 for each in entries if holdings.of(each) in (Holding.ABSENT, Holding.UNKNOWN))
    offered = usable(state) and not state.full
    free = room(foreign=foreign, reserved=reserved, ours=ours, pending=pending) if offered else 0
    return Occupancy(ours, foreign, pending, free)
