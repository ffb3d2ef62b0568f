"""Token buckets: how many requests one key may make, and how long it must wait for the next.

Arithmetic alone: nobody sleeps here, and a refused request takes nothing out of any bucket.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from keystead_sandbox.clock import Clock


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket's size, and how many tokens flow in per sandbox second."""

    capacity: float
    refill: float


@dataclass(frozen=True, slots=True)
class Throttled:
    """The bucket that had no token left, and how many sandbox seconds until it has one."""

    key: Hashable
    wait: float


class Buckets:
    """Every bucket of one world, made full when first asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels: dict[Hashable, tuple[float, float]] = {}

    def take(self, wanted: Sequence[tuple[Hashable, Limit]]) -> Throttled | None:
        """One token of each of *wanted*, or of none: then the first that is empty is named."""
        now = self._clock.now()
        levels = [self._level(key, limit, now) for key, limit in wanted]
        for (key, limit), level in zip(wanted, levels, strict=True):
            if level < 1 - 1e-9:  # a client that waits exactly as long as it was told must not fail by rounding
                return Throttled(key, (1 - level) / limit.refill)
        for (key, _), level in zip(wanted, levels, strict=True):
            self._levels[key] = (level - 1, now)
        return None

    def level(self, key: Hashable, limit: Limit) -> float:
        """Tokens in the bucket now."""
        return self._level(key, limit, self._clock.now())

    def _level(self, key: Hashable, limit: Limit, now: float) -> float:
        level, at = self._levels.get(key, (limit.capacity, now))
        return min(limit.capacity, level + (now - at) * limit.refill)
