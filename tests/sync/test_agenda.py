"""Whose turn it is."""

import asyncio
import datetime

import pytest

from keystead.sync.agenda import Agenda, Key

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]


class LoopClock:
    def now(self) -> datetime.datetime:
        return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def key(name: str, namespace: str = "a") -> Key:
    return Key("ExternalSecret", namespace, name)


async def order(agenda: Agenda, turns: int) -> list[str]:
    taken = []
    for _ in range(turns):
        turn = await agenda.take()
        taken.append(f"{turn.key.namespace}{turn.key.name}")
        agenda.done(turn.key)
    return taken


async def test_namespaces_take_turns() -> None:
    agenda = Agenda(LoopClock())
    for name in "123":
        agenda.add(key(name))
    agenda.add(key("1", "b"))

    assert await order(agenda, 4) == ["a1", "b1", "a2", "a3"]


async def test_urgent_keys_go_first_and_starve_nobody() -> None:
    agenda = Agenda(LoopClock())
    agenda.add(key("routine"))
    for number in range(5):
        agenda.add(key(str(number), "b"), urgent=True)

    assert await order(agenda, 6) == ["b0", "b1", "b2", "aroutine", "b3", "b4"]


async def test_a_key_in_line_becomes_urgent_and_stays_single() -> None:
    agenda = Agenda(LoopClock())
    agenda.add(key("1"))
    agenda.add(key("2"))
    agenda.add(key("2"), urgent=True)

    assert await order(agenda, 2) == ["a2", "a1"]
    assert agenda.idle


async def test_a_key_that_is_worked_on_comes_back_with_the_time_it_was_asked_for() -> None:
    agenda = Agenda(LoopClock())
    agenda.add(key("1"))
    turn = await agenda.take()
    await asyncio.sleep(3)
    agenda.add(key("1"))
    await asyncio.sleep(4)
    agenda.done(turn.key)

    async with asyncio.timeout(60):
        again = await agenda.take()

    assert (turn.asked_at, again.asked_at) == (0.0, 3.0)


async def test_failures_back_off_to_seven_minutes_and_are_forgotten() -> None:
    agenda = Agenda(LoopClock())

    delays = [agenda.back_off(key("1")) for _ in range(11)]
    agenda.forget(key("1"))

    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 420, 420]
    assert agenda.back_off(key("1"), at_least=20) == 20


async def test_a_delay_is_replaced_by_a_new_one_and_ended_by_a_call() -> None:
    agenda = Agenda(LoopClock())
    agenda.add_after(key("1"), 100)
    agenda.add_after(key("1"), 10)
    turn = await agenda.take()
    agenda.done(turn.key)
    assert turn.asked_at == 10.0
    agenda.add_after(key("1"), 100)

    agenda.add(key("1"))

    assert (await agenda.take()).asked_at == 10.0
