"""Distributions of latency, drawn from a seed."""

import random
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead_sandbox.latency import LONGEST, Constant, Exponential, Latency, Lognormal, Normal, Percentiles, Uniform

MEASURED = Percentiles(seconds={"50": 0.25, "90": 0.9, "99": 3.3, "100": 8.1})
SHAPES: dict[str, tuple[Latency, float]] = {
    "constant": (Constant(seconds=2), 2),
    "uniform": (Uniform(low=1, high=3), 2),
    "normal": (Normal(mean=2, deviation=0.2), 2),
    "lognormal": (Lognormal(median=0.5, sigma=1), 0.5),
    "exponential": (Exponential(mean=1), 0.693),
    "percentiles": (MEASURED, 0.25),
}


def drawn(latency: Latency, seed: int = 0, count: int = 4000) -> list[float]:
    source = random.Random(seed)  # noqa: S311 - latency
    return [latency.draw(source) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_half_of_the_waits_are_below_the_median(shape: str) -> None:
    latency, median = SHAPES[shape]

    assert statistics.median(drawn(latency)) == pytest.approx(median, rel=0.08)
    assert drawn(latency) == drawn(latency)


def test_a_measurements_percentiles_come_back() -> None:
    found = sorted(drawn(MEASURED))

    assert found[int(0.9 * len(found))] == pytest.approx(0.9, rel=0.15)
    assert found[int(0.99 * len(found))] == pytest.approx(3.3, rel=0.25)
    assert found[-1] <= 8.1
    assert found[0] >= 0


@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 2**32))
def test_no_wait_is_negative_or_endless(shape: str, seed: int) -> None:
    latency, _ = SHAPES[shape]

    assert all(0 <= seconds <= LONGEST for seconds in drawn(latency, seed, 50))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_distribution_is_written_by_its_kind(shape: str) -> None:
    latency, _ = SHAPES[shape]

    written = msgspec.to_builtins(latency)

    assert written["kind"] == shape
    assert msgspec.convert(written, Latency) == latency
