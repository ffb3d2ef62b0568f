"""Identities, role assignments and what stands around them; authentication; Resource Manager's own limits."""

import asyncio
import uuid
from typing import Any

import pytest

from keystead_sandbox.resources import Rules
from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm, code_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"


def identity_path(arm: Arm, name: str, group: str = "identities") -> str:
    return (
        f"/subscriptions/{arm.subscription.id}/resourceGroups/{group}"
        f"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    )


def assignment_path(scope: str, name: str = "") -> str:
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name or uuid.uuid5(uuid.NAMESPACE_DNS, 'a')}"


def role_body(principal: str, role: str = READER, kind: str | None = None) -> dict[str, Any]:
    definition = f"/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/{role}"
    return {"properties": {"roleDefinitionId": definition, "principalId": principal, "principalType": kind}}


# Authentication --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AuthenticationFailed"),
        ("Basic eA==", "AuthenticationFailedInvalidHeader"),
        ("Bearer", "AuthenticationFailedInvalidHeader"),
        ("Bearer nonsense", "InvalidAuthenticationToken"),
    ],
)
async def test_without_a_good_token_nothing_is_answered(arm: Arm, header: str | None, code: str) -> None:
    headers = {} if header is None else {"Authorization": header}

    answer = await arm.client.get(f"{arm.url()}?api-version=2024-11-30", headers=headers)

    assert code_of(answer) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer authorization_uri=")


async def test_a_token_for_another_resource_is_refused(arm: Arm) -> None:
    token = arm.app.authority.issue(arm.owner, "https://vault.azure.net")

    answer = await arm.client.get(arm.url(), headers={"Authorization": f"Bearer {token}"})

    assert code_of(answer) == (401, "InvalidAuthenticationTokenAudience")
    assert "'https://vault.azure.net'" in answer.json()["error"]["message"]


async def test_a_token_that_has_run_out_is_refused(arm: Arm) -> None:
    bearer = arm.bearer()
    await asyncio.sleep(86401)

    answer = await arm.client.get(f"{arm.url()}?api-version=2024-11-30", headers=bearer)

    assert code_of(answer) == (401, "ExpiredAuthenticationToken")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_token_of_another_tenant_is_refused(arm: Arm) -> None:
    tenant = arm.world.add_tenant(name="other")
    foreigner = arm.world.add_application("foreigner", secret="unused", tenant_id=tenant.id)

    answer = await arm.ask("GET", arm.url(), who=foreigner)

    assert code_of(answer) == (401, "InvalidAuthenticationTokenTenant")


async def test_an_unknown_subscription_is_named(arm: Arm) -> None:
    answer = await arm.ask("GET", f"/subscriptions/{uuid.uuid4()}/resourceGroups", version="2021-04-01")

    assert code_of(answer) == (404, "SubscriptionNotFound")


async def test_what_is_not_emulated_says_so(arm: Arm) -> None:
    answer = await arm.ask("GET", f"/subscriptions/{arm.subscription.id}/providers/Microsoft.Compute/disks")

    assert code_of(answer) == (404, "InvalidResourceType")


# Resource Manager's own limits and headers -----------------------------------------------------------------------


async def test_remaining_requests_are_told_truly(arm: Arm) -> None:
    first = await arm.ask("GET", arm.identity.resource_id)
    second = await arm.ask("GET", arm.identity.resource_id)

    assert first.headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"
    assert second.headers["x-ms-ratelimit-remaining-subscription-reads"] == "248"
    assert second.headers["x-ms-ratelimit-remaining-subscription-global-reads"] == "3748"


async def test_the_251st_read_at_once_is_throttled_for_its_principal_alone(arm: Arm) -> None:
    other = arm.world.add_application("other", secret="unused")
    arm.world.assign_role(other.object_id, "Reader", f"/subscriptions/{arm.subscription.id}")
    bearer = arm.bearer()
    url = f"{arm.identity.resource_id}?api-version=2024-11-30"

    statuses = [(await arm.client.get(url, headers=bearer)).status_code for _ in range(250)]
    refused = await arm.ask("GET", arm.identity.resource_id)
    foreign = await arm.ask("GET", arm.identity.resource_id, who=other)
    await asyncio.sleep(int(refused.headers["retry-after"]))
    again = await arm.ask("GET", arm.identity.resource_id)

    assert set(statuses) == {200}
    assert code_of(refused) == (429, "SubscriptionRequestsThrottled")
    assert (foreign.status_code, again.status_code) == (200, 200)


async def test_every_answer_carries_the_usual_headers(arm: Arm) -> None:
    answer = await arm.client.get(
        f"{arm.identity.resource_id}?api-version=2024-11-30",
        headers={**arm.bearer(), "x-ms-correlation-request-id": "mine"},
    )

    assert answer.headers["x-ms-correlation-request-id"] == "mine"
    assert answer.headers["date"] == "Sun, 01 Mar 2026 12:00:00 GMT"
    assert answer.headers["x-ms-routing-request-id"].split(":")[1] == "20260301T120000Z"
    assert answer.headers["cache-control"] == "no-cache"


# Identities ------------------------------------------------------------------------------------------------------


async def test_an_identity_is_made_read_changed_and_deleted(arm: Arm) -> None:
    path = identity_path(arm, "pool1")

    made = await arm.ask("PUT", path, body={"location": "West Europe", "tags": {"a": "b"}})
    again = await arm.ask("PUT", path, body={"location": "westeurope"})
    changed = await arm.ask("PATCH", path, body={"tags": {"c": "d"}})
    read = await arm.ask("GET", path.upper().replace(arm.subscription.id.upper(), arm.subscription.id))
    deleted = [(await arm.ask("DELETE", path)).status_code for _ in range(2)]

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.headers["location"] == made.json()["id"]
    assert "/resourcegroups/identities/" in made.json()["id"]
    assert made.json()["location"] == "westeurope"
    assert again.json()["tags"] == {"a": "b"}
    assert changed.json()["tags"] == {"c": "d"}
    assert set(read.json()["properties"]) == {"tenantId", "principalId", "clientId"}
    assert deleted == [200, 204]
    assert code_of(await arm.ask("GET", path)) == (404, "ResourceNotFound")


async def test_a_recreated_identity_is_another_principal(arm: Arm) -> None:
    path = identity_path(arm, "pool1")
    first = (await arm.ask("PUT", path, body={"location": "westeurope"})).json()["properties"]
    await arm.ask("DELETE", path)

    second = (await arm.ask("PUT", path, body={"location": "westeurope"})).json()["properties"]

    assert first["clientId"] != second["clientId"]
    assert first["principalId"] != second["principalId"]


@pytest.mark.parametrize(
    ("name", "group", "body", "expected"),
    [
        ("ab", "identities", {"location": "westeurope"}, (400, "BadRequest")),
        ("a" * 129, "identities", {"location": "westeurope"}, (400, "BadRequest")),
        ("-abc", "identities", {"location": "westeurope"}, (400, "BadRequest")),
        ("pool1", "identities", {}, (400, "LocationRequired")),
        ("pool1", "nowhere", {"location": "westeurope"}, (404, "ResourceGroupNotFound")),
        ("writer", "identities", {"location": "northeurope"}, (409, "InvalidResourceLocation")),
    ],
)
async def test_an_identity_that_makes_no_sense_is_refused(
    arm: Arm, name: str, group: str, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert code_of(await arm.ask("PUT", identity_path(arm, name, group), body=body)) == expected


async def test_identities_are_listed_by_group_and_by_subscription(arm: Arm) -> None:
    arm.world.add_identity("elsewhere", "identities-too")
    provider = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    base = f"/subscriptions/{arm.subscription.id}"

    everywhere = await arm.ask("GET", f"{base}/{provider}")
    group = await arm.ask("GET", f"{base}/resourceGroups/IDENTITIES/{provider}")
    nowhere = await arm.ask("GET", f"{base}/resourceGroups/nowhere/{provider}")

    assert [each["name"] for each in everywhere.json()["value"]] == ["writer", "elsewhere"]
    assert [each["name"] for each in group.json()["value"]] == ["writer"]
    assert code_of(nowhere) == (404, "ResourceGroupNotFound")


@pytest.mark.parametrize(("version", "status"), [("2018-11-30", 200), ("2026-05-31", 200), ("2015-01-01", 400)])
async def test_identities_are_older_than_their_credentials(arm: Arm, version: str, status: int) -> None:
    assert (await arm.ask("GET", arm.identity.resource_id, version=version)).status_code == status


# Roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("Owner", {"read", "write", "role"}),
        ("Contributor", {"read", "write"}),
        ("Reader", {"read"}),
        ("Managed Identity Contributor", {"read", "write"}),
        ("Managed Identity Operator", {"read"}),
        ("Role Based Access Control Administrator", {"read", "role"}),
        ("Key Vault Administrator", set()),
    ],
)
async def test_each_role_allows_what_it_says(arm: Arm, role: str, allowed: set[str]) -> None:
    someone = arm.world.add_application("someone", secret="unused")
    arm.world.assign_role(someone.object_id, role, arm.identity.resource_id)
    tried = {
        "read": await arm.ask("GET", arm.url(), who=someone),
        "write": await arm.ask("PUT", arm.url("fic1"), who=someone, body=arm_fixtures.body_of()),
        "role": await arm.ask(
            "PUT",
            assignment_path(arm.identity.resource_id),
            who=someone,
            version="2022-04-01",
            body=role_body(someone.object_id),
        ),
    }

    assert {name for name, answer in tried.items() if answer.status_code != 403} == allowed


async def test_a_role_reaches_down_and_not_up_or_sideways(arm: Arm) -> None:
    someone = arm.world.add_application("someone", secret="unused")
    other = arm.world.add_identity("writer-2")
    arm.world.assign_role(someone.object_id, "Reader", arm.identity.resource_id.upper())

    assert (await arm.ask("GET", arm.url(), who=someone)).status_code == 200
    assert (await arm.ask("GET", arm.url(identity=other), who=someone)).status_code == 403
    assert (await arm.ask("GET", identity_path(arm, ""), who=someone)).status_code == 403


async def test_roles_come_and_go_after_the_delay() -> None:
    arm = Arm(Rules(role_delay=30))
    await asyncio.sleep(31)
    someone = arm.world.add_application("someone", secret="unused")
    path = assignment_path(arm.identity.resource_id)
    seen = []

    await arm.ask("PUT", path, version="2022-04-01", body=role_body(someone.object_id))
    for wait in (29, 2):
        await asyncio.sleep(wait)
        seen.append((await arm.ask("GET", arm.identity.resource_id, who=someone)).status_code)
    await arm.ask("DELETE", path, version="2022-04-01")
    for wait in (29, 2):
        await asyncio.sleep(wait)
        seen.append((await arm.ask("GET", arm.identity.resource_id, who=someone)).status_code)

    assert seen == [403, 200, 200, 403]


async def test_an_assignment_is_made_once(arm: Arm) -> None:
    someone = arm.world.add_application("someone", secret="unused")
    other = arm.world.add_application("other", secret="unused")
    scope, wanted = arm.identity.resource_id, role_body(someone.object_id)
    path, twin = assignment_path(scope), assignment_path(scope, str(uuid.UUID(int=7)))

    async def put(where: str, body: dict[str, Any]) -> tuple[int, str]:
        return code_of(await arm.ask("PUT", where, version="2022-04-01", body=body))

    assert await put(path, wanted) == (201, "")
    assert await put(path, wanted) == (200, "")
    assert await put(twin, wanted) == (409, "RoleAssignmentExists")
    assert await put(path, role_body(other.object_id)) == (400, "RoleAssignmentUpdateNotPermitted")


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("not-a-guid", role_body(str(uuid.UUID(int=1))), (400, "InvalidRoleAssignmentId")),
        ("", role_body(str(uuid.UUID(int=1))), (400, "PrincipalNotFound")),
        ("", role_body(str(uuid.UUID(int=1)), kind="ServicePrincipal"), (201, "")),
        ("", role_body(str(uuid.UUID(int=1)), role=str(uuid.UUID(int=2))), (404, "RoleDefinitionDoesNotExist")),
        ("", {"properties": None}, (400, "BadRequestFormat")),
    ],
)
async def test_an_assignment_that_makes_no_sense_is_refused(
    arm: Arm, name: str, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    path = assignment_path(arm.identity.resource_id, name)

    assert code_of(await arm.ask("PUT", path, version="2022-04-01", body=body)) == expected


async def test_a_new_identity_is_not_found_until_the_directory_shows_it(arm: Arm) -> None:
    made = (await arm.ask("PUT", identity_path(arm, "pool1"), body={"location": "westeurope"})).json()
    path, body = assignment_path(made["id"]), role_body(made["properties"]["principalId"])

    early = await arm.ask("PUT", path, version="2022-04-01", body=body)
    told_the_type = await arm.ask(
        "PUT",
        assignment_path(arm.identity.resource_id),
        version="2022-04-01",
        body=role_body(made["properties"]["principalId"], kind="ServicePrincipal"),
    )
    await asyncio.sleep(10)
    late = await arm.ask("PUT", path, version="2022-04-01", body=body)

    assert code_of(early) == (400, "PrincipalNotFound")
    assert (told_the_type.status_code, late.status_code) == (201, 201)


async def test_assignments_are_listed_around_their_scope_and_filtered(arm: Arm) -> None:
    someone = arm.world.add_application("someone", secret="unused")
    arm.world.assign_role(someone.object_id, "Reader", arm.identity.resource_id)
    group = arm.identity.resource_id.partition("/providers/")[0]

    async def listed(scope: str, filtered: str = "") -> list[str]:
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments"
        query = f"?$filter={filtered}" if filtered else ""
        answer = await arm.ask("GET", path + query, version="2022-04-01")
        return [each["properties"]["principalId"] for each in answer.json()["value"]]

    assert await listed(group) == [arm.owner.object_id, someone.object_id]
    assert await listed(group, "atScope()") == [arm.owner.object_id]
    assert await listed(arm.identity.resource_id) == [arm.owner.object_id, someone.object_id]
    assert await listed(group, f"principalId eq '{someone.object_id}'") == [someone.object_id]
    assert await listed(group, f"assignedTo('{someone.object_id}')") == [someone.object_id]


async def test_a_role_is_found_by_its_name(arm: Arm) -> None:
    path = f"{arm.identity.resource_id}/providers/Microsoft.Authorization/roleDefinitions"

    answer = await arm.ask("GET", f"{path}?$filter=roleName eq 'Key Vault Secrets User'", version="2022-05-01-preview")

    (found,) = answer.json()["value"]
    assert found["id"].endswith(f"/roleDefinitions/{SECRETS_USER}")
    assert found["properties"]["permissions"][0]["dataActions"] == [
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
    ]


# Places ----------------------------------------------------------------------------------------------------------


async def test_subscriptions_are_those_where_the_caller_has_a_role(arm: Arm) -> None:
    arm.world.add_subscription()
    stranger = arm.world.add_application("stranger", secret="unused")

    mine = await arm.ask("GET", "/subscriptions", version="2022-12-01")
    theirs = await arm.ask("GET", "/subscriptions", version="2022-12-01", who=stranger)

    assert [each["subscriptionId"] for each in mine.json()["value"]] == [arm.subscription.id]
    assert theirs.json()["value"] == []


async def test_groups_and_vaults_are_read(arm: Arm) -> None:
    vault = arm.world.add_vault("team-kv")
    base = f"/subscriptions/{arm.subscription.id}"

    groups = await arm.ask("GET", f"{base}/resourcegroups", version="2025-04-01")
    group = await arm.ask("GET", f"{base}/resourceGroups/VAULTS", version="2025-04-01")
    vaults = await arm.ask("GET", f"{base}/providers/Microsoft.KeyVault/vaults", version="2026-05-15")
    one = await arm.ask("GET", vault.resource_id, version="2026-05-15")
    gone = await arm.ask("GET", f"{vault.resource_id}x", version="2026-05-15")

    assert [each["name"] for each in groups.json()["value"]] == ["identities", "vaults"]
    assert group.json()["id"] == f"{base}/resourceGroups/vaults"
    assert vaults.json()["value"] == [one.json()]
    assert one.json()["properties"]["vaultUri"] == "https://team-kv.vault.azure.net/"
    assert code_of(gone) == (404, "ResourceNotFound")


async def test_the_clouds_endpoints_need_no_token(arm: Arm) -> None:
    one = await arm.client.get("/metadata/endpoints?api-version=2022-09-01")
    several = await arm.client.get("/metadata/endpoints?api-version=2019-05-01")

    assert one.json()["suffixes"]["keyVaultDns"] == "vault.azure.net"
    assert several.json()[0] == one.json()
    assert [each["name"] for each in several.json()] == ["AzureCloud", "AzureChinaCloud", "AzureUSGovernment"]
