"""Bad input gives one clear condition with the field and the cure, and harms nothing that works."""

from typing import Any

import pytest

from keystead.model.errors import KeysteadError
from keystead.operator.app import Operator
from keystead.operator.settings import Settings, read_settings
from keystead_sandbox.faults import Effect, Fault
from world import World

pytestmark = pytest.mark.looptime
MISSING = (
    "/subscriptions/{}/resourceGroups/identities/providers/Microsoft.ManagedIdentity/userAssignedIdentities/missing"
)


async def _working(world: World) -> None:
    world.grant("team", world.identity("one"))
    world.namespace("shop", labels={"team": "team"})
    world.start()
    await world.until(lambda: world.ready("shop"))


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"vault": {"url": "http://team-kv.vault.azure.net"}}, "spec.vault.url"),
        ({"vault": {"url": "https://team-kv.example.com"}}, "spec.vault.url"),
        ({"namespaces": {"names": []}}, "spec.namespaces"),
        ({"identities": [{"resourceId": "payments-1"}]}, "spec.identities[0].resourceId"),
        ({"identities": []}, "spec.identities"),
        ({"namespaces": {"rancherProjects": ["not a project"]}}, "spec.namespaces.rancherProjects[0]"),
    ],
    ids=[
        "a vault without TLS",
        "an address that is no vault",
        "no namespace rule",
        "an identity that is no id",
        "no identity",
        "no Rancher project",
    ],
)
async def test_a_bad_edit_freezes_and_names_its_field(bad: dict[str, Any], field: str) -> None:
    async with World() as world:
        await _working(world)

        world.grant("team", *world.azure.identities.values(), **bad)
        world.namespace("late", labels={"team": "team"})
        await world.until(lambda: world.condition("vaultgrants", "team", "Valid")[0] == "False")
        await world.pass_time(120)

        assert field in world.condition("vaultgrants", "team", "Valid")[2]
        assert world.trusted("shop")
        assert not world.trusted("late")


async def test_a_frozen_grant_still_lets_go_of_deleted_namespaces() -> None:
    async with World() as world:
        await _working(world)
        world.grant("team", *world.azure.identities.values(), vault={"url": "nonsense"})
        await world.until(lambda: world.condition("vaultgrants", "team", "Valid")[0] == "False")

        world.delete("namespaces", "shop")

        await world.until(lambda: world.credentials() == {})


async def test_an_identity_in_two_grants_freezes_both_and_harms_neither() -> None:
    async with World() as world:
        await _working(world)

        world.grant("rival", *world.azure.identities.values())
        await world.until(lambda: world.condition("vaultgrants", "rival", "Valid")[1] == "IdentityShared")
        await world.until(lambda: world.condition("vaultgrants", "team", "Valid")[1] == "IdentityShared")
        await world.pass_time(60)

        assert "rival" in world.condition("vaultgrants", "team", "Valid")[2]
        assert world.trusted("shop")


async def test_an_unknown_identity_is_named_with_its_field() -> None:
    async with World() as world:
        one = world.identity("one")
        missing = {"resourceId": MISSING.format(next(iter(world.azure.subscriptions)))}
        world.grant("team", one, identities=[{"resourceId": one.resource_id}, missing])
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[1] == "IdentityNotFound")

        assert "spec.identities[1].resourceId" in world.condition("vaultgrants", "team", "PoolReady")[2]
        await world.until(lambda: world.ready("shop"))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"grantName": "nowhere"}, "GrantNotFound"),
        ({"grantName": "team"}, "NotAllowed"),
    ],
    ids=["no such grant", "a grant that does not allow the namespace"],
)
async def test_a_claim_that_cannot_be_served_says_why(spec: dict[str, str], reason: str) -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop")
        world.put(
            {
                "apiVersion": "keystead.dev/v1alpha1",
                "kind": "VaultClaim",
                "metadata": {"name": "team", "namespace": "shop"},
                "spec": spec,
            }
        )
        world.start()

        await world.until(lambda: world.claim("shop", "Accepted")[0] == "False")

        assert world.claim("shop", "Accepted")[1] == reason
        assert world.credentials() == {}


async def test_a_service_account_name_that_is_not_allowed_is_refused() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        spec = {"grantName": "team", "serviceAccountName": "default"}
        world.put(
            {
                "apiVersion": "keystead.dev/v1alpha1",
                "kind": "VaultClaim",
                "metadata": {"name": "team", "namespace": "shop"},
                "spec": spec,
            }
        )
        world.start()

        await world.until(lambda: world.claim("shop", "Accepted")[1] == "ServiceAccountNameNotAllowed")


async def test_a_hand_made_store_that_says_otherwise_blocks_with_its_owners_name() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        azure = {
            "authType": "WorkloadIdentity",
            "vaultUrl": "https://taem-kv.vault.azure.net",
            "serviceAccountRef": {"name": "keystead"},
        }
        store = {
            "apiVersion": "external-secrets.io/v1",
            "kind": "SecretStore",
            "metadata": {"name": "azure-store", "namespace": "shop"},
            "spec": {"provider": {"azurekv": azure}},
        }
        world.put(store, manager="the-team")
        world.start()

        await world.until(lambda: world.claim("shop")[1] == "StoreConflict")
        message = world.claim("shop")[2]
        assert "the-team" in message
        assert "https://taem-kv.vault.azure.net" in message

        azure["vaultUrl"] = "https://team-kv.vault.azure.net"
        world.put(store, manager="the-team")
        await world.until(lambda: world.ready("shop"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(service="arm", status=503, seconds=120),
        Fault(service="arm", effect=Effect.RESET, seconds=120),
        Fault(service="arm", method="PUT", effect=Effect.HALF_WRITE, status=500, code="InternalServerError", times=1),
        Fault(service="arm", method="PUT", effect=Effect.LOST_ANSWER, times=1),
        Fault(
            service="arm",
            method="PUT",
            status=409,
            code="ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
            times=3,
        ),
        Fault(service="arm", method="PUT", status=429, code="TooManyRequests", retry_after=20, times=3),
        Fault(service="entra", status=503, seconds=90),
        Fault(service="keyvault", status=503, seconds=90),
    ],
    ids=[
        "Azure down",
        "Azure resets",
        "half-write",
        "lost answer",
        "overlapping writers",
        "throttled",
        "Entra down",
        "vault down",
    ],
)
async def test_the_job_is_done_once_the_trouble_is_over(fault: Fault) -> None:
    async with World() as world:
        world.azure.faults.add(fault)
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready("shop"), seconds=1500)

        assert list(world.credentials()) == ["system:serviceaccount:shop:keystead"]


async def test_a_missing_role_on_the_vault_is_told_and_heals() -> None:
    async with World() as world:
        identity = world.identity("one", reads_vault=False)
        world.grant("team", identity)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.claim("shop", "Verified")[1] == "VaultForbidden")

        world.azure.assign_role(identity.principal_id, "Key Vault Secrets User", world.vault.resource_id)

        await world.until(lambda: world.ready("shop"), seconds=1800)


async def test_an_operator_without_rights_in_azure_says_so() -> None:
    async with World() as world:
        for assignment in list(world.azure.assignments.values()):
            world.azure.remove_assignment(assignment)
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[1] == "AzureForbidden")


def test_an_operator_without_kubernetes_says_what_to_set() -> None:
    with pytest.raises(KeysteadError, match="KUBECONFIG"):
        Operator(Settings(kubeconfig="/nowhere/kubeconfig"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KEYSTEAD_LANE_PACE", "soon"),
        ("KEYSTEAD_QUORUM", "0"),
        ("KEYSTEAD_CLOUD", "Mars"),
        ("KEYSTEAD_OBSERVE_ONLY", "perhaps"),
        ("KEYSTEAD_LEASE_DURATION", "1s"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(KeysteadError, match=variable) as refusal:
        read_settings({variable: value})

    assert value in str(refusal.value)
    assert "give" in str(refusal.value)
