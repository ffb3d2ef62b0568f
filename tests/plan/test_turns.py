"""Placement by the turns to come, against the best schedule that the sandbox knows for the same world."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.plan.turns import Paces, Turn, Turns, saturated
from keystead_sandbox.schedule import Slots, optimum

AZURE = Paces(identity=4.0, subscription=0.5, tenant=0.1)
Pool = list[tuple[str, int]]  # subscription and room of each member


def _turns(pool: Pool) -> Turns:
    turns = Turns(AZURE)
    for member, (subscription, room) in enumerate(pool):
        turns.add(member, subscription, room=room, when=0.0, subscription_free_at=0.0)
    return turns


def _nobody(member: int) -> bool:
    del member
    return False


def _taken(pool: Pool, writes: int) -> list[int]:
    turns = _turns(pool)
    return [turn.place for _ in range(writes) if (turn := turns.take(_nobody)) is not None]


@given(pool=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 20)), min_size=1, max_size=30), data=st.data())
def test_what_is_placed_can_be_written_nearly_as_soon_as_by_the_best_placement(pool: Pool, data: st.DataObject) -> None:
    writes = data.draw(st.integers(1, sum(room for _, room in pool)))
    best = optimum(writes, [Slots(subscription, room) for subscription, room in pool])

    counts = Counter(_taken(pool, writes))
    ours = optimum(writes, [Slots(subscription, counts[member]) for member, (subscription, _) in enumerate(pool)])

    assert ours <= 1.05 * best + 1.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 20)), min_size=1, max_size=10))
def test_every_slot_is_given_once_and_in_order_of_time(pool: Pool) -> None:
    turns, starts = _turns(pool), list[float]()
    counts = Counter[int]()
    while (turn := turns.take(_nobody)) is not None:
        counts[turn.place] += 1
        starts.append(turn.start)

    assert [counts[member] for member in range(len(pool))] == [room for _, room in pool]
    assert starts == sorted(starts)
    assert not turns


def test_a_crowded_subscription_is_left_for_one_with_time() -> None:
    pool = [("crowded", 20)] * 30 + [("wide", 20)] * 10

    counts = Counter(pool[member][0] for member in _taken(pool, 300))

    assert counts == {"crowded": 150, "wide": 150}


def test_small_rooms_are_filled_on_the_side_of_large_ones() -> None:
    pool = [("a", 1)] * 10 + [("a", 20)] * 7

    assert optimum(150, [Slots("a", Counter(_taken(pool, 150))[member]) for member in range(17)]) == optimum(
        150, [Slots(subscription, room) for subscription, room in pool]
    )


def test_among_equals_the_order_in_the_grant_decides() -> None:
    assert _taken([("a", 20)] * 3, 4) == [0, 1, 2, 0]


def test_who_is_barred_is_passed_over_and_keeps_its_turn() -> None:
    turns = _turns([("a", 20), ("a", 20)])

    assert turns.take(lambda member: member == 0) == Turn(1, 0.0)
    assert turns.take(_nobody) == Turn(0, 0.5)


def test_when_all_are_barred_the_first_is_named_and_loses_nothing() -> None:
    turns = _turns([("a", 1)])

    assert turns.take(lambda _: True) == Turn(0, 0.0)
    assert turns.take(_nobody) == Turn(0, 0.0)


def test_beyond_the_horizon_nobody_is_asked() -> None:
    turns, asked = _turns([("a", 20)]), list[int]()

    def ask(member: int) -> bool:
        asked.append(member)
        return False

    starts = [turn.start for _ in range(3) if (turn := turns.take(ask, 4.0)) is not None]

    assert starts == [0.0, 4.0, 8.0]
    assert asked == [0, 0]


@given(
    pool=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 20)), min_size=1, max_size=12),
    horizon=st.floats(0.0, 30.0),
)
def test_who_comes_after_a_turn_beyond_the_horizon_only_takes_room(pool: Pool, horizon: float) -> None:
    whole, short = _turns(pool), _turns(pool)
    starts = [turn.start for _ in range(sum(room for _, room in pool)) if (turn := whole.take(_nobody)) is not None]

    taken = list[float]()
    while (turn := short.take(_nobody, horizon)) is not None:
        taken.append(turn.start)
        if turn.start > horizon:
            break
    forgone = 0
    while short.forgo():
        forgone += 1

    assert taken == starts[: len(taken)]
    assert all(start > horizon for start in starts[len(taken) :])
    assert len(taken) + forgone == len(starts)
    assert not short


@pytest.mark.parametrize(
    ("waiting", "seconds"),
    [([], 0.0), ([5], 0.5), ([1] * 7, 3.5), ([1] * 20, 10.0), ([2] * 8, 8.0), ([3, 3, 1], 1.5), ([0, 0], 0.0)],
    ids=[
        "nothing",
        "one lane leaves most turns to others",
        "seven lanes leave the eighth turn",
        "more than there are turns",
        "eight lanes leave none",
        "the first round alone",
        "lanes in which nothing waits",
    ],
)
def test_how_long_what_waits_leaves_no_turn(waiting: list[int], seconds: float) -> None:
    assert saturated(waiting, AZURE.identity, AZURE.subscription) == pytest.approx(seconds)
