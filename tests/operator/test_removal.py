"""Trust goes the moment its reason goes, and nothing of ours holds a tenant's namespace."""

import pytest

from keystead_sandbox.faults import Fault
from world import World

pytestmark = pytest.mark.looptime


async def _working(world: World, *names: str) -> None:
    world.grant("team", world.identity("one"))
    for name in names or ("shop",):
        world.namespace(name, labels={"team": "team"})
    world.start()
    await world.until(lambda: world.ready(*(names or ("shop",))))


async def test_a_deleted_namespace_is_gone_at_once_and_its_trust_soon() -> None:
    async with World() as world:
        await _working(world)

        world.delete("namespaces", "shop")

        await world.until(lambda: world.object("namespaces", "shop") is None, seconds=1)
        await world.until(lambda: not world.trusted("shop"), seconds=30)
        await world.until(lambda: world.objects("federations") == [])


async def test_the_ledger_remembers_while_azure_is_down() -> None:
    async with World() as world:
        await _working(world)
        world.azure.faults.add(Fault(service="arm", status=503, seconds=600))

        world.delete("namespaces", "shop")
        await world.pass_time(300)

        assert world.object("namespaces", "shop") is None
        assert len(world.objects("federations")) == 1
        await world.until(lambda: not world.trusted("shop"), seconds=1200)
        await world.until(lambda: world.objects("federations") == [])


async def test_a_deleted_claim_loses_its_trust_and_comes_back_later() -> None:
    async with World() as world:
        await _working(world)
        uid = world.objects("vaultclaims")[0]["metadata"]["uid"]

        world.delete("vaultclaims", "team", "shop")

        await world.until(lambda: not world.trusted("shop"), seconds=30)
        await world.pass_time(20)
        assert world.objects("vaultclaims") == []
        await world.until(lambda: world.ready("shop"), seconds=300)
        assert world.objects("vaultclaims")[0]["metadata"]["uid"] != uid


async def test_a_deleted_grant_takes_all_access_away() -> None:
    async with World() as world:
        await _working(world, "shop", "mill")

        world.delete("vaultgrants", "team")

        await world.until(lambda: world.credentials() == {})
        await world.until(lambda: world.objects("federations") == [])


async def test_a_namespace_that_is_no_longer_allowed_loses_its_trust_and_its_claim() -> None:
    async with World() as world:
        await _working(world)

        world.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "other"}}})

        await world.until(lambda: not world.trusted("shop"))
        await world.until(lambda: world.objects("vaultclaims") == [])


async def test_an_edit_that_would_revoke_many_waits_for_a_word() -> None:
    async with World() as world:
        names = [f"shop-{number}" for number in range(8)]
        await _working(world, *names)

        identity = next(iter(world.azure.identities.values()))
        changed = world.grant("team", identity, namespaces={"names": ["elsewhere"]})
        await world.pass_time(120)

        assert len(world.credentials()) == 8
        status, reason, message = world.condition("vaultgrants", "team", "Ready")
        assert (status, reason) == ("False", "AwaitingConfirmation")
        assert "keystead.dev/confirm-revocations" in message

        changed = world.object("vaultgrants", "team") or {}
        word = {"keystead.dev/confirm-revocations": str(changed["metadata"]["generation"])}
        world.put(
            {
                "apiVersion": "keystead.dev/v1alpha1",
                "kind": "VaultGrant",
                "metadata": {"name": "team", "annotations": word},
                "spec": changed["spec"],
            }
        )
        await world.until(lambda: world.credentials() == {})


async def test_an_orphan_of_ours_is_swept_and_foreign_credentials_are_left_alone() -> None:
    async with World(drift_interval=60.0) as world:
        identity = world.identity("one")
        world.azure.add_credential(identity, "aks-identity-binding", "https://ib.oic", "someone")
        world.grant("team", identity)
        world.namespace("shop", labels={"team": "team"})
        operator = world.start()
        await world.until(lambda: world.ready("shop"))
        ours = next(each for each in identity.credentials.values() if each.name.startswith("ks-"))
        prefix = "-".join(ours.name.split("-")[:2])
        world.azure.add_credential(
            identity,
            f"{prefix}-gone-keystead-abcdefghijklmnopqrstuvwxyz",
            ours.issuer,
            "system:serviceaccount:gone:keystead",
        )
        world.azure.add_credential(
            identity,
            "ks-00000000-other-keystead-abcdefghijklmnopqrstuvwxyz",
            ours.issuer,
            "system:serviceaccount:other:keystead",
        )

        await world.until(lambda: "system:serviceaccount:gone:keystead" not in world.credentials(), seconds=600)
        await world.pass_time(600)

        assert operator.controller is not None
        assert {each.subject for each in identity.credentials.values()} == {
            "someone",
            "system:serviceaccount:shop:keystead",
            "system:serviceaccount:other:keystead",
        }
