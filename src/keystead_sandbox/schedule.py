"""Pure: the shortest time in which Azure's rates allow a number of credential writes over a pool.

The time runs from the start of the first write to the start of the last. One write starts on an identity every four
seconds (0.25 a second), two a second in a subscription, ten in a tenant (Entra documentation, "Workload identity
federation: important considerations and restrictions", throttling). A refused write costs its identity a turn too.
Computed from the world alone, never from the placement that was chosen.
"""

import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

IDENTITY_PACE = 4.0
SUBSCRIPTION_RATE = 2
TENANT_RATE = 10
_STEP = 0.1  # seconds; every bound above changes only at multiples of it


@dataclass(frozen=True, slots=True)
class Slots:
    """One identity of the pool before the first write."""

    subscription: str
    room: int
    refused: int = 0
    """Writes that Azure refused there and that had to be repeated."""


def optimum(writes: int, pool: Sequence[Slots]) -> float:
    """Least seconds from first start to last start; ValueError when the pool has no room for all."""
    if writes > sum(slots.room for slots in pool):
        raise ValueError(f"{writes} writes do not fit into {sum(slots.room for slots in pool)} free slots")
    wanted = writes + sum(slots.refused for slots in pool)
    if wanted <= 1:
        return 0.0
    latest = int(wanted * IDENTITY_PACE / _STEP) + 1
    tick = bisect.bisect_left(range(latest), wanted, key=lambda candidate: _possible(candidate, pool))
    return round(tick * _STEP, 1)


def _possible(tick: int, pool: Sequence[Slots]) -> int:
    """How many writes can have started *tick* tenths of a second after the first."""
    turns = 1 + int(tick // round(IDENTITY_PACE / _STEP))
    by_subscription: dict[str, int] = defaultdict(int)
    for slots in pool:
        by_subscription[slots.subscription] += min(slots.room + slots.refused, turns)
    subscription_bound = 1 + tick * SUBSCRIPTION_RATE // round(1 / _STEP)
    tenant_bound = 1 + tick * TENANT_RATE // round(1 / _STEP)
    return min(tenant_bound, sum(min(count, subscription_bound) for count in by_subscription.values()))
