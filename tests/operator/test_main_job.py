"""The main job, from a namespace to a verified trust and a store, by every way in."""

import pytest
from world import VAULT, World

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_an_allowed_namespace_gets_all_it_needs() -> None:
    async with World() as world:
        identity = world.identity("one")
        world.grant("team", identity)
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready("shop"))

        account = world.object("serviceaccounts", "keystead", "shop")
        store = world.object("secretstores", "azure-store", "shop")
        assert account is not None
        assert account["metadata"]["annotations"]["azure.workload.identity/client-id"] == identity.client_id
        assert account["metadata"]["annotations"]["azure.workload.identity/tenant-id"] == identity.tenant_id
        assert store is not None
        assert store["spec"]["provider"]["azurekv"]["vaultUrl"] == VAULT
        assert "tenantId" not in store["spec"]["provider"]["azurekv"]
        assert world.credentials() == {"system:serviceaccount:shop:keystead": "one"}
