"""Durations may be hastened; instants may not."""

import asyncio
import datetime
import time

import pytest

from keystead_sandbox.clock import ScaledClock, VirtualClock, WorldClock

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0])
async def test_durations_pass_at_the_rate(rate: float) -> None:
    clock = ScaledClock(rate)
    began, wall = clock.now(), time.monotonic()

    await clock.sleep(0.05 * rate)

    assert clock.now() - began >= 0.05 * rate
    assert 0.05 <= time.monotonic() - wall < 5
    assert clock.to_wall_seconds(30) == 30 / rate


async def test_instants_are_the_walls_at_any_rate() -> None:
    clock = ScaledClock(100)
    first = clock.wall()

    await clock.sleep(5)

    assert first.tzinfo is datetime.UTC
    assert abs(first.timestamp() - time.time()) < 5
    assert datetime.timedelta(seconds=0.05) <= clock.wall() - first < datetime.timedelta(seconds=4)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_clock_does_not_stand_still_or_go_back(rate: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        ScaledClock(rate)


@pytest.mark.looptime(start=0)
async def test_virtual_time_moves_durations_and_instants_with_the_loop() -> None:
    clock = VirtualClock(EPOCH)

    await clock.sleep(3600)
    await asyncio.sleep(30)

    assert clock.now() == 3630
    assert clock.wall() == EPOCH + datetime.timedelta(seconds=3630)
    assert clock.to_wall_seconds(4) == 4


def test_an_epoch_is_aware() -> None:
    with pytest.raises(ValueError, match="aware"):
        VirtualClock(datetime.datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake under test


@pytest.mark.looptime(start=0)
async def test_sleeping_for_less_than_nothing_yields_once() -> None:
    clock, order = VirtualClock(EPOCH), []

    async def other() -> None:
        order.append("other")

    task = asyncio.create_task(other())
    await clock.sleep(-1)
    order.append("sleeper")
    await task

    assert order == ["other", "sleeper"]
    assert clock.now() == 0


@pytest.mark.looptime(start=0)
async def test_a_skip_ends_the_sleeps_that_end_within_it() -> None:
    clock = WorldClock(VirtualClock(EPOCH))
    short, long = asyncio.create_task(clock.sleep(10)), asyncio.create_task(clock.sleep(100))
    await asyncio.sleep(1)

    clock.advance(20)
    await asyncio.sleep(0.001)

    assert (short.done(), long.done()) == (True, False)
    await long
    assert clock.now() == pytest.approx(100)
    assert asyncio.get_running_loop().time() == pytest.approx(80)


@pytest.mark.looptime(start=0)
async def test_who_sleeps_does_not_notice_that_the_clock_is_set_back() -> None:
    clock = WorldClock(VirtualClock(EPOCH))
    clock.advance(1000)
    sleeper = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(4)

    clock.set_back(5)
    await sleeper

    assert asyncio.get_running_loop().time() == pytest.approx(10)
    assert clock.now() == pytest.approx(11)


async def test_a_new_rate_hastens_who_sleeps_already() -> None:
    clock = WorldClock(ScaledClock(0.001))
    sleeper = asyncio.create_task(clock.sleep(1))  # a thousand seconds on the wall
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    clock.set_rate(1000)

    async with asyncio.timeout(30):
        await sleeper
    assert clock.now() >= 1
