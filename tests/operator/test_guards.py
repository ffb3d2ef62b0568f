"""The operator looks whether the guards are in force, says so at each grant, and grants nothing new where it is told to."""

from typing import Any

import pytest

from keystead.kube.guards import APPROVALS, CLAIMS, LEDGER, NAMESPACES, manifests
from world import World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]


def _install(world: World, *, without: str = "", **changed: Any) -> None:
    for item in manifests():
        if item["metadata"]["name"] != without:
            item["spec"] |= changed if item["kind"].endswith("Binding") else {}
            world.put(item)


def _eyes(world: World) -> tuple[str, str, str]:
    return world.condition("vaultgrants", "team", "FourEyesEnforced")


async def test_the_grant_says_whether_the_guards_are_in_force() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), approval="Required")
        world.start()
        await world.until(lambda: _eyes(world)[:2] == ("False", "GuardsAbsent"))
        assert f"{APPROVALS} is not installed" in _eyes(world)[2]
        assert f"{NAMESPACES} is not installed" in _eyes(world)[2]
        assert "keystead guards" in _eyes(world)[2]

        _install(world)
        await world.until(lambda: _eyes(world)[:2] == ("True", "GuardsInForce"))

        world.delete("validatingadmissionpolicybindings", CLAIMS)
        await world.until(lambda: _eyes(world)[0] == "False")
        assert f"{CLAIMS} has no binding that denies" in _eyes(world)[2]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"validationActions": ["Warn"]}, "no binding that denies everywhere"),
        ({"matchResources": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}, "no binding that denies everywhere"),
    ],
    ids=["only warns", "only here and there"],
)
async def test_a_guard_that_does_not_hold_everywhere_is_none(changed: dict[str, Any], told: str) -> None:
    async with World() as world:
        _install(world, **changed)
        world.grant("team", world.identity("one"), approval="Required")
        world.start()

        await world.until(lambda: _eyes(world)[0] == "False")
        assert told in _eyes(world)[2]


async def test_a_guard_that_says_something_else_is_none() -> None:
    async with World() as world:
        _install(world, without=APPROVALS)
        for item in manifests():
            if item["metadata"]["name"] == APPROVALS and "validations" in item["spec"]:
                world.put(item | {"spec": item["spec"] | {"validations": [{"expression": "true"}]}})
            elif item["metadata"]["name"] == APPROVALS:
                world.put(item)
        world.grant("team", world.identity("one"), approval="Required")
        world.start()

        await world.until(lambda: _eyes(world)[0] == "False")
        assert f"{APPROVALS} does not say what it should" in _eyes(world)[2]


async def test_where_guards_are_required_they_open_the_door_and_their_end_takes_nothing_away() -> None:
    async with World(require_guards=True) as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "GuardsAbsent")
        await world.pass_time(300)
        assert world.credentials() == {}

        _install(world)
        await world.until(lambda: world.ready("shop"))

        for name in (APPROVALS, CLAIMS, LEDGER, NAMESPACES):
            world.delete("validatingadmissionpolicies", name)
        world.namespace("mill", labels={"team": "team"})
        await world.until(lambda: world.claim("mill")[1] == "GuardsAbsent")
        assert world.ready("shop")


async def test_an_operator_works_under_the_guards_it_asks_for() -> None:
    async with World(require_guards=True) as world:
        _install(world)
        world.grant("team", world.identity("one"), approval="Required")
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.claim("shop", "Approved")[1] == "AwaitingReview")
        world.approve("shop")
        await world.until(lambda: world.ready("shop"))

        world.delete("namespaces", "shop")
        await world.until(lambda: world.objects("federations") == [])
