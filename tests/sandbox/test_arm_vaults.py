"""Vaults at Resource Manager: made, changed, deleted softly, recovered, purged; access policies; names."""

import asyncio
from typing import Any

import pytest

from keystead_sandbox.resources import AccessPolicy
from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm, code_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime
VERSION = "2026-05-15"
SOMEBODY = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000002"


def path(arm: Arm, name: str = "team-kv", group: str = "identities") -> str:
    return f"/subscriptions/{arm.subscription.id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"


def body(arm: Arm, location: str = "westeurope", **properties: Any) -> dict[str, Any]:
    given = {"tenantId": arm.subscription.tenant_id, "sku": {"family": "A", "name": "standard"}, **properties}
    return {"location": location, "properties": {name: value for name, value in given.items() if value is not None}}


def policy(arm: Arm, who: str = SOMEBODY, **permissions: Any) -> dict[str, Any]:
    return {"objectId": who, "tenantId": arm.subscription.tenant_id, "permissions": permissions}


async def put(arm: Arm, wanted: dict[str, Any] | None = None, *, name: str = "team-kv", version: str = VERSION) -> Any:
    return await arm.ask("PUT", path(arm, name), version=version, body=wanted or body(arm))


async def test_a_vault_is_made_changed_listed_and_deleted(arm: Arm) -> None:
    made = await put(arm)
    again = await put(arm, body(arm, sku={"family": "A", "name": "Premium"}))
    changed = await arm.ask(
        "PATCH", path(arm), version=VERSION, body={"tags": {"a": "b"}, "properties": {"networkAcls": {}}}
    )
    read = await arm.ask("GET", path(arm, "TEAM-KV"), version=VERSION)
    listed = await arm.ask(
        "GET", f"/subscriptions/{arm.subscription.id}/providers/Microsoft.KeyVault/vaults", version=VERSION
    )
    deleted = [(await arm.ask("DELETE", path(arm), version=VERSION)).status_code for _ in range(2)]

    assert (made.status_code, again.status_code, changed.status_code) == (200, 200, 200)
    assert made.json()["properties"]["vaultUri"] == "https://team-kv.vault.azure.net/"
    assert read.json() == changed.json()
    assert (read.json()["tags"], read.json()["properties"]["sku"]["name"]) == ({"a": "b"}, "premium")
    assert listed.json()["value"] == [read.json()]
    assert deleted == [200, 204]
    assert code_of(await arm.ask("GET", path(arm), version=VERSION)) == (404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("version", "given", "expected"),
    [
        ("2026-02-01", None, True),
        ("2026-05-15", None, True),
        ("2026-03-01-preview", None, True),
        ("2025-05-01", None, False),
        ("2022-07-01", None, False),
        ("2022-07-01", True, True),
        ("2026-05-15", False, False),
    ],
)
async def test_a_new_vault_is_under_rbac_by_the_version_that_made_it(
    arm: Arm, version: str, given: bool | None, expected: bool
) -> None:
    answer = await put(arm, body(arm, enableRbacAuthorization=given, accessPolicies=[]), version=version)

    assert answer.json()["properties"]["enableRbacAuthorization"] is expected
    assert arm.world.vaults["team-kv"].rbac is expected


async def test_an_older_version_leaves_a_vault_as_it_is(arm: Arm) -> None:
    await put(arm)

    await put(arm, body(arm, accessPolicies=[]), version="2022-07-01")

    assert arm.world.vaults["team-kv"].rbac


BODIES: dict[str, tuple[dict[str, Any], tuple[int, str]]] = {
    "no location": ({"location": None}, (400, "LocationRequired")),
    "a location that is nowhere": ({"location": "atlantis"}, (400, "LocationNotAvailableForResourceType")),
    "no tenant": ({"tenantId": None}, (400, "BadRequest")),
    "another tenant": ({"tenantId": SOMEBODY}, (400, "BadRequest")),
    "no sku": ({"sku": None}, (400, "BadRequest")),
    "another sku": ({"sku": {"family": "B", "name": "standard"}}, (400, "BadRequest")),
    "a sku that is a text": ({"sku": "standard"}, (400, "BadRequest")),
    "no policies without RBAC": ({"enableRbacAuthorization": False}, (400, "BadRequest")),
    "RBAC perhaps": ({"enableRbacAuthorization": "yes"}, (400, "BadRequest")),
    "six days": ({"softDeleteRetentionInDays": 6}, (400, "BadRequest")),
    "91 days": ({"softDeleteRetentionInDays": 91}, (400, "BadRequest")),
    "days that are none": ({"softDeleteRetentionInDays": True}, (400, "BadRequest")),
    "no soft delete": ({"enableSoftDelete": False}, (400, "BadRequest")),
    "purge protection withheld": ({"enablePurgeProtection": False}, (400, "BadRequest")),
    "a network that is none": ({"publicNetworkAccess": "perhaps"}, (400, "BadRequest")),
    "policies that are no list": ({"accessPolicies": {}}, (400, "BadRequest")),
    "a policy of nobody": ({"accessPolicies": [{}]}, (400, "BadRequest")),
    "a policy that is a text": ({"accessPolicies": ["all"]}, (400, "BadRequest")),
    "a recovery of nothing": ({"createMode": "recover"}, (404, "DeletedVaultNotFound")),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_vault_that_makes_no_sense_is_refused(arm: Arm, case: str) -> None:
    changed, expected = BODIES[case]
    wanted = body(
        arm, **{"accessPolicies": None, **{name: each for name, each in changed.items() if name != "location"}}
    )
    wanted["location"] = changed.get("location", "westeurope")

    assert code_of(await put(arm, wanted)) == expected
    assert not arm.world.vaults


@pytest.mark.parametrize("name", ["ab", "a" * 25, "1abc", "abc-", "a--b", "a_b", "abç"])
async def test_a_vaults_name_follows_the_rules(arm: Arm, name: str) -> None:
    assert code_of(await put(arm, name=name)) == (400, "VaultNameNotValid")


async def test_a_name_is_taken_everywhere_and_by_the_deleted_too(arm: Arm) -> None:
    elsewhere = arm.world.add_vault("taken", "elsewhere")
    other = arm.world.add_subscription()
    base = f"/subscriptions/{arm.subscription.id}/providers/Microsoft.KeyVault"
    check = f"{base}/checkNameAvailability"

    async def available(name: Any) -> Any:
        answer = await arm.ask("POST", check, version=VERSION, body={"name": name, "type": "Microsoft.KeyVault/vaults"})
        return answer.json().get("reason", answer.json().get("nameAvailable"))

    assert code_of(await put(arm, name="TAKEN")) == (409, "VaultAlreadyExists")
    assert [await available(name) for name in ("taken", "free", "a--b")] == [
        "AlreadyExists",
        True,
        "AccountNameInvalid",
    ]
    await arm.ask("DELETE", elsewhere.resource_id, version=VERSION)
    assert code_of(await put(arm, name="taken")) == (409, "ConflictError")
    assert await available("taken") == "AlreadyExists"
    assert code_of(await arm.ask("POST", check, version=VERSION, body={})) == (400, "BadRequest")
    assert other.id not in (await arm.ask("GET", f"{base}/deletedVaults", version=VERSION)).text


async def test_a_deleted_vault_is_listed_recovered_with_its_secrets_or_purged(arm: Arm) -> None:
    await put(arm)
    vault = arm.world.vaults["team-kv"]
    arm.world.set_secret(vault, "db", "value")
    await arm.ask("DELETE", path(arm), version=VERSION)
    base = f"/subscriptions/{arm.subscription.id}/providers/Microsoft.KeyVault"
    place = f"{base}/locations/West Europe/deletedVaults/team-kv"

    listed = await arm.ask("GET", f"{base}/deletedVaults", version=VERSION)
    one = await arm.ask("GET", place, version=VERSION)
    unreachable = arm.world.vault("team-kv")
    recovered = await put(arm, body(arm, createMode="recover", sku=None, tenantId=None))
    secrets = list(arm.world.vaults["team-kv"].secrets)
    gone = await arm.ask("GET", place, version=VERSION)
    await arm.ask("DELETE", path(arm), version=VERSION)
    elsewhere = await arm.ask("POST", f"{base}/locations/northeurope/deletedVaults/team-kv/purge", version=VERSION)
    purged = await arm.ask("POST", f"{place}/purge", version=VERSION)

    assert listed.json()["value"] == [one.json()]
    assert one.json()["properties"]["vaultId"] == path(arm)
    assert one.json()["properties"]["scheduledPurgeDate"].startswith("2026-05-30T12:00:00")
    assert (unreachable, recovered.status_code, secrets) == (None, 200, ["db"])
    assert code_of(gone) == code_of(elsewhere) == (404, "DeletedVaultNotFound")
    assert purged.status_code == 200
    assert (await put(arm)).status_code == 200
    assert not arm.world.vaults["team-kv"].secrets


async def test_purge_protection_and_retention_are_for_good(arm: Arm) -> None:
    await put(arm, body(arm, enablePurgeProtection=True, softDeleteRetentionInDays=7))
    back = await put(arm, body(arm, enablePurgeProtection=False))
    longer = await put(arm, body(arm, softDeleteRetentionInDays=90))
    await arm.ask("DELETE", path(arm), version=VERSION)
    place = (
        f"/subscriptions/{arm.subscription.id}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/team-kv"
    )
    refused = await arm.ask("POST", f"{place}/purge", version=VERSION)
    await asyncio.sleep(7 * 86400)

    assert code_of(back) == code_of(longer) == (400, "BadRequest")
    assert code_of(refused) == (400, "MethodNotAllowed")
    assert code_of(await arm.ask("GET", place, version=VERSION)) == (404, "DeletedVaultNotFound")


async def test_a_purge_needs_its_own_role(arm: Arm) -> None:
    await put(arm)
    await arm.ask("DELETE", path(arm), version=VERSION)
    place = (
        f"/subscriptions/{arm.subscription.id}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/team-kv"
    )
    people = {}
    for role in ("Key Vault Contributor", "Key Vault Purge Operator"):
        people[role] = arm.world.add_application(role, secret="unused")
        arm.world.assign_role(people[role].object_id, role, f"/subscriptions/{arm.subscription.id}")

    answers = [await arm.ask("POST", f"{place}/purge", version=VERSION, who=each) for each in people.values()]

    assert [code_of(each) for each in answers] == [(403, "AuthorizationFailed"), (200, "")]


@pytest.mark.parametrize(
    ("operation", "given", "expected"),
    [
        ("add", {"secrets": ["List", "set"]}, ("get", "list", "set")),
        ("replace", {"secrets": ["set"]}, ("set",)),
        ("remove", {"secrets": ["get"]}, ("list",)),
        ("remove", {"secrets": ["get", "list"], "keys": ["get"]}, None),
    ],
)
async def test_access_policies_are_added_replaced_and_removed(
    arm: Arm, operation: str, given: dict[str, Any], expected: tuple[str, ...] | None
) -> None:
    await put(arm, body(arm, accessPolicies=[policy(arm, secrets=["Get", "List"]), policy(arm, OTHER, keys=["all"])]))
    wanted = {"properties": {"accessPolicies": [policy(arm, **given)]}}

    answer = await arm.ask("PUT", f"{path(arm)}/accessPolicies/{operation}", version=VERSION, body=wanted)

    kept = {each.object_id: each for each in arm.world.vaults["team-kv"].access_policies}
    assert answer.status_code == (201 if operation == "add" else 200)
    assert answer.json()["type"] == "Microsoft.KeyVault/vaults/accessPolicies"
    assert kept[OTHER] == AccessPolicy(OTHER, arm.subscription.tenant_id, keys=("all",))
    assert (kept[SOMEBODY].secrets if SOMEBODY in kept else None) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"objectId": "nobody"},
        {"tenantId": OTHER},
        {"applicationId": 7},
        {"permissions": None},
        {"permissions": {"secrets": "get"}},
        {"permissions": {"secrets": ["fly"]}},
        {"permissions": {"keys": [None]}},
    ],
)
async def test_an_access_policy_that_makes_no_sense_is_refused(arm: Arm, given: dict[str, Any]) -> None:
    await put(arm)
    wanted = {"properties": {"accessPolicies": [{**policy(arm, secrets=["get"]), **given}]}}

    answer = await arm.ask("PUT", f"{path(arm)}/accessPolicies/add", version=VERSION, body=wanted)

    assert code_of(answer) == (400, "BadRequest")
    assert not arm.world.vaults["team-kv"].access_policies


async def test_a_vault_stays_where_it_is(arm: Arm) -> None:
    await put(arm)

    assert code_of(await put(arm, body(arm, "northeurope"))) == (409, "InvalidResourceLocation")
    assert code_of(await arm.ask("PUT", path(arm, "kv2", "nowhere"), version=VERSION, body=body(arm))) == (
        404,
        "ResourceGroupNotFound",
    )
