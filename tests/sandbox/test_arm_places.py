"""Resource groups and what is in them, lists by pages, paths that lead nowhere, and the gateway's headers."""

import asyncio
import uuid
from typing import Any

import pytest

from keystead_sandbox.resources import Rules
from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm, code_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime
GROUPS = "2025-04-01"


def group(arm: Arm, name: str = "new") -> str:
    return f"/subscriptions/{arm.subscription.id}/resourcegroups/{name}"


# Resource groups -------------------------------------------------------------------------------------------------


async def test_a_group_is_made_changed_and_read(arm: Arm) -> None:
    made = await arm.ask("PUT", group(arm, "New"), version=GROUPS, body={"location": "West Europe", "tags": {"a": "b"}})
    again = await arm.ask("PUT", group(arm), version=GROUPS, body={"location": "westeurope"})
    changed = await arm.ask("PATCH", group(arm), version=GROUPS, body={"tags": {"c": "d"}})
    there, gone = [(await arm.ask("HEAD", group(arm, name), version=GROUPS)).status_code for name in ("new", "gone")]

    assert (made.status_code, again.status_code, there, gone) == (201, 200, 204, 404)
    assert made.json() == {
        "id": f"/subscriptions/{arm.subscription.id}/resourceGroups/New",
        "name": "New",
        "type": "Microsoft.Resources/resourceGroups",
        "location": "westeurope",
        "tags": {"a": "b"},
        "properties": {"provisioningState": "Succeeded"},
    }
    assert "tags" not in again.json()
    assert changed.json()["tags"] == {"c": "d"}


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("new", {}, (400, "LocationRequired")),
        ("new", {"location": 7}, (400, "LocationRequired")),
        ("new", {"location": "moon"}, (400, "LocationNotAvailableForResourceType")),
        ("new", {"location": "westeurope", "tags": {"a": 7}}, (400, "InvalidTags")),
        ("new", {"location": "westeurope", "tags": {str(n): "" for n in range(51)}}, (400, "InvalidTags")),
        ("identities", {"location": "northeurope"}, (409, "InvalidResourceGroupLocation")),
        ("a" * 91, {"location": "westeurope"}, (400, "InvalidResourceGroup")),
        ("ends.", {"location": "westeurope"}, (400, "InvalidResourceGroup")),
        ("a b", {"location": "westeurope"}, (400, "InvalidResourceGroup")),
    ],
)
async def test_a_group_that_makes_no_sense_is_refused(
    arm: Arm, name: str, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert code_of(await arm.ask("PUT", group(arm, name), version=GROUPS, body=body)) == expected


async def test_a_group_goes_with_all_that_is_in_it_and_says_when(arm: Arm) -> None:
    arm.world.add_vault("team-kv", "identities")
    other = arm.world.add_application("other", secret="unused")
    arm.world.assign_role(other.object_id, "Reader", arm.identity.resource_id)

    accepted = await arm.ask("DELETE", group(arm, "identities"), version=GROUPS)
    going = await arm.ask("GET", group(arm, "identities"), version=GROUPS)
    refused = await arm.ask("PUT", arm.identity.resource_id, body={"location": "westeurope"})
    waiting = await arm.ask("GET", accepted.headers["location"], version=None)
    await asyncio.sleep(int(waiting.headers["retry-after"]))
    done = await arm.ask("GET", accepted.headers["location"], version=None)

    assert (accepted.status_code, accepted.headers["retry-after"]) == (202, "15")
    assert going.json()["properties"]["provisioningState"] == "Deleting"
    assert code_of(refused) == (409, "ResourceGroupBeingDeleted")
    assert (waiting.status_code, done.status_code) == (202, 200)
    assert (arm.world.identities, arm.world.vaults, list(arm.world.deleted_vaults)) == ({}, {}, ["team-kv"])
    assert [each.principal_id for each in arm.world.assignments.values()] == [arm.owner.object_id]
    assert code_of(await arm.ask("GET", group(arm, "identities"), version=GROUPS)) == (404, "ResourceGroupNotFound")
    assert code_of(await arm.ask("DELETE", group(arm, "identities"), version=GROUPS)) == (404, "ResourceGroupNotFound")
    assert (
        await arm.ask("PUT", group(arm, "identities"), version=GROUPS, body={"location": "uksouth"})
    ).status_code == 201


async def test_an_operation_is_known_in_its_own_subscription_alone(arm: Arm) -> None:
    other = arm.world.add_subscription()
    arm.world.assign_role(arm.owner.object_id, "Owner", f"/subscriptions/{other.id}")
    accepted = await arm.ask("DELETE", group(arm, "identities"), version=GROUPS)
    foreign = accepted.headers["location"].replace(arm.subscription.id, other.id)

    assert (await arm.ask("GET", foreign, version=None)).status_code == 404


async def test_lists_show_what_the_caller_may_read(arm: Arm) -> None:
    arm.world.add_vault("team-kv")
    reader = arm.world.add_application("reader", secret="unused")
    arm.world.assign_role(reader.object_id, "Reader", group(arm, "vaults"))
    base = f"/subscriptions/{arm.subscription.id}"

    seen = {}
    for who in (arm.owner, reader):
        groups = await arm.ask("GET", f"{base}/resourcegroups", version=GROUPS, who=who)
        resources = await arm.ask("GET", f"{base}/resources", version=GROUPS, who=who)
        seen[who.name] = [[each["name"] for each in answer.json()["value"]] for answer in (groups, resources)]

    assert seen == {"owner": [["identities", "vaults"], ["writer", "team-kv"]], "reader": [["vaults"], ["team-kv"]]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("resourceType eq 'Microsoft.KeyVault/vaults'", ["team-kv"]),
        ("resourceType eq 'microsoft.managedidentity/userassignedidentities' and name eq 'WRITER'", ["writer"]),
        ("location eq 'northeurope'", []),
        ("resourceGroup eq 'Vaults'", ["team-kv"]),
        ("tagName eq 'Team' and tagValue eq 'a'", ["team-kv"]),
        ("tagName eq 'team' and tagValue eq 'b'", []),
    ],
)
async def test_resources_are_filtered(arm: Arm, asked: str, expected: list[str]) -> None:
    arm.world.add_vault("team-kv").tags = {"team": "a"}

    answer = await arm.ask(
        "GET", f"/subscriptions/{arm.subscription.id}/resources?$filter={asked}", version="2015-11-01"
    )

    assert [each["name"] for each in answer.json()["value"]] == expected


async def test_every_list_has_pages() -> None:
    arm = Arm(Rules(page_size=1))
    arm.world.add_identity("second")
    arm.world.add_vault("kv-one")
    arm.world.add_vault("kv-two")
    base = f"/subscriptions/{arm.subscription.id}"
    other = arm.world.add_application("other", secret="unused")
    arm.world.assign_role(other.object_id, "Reader", base)
    lists = {
        f"{base}/providers/Microsoft.ManagedIdentity/userAssignedIdentities?": ("2024-11-30", 2),
        f"{base}/resourcegroups?": (GROUPS, 2),
        f"{base}/resources?$filter=resourceType eq 'Microsoft.KeyVault/vaults'&": (GROUPS, 2),
        f"{base}/providers/Microsoft.KeyVault/vaults?": ("2026-05-15", 2),
        f"{base}/providers/Microsoft.Authorization/roleAssignments?$filter=atScope()&": ("2022-04-01", 2),
        "/subscriptions?": ("2022-12-01", 1),
    }

    for path, (version, expected) in lists.items():
        names, link = [], f"{path}api-version={version}"
        while link:
            page = (await arm.ask("GET", link, version=None)).json()
            assert len(page["value"]) == 1
            names += [each["id"] for each in page["value"]]
            link = page.get("nextLink", "")
        assert len(set(names)) == len(names) == expected


# Identities' settings by version ---------------------------------------------------------------------------------


async def test_settings_of_an_identity_are_shown_by_the_versions_that_know_them(arm: Arm) -> None:
    path = f"{arm.identity.resource_id}-2"
    settings = {"isolationScope": "Regional", "assignmentRestrictions": {"providers": ["Microsoft.Compute"]}}
    await arm.ask("PUT", path, version="2026-05-31", body={"location": "westeurope", "properties": settings})

    seen = {
        version: set((await arm.ask("GET", path, version=version)).json()["properties"]) & set(settings)
        for version in ("2023-01-31", "2024-11-30", "2025-05-31-preview", "2026-04-30")
    }

    assert seen == {
        "2023-01-31": set(),
        "2024-11-30": {"isolationScope"},
        "2025-05-31-preview": {"isolationScope"},
        "2026-04-30": set(settings),
    }


@pytest.mark.parametrize(
    ("version", "properties", "status"),
    [
        ("2024-11-30", {"isolationScope": "Global"}, 400),
        ("2024-11-30", {"isolationScope": "None"}, 201),
        ("2023-01-31", {"isolationScope": "Global"}, 201),
        ("2026-05-31", {"assignmentRestrictions": {"providers": "all"}}, 400),
        ("2026-05-31", {"assignmentRestrictions": []}, 400),
    ],
)
async def test_settings_that_make_no_sense_are_refused(
    arm: Arm, version: str, properties: dict[str, Any], status: int
) -> None:
    path, body = f"{arm.identity.resource_id}-2", {"location": "westeurope", "properties": properties}

    assert (await arm.ask("PUT", path, version=version, body=body)).status_code == status


async def test_white_space_in_a_credential_is_taken_as_it_is(arm: Arm) -> None:
    answer = await arm.put(
        "fic1", arm_fixtures.body_of("system:serviceaccount:a:b ", issuer=" https://x.example.test ")
    )

    assert answer.status_code == 201
    assert answer.json()["properties"]["subject"].endswith("b ")


# Paths that lead nowhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, "MissingSubscription")),
        ("GET", "/nowhere", (404, "MissingSubscription")),
        ("GET", "/subscriptions/{s}/nowhere", (404, "InvalidResourceType")),
        ("GET", "/subscriptions/{s}/providers/Microsoft.Compute/disks", (404, "InvalidResourceType")),
        ("GET", "/subscriptions/{s}/providers/Contoso.Things/disks", (404, "InvalidResourceNamespace")),
        ("GET", "/subscriptions/not-a-guid", (400, "InvalidSubscriptionId")),
        ("GET", f"/subscriptions/{uuid.UUID(int=9)}", (404, "SubscriptionNotFound")),
        ("POST", "/subscriptions/{s}/resourcegroups", (405, "MethodNotAllowed")),
        ("DELETE", "/subscriptions/{s}", (405, "MethodNotAllowed")),
        ("GET", "/\u017fubscriptions/{s}", (404, "MissingSubscription")),
    ],
)
async def test_a_path_that_leads_nowhere_says_why(arm: Arm, method: str, path: str, expected: tuple[int, str]) -> None:
    answer = await arm.ask(method, path.format(s=arm.subscription.id), version="2022-12-01")

    assert code_of(answer) == expected
    assert answer.headers["x-ms-failure-cause"] == "gateway"


@pytest.mark.parametrize(
    ("version", "code"), [(None, "MissingApiVersionParameter"), ("soon", "InvalidApiVersionParameter")]
)
async def test_a_version_is_needed_everywhere(arm: Arm, version: str | None, code: str) -> None:
    for path in ("/subscriptions", f"/subscriptions/{arm.subscription.id}/resourcegroups"):
        assert code_of(await arm.ask("GET", path, version=version)) == (400, code)


async def test_names_of_the_query_are_taken_in_any_case(arm: Arm) -> None:
    answer = await arm.ask("GET", "/subscriptions?Api-Version=2022-12-01&$TOP=1", version=None)

    assert answer.status_code == 200


async def test_regions_are_listed_as_they_are_taken(arm: Arm) -> None:
    answer = await arm.ask("GET", f"/subscriptions/{arm.subscription.id}/locations", version="2022-12-01")

    assert {"westeurope", "northeurope", "malaysiasouth"} <= {each["name"] for each in answer.json()["value"]}


# Headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "echoed"), [("true", "mine"), ("false", None), (None, None)])
async def test_a_clients_own_id_comes_back_where_it_asks_for_that(
    arm: Arm, wanted: str | None, echoed: str | None
) -> None:
    asking = {} if wanted is None else {"x-ms-return-client-request-id": wanted}
    headers = {**arm.bearer(), "x-ms-client-request-id": "mine", **asking}

    answer = await arm.client.get(f"{arm.identity.resource_id}?api-version=2024-11-30", headers=headers)

    assert answer.headers.get("x-ms-client-request-id") == echoed


async def test_the_gateway_and_the_provider_refuse_under_their_own_names(arm: Arm) -> None:
    gateway = await arm.ask("GET", f"{arm.identity.resource_id}-gone")
    provider = await arm.ask("GET", arm.url("gone"))

    assert (code_of(gateway), gateway.headers["x-ms-failure-cause"]) == ((404, "ResourceNotFound"), "gateway")
    assert (code_of(provider), "x-ms-failure-cause" in provider.headers) == ((404, "NotFound"), False)


async def test_writes_of_the_identities_provider_carry_its_operation(arm: Arm) -> None:
    identity = await arm.ask("PUT", f"{arm.identity.resource_id}-2", body={"location": "westeurope"})
    credential = await arm.put("fic1")
    deleted = await arm.ask("DELETE", arm.url("fic1"))

    for answer in (identity, credential, deleted):
        operation = answer.headers["x-ms-operation-identifier"]
        assert operation.startswith(f"tenantId={arm.owner.tenant_id},objectId={arm.owner.object_id}/westeurope/")


async def test_requests_without_a_subscription_draw_from_the_tenants_bucket(arm: Arm) -> None:
    tenant = await arm.ask("GET", "/subscriptions", version="2022-12-01")
    written = await arm.put("fic1")

    assert tenant.headers["x-ms-ratelimit-remaining-tenant-reads"] == "249"
    assert written.headers["x-ms-ratelimit-remaining-subscription-writes"] == "199"
    assert written.headers["x-ms-ratelimit-remaining-subscription-global-writes"] == "2999"


async def test_a_refusal_names_the_scope_as_azure_does(arm: Arm) -> None:
    stranger = arm.world.add_application("stranger", secret="unused")
    listed = await arm.ask("GET", arm.identity.resource_id.rpartition("/")[0], who=stranger)
    read = await arm.ask("GET", arm.identity.resource_id, who=stranger)

    holder = arm.identity.resource_id.rpartition("/userAssignedIdentities")[0]
    start = f"The client '{stranger.client_id}' with object id '{stranger.object_id}' does not have authorization to "
    action = "perform action 'Microsoft.ManagedIdentity/userAssignedIdentities/read' over scope "
    end = " or the scope is invalid. If access was recently granted, please refresh your credentials."
    assert listed.json()["error"]["message"] == f"{start}{action}'{holder}'{end}"
    assert read.json()["error"]["message"] == f"{start}{action}'{arm.identity.resource_id}'{end}"
