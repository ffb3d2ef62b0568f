"""observeOnly, of the operator and of a grant: plans, reports, and writes to nobody but to say how things stand."""

import pytest

from world import World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]


def _told_only(world: World, since: int) -> list[str]:
    """What was written since then, other than status and Events."""
    return [
        f"{each.method} {each.path}"
        for each in world.writes()
        if each.seq > since and not each.path.endswith("/status") and "/events" not in each.path
    ]


def _last(world: World) -> int:
    return world.journal.entries()[-1].seq


@pytest.mark.parametrize("whose", ["operator", "grant"])
async def test_an_observer_of_something_new_plans_and_reports_and_writes_nothing(whose: str) -> None:
    async with World(observe_only=whose == "operator", drift_interval=60.0) as world:
        world.grant("team", world.identity("one"), observeOnly=whose == "grant", claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        claim = {"grantName": "team", "requestedBy": "dev"}
        metadata = {"name": "team", "namespace": "shop"}
        world.put({"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "metadata": metadata, "spec": claim})
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "ObserveOnly")
        await world.pass_time(300)

        assert _told_only(world, 0) == []
        assert world.credentials() == {}
        assert world.condition("vaultgrants", "team", "Ready")[1] == "ObserveOnly"
        assert "step(s) are planned" in world.condition("vaultgrants", "team", "Ready")[2]


async def test_a_grant_that_begins_to_be_observed_leaves_all_as_it_is_until_it_may_act_again() -> None:
    async with World(drift_interval=60.0, heartbeat=300.0) as world:
        identity = world.identity("one")
        world.grant("team", identity)
        for name in ("shop", "mill", "farm"):
            world.namespace(name, labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop", "mill", "farm"))
        world.grant("team", identity, observeOnly=True)
        await world.pass_time(5)
        since = _last(world)

        world.delete("namespaces", "shop")
        world.delete("secretstores", "azure-store", "mill")
        world.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "farm", "labels": {"team": "x"}}})
        world.namespace("new", labels={"team": "team"})
        await world.pass_time(900)

        assert _told_only(world, since) == []
        assert [each for each in world.entries("entra") if each.seq > since] == []
        assert len(world.credentials()) == 3
        assert world.object("secretstores", "azure-store", "mill") is None

        world.grant("team", identity)
        await world.until(lambda: world.ready("mill", "new"))
        await world.until(lambda: not world.trusted("shop") and not world.trusted("farm"))


async def test_an_observing_operator_does_not_repair_what_another_grant_may_have() -> None:
    async with World(drift_interval=60.0) as world:
        one, two = world.identity("one"), world.identity("two")
        world.grant("team", one, observeOnly=True)
        world.grant("other", two)
        world.namespace("shop", labels={"team": "team"})
        world.namespace("mill", labels={"team": "other"})
        world.start()

        await world.until(lambda: world.ready("mill", name="other"))
        await world.pass_time(120)

        assert list(world.credentials().values()) == ["two"]
