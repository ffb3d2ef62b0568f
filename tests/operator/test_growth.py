"""Pools that grow by themselves: made, given the role, proven, and only then offered; found again whatever happens."""

from typing import Any

import pytest

from keystead_sandbox.resources import Identity
from world import VAULT, World

pytestmark = pytest.mark.looptime
RBAC_ADMINISTRATOR = "Role Based Access Control Administrator"


def _growing(world: World, name: str = "team", *identities: Identity, rights: bool = True, **given: Any) -> None:
    """A grant whose pool grows, and the operator's right to let it."""
    if rights:
        world.azure.assign_role(world.application.object_id, RBAC_ADMINISTRATOR, world.vault.resource_id)
    group = next(each for each in world.azure.groups.values() if each.name == "identities")
    provisioning = {
        "resourceGroupId": group.id,
        "location": "westeurope",
        "namePrefix": "ks-pool",
        "maxIdentities": 3,
        "headroom": 5,
        **given.pop("provisioning", {}),
    }
    vault = {"url": VAULT, "resourceId": world.vault.resource_id}
    world.grant(name, *identities, vault=vault, provisioning=provisioning, **given)


def _made(world: World) -> list[Identity]:
    return [each for each in world.azure.identities.values() if each.name.startswith("ks-pool-")]


async def test_an_empty_pool_grows_an_identity_proves_it_and_serves_with_it() -> None:
    async with World() as world:
        _growing(world)
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready("shop"))
        await world.settled()

        (made,) = _made(world)
        assert list(world.credentials()) == ["system:serviceaccount:shop:keystead"]
        assert made.tags["keystead-grant"] == "team"
        assert [each["spec"]["namespace"] for each in world.objects("federations")] == ["shop"]
        row = (world.object("vaultgrants", "team") or {})["status"]["identities"][0]
        assert row["roleAssigned"] == "True"
        assert row["provenAt"]
