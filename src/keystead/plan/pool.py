"""Pure: the pool's room, and which identity the next credential goes to.

Sticky: a live Federation never moves while its identity stays in the grant. New ones go to the identity that can write
soonest among those with room, ties by their order in the grant; this balances load and yields the shortest schedule.
"""

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from keystead.model.credentials import CREDENTIALS_PER_IDENTITY, IdentityState, room
from keystead.model.ids import IdentityId
from keystead.model.records import Federation
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
    soonest: dict[IdentityId, datetime.timedelta]
    placed: Counter[IdentityId] = field(default_factory=Counter)
    pace: datetime.timedelta = datetime.timedelta(seconds=4)

    def left(self, identity: IdentityId) -> int:
        return self.occupancy[identity].room - self.placed[identity]

    @property
    def free(self) -> int:
        return sum(self.left(member.identity) for member in self.members)

    @property
    def unread(self) -> bool:
        """Some identity was not listed yet, so nobody knows whether there is room."""
        return any(not self.states[member.identity].known for member in self.members)

    def place(self) -> IdentityId | None:
        """Take a slot on the identity that can write soonest; ``None`` when there is no room."""
        best = min(
            (member.identity for member in self.members if self.left(member.identity) > 0),
            key=lambda identity: self.soonest[identity] + self.pace * self.placed[identity],
            default=None,
        )
        if best is not None:
            self.placed[best] += 1
        return best


def survey(members: tuple[Member, ...], snapshot: Snapshot) -> Pool:
    """The pool as the snapshot shows it."""
    ledger: dict[IdentityId, list[Federation]] = {member.identity: [] for member in members}
    for federation in (*snapshot.federations, *snapshot.other_federations):
        if federation.identity in ledger:
            ledger[federation.identity].append(federation)
    states = {each.identity: snapshot.identities.get(each.identity) or IdentityState(each.identity) for each in members}
    occupancy = {each.identity: occupy(states[each.identity], ledger[each.identity], each.reserved) for each in members}
    pace = snapshot.limits.lane_pace
    soonest = {}
    for member in members:
        lane = snapshot.lanes.get(member.identity)
        waits = sum(
            1 for each in ledger[member.identity] if not each.deleting and not _listed(states[member.identity], each)
        )
        queued = max(lane.queued if lane else 0, waits)
        soonest[member.identity] = (lane.writable_in if lane else datetime.timedelta(0)) + pace * queued
    return Pool(members, states, occupancy, soonest, pace=pace)


def occupy(state: IdentityState, ledger: Iterable[Federation], reserved: int) -> Occupancy:
    """Who holds which slots of one identity; no room where nothing is known, or Azure said it is full."""
    entries = list(ledger)
    names = {each.credential.name.lower() for each in entries}
    ours = sum(1 for held in state.credentials if held.name.lower() in names)
    foreign = len(state.credentials) - ours
    pending = sum(1 for each in entries if state.named(each.credential.name) is None)
    usable = state.known and not state.full and state.problem is None
    free = room(foreign=foreign, reserved=reserved, ours=ours, pending=pending) if usable else 0
    return Occupancy(ours, foreign, pending, min(free, CREDENTIALS_PER_IDENTITY))


def _listed(state: IdentityState, federation: Federation) -> bool:
    return state.named(federation.credential.name) is not None
