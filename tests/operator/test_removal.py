"""Trust goes the moment its reason goes, and nothing of ours holds a tenant's namespace."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import structlog.testing

from keystead_sandbox.faults import Fault
from keystead_sandbox.governance import Lock
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


@pytest.mark.parametrize("begun", [False, True], ids=["not seen before", "while its credential is deleted"])
async def test_the_ledger_remembers_what_is_in_a_subscription_that_azure_does_not_show(begun: bool) -> None:
    """It was moved to another tenant, say: what it holds stands and trusts on."""
    async with World() as world:
        await _working(world)
        held = next(iter(world.azure.subscriptions.values()))
        if begun:
            world.azure.faults.add(Fault(service="arm", method="DELETE", status=503, times=1))
            world.delete("namespaces", "shop")
            await world.pass_time(2)
        del world.azure.subscriptions[held.id]
        if not begun:
            await world.pass_time(1800)
            world.delete("namespaces", "shop")

        await world.pass_time(1800)
        (entry,) = world.objects("federations")
        assert "SubscriptionNotFound" in str(entry["status"]["conditions"])
        assert "keystead abandon" in str(entry["status"]["conditions"])
        assert world.trusted("shop")

        world.azure.subscriptions[held.id] = held
        await world.until(lambda: not world.trusted("shop"), seconds=3600)
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


async def test_labels_that_are_taken_away_one_after_the_other_wait_for_a_word_too() -> None:
    names = [f"shop-{number:02}" for number in range(12)]
    async with World() as world:
        world.grant("team", world.identity("one"))
        for name in names:
            world.namespace(name, labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready(*names))
        for name in names:
            world.namespace(name, labels={})
            await world.pass_time(0.2)

        await world.pass_time(120)

        assert sum(1 for name in names if world.trusted(name)) >= len(names) - 6
        assert world.condition("vaultgrants", "team", "Ready")[1] == "AwaitingConfirmation"


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


def _left_behind(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [each for each in lines if each["event"] == "credential left behind"]


async def test_what_azure_will_never_delete_is_let_go_of_on_the_word_of_somebody_with_a_name() -> None:
    async with World(drift_interval=600.0) as world:
        await _working(world)
        identity = next(iter(world.azure.identities.values()))
        lock = Lock(f"{identity.resource_id}/locks/keep", identity.resource_id, "CanNotDelete")
        world.azure.locks[lock.id.lower()] = lock
        name = world.objects("federations")[0]["metadata"]["name"]
        world.delete("namespaces", "shop")
        await world.until(lambda: "ScopeLocked" in world.condition("federations", name, "Revoking")[2])
        assert f"`keystead abandon {name}`" in world.condition("federations", name, "Revoking")[2]

        _annotate(world, name, {"keystead.dev/abandon": "nobody is named"})
        await world.pass_time(300)
        assert world.object("federations", name) is not None

        with structlog.testing.capture_logs() as lines:
            _annotate(world, name, {"keystead.dev/abandon": "locked for good", "keystead.dev/abandoned-by": "ada"})
            await world.until(lambda: world.objects("federations") == [])
            await world.until(lambda: _left_behind(lines))

        assert world.trusted("shop")
        (line,) = _left_behind(lines)
        assert (line["audit"], line["by"], line["why"]) == (True, "ada", "locked for good")
        assert (line["credential"], line["identity"]) == (name, str(identity.resource_id))
        assert line["subject"] == "system:serviceaccount:shop:keystead"


async def test_an_abandoned_credential_is_swept_once_azure_lets_us() -> None:
    async with World(drift_interval=60.0) as world:
        await _working(world)
        identity = next(iter(world.azure.identities.values()))
        lock = Lock(f"{identity.resource_id}/locks/keep", identity.resource_id, "CanNotDelete")
        world.azure.locks[lock.id.lower()] = lock
        name = world.objects("federations")[0]["metadata"]["name"]
        world.delete("namespaces", "shop")
        await world.until(lambda: "ScopeLocked" in world.condition("federations", name, "Revoking")[2])
        _annotate(world, name, {"keystead.dev/abandon": "for now", "keystead.dev/abandoned-by": "ada"})
        await world.until(lambda: world.objects("federations") == [])

        world.azure.locks.clear()

        await world.until(lambda: not world.trusted("shop"), seconds=3600)


async def test_a_word_about_an_entry_that_stands_changes_nothing() -> None:
    async with World() as world:
        await _working(world)
        name = world.objects("federations")[0]["metadata"]["name"]

        _annotate(world, name, {"keystead.dev/abandon": "away with it", "keystead.dev/abandoned-by": "ada"})
        await world.pass_time(300)

        assert world.ready("shop")
        assert world.trusted("shop")


async def test_what_a_grant_retains_is_named_in_the_audit_log_and_counted_as_anothers() -> None:
    async with World(drift_interval=60.0) as world:
        world.grant("team", world.identity("one"), revocation="Retain")
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))

        with structlog.testing.capture_logs() as lines:
            world.delete("namespaces", "shop")
            await world.until(lambda: world.objects("federations") == [])
            await world.until(lambda: _left_behind(lines))

        (line,) = _left_behind(lines)
        assert (line["by"], line["why"]) == ("", "spec.revocation: Retain")
        await world.until(lambda: _row(world)["foreign"] == 1)
        assert (_row(world)["used"], _row(world)["room"]) == (0, 19)
        assert world.trusted("shop")


def _row(world: World) -> dict[str, Any]:
    (row,) = (world.object("vaultgrants", "team") or {})["status"]["identities"]
    return dict(row)


def _annotate(world: World, name: str, annotations: dict[str, str]) -> None:
    metadata = {"name": name, "annotations": annotations}
    world.put({"apiVersion": "keystead.dev/v1alpha1", "kind": "Federation", "metadata": metadata}, manager="abandon")


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_a_grant_retains_stays_when_the_grant_itself_goes(restarted: bool) -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), revocation="Retain")
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.until(lambda: world.objects("federations")[0]["status"].get("retained"))
        if restarted:
            await world.stop()

        world.delete("vaultgrants", "team")
        if restarted:
            world.start()
        await world.until(lambda: world.objects("federations") == [])
        await world.pass_time(120)

        assert world.trusted("shop")


async def test_a_grant_that_retains_no_more_before_it_goes_leaves_nothing() -> None:
    async with World() as world:
        identity = world.identity("one")
        world.grant("team", identity, revocation="Retain")
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.until(lambda: world.objects("federations")[0]["status"].get("retained"))

        world.grant("team", identity, revocation="Revoke")
        await world.until(lambda: not world.objects("federations")[0]["status"].get("retained"))
        world.delete("vaultgrants", "team")
        await world.until(lambda: world.objects("federations") == [])

        assert not world.trusted("shop")
