"""The whole operator while Kubernetes is away, slow, restarted or taken by another: nothing is lost, nothing done twice."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from keystead.kube.permissions import LEASE, NAMESPACE
from keystead_sandbox.faults import Effect, Fault
from kube.scripted import answer
from world import Trap, World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]


class Weather(Trap):
    """Between an operator and the world: counts what it asks of Kubernetes, and keeps it from it when told to."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.state = "fine"
        self.requests = 0
        self._calls: set[asyncio.Task[Any]] = set()

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if app is not self._world.cluster:
            await super().__call__(app, scope, receive, send)
            return
        self.requests += 1
        if self.state == "failing":
            await answer(500, "InternalError")(scope, receive, send)
        elif self.state == "refusing":
            raise ConnectionRefusedError("nobody listens")
        elif self.state == "hanging":
            await asyncio.Event().wait()
        else:
            if self.state == "slow":
                await asyncio.sleep(2)
            call = asyncio.create_task(super().__call__(app, scope, receive, send))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            try:
                await call
            except asyncio.CancelledError:
                call.cancel()
                raise ConnectionResetError("the server went away") from None

    def change(self, state: str) -> None:
        """From now on; watches and whatever else is under way end."""
        self.state = state
        for call in self._calls:
            call.cancel()


def _served(*names: str, **settings: Any) -> tuple[World, Weather]:
    world = World(**settings)
    world.grant("team", world.identity("one"), world.identity("two"))
    for name in names:
        world.namespace(name, labels={"team": "team"})
    return world, Weather(world)


def _each_once(world: World) -> None:
    """Every credential was written once, and deleted at most once."""
    done = [(entry.method, entry.path) for entry in world.azure_writes() if entry.status in (200, 201, 204)]
    assert sorted(done) == sorted(set(done))


@pytest.mark.parametrize("state", ["failing", "hanging", "refusing"])
async def test_half_a_minute_without_kubernetes_loses_no_delete_and_writes_nothing_twice(state: str) -> None:
    world, weather = _served("stays", "goes")
    async with world:
        operator = world.start(trap=weather)
        await world.until(lambda: world.ready("stays", "goes"))
        before = (weather.requests, operator.controller.passes if operator.controller else 0)
        weather.change(state)
        await world.pass_time(5)
        world.delete("namespaces", "goes")
        world.namespace("comes", labels={"team": "team"})
        await world.pass_time(25)
        weather.change("fine")
        await world.until(lambda: not world.trusted("goes") and world.ready("stays", "comes"))
        await world.pass_time(120)

        assert sorted(world.credentials()) == [f"system:serviceaccount:{each}:keystead" for each in ("comes", "stays")]
        _each_once(world)
        assert weather.requests - before[0] < 700  # this world retries each of seven watches once a second
        assert operator.controller is not None
        assert operator.controller.passes < 120


async def test_no_write_starts_that_the_lease_would_not_outlive() -> None:
    world, weather = _served("first")
    async with world:
        world.start(trap=weather)
        await world.until(lambda: world.ready("first"))
        world.namespace("second", labels={"team": "team"})
        world.azure.faults.add(Fault(service="arm", effect=Effect.HANG, method="PUT", seconds=5))
        await world.pass_time(2)
        weather.change("hanging")
        cut = asyncio.get_running_loop().time()
        await world.pass_time(120)
        late = [entry.at for entry in world.azure_writes() if entry.at > cut + 15 - 8]

        assert late == []
        weather.change("fine")
        await world.until(lambda: world.ready("first", "second"))
        _each_once(world)


async def test_a_stolen_lease_stops_the_work_until_it_is_free_again() -> None:
    world, weather = _served("first")
    async with world:
        operator = world.start(trap=weather)
        await world.until(lambda: world.ready("first"))
        held = world.object("leases", LEASE, NAMESPACE)
        assert held is not None
        thief = {**held["spec"], "holderIdentity": "thief", "leaseDurationSeconds": 60}
        world.put(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": LEASE, "namespace": NAMESPACE},
                "spec": thief,
            },
            manager="thief",
        )
        await world.until(lambda: not operator.lease.held, seconds=5)
        world.namespace("second", labels={"team": "team"})
        await world.pass_time(50)
        assert not world.trusted("second")
        await world.until(lambda: world.ready("first", "second"))

        _each_once(world)


async def test_a_leader_that_is_cut_off_is_followed_by_another_and_nothing_is_written_twice() -> None:
    world, weather = _served(*(f"n{number}" for number in range(6)))
    async with world:
        world.start(trap=weather, instance="first")
        await world.until(lambda: len(world.credentials()) >= 2)
        world.start(instance="second")
        weather.change("hanging")
        await world.until(lambda: world.ready(*(f"n{number}" for number in range(6))))
        weather.change("fine")
        await world.pass_time(120)

        assert len(world.credentials()) == 6
        _each_once(world)


async def test_a_slow_api_server_delays_and_nothing_else() -> None:
    world, weather = _served("first", "second")
    weather.state = "slow"
    async with world:
        operator = world.start(trap=weather)
        await world.until(lambda: world.ready("first", "second"))
        world.delete("namespaces", "second")
        await world.until(lambda: not world.trusted("second") and len(world.objects("federations")) == 1)

        _each_once(world)
        assert operator.lease.held


async def test_an_operator_that_is_told_to_stop_ends_what_it_began() -> None:
    world, weather = _served("first")
    async with world:
        world.azure.faults.add(Fault(service="arm", effect=Effect.DELAY, method="PUT", delay=4))
        operator = world.start(trap=weather)
        await world.until(lambda: operator.lanes is not None and bool(operator.lanes.in_flight()))
        await world.stop()

        assert world.trusted("first")
        (ledger,) = world.objects("federations")
        federated = world.condition("federations", ledger["metadata"]["name"], "Federated")
        assert federated[0] == "True"
        lease = world.object("leases", LEASE, NAMESPACE)
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == ""
        _each_once(world)


async def test_a_standby_that_is_told_to_stop_ends_at_once() -> None:
    world, _ = _served("first")
    async with world:
        world.start(instance="first")
        await world.until(lambda: world.ready("first"))
        world.start(instance="second")
        await world.pass_time(10)
        before = asyncio.get_running_loop().time()
        await world.stop()

        assert asyncio.get_running_loop().time() - before < 1
        lease = world.object("leases", LEASE, NAMESPACE)
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == "first"
