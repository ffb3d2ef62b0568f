"""Pure: the pool's room, and which identity the next credential goes to.

- Sticky: a live Federation never moves while its identity stays in the grant.
- New ones go to the identity that can write soonest among those with room, ties by their order in the grant; this
  balances load and yields the shortest schedule.
- A slot counts as taken until Azure has confirmed that it is free: entries being revoked hold theirs.
- Nothing is placed where something else goes by the name that ours would have, while there is another place.
- Nothing is placed on an identity that was never listed, that Azure called full, or that needs a change by somebody.
- Nothing is placed on an identity of our making before it is proven; what it will offer then is known all the same.
"""

import datetime
import functools
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from keystead.model.credentials import IdentityState, room
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE
from keystead.model.records import Federation
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.snapshot import Snapshot
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
    pace: datetime.timedelta
    line: list[tuple[datetime.timedelta, int]]
    """Heap: when the member of this index could write one more."""
    withheld: frozenset[IdentityId] = frozenset()
    """Members that are not proven yet."""
    expected: int = 0
    """Slots that those will offer."""
    unlisted: bool = False
    """The resource group in which the pool grows was not read yet: there may be more members."""
    growing: bool = False
    """More slots will come by themselves."""
    placed: Counter[int] = field(default_factory=Counter)
    unplaced: int = 0
    """How often this plan found no room."""

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

    def place(self, barred: Callable[[IdentityId], bool] = lambda _: False) -> IdentityId | None:
        """Take a slot on the identity that can write soonest; ``None`` when there is no room, or not all is read.

        Those that *barred* says no to are passed over, unless there is no other: then whoever asks tells why.
        """
        # Placed before the whole pool is in view, the first claims would all go to the identities read first, for good.
        if not self.line or self.unread:
            return None
        passed = []
        while self.line and barred(self.members[self.line[0][1]].identity):
            passed.append(heapq.heappop(self.line))
        if not self.line:
            self.line += passed  # sorted, as they were popped, and so a heap
            return self.members[passed[0][1]].identity
        when, index = heapq.heappop(self.line)
        for each in passed:
            heapq.heappush(self.line, each)
        identity = self.members[index].identity
        self.placed[index] += 1
        if self.placed[index] < self.occupancy[identity].room:
            heapq.heappush(self.line, (when + self.pace, index))
        return identity


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
    states = {each.identity: snapshot.identities.get(each.identity) or IdentityState(each.identity) for each in members}
    occupancy = {
        each.identity: occupy(states[each.identity], ledger[each.identity], each.reserved, holdings) for each in members
    }
    expected = 0
    for identity in withheld:
        held = occupancy[identity]
        expected += room(foreign=held.foreign, reserved=0, ours=held.ours, pending=held.pending)
        occupancy[identity] = replace(held, room=0)
    pace = snapshot.limits.lane_pace
    line = []
    for index, member in enumerate(members):
        if not occupancy[member.identity].room:
            continue
        lane = snapshot.lanes.get(member.identity)
        # Deletes take a turn on the lane as well; what waits there already is among what the ledger still owes Azure.
        owed = sum(
            1
            for each in ledger[member.identity]
            # What is under way has had its turn: the lane's own wait accounts for it.
            if each.credential.name not in snapshot.in_flight
            and each.deleting == (holdings.of(each) is Holding.PRESENT)
        )
        queued = max(lane.queued if lane else 0, owed)
        line.append(((lane.writable_in if lane else datetime.timedelta(0)) + pace * queued, index))
    heapq.heapify(line)
    return Pool(members, states, occupancy, pace, line, withheld, expected)


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
