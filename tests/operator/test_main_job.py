"""The main job, from a namespace to a verified trust and a store, by every way in."""

from typing import Any

import pytest

from world import ISSUER, VAULT, World

pytestmark = pytest.mark.looptime


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


async def test_the_issuer_is_written_to_the_letter() -> None:
    async with World(issuer=f"{ISSUER}/") as world:
        identity = world.identity("one")
        world.grant("team", identity)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.trusted("shop"))

        assert [each.issuer for each in identity.credentials.values()] == [f"{ISSUER}/"]


@pytest.mark.parametrize(
    ("rule", "namespace"),
    [
        ({"names": ["shop"]}, {}),
        ({"selector": {"matchLabels": {"a": "b"}}}, {"labels": {"a": "b"}}),
        ({"selector": {}}, {}),
        ({"rancherProjects": ["c-abcde:p-12345"]}, {"annotations": {"field.cattle.io/projectId": "c-abcde:p-12345"}}),
        ({"rancherProjects": ["p-12345"]}, {"annotations": {"field.cattle.io/projectId": "c-abcde:p-12345"}}),
    ],
    ids=["by name", "by label", "every namespace", "by Rancher project", "by Rancher project without its cluster"],
)
async def test_a_namespace_is_allowed(rule: dict[str, Any], namespace: dict[str, Any]) -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), namespaces=rule)
        world.namespace("shop", **namespace)
        world.start()

        await world.until(lambda: world.ready("shop"))


async def test_a_namespace_that_is_not_allowed_gets_nothing() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop")
        world.start()

        await world.pass_time(120)

        assert world.objects("vaultclaims") == []
        assert world.credentials() == {}


async def test_a_label_that_disagrees_with_the_rancher_annotation_is_refused() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), namespaces={"rancherProjects": ["p-12345"]}, claims="OnRequest")
        world.namespace(
            "shop",
            labels={"field.cattle.io/projectId": "p-99999"},
            annotations={"field.cattle.io/projectId": "c-abcde:p-12345"},
        )
        _claim(world, "shop")
        world.start()

        await world.until(lambda: world.claim("shop", "Accepted")[0] == "False")

        assert world.claim("shop", "Accepted")[1] == "RancherProjectDisagrees"


async def test_a_pool_is_filled_evenly_and_never_above_twenty() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), world.identity("two"))
        for number in range(30):
            world.namespace(f"shop-{number:02}", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready(*(f"shop-{number:02}" for number in range(30))))

        held = [len(identity.credentials) for identity in world.azure.identities.values()]
        assert held == [15, 15]


async def test_what_does_not_fit_into_the_pool_is_blocked_and_the_grant_says_how_many() -> None:
    async with World() as world:
        one = world.identity("one")
        for number in range(18):
            world.azure.add_credential(one, f"foreign-{number:02}", "https://other", f"subject-{number}")
        world.grant("team", one)
        for number in range(4):
            world.namespace(f"shop-{number}", labels={"team": "team"})
        world.start()

        await world.until(lambda: len(one.credentials) == 20)
        await world.until(lambda: world.condition("vaultgrants", "team", "CapacityAvailable")[0] == "False")

        reasons = [world.claim(f"shop-{number}")[1] for number in range(4)]
        assert reasons.count("PoolExhausted") == 2
        assert "2 slot" in world.condition("vaultgrants", "team", "CapacityAvailable")[2]


async def test_nothing_is_written_anywhere_while_nothing_changes() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.pass_time(120)
        before = len(world.writes())

        await world.pass_time(3000)

        assert len(world.writes()) == before


async def test_a_burst_costs_each_claim_one_credential_write() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), world.identity("two"))
        for number in range(12):
            world.namespace(f"shop-{number:02}", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready(*(f"shop-{number:02}" for number in range(12))))

        assert len(world.azure_writes()) == 12
        assert {entry.status for entry in world.azure_writes()} == {201}


def _claim(world: World, namespace: str, *, name: str = "team", grant: str = "team", **spec: Any) -> None:
    world.put(
        {
            "apiVersion": "keystead.dev/v1alpha1",
            "kind": "VaultClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"grantName": grant, **spec},
        }
    )


async def test_a_claim_on_request_is_served() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        world.namespace("quiet", labels={"team": "team"})
        _claim(world, "shop", requestedBy="dev")
        world.start()

        await world.until(lambda: world.ready("shop"))

        assert world.objects("vaultclaims", "quiet") == []
