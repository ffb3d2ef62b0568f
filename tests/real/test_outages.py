"""The whole operator while a real control plane is away, restarted or slow: nothing is lost, nothing is done twice.

What is counted is counted against the time that it took: a loaded machine takes longer, and is asked less in it.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keystead_sandbox.faults import Effect, Fault
from real.own_world import OwnWorld, Replica, own_world

pytestmark = [pytest.mark.real, pytest.mark.process, pytest.mark.looptime(False)]
_AWAY = 30.0  # wall seconds: twice what a lease lasts
_A_SECOND = 12.0  # requests of one replica in a second, at most; it has nine watches
_AT_ONCE = 250  # requests of one replica, whatever the time: what its work needs


def _counted(world: OwnWorld) -> dict[str, int]:
    return {name: each.requests for name, each in world.replicas.items()}


def _too_many(world: OwnWorld, before: dict[str, int], since: float) -> dict[str, int]:
    """Replicas that asked more often than the time since *since* explains."""
    limit = _AT_ONCE + _A_SECOND * (time.monotonic() - since)
    asked = {name: count - before[name] for name, count in _counted(world).items()}
    return {name: count for name, count in asked.items() if count > limit}


def _served(world: OwnWorld) -> tuple[Replica, Replica]:
    world.grant("team", world.identity("one"), world.identity("two"))
    for name in ("stays", "goes"):
        world.namespace(name, labels={"team": "team"})
    return world.replica("first"), world.replica("second")


async def _change_unseen(world: OwnWorld) -> None:
    """One namespace goes for good, and another comes, before any replica may look again."""
    world.delete("namespaces", "goes")
    world.namespace("comes", labels={"team": "team"})
    await world.until(lambda: world.object("namespaces", "goes") is None)


@pytest.mark.parametrize(
    ("program", "still"),
    [("etcd", True), ("etcd", False), ("kube-apiserver", True), ("kube-apiserver", False)],
    ids=["etcd stands still", "etcd is killed", "kube-apiserver stands still", "kube-apiserver is killed"],
)
async def test_half_a_minute_without_the_control_plane_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, program: str, still: bool
) -> None:
    async with own_world(tmp_path) as world:
        replicas = _served(world)
        await world.until(lambda: world.ready("stays", "goes"))
        began, before = time.monotonic(), _counted(world)
        # It goes in the middle of a write, whose success can then be told to nobody.
        world.azure.faults.add(Fault(service="arm", effect=Effect.DELAY, method="PUT", delay=10))
        written = len(world.noted)
        world.namespace("late", labels={"team": "team"})
        await world.until_written(written)
        await world.go_away(program, still=still)
        await asyncio.sleep(_AWAY)
        await world.until(lambda: world.leader() is None)
        unled = len(world.noted)
        assert _too_many(world, before, began) == {}

        for each in replicas:
            each.kept_off = True
        await world.come_back(program, still=still)
        await _change_unseen(world)
        assert len(world.noted) == unled, "somebody wrote while nobody led"
        for each in replicas:
            each.kept_off = False
        await world.until(lambda: world.ready("stays", "late", "comes") and not world.trusted("goes"))
        await world.until(lambda: len(world.objects("federations")) == 3)

        expected = [f"system:serviceaccount:{each}:keystead" for each in ("comes", "late", "stays")]
        assert sorted(world.credentials()) == expected
        assert world.written_twice() == []
        assert world.uncovered() == []
        assert _too_many(world, before, began) == {}
        await _rests(world)


async def _rests(world: OwnWorld) -> None:
    """Back to peace: what nobody changes, nobody writes, and nobody asks about again and again."""
    await world.settled(quiet=100)
    began, before, written = time.monotonic(), _counted(world), len(world.writes())
    await asyncio.sleep(10)
    asked = sum(_counted(world).values()) - sum(before.values())
    assert len(world.writes()) == written
    assert asked <= 3 * (time.monotonic() - began)  # two replicas at one lease, and a list now and then


@contextmanager
def _slow(world: OwnWorld, program: str) -> Iterator[None]:
    """The program stands still for nine tenths of the time."""
    over = threading.Event()

    def hold() -> None:
        while not over.is_set():
            world.plane.pause(program)
            over.wait(0.9)
            world.plane.resume(program)
            over.wait(0.1)

    # Beside the loop: the tests' own client keeps the loop while it waits for this very program.
    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("program", ["kube-apiserver", "etcd"])
async def test_a_slow_control_plane_delays_and_nothing_else(tmp_path: Path, program: str) -> None:
    async with own_world(tmp_path) as world:
        began = time.monotonic()
        with _slow(world, program):
            _served(world)
            before = dict.fromkeys(world.replicas, 0)
            await world.until(lambda: world.ready("stays", "goes"))
            world.delete("namespaces", "goes")
            await world.until(lambda: not world.trusted("goes") and len(world.objects("federations")) == 1)

        assert list(world.credentials()) == ["system:serviceaccount:stays:keystead"]
        assert world.written_twice() == []
        assert world.uncovered() == []
        assert _too_many(world, before, began) == {}


async def test_the_control_plane_that_is_killed_over_and_over_is_followed_to_the_end(tmp_path: Path) -> None:
    """etcd and the API server in turn, each time in the middle of a write to Azure."""
    names = [f"n{number}" for number in range(6)]
    async with own_world(tmp_path) as world:
        _served(world)
        await world.until(lambda: world.ready("stays", "goes"))
        began, before = time.monotonic(), _counted(world)
        for number, name in enumerate(names):
            written = len(world.noted)
            world.namespace(name, labels={"team": "team"})
            if number == len(names) // 2:
                world.delete("namespaces", "goes")
            await world.until_written(written)
            program = ("etcd", "kube-apiserver")[number % 2]
            await world.go_away(program)
            await world.come_back(program)
        await world.until(lambda: world.ready("stays", *names) and not world.trusted("goes"))

        assert sorted(world.credentials()) == [f"system:serviceaccount:{each}:keystead" for each in (*names, "stays")]
        assert world.written_twice() == []
        assert world.uncovered() == []
        assert _too_many(world, before, began) == {}
        assert world.leader() is not None
