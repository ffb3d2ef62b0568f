"""Role assignments under conditions, their limits and filters; custom roles."""

import asyncio
import uuid
from typing import Any

import pytest

from keystead_sandbox.resources import Application, Rules
from keystead_sandbox.roles import ROLES
from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm, code_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime
A = "Microsoft.Authorization/roleAssignments"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
MINE = "aaaaaaaa-0000-4000-8000-000000000001"
_NUMBERS = iter(range(1, 10**6))


def body(principal: str, role: str = READER, **more: Any) -> dict[str, Any]:
    definition = f"/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/{role}"
    return {"properties": {"roleDefinitionId": definition, "principalId": principal, **more}}


def role(arm: Arm, name: str = "Credential writer", **more: Any) -> dict[str, Any]:
    permissions = {"actions": ["Microsoft.ManagedIdentity/userAssignedIdentities/*/write"], "dataActions": []}
    given = {
        "roleName": name,
        "permissions": [permissions],
        "assignableScopes": [f"/subscriptions/{arm.subscription.id}"],
    }
    return {"properties": {**given, **more}}


async def assign(arm: Arm, wanted: dict[str, Any], *, scope: str = "", name: str = "", **how: Any) -> Any:
    scope = scope or arm.identity.resource_id
    path = f"{scope}/providers/{A}/{name or uuid.UUID(int=next(_NUMBERS))}"
    return await arm.ask("PUT", path, version="2022-04-01", body=wanted, **how)


def definition(arm: Arm, name: str = MINE) -> str:
    return f"/subscriptions/{arm.subscription.id}/providers/Microsoft.Authorization/roleDefinitions/{name}"


def somebody(arm: Arm, name: str = "somebody") -> Application:
    return arm.world.add_application(name, secret="unused")


# Delegation under a condition ------------------------------------------------------------------------------------

CONDITION = (
    f"((!(ActionMatches{{'{A}/write'}})) OR (@Request[{A}:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals"
    f"{{{SECRETS_USER}}} AND @Request[{A}:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {{'ServicePrincipal'}}))"
    f" AND ((!(ActionMatches{{'{A}/delete'}})) OR (@Resource[{A}:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals"
    f"{{{SECRETS_USER}}}))"
)


@pytest.mark.parametrize(
    ("wanted", "kind", "expected"),
    [
        (SECRETS_USER, None, (201, "")),
        (SECRETS_USER, "ServicePrincipal", (201, "")),
        (SECRETS_USER, "User", (403, "AuthorizationFailed")),
        (READER, None, (403, "AuthorizationFailed")),
    ],
)
async def test_who_assigns_under_a_condition_assigns_what_it_allows(
    arm: Arm, wanted: str, kind: str | None, expected: tuple[int, str]
) -> None:
    delegate, other = somebody(arm), somebody(arm, "other")
    given = arm.world.assign_role(
        delegate.object_id, "Role Based Access Control Administrator", f"/subscriptions/{arm.subscription.id}"
    )
    given.condition, given.condition_version = CONDITION, "2.0"

    answer = await assign(arm, body(other.object_id, wanted, principalType=kind), who=delegate)

    assert code_of(answer) == expected
    if answer.status_code == 403:
        assert "does not have authorization or an ABAC condition not fulfilled to perform action" in answer.text


async def test_who_deletes_under_a_condition_is_measured_by_what_stands_there(arm: Arm) -> None:
    delegate, other = somebody(arm), somebody(arm, "other")
    arm.world.assign_role(
        delegate.object_id, "Key Vault Data Access Administrator", f"/subscriptions/{arm.subscription.id}"
    )
    reader = arm.world.assign_role(other.object_id, "Reader", arm.identity.resource_id)
    user = arm.world.assign_role(other.object_id, "Key Vault Secrets User", arm.identity.resource_id)

    answers = [await arm.ask("DELETE", each.id, version="2022-04-01", who=delegate) for each in (reader, user)]

    assert [code_of(each) for each in answers] == [(403, "AuthorizationFailed"), (200, "")]


async def test_condition_and_description_are_kept_and_changed_but_not_what_it_is(arm: Arm) -> None:
    other, name = somebody(arm), str(uuid.UUID(int=7))
    settings = {"condition": CONDITION, "conditionVersion": "2.0", "description": "why"}

    made = await assign(arm, body(other.object_id, **settings), name=name)
    changed = await assign(arm, body(other.object_id, description="because"), name=name)
    read = await arm.ask("GET", made.json()["id"], version="2022-04-01")

    assert {key: made.json()["properties"][key] for key in settings} == settings
    assert (made.json()["properties"]["createdBy"], changed.status_code) == (arm.owner.object_id, 200)
    assert read.json()["properties"]["description"] == "because"
    assert read.json()["properties"]["condition"] is None
    assert read.json()["properties"]["createdOn"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"condition": "nonsense", "conditionVersion": "2.0"}, (400, "InvalidRoleAssignmentCondition")),
        ({"condition": CONDITION}, (400, "InvalidRoleAssignmentCondition")),
        ({"condition": 7}, (400, "BadRequestFormat")),
        ({"description": ["x"]}, (400, "BadRequestFormat")),
        ({"principalType": "Robot"}, (400, "BadRequestFormat")),
        ({"principalType": "User"}, (400, "UnmatchedPrincipalType")),
        ({"principalId": "nobody"}, (400, "InvalidPrincipalId")),
        ({"principalId": None}, (400, "InvalidPrincipalId")),
        ({"roleDefinitionId": None}, (400, "BadRequestFormat")),
        ({"roleDefinitionId": "/x/roleDefinitions/Reader"}, (404, "RoleDefinitionDoesNotExist")),
    ],
)
async def test_what_makes_no_sense_in_an_assignment_is_named(
    arm: Arm, more: dict[str, Any], expected: tuple[int, str]
) -> None:
    wanted = body(somebody(arm).object_id)
    wanted["properties"].update(more)

    assert code_of(await assign(arm, wanted)) == expected


async def test_a_scope_that_is_not_there_takes_no_assignment(arm: Arm) -> None:
    other = somebody(arm)
    group = arm.identity.resource_id.partition("/providers/")[0]

    answers = [
        await assign(arm, body(other.object_id), scope=scope)
        for scope in (
            group.replace("identities", "nowhere"),
            f"{arm.identity.resource_id}x",
            f"{group}/providers/X.Y/z/a",
        )
    ]

    assert [code_of(each) for each in answers] == [(404, "ResourceGroupNotFound"), (404, "ResourceNotFound"), (201, "")]


async def test_a_subscription_holds_so_many_assignments() -> None:
    arm = Arm(Rules(assignment_limit=2))  # the owner's is the first

    answers = [await assign(arm, body(somebody(arm, str(number)).object_id)) for number in range(2)]

    assert [code_of(each) for each in answers] == [(201, ""), (400, "RoleAssignmentLimitExceeded")]


async def test_an_assignment_is_read_by_its_id_or_said_to_be_missing(arm: Arm) -> None:
    (given,) = arm.world.assignments.values()
    gone = f"{arm.identity.resource_id}/providers/{A}/{uuid.UUID(int=3)}"

    assert (await arm.ask("GET", given.id.upper().replace("/SUB", "/sub"), version="2022-04-01")).json()[
        "id"
    ] == given.id
    assert code_of(await arm.ask("GET", gone, version="2022-04-01")) == (404, "RoleAssignmentNotFound")
    assert (await arm.ask("DELETE", gone, version="2022-04-01")).status_code == 204


async def test_a_deleted_identity_leaves_its_assignments_behind(arm: Arm) -> None:
    given = arm.world.assign_role(arm.identity.principal_id, "Reader", f"/subscriptions/{arm.subscription.id}")

    await arm.ask("DELETE", arm.identity.resource_id)

    assert (await arm.ask("GET", given.id, version="2022-04-01")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", {"above", "here", "below"}),
        ("atScope()", {"above", "here"}),
        ("principalId eq '{here}'", {"here"}),
        ("assignedTo('{below}')", {"below"}),
        ("atScope() and assignedTo('{below}')", set()),
        ("atScope() AND principalId eq '{above}'", {"above"}),
    ],
)
async def test_assignments_are_filtered(arm: Arm, asked: str, expected: set[str]) -> None:
    group = arm.identity.resource_id.partition("/providers/")[0]
    scopes = {"above": f"/subscriptions/{arm.subscription.id}", "here": group, "below": arm.identity.resource_id}
    people = {name: somebody(arm, name) for name in scopes}
    for name, scope in scopes.items():
        arm.world.assign_role(people[name].object_id, "Reader", scope)
    wanted = asked.format(**{name: each.object_id for name, each in people.items()})

    answer = await arm.ask("GET", f"{group}/providers/{A}?$filter={wanted}", version="2022-04-01")

    found = {each["properties"]["principalId"] for each in answer.json()["value"]}
    assert {name for name, each in people.items() if each.object_id in found} == expected


@pytest.mark.parametrize(
    "asked",
    ["principalName eq 'x'", "principalId eq x", "principalId ne 'x'", "atScope() or atScope()", "atScope() and", "''"],
)
async def test_a_filter_that_is_not_known_is_refused(arm: Arm, asked: str) -> None:
    answer = await arm.ask("GET", f"{arm.identity.resource_id}/providers/{A}?$filter={asked}", version="2022-04-01")

    assert code_of(answer) == (400, "InvalidFilterInQueryString")


async def test_with_the_defaults_a_role_takes_a_minute_to_come_and_to_go(arm: Arm) -> None:
    other = somebody(arm)
    made = await assign(arm, body(other.object_id))
    seen = []

    for wait in (59, 2):
        await asyncio.sleep(wait)
        seen.append((await arm.ask("GET", arm.identity.resource_id, who=other)).status_code)
    await arm.ask("DELETE", made.json()["id"], version="2022-04-01")
    for wait in (59, 2):
        await asyncio.sleep(wait)
        seen.append((await arm.ask("GET", arm.identity.resource_id, who=other)).status_code)

    assert seen == [403, 200, 200, 403]


# Role definitions ------------------------------------------------------------------------------------------------


async def test_a_custom_role_is_made_assigned_used_and_deleted_last(arm: Arm) -> None:
    other = somebody(arm)
    made = await arm.ask("PUT", definition(arm), version="2022-04-01", body=role(arm))
    given = await assign(arm, body(other.object_id, MINE))
    early = await arm.ask("DELETE", definition(arm), version="2022-04-01")
    await asyncio.sleep(61)
    written = await arm.ask("PUT", arm.url("fic1"), who=other, body=arm_fixtures.body_of())
    read = await arm.ask("GET", arm.identity.resource_id, who=other)
    await arm.ask("DELETE", given.json()["id"], version="2022-04-01")
    deleted = [(await arm.ask("DELETE", definition(arm), version="2022-04-01")).status_code for _ in range(2)]

    assert (made.status_code, made.json()["properties"]["type"]) == (201, "CustomRole")
    assert (given.status_code, code_of(early)) == (201, (409, "RoleDefinitionHasAssignments"))
    assert (written.status_code, code_of(read)) == (201, (403, "AuthorizationFailed"))
    assert deleted == [200, 204]


async def test_data_actions_count_for_data_alone(arm: Arm) -> None:
    other, vault = somebody(arm), arm.world.add_vault("team-kv")
    permissions = {"dataActions": ["Microsoft.KeyVault/vaults/secrets/*"], "notDataActions": ["*/purge/action"]}
    await arm.ask("PUT", definition(arm), version="2022-04-01", body=role(arm, permissions=[permissions]))
    arm.world.assign_role(other.object_id, MINE, vault.resource_id)
    get, purge = (f"Microsoft.KeyVault/vaults/secrets/{verb}/action" for verb in ("getSecret", "purge"))

    may = arm.world.may
    assert may(other.object_id, get, vault.resource_id, data=True)
    assert not may(other.object_id, purge, vault.resource_id, data=True)
    assert not may(other.object_id, get, vault.resource_id)


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        (MINE, {"roleName": ""}, (400, "InvalidRoleDefinition")),
        (MINE, {"roleName": 7}, (400, "InvalidRoleDefinition")),
        (MINE, {"permissions": []}, (400, "InvalidRoleDefinition")),
        (MINE, {"permissions": [{"actions": "*"}]}, (400, "InvalidRoleDefinition")),
        (MINE, {"permissions": [{"actions": [None]}]}, (400, "InvalidRoleDefinition")),
        (MINE, {"assignableScopes": []}, (400, "InvalidRoleDefinition")),
        (MINE, {"assignableScopes": ["/"]}, (400, "InvalidRoleDefinition")),
        (MINE, {"assignableScopes": ["/subscriptions/other"]}, (403, "AuthorizationFailed")),
        (MINE, {"roleName": "READER"}, (409, "RoleDefinitionWithSameNameExists")),
        (MINE, {"roleName": "taken"}, (409, "RoleDefinitionWithSameNameExists")),
        ("not-a-guid", {}, (400, "InvalidRoleDefinition")),
        (READER, {}, (403, "BuiltInRoleCannotBeChanged")),
    ],
)
async def test_a_role_that_makes_no_sense_is_refused(
    arm: Arm, name: str, more: dict[str, Any], expected: tuple[int, str]
) -> None:
    await arm.ask("PUT", definition(arm, str(uuid.UUID(int=5))), version="2022-04-01", body=role(arm, "Taken"))

    answer = await arm.ask("PUT", definition(arm, name), version="2022-04-01", body=role(arm, **more))

    assert code_of(answer) == expected


async def test_a_custom_role_is_assigned_within_its_scopes_alone(arm: Arm) -> None:
    group = arm.world.add_group("elsewhere")
    await arm.ask("PUT", definition(arm), version="2022-04-01", body=role(arm, assignableScopes=[group.id]))
    other = somebody(arm)

    inside = await assign(arm, body(other.object_id, MINE), scope=group.id)
    outside = await assign(arm, body(other.object_id, MINE))

    assert (code_of(inside), code_of(outside)) == ((201, ""), (404, "RoleDefinitionDoesNotExist"))


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("", len(ROLES) + 1),
        ("type eq 'CustomRole'", 1),
        ("type eq 'BuiltInRole'", len(ROLES)),
        ("roleName eq 'owner'", 1),
        ("roleName eq 'credential writer' and type eq 'CustomRole'", 1),
        ("roleName eq 'nobody'", 0),
    ],
)
async def test_definitions_are_listed_and_filtered(arm: Arm, asked: str, count: int) -> None:
    await arm.ask("PUT", definition(arm), version="2022-04-01", body=role(arm))
    path = definition(arm).rpartition("/")[0]

    answer = await arm.ask("GET", f"{path}?$filter={asked}", version="2022-05-01-preview")

    assert len(answer.json()["value"]) == count


async def test_a_definition_is_read_by_its_id(arm: Arm) -> None:
    read = await arm.ask("GET", definition(arm, SECRETS_USER), version="2022-04-01")
    root = await arm.ask("GET", f"/providers/Microsoft.Authorization/roleDefinitions/{OWNER}", version="2022-04-01")
    gone = await arm.ask("GET", definition(arm), version="2022-04-01")

    assert read.json()["id"] == definition(arm, SECRETS_USER)
    assert root.json()["properties"]["roleName"] == "Owner"
    assert code_of(gone) == (404, "RoleDefinitionDoesNotExist")


# Id, and one thing that it does and one that it does not; from the built-in roles reference.
BUILT_IN = {
    "Owner": (OWNER, "Microsoft.Authorization/locks/write", ""),
    "Contributor": ("b24988ac-6180-42a0-ab88-20f7382dd24c", "Microsoft.KeyVault/vaults/write", f"{A}/write"),
    "Reader": (READER, "Microsoft.KeyVault/vaults/read", "Microsoft.KeyVault/vaults/write"),
    "User Access Administrator": (
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        f"{A}/write",
        "Microsoft.KeyVault/vaults/write",
    ),
    "Role Based Access Control Administrator": (
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        f"{A}/delete",
        "Microsoft.Authorization/locks/write",
    ),
    "Managed Identity Contributor": (
        "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59",
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
        "Microsoft.ManagedIdentity/userAssignedIdentities/x/assign/action",
    ),
    "Managed Identity Operator": (
        "f1a07417-d97a-45cb-824c-7a7467783830",
        "Microsoft.ManagedIdentity/userAssignedIdentities/x/assign/action",
        "Microsoft.ManagedIdentity/userAssignedIdentities/write",
    ),
    "Key Vault Contributor": (
        "f25e0fa2-a7c8-4377-a976-54943a77a395",
        "Microsoft.KeyVault/vaults/accessPolicies/write",
        "Microsoft.KeyVault/locations/deletedVaults/purge/action",
    ),
    "Key Vault Data Access Administrator": (
        "8b54135c-b56d-4d72-a534-26097cfdc8d8",
        "Microsoft.Authorization/locks/read",
        "Microsoft.KeyVault/vaults/write",
    ),
    "Key Vault Purge Operator": (
        "a68e7c17-0ab2-4c09-9a58-125dae29748c",
        "Microsoft.KeyVault/locations/deletedVaults/purge/action",
        "Microsoft.KeyVault/vaults/delete",
    ),
}
DATA = {
    "Key Vault Administrator": ("00482a5a-887f-4fb3-b363-3b7fe8e74483", "keys/purge/action", "-"),
    "Key Vault Reader": (
        "21090545-7ca7-4776-b22c-e363652d74d2",
        "secrets/readMetadata/action",
        "secrets/getSecret/action",
    ),
    "Key Vault Secrets Officer": ("b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "secrets/purge/action", "keys/read"),
    "Key Vault Secrets User": (SECRETS_USER, "secrets/getSecret/action", "secrets/setSecret/action"),
    "Key Vault Certificates Officer": (
        "a4417e6f-fecd-4de8-b567-7b0420556985",
        "certificates/import/action",
        "keys/read",
    ),
    "Key Vault Certificate User": ("db79e9a7-68ee-4b58-9aeb-b90e7c24fcba", "keys/read", "certificates/import/action"),
    "Key Vault Crypto Officer": (
        "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
        "keys/import/action",
        "secrets/getSecret/action",
    ),
    "Key Vault Crypto User": ("12338af0-0e69-4776-bea7-57ae8d297424", "keys/sign/action", "keys/delete"),
    "Key Vault Crypto Service Encryption User": (
        "e147488a-f6f5-4113-8e2d-b22465e65bf6",
        "keys/unwrap/action",
        "keys/decrypt/action",
    ),
    "Key Vault Crypto Service Release User": (
        "08bbd89e-9f13-488c-ac41-acfcb10c90ab",
        "keys/release/action",
        "keys/read",
    ),
}


@pytest.mark.parametrize("name", [*BUILT_IN, *DATA])
async def test_built_in_roles_are_azures_own(arm: Arm, name: str) -> None:
    data = name in DATA
    number, granted, withheld = (DATA | BUILT_IN)[name]
    prefix = "Microsoft.KeyVault/vaults/" if data else ""
    found = arm.world.role(name)

    assert found is not None
    assert found.id == number
    assert found.allows(prefix + granted, data=data)
    assert not withheld or withheld == "-" or not found.allows(prefix + withheld, data=data)
    assert not found.allows(prefix + granted, data=not data) or name in ("Owner", "Contributor")
