"""The best possible schedule, computed from the world."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead_sandbox.schedule import IDENTITY_PACE, Slots, optimum

SUB = "one"


def _pool(*rooms: int, subscription: str = SUB) -> list[Slots]:
    return [Slots(subscription, room) for room in rooms]


@pytest.mark.parametrize(
    ("writes", "pool", "seconds"),
    [
        (0, _pool(20), 0.0),
        (1, _pool(20), 0.0),
        (2, _pool(20), 4.0),
        (20, _pool(20), 76.0),
        (2, _pool(20, 20), 0.5),
        (45, _pool(20, 20, 20), 56.0),
        (12, _pool(20), 44.0),
        (6, _pool(1, 20), 16.0),
        (60, _pool(*[20] * 60), 29.5),
        (2, [*_pool(1), *_pool(1, subscription="two")], 0.1),
        (2, [Slots(SUB, 20, refused=1)], 8.0),
    ],
    ids=[
        "nothing",
        "one write takes no time",
        "two on one identity",
        "a full identity",
        "two identities are bound by the subscription",
        "the scenario's reviewed pool",
        "the scenario's other pool",
        "a nearly full identity helps once",
        "a wide pool is bound by the subscription",
        "two subscriptions are bound by the tenant",
        "a refused write costs a turn",
    ],
)
def test_the_optimum_follows_azures_rates(writes: int, pool: list[Slots], seconds: float) -> None:
    assert optimum(writes, pool) == pytest.approx(seconds)


def test_more_writes_than_room_have_no_schedule() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        optimum(21, _pool(20))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_no_schedule_of_a_small_pool_is_shorter(rooms: list[int], data: st.DataObject) -> None:
    """Every way to spread the writes, each identity at its pace, one subscription at two a second."""
    writes = data.draw(st.integers(1, sum(rooms)))
    spreads = [each for each in itertools.product(*(range(room + 1) for room in rooms)) if sum(each) == writes]
    shortest = min(max(max(each) - 1, 0) * IDENTITY_PACE for each in spreads)

    assert optimum(writes, _pool(*rooms)) >= shortest
    assert optimum(writes, _pool(*rooms)) <= max(shortest, (writes - 1) / 2) + 0.5


@given(
    pool=st.lists(
        st.builds(Slots, st.sampled_from("ab"), room=st.integers(0, 3), refused=st.integers(0, 2)),
        min_size=1,
        max_size=4,
    ),
    data=st.data(),
)
def test_the_optimum_is_the_first_tenth_of_a_second_at_which_some_spread_fits_all_rates(
    pool: list[Slots], data: st.DataObject
) -> None:
    """Every spread of the writes, refused ones included, at every tenth of a second."""
    writes = data.draw(st.integers(0, sum(slots.room for slots in pool)))
    wanted = writes + sum(slots.refused for slots in pool)
    spreads = [
        spread
        for spread in itertools.product(*(range(slots.room + slots.refused + 1) for slots in pool))
        if sum(spread) == wanted
    ]

    def fits(tenths: int, spread: tuple[int, ...]) -> bool:
        shares = {slots.subscription: 0 for slots in pool}
        for slots, count in zip(pool, spread, strict=True):
            shares[slots.subscription] += count
        return (
            all(count <= 1 + tenths // 40 for count in spread)
            and all(count <= 1 + tenths // 5 for count in shares.values())
            and wanted <= 1 + tenths
        )

    shortest = next(tenths for tenths in itertools.count() if any(fits(tenths, spread) for spread in spreads))
    assert optimum(writes, pool) == pytest.approx(shortest / 10)
