"""Pure: the credential writes to come, played ahead at Azure's paces, so that each goes where it can start first.

- A write takes a turn of its identity, of its subscription and of the tenant.
- Where several identities could start at the same moment, the one with the most room left does: small rooms are filled
  on the side, and no identity is left at the end with more writes than the others have time.
- Among equals the order in the grant decides.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_GRAIN = 1e-6  # seconds: sums of paces that are no powers of two do not come out even


@dataclass(frozen=True, slots=True)
class Paces:
    """Seconds from the start of one write to the start of the next."""

    identity: float
    subscription: float
    tenant: float


class Turn(NamedTuple):
    """Who writes next, and in how many seconds."""

    place: int
    start: float


class _Slot(NamedTuple):
    """A member of the pool as it waits for its next turn; sorts by what it is asked for."""

    when: float
    """When its identity allows the next write; zero among those that are ready."""
    taken: int
    """Room left, negative: the most room first."""
    place: int


@dataclass(slots=True)
class _Subscription:
    """The members in one subscription."""

    free_at: float
    resting: list[_Slot] = field(default_factory=list)
    """Heap of those whose identity has just written."""
    ready: list[_Slot] = field(default_factory=list)
    """Heap of those that wait for nothing but the subscription's turn."""
    room: int = 0

    def start(self, tenant: float) -> float | None:
        """When its next write could start; ``None`` when it has no room."""
        moment = max(self.free_at, tenant)
        while self.resting and self.resting[0].when <= moment + _GRAIN:
            heapq.heappush(self.ready, heapq.heappop(self.resting)._replace(when=0.0))
        if self.ready:
            return moment
        return self.resting[0].when if self.resting else None

    def pop(self) -> _Slot:
        return heapq.heappop(self.ready or self.resting)


def saturated(waiting: Iterable[int], lane: float, pace: float) -> float:
    """Seconds for which what waits at the identities of a subscription (or tenant) leaves no turn to anybody else.

    Each identity takes a turn every *lane* seconds, as long as something waits there; a turn comes every *pace* seconds.
    """
    lengths = Counter(waiting)
    active, ready, turns, rounds = lengths.total() - lengths[0], 0.0, lane / pace if pace else float("inf"), 0
    while ready + active >= turns:
        ready += active - turns
        rounds += 1
        active -= lengths[rounds]
    return rounds * lane + (ready + active) * pace


class Turns:
    """The turns of one pool; members are known by their index in the grant."""

    def __init__(self, paces: Paces, *, tenant_free_at: float = 0.0) -> None:
        self._paces = paces
        self._tenant = tenant_free_at
        self._subscriptions: dict[str, _Subscription] = {}
        self._room = 0

    def __bool__(self) -> bool:
        """Some member has room."""
        return self._room > 0

    def members(self) -> list[int]:
        """Those that have room left, in no order."""
        return [slot.place for each in self._subscriptions.values() for slot in (*each.ready, *each.resting)]

    def add(self, index: int, subscription: str, *, room: int, when: float, subscription_free_at: float) -> None:
        """A member with *room*, whose identity could write in *when* seconds."""
        held = self._subscriptions.setdefault(subscription, _Subscription(subscription_free_at))
        held.room += room
        self._room += room
        heapq.heappush(held.resting, _Slot(when, -room, index))

    def take(self, barred: Callable[[int], bool], horizon: float = float("inf")) -> Turn | None:
        """The next turn; ``None`` when there is no room.

        Members that *barred* says no to are passed over, and lose nothing; when there are no others, the first of them
        is named without a turn. Turns beyond the *horizon* are anybody's, and nobody is barred from them.
        """
        passed: list[tuple[_Subscription, _Slot, float]] = []
        taken: Turn | None = None
        while (found := self._next()) is not None:
            start, subscription = found
            slot = subscription.pop()
            if start <= horizon and barred(slot.place):
                passed.append((subscription, slot, start))
                continue
            self._turn(subscription, slot, start)
            taken = Turn(slot.place, start)
            break
        for subscription, slot, _ in passed:
            heapq.heappush(subscription.resting, slot)
        return Turn(passed[0][1].place, passed[0][2]) if taken is None and passed else taken

    def forgo(self) -> bool:
        """Somebody will need a turn of which nobody has to know whose and when; false when there is no room for it."""
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _next(self) -> tuple[float, _Subscription] | None:
        """Where the next write could start first, and when."""
        best: tuple[float, int] | None = None
        found: _Subscription | None = None
        for subscription in self._subscriptions.values():
            start = subscription.start(self._tenant)
            if start is not None and (best is None or (start, -subscription.room) < best):
                best, found = (start, -subscription.room), subscription
        return (best[0], found) if best is not None and found is not None else None

    def _turn(self, subscription: _Subscription, slot: _Slot, start: float) -> None:
        self._tenant = start + self._paces.tenant
        subscription.free_at = start + self._paces.subscription
        subscription.room -= 1
        self._room -= 1
        if slot.taken + 1 < 0:
            heapq.heappush(subscription.resting, _Slot(start + self._paces.identity, slot.taken + 1, slot.place))
