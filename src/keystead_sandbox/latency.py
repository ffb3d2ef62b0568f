"""Distributions of latency, as data: how long a request waits, drawn from a seeded source.

All numbers are sandbox seconds, except those that shape a curve. What would be negative is zero, and nothing is longer
than :data:`LONGEST`.
"""

import itertools
import math
import random
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

LONGEST = 86400.0
_Seconds = Annotated[float, Meta(ge=0, le=LONGEST)]


class _Kind(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", rename="camel", forbid_unknown_fields=True):
    """A distribution by its ``kind``."""


class Constant(_Kind, frozen=True, tag="constant"):
    """Always as long."""

    seconds: _Seconds

    def draw(self, source: random.Random) -> float:
        del source
        return self.seconds


class Uniform(_Kind, frozen=True, tag="uniform"):
    """Anything between two bounds."""

    low: _Seconds
    high: _Seconds

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low: it is above high")

    def draw(self, source: random.Random) -> float:
        return source.uniform(self.low, self.high)


class Normal(_Kind, frozen=True, tag="normal"):
    """A bell around a mean."""

    mean: _Seconds
    deviation: _Seconds

    def draw(self, source: random.Random) -> float:
        return _bounded(source.gauss(self.mean, self.deviation))


class Lognormal(_Kind, frozen=True, tag="lognormal"):
    """What services at the other end of a network look like: half below the median, and a long tail."""

    median: Annotated[float, Meta(gt=0, le=LONGEST)]
    sigma: Annotated[float, Meta(ge=0, le=10)]

    def draw(self, source: random.Random) -> float:
        return _bounded(source.lognormvariate(math.log(self.median), self.sigma))


class Exponential(_Kind, frozen=True, tag="exponential"):
    """Waits without memory."""

    mean: Annotated[float, Meta(gt=0, le=LONGEST)]

    def draw(self, source: random.Random) -> float:
        return _bounded(source.expovariate(1 / self.mean))


class Percentiles(_Kind, frozen=True, tag="percentiles"):
    """What a measurement says: seconds by percentile, straight lines between them, from zero at 0 unless it is given."""

    seconds: dict[Annotated[str, Meta(pattern=r"^\d{1,3}(\.\d+)?\Z")], _Seconds]

    def __post_init__(self) -> None:
        points = self._points()
        if len(points) == 1 or points[-1][0] > 100:  # noqa: PLR2004 - a percentage
            raise ValueError("seconds: needs at least one percentile, none above 100")
        if any(before[1] > after[1] for before, after in itertools.pairwise(points)):
            raise ValueError("seconds: a higher percentile cannot be shorter")

    def draw(self, source: random.Random) -> float:
        at, points = source.random() * 100, self._points()
        for (below, low), (above, high) in itertools.pairwise(points):
            if at <= above:
                return low + (high - low) * (at - below) / (above - below)
        return points[-1][1]

    def _points(self) -> list[tuple[float, float]]:
        return sorted({0.0: 0.0, **{float(percent): seconds for percent, seconds in self.seconds.items()}}.items())


Latency: TypeAlias = Constant | Uniform | Normal | Lognormal | Exponential | Percentiles


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST)
