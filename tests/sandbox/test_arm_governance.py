"""Locks, policies and providers that are not registered: over the API and from a seed."""

from pathlib import Path
from typing import Any

import pytest

from keystead_sandbox.azure import AzureApp
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.governance import check_rule
from keystead_sandbox.journal import Journal
from keystead_sandbox.seeds import BadSeed, plant, read_seed
from sandbox import arm_fixtures
from sandbox.arm_fixtures import EPOCH, ISSUER, Arm, body_of, code_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime
AUTHORIZATION = "providers/Microsoft.Authorization"
CREDENTIALS = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
LOCATIONS = f"/{AUTHORIZATION}/policyDefinitions/e56962a6-4747-49cd-b67b-bf8b01975c4c"
DENIED_TYPES = f"/{AUTHORIZATION}/policyDefinitions/6c112d4e-5bc7-47ae-a041-ea2d9dccd749"
ALLOWED_TYPES = f"/{AUTHORIZATION}/policyDefinitions/a08ec900-254a-4555-9bf5-e42af04b5c5c"


def group_of(arm: Arm) -> str:
    return arm.identity.resource_id.partition("/providers/")[0]


async def lock(arm: Arm, scope: str, level: Any = "CanNotDelete", name: str = "keep", **how: Any) -> Any:
    path = f"{scope}/{AUTHORIZATION}/locks/{name}"
    return await arm.ask(
        "PUT", path, version="2020-05-01", body={"properties": {"level": level, "notes": "why"}}, **how
    )


async def assign(arm: Arm, scope: str, definition: str, name: str = "limit", **properties: Any) -> Any:
    parameters = {each: {"value": value} for each, value in properties.pop("parameters", {}).items()}
    body = {"properties": {"policyDefinitionId": definition, "parameters": parameters, **properties}}
    return await arm.ask("PUT", f"{scope}/{AUTHORIZATION}/policyAssignments/{name}", version="2023-04-01", body=body)


# Locks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", [0, 1, 2], ids=["the identity", "its group", "its subscription"])
@pytest.mark.parametrize(("level", "refused"), [("CanNotDelete", {"DELETE"}), ("ReadOnly", {"DELETE", "PUT", "PATCH"})])
async def test_a_lock_keeps_what_is_at_and_below_its_scope(arm: Arm, above: int, level: str, refused: set[str]) -> None:
    arm.stand("fic1")
    scope = (arm.identity.resource_id, group_of(arm), f"/subscriptions/{arm.subscription.id}")[above]
    assert (await lock(arm, scope, level)).status_code == 201

    answers = {
        "GET": await arm.ask("GET", arm.url("fic1")),
        "PUT": await arm.put("fic2"),
        "PATCH": await arm.ask("PATCH", arm.identity.resource_id, body={"tags": {}}),
        "DELETE": await arm.ask("DELETE", arm.url("fic1")),
    }

    assert {method for method, answer in answers.items() if code_of(answer) == (409, "ScopeLocked")} == refused
    assert {method for method, answer in answers.items() if answer.status_code >= 400} == refused
    text = answers["DELETE"].json()["error"]["message"]
    assert f"cannot perform delete operation because following scope(s) are locked: '{scope}'" in text


async def test_a_lock_does_not_reach_sideways_and_not_for_long(arm: Arm) -> None:
    other = arm.world.add_identity("other", "elsewhere")
    await lock(arm, group_of(arm), "ReadOnly")

    beside = await arm.put("fic1", identity=other)
    inside = await arm.put("fic1")
    gone = [(await arm.ask("DELETE", f"{group_of(arm)}/{AUTHORIZATION}/locks/keep")).status_code for _ in range(2)]
    after = await arm.put("fic1")

    assert (beside.status_code, inside.status_code, gone, after.status_code) == (201, 409, [200, 204], 201)


async def test_a_group_is_not_deleted_around_a_lock_below_it(arm: Arm) -> None:
    await lock(arm, arm.identity.resource_id)

    assert code_of(await arm.ask("DELETE", group_of(arm), version="2025-04-01")) == (409, "ScopeLocked")


async def test_a_lock_keeps_role_assignments_too(arm: Arm) -> None:
    given = arm.world.assign_role(arm.identity.principal_id, "Reader", arm.identity.resource_id)
    await lock(arm, group_of(arm))

    assert code_of(await arm.ask("DELETE", given.id, version="2022-04-01")) == (409, "ScopeLocked")


async def test_locks_are_read_changed_listed_and_refused(arm: Arm) -> None:
    await lock(arm, group_of(arm))
    again = await lock(arm, group_of(arm), "ReadOnly")
    one = await arm.ask("GET", f"{group_of(arm)}/{AUTHORIZATION}/locks/KEEP")
    every = await arm.ask("GET", f"/subscriptions/{arm.subscription.id}/{AUTHORIZATION}/locks")
    above = await arm.ask("GET", f"/subscriptions/{arm.subscription.id}/{AUTHORIZATION}/locks?$filter=atScope()")
    contributor = arm.world.add_application("contributor", secret="unused")
    arm.world.assign_role(contributor.object_id, "Contributor", group_of(arm))

    assert (again.status_code, one.json()["properties"]) == (200, {"level": "ReadOnly", "notes": "why"})
    assert ([each["name"] for each in every.json()["value"]], above.json()["value"]) == (["keep"], [])
    assert code_of(await lock(arm, group_of(arm), "Never")) == (400, "InvalidLock")
    assert code_of(await lock(arm, f"{group_of(arm)}x")) == (404, "ResourceGroupNotFound")
    assert code_of(await lock(arm, group_of(arm), who=contributor)) == (403, "AuthorizationFailed")
    assert code_of(await arm.ask("GET", f"{group_of(arm)}/{AUTHORIZATION}/locks/gone")) == (404, "LockNotFound")


# Policies --------------------------------------------------------------------------------------------------------

ISSUER_RULE = {
    "if": {
        "allOf": [
            {"field": "type", "equals": CREDENTIALS},
            {"not": {"field": f"{CREDENTIALS}/issuer", "in": "[parameters('allowedIssuerUrls')]"}},
        ]
    },
    "then": {"effect": "[parameters('effect')]"},
}


async def define(arm: Arm, rule: Any = None, **parameters: Any) -> Any:
    defaults = {"allowedIssuerUrls": {"type": "Array"}, "effect": {"type": "String", "defaultValue": "Audit"}}
    body = {
        "properties": {
            "displayName": "Issuers",
            "policyRule": rule or ISSUER_RULE,
            "parameters": parameters or defaults,
        }
    }
    path = f"/subscriptions/{arm.subscription.id}/{AUTHORIZATION}/policyDefinitions/issuers"
    return await arm.ask("PUT", path, version="2023-04-01", body=body)


@pytest.mark.parametrize(
    ("allowed", "more", "status"),
    [
        ([ISSUER], {}, 201),
        ([ISSUER.upper()], {}, 201),
        (["https://other.example.test"], {}, 403),
        ([], {}, 403),
        ([], {"enforcementMode": "DoNotEnforce"}, 201),
        ([], {"effect": "Audit"}, 201),
    ],
)
async def test_a_policy_says_whose_tokens_credentials_may_trust(
    arm: Arm, allowed: list[str], more: dict[str, str], status: int
) -> None:
    definition = (await define(arm)).json()["id"]
    effect = more.pop("effect", "Deny")
    await assign(
        arm,
        group_of(arm),
        definition,
        parameters={"allowedIssuerUrls": allowed, "effect": effect},
        displayName="Ours",
        **more,
    )

    answer = await arm.put("fic1")

    assert answer.status_code == status
    if status == 403:
        error = answer.json()["error"]
        assert error["code"] == "RequestDisallowedByPolicy"
        assert error["message"].startswith(
            "Resource 'fic1' was disallowed by policy. Policy identifiers: '[{\"policyAss"
        )
        assert error["additionalInfo"][0]["info"]["policyDefinitionDisplayName"] == "Issuers"
        assert not arm.identity.credentials


@pytest.mark.parametrize(
    ("definition", "parameters", "denied"),
    [
        (LOCATIONS, {"listOfAllowedLocations": ["northeurope"]}, True),
        (LOCATIONS, {"listOfAllowedLocations": ["WestEurope"]}, False),
        (DENIED_TYPES, {"listOfResourceTypesNotAllowed": ["microsoft.managedidentity/userassignedidentities"]}, True),
        (DENIED_TYPES, {"listOfResourceTypesNotAllowed": ["Microsoft.KeyVault/vaults"]}, False),
        (ALLOWED_TYPES, {"listOfResourceTypesAllowed": ["Microsoft.KeyVault/vaults"]}, True),
    ],
)
async def test_built_in_policies_deny_places_and_types(
    arm: Arm, definition: str, parameters: dict[str, Any], denied: bool
) -> None:
    await assign(arm, f"/subscriptions/{arm.subscription.id}", definition, parameters=parameters)

    answer = await arm.ask("PUT", f"{arm.identity.resource_id}-2", body={"location": "West Europe"})

    assert code_of(answer) == ((403, "RequestDisallowedByPolicy") if denied else (201, ""))


async def test_an_indexed_policy_leaves_groups_and_credentials_alone(arm: Arm) -> None:
    subscription = f"/subscriptions/{arm.subscription.id}"
    await assign(arm, subscription, LOCATIONS, parameters={"listOfAllowedLocations": []})
    await assign(arm, subscription, ALLOWED_TYPES, "types", parameters={"listOfResourceTypesAllowed": []})
    new = await arm.ask("PUT", f"{subscription}/resourcegroups/new", version="2025-04-01", body={"location": "uksouth"})

    assert ((await arm.put("fic1")).status_code, new.status_code) == (201, 201)


async def test_a_policy_spares_its_not_scopes_and_goes_with_its_assignment(arm: Arm) -> None:
    types = {"listOfResourceTypesNotAllowed": [CREDENTIALS]}
    spared = arm.world.add_identity("spared", "spared")
    subscription = f"/subscriptions/{arm.subscription.id}"
    made = await assign(
        arm,
        subscription,
        DENIED_TYPES,
        parameters=types,
        notScopes=[spared.resource_id.partition("/providers/")[0].upper()],
    )

    refused, allowed = await arm.put("fic1"), await arm.put("fic1", identity=spared)
    gone = [(await arm.ask("DELETE", made.json()["id"], version="2023-04-01")).status_code for _ in range(2)]
    after = await arm.put("fic1")

    assert (refused.status_code, allowed.status_code, gone, after.status_code) == (403, 201, [200, 204], 201)


async def test_a_changed_rule_counts_where_it_is_assigned_and_one_in_use_stays(arm: Arm) -> None:
    definition = (await define(arm)).json()["id"]
    made = await assign(arm, group_of(arm), definition, parameters={"allowedIssuerUrls": [], "effect": "Deny"})
    await define(arm, {"if": {"field": "type", "equals": "x"}, "then": {"effect": "deny"}})

    assert (await arm.put("fic1")).status_code == 201
    assert code_of(await arm.ask("DELETE", definition, version="2023-04-01")) == (409, "PolicyDefinitionInUse")
    await arm.ask("DELETE", made.json()["id"], version="2023-04-01")
    assert [(await arm.ask("DELETE", definition, version="2023-04-01")).status_code for _ in range(2)] == [200, 204]


@pytest.mark.parametrize(
    "rule",
    [
        None,
        [],
        {"if": {"field": "type", "equals": "x"}},
        {"if": {"field": "type", "equals": "x"}, "then": {"effect": "modify"}},
        {"if": {"field": "type", "greater": 3}, "then": {"effect": "deny"}},
        {"if": {"value": "[resourceGroup().name]", "equals": "x"}, "then": {"effect": "deny"}},
        {"if": {"field": "[concat('a')]", "equals": "x"}, "then": {"effect": "deny"}},
        {"if": {"count": {}, "equals": 1}, "then": {"effect": "deny"}},
        {"if": {"allOf": "x"}, "then": {"effect": "deny"}},
        {"if": {"field": "type", "in": "[parameters('gone')]"}, "then": {"effect": "deny"}},
        {"if": {"not": {"not": []}}, "then": {"effect": "deny"}},
    ],
)
def test_a_rule_that_is_not_understood_is_refused_when_it_is_written(rule: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_rule(rule, {})


async def test_policies_that_make_no_sense_are_refused_and_others_read(arm: Arm) -> None:
    scope = group_of(arm)
    types: dict[str, Any] = {"listOfResourceTypesNotAllowed": []}
    made = await assign(arm, scope, DENIED_TYPES, parameters=types)
    listed = await arm.ask("GET", f"{scope}/{AUTHORIZATION}/policyAssignments", version="2023-04-01")
    built_in = await arm.ask("GET", LOCATIONS, version="2023-04-01")
    below = await arm.ask("GET", f"/subscriptions/{arm.subscription.id}{LOCATIONS}", version="2023-04-01")
    every = await arm.ask(
        "GET", f"/subscriptions/{arm.subscription.id}/{AUTHORIZATION}/policyDefinitions", version="2023-04-01"
    )

    assert listed.json()["value"] == [made.json()]
    assert (
        built_in.json()["properties"]["displayName"] == below.json()["properties"]["displayName"] == "Allowed locations"
    )
    assert len(every.json()["value"]) == 3
    assert code_of(await assign(arm, scope, "/nowhere")) == (404, "PolicyDefinitionNotFound")
    assert code_of(await assign(arm, scope, LOCATIONS, parameters={"other": 1})) == (400, "InvalidPolicyRule")
    assert code_of(await assign(arm, scope, LOCATIONS, notScopes=[1])) == (400, "InvalidPolicyRule")
    gone = f"{scope}/{AUTHORIZATION}/policyAssignments/gone"
    assert code_of(await arm.ask("GET", gone, version="2023-04-01")) == (404, "PolicyAssignmentNotFound")


# Registration ----------------------------------------------------------------------------------------------------


async def test_a_provider_that_is_not_registered_takes_no_writes_until_it_is(arm: Arm) -> None:
    arm.world.unregistered.add((arm.subscription.id, "microsoft.managedidentity"))
    base = f"/subscriptions/{arm.subscription.id}/providers/microsoft.managedidentity"

    refused, read = await arm.put("fic1"), await arm.ask("GET", arm.url())
    before = (await arm.ask("GET", base, version="2016-02-01")).json()["registrationState"]
    after = (await arm.ask("POST", f"{base}/register", version="2016-02-01")).json()["registrationState"]
    written = await arm.put("fic1")
    used = await arm.ask("POST", f"{base}/unregister", version="2016-02-01")

    assert code_of(refused) == (409, "MissingSubscriptionRegistration")
    assert "namespace 'Microsoft.ManagedIdentity'" in refused.json()["error"]["message"]
    assert (read.status_code, before, after, written.status_code) == (200, "NotRegistered", "Registered", 201)
    assert code_of(used) == (409, "CannotUnregisterResourceProvider")


async def test_providers_are_listed_and_unused_ones_unregistered(arm: Arm) -> None:
    base = f"/subscriptions/{arm.subscription.id}/providers"

    listed = await arm.ask("GET", base, version="2021-04-01")
    left = await arm.ask("POST", f"{base}/Microsoft.KeyVault/unregister", version="2021-04-01")
    vault = f"{group_of(arm)}/providers/Microsoft.KeyVault/vaults/team-kv"

    assert "Microsoft.KeyVault" in [each["namespace"] for each in listed.json()["value"]]
    assert left.json()["registrationState"] == "NotRegistered"
    assert code_of(await arm.ask("PUT", vault, body={})) == (409, "MissingSubscriptionRegistration")
    assert code_of(await arm.ask("GET", f"{base}/Nobody.Knows", version="2021-04-01")) == (
        404,
        "InvalidResourceNamespace",
    )


# Seeds -----------------------------------------------------------------------------------------------------------

SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/pool"
WRITER = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/writer"
CLIENT = "33333333-3333-4333-8333-333333333333"
SEED = f"""\
subscriptions: [{{id: {SUBSCRIPTION}}}]
applications: [{{clientId: {CLIENT}, secret: unused}}]
identities: [{{id: {WRITER}}}]
vaults:
- id: {GROUP}/providers/Microsoft.KeyVault/vaults/team-kv
  rbac: false
  accessPolicies: [{{principal: {WRITER}, secrets: [Get, list]}}]
customRoles:
- name: Writer of everything
  actions: ['*']
  assignableScopes: [{GROUP}]
roleAssignments:
- principal: {CLIENT}
  role: Writer of everything
  scope: {GROUP}
  condition: '!(ActionMatches{{''Microsoft.Authorization/*/write''}})'
locks:
- scope: {WRITER}
  level: CanNotDelete
policies:
- name: issuers
  scope: {GROUP}
  allowedIssuers: [https://ours.example.test/]
- name: places
  scope: {GROUP}
  allowedLocations: [westeurope]
unregisteredProviders:
- subscription: {SUBSCRIPTION}
  namespace: Microsoft.KeyVault
"""


async def test_a_seed_governs_as_the_api_does(tmp_path: Path) -> None:
    path = tmp_path / "seed.yaml"
    path.write_text(SEED)
    seeded = Arm()
    seeded.clock = VirtualClock(EPOCH)
    seeded.world = plant(read_seed(path), seeded.clock, Journal(seeded.clock))
    seeded.app = AzureApp(seeded.world, _nowhere)
    seeded.owner = seeded.world.applications[CLIENT]
    seeded.client = arm_fixtures.client_of(seeded.app)
    (seeded.identity,) = seeded.world.identities.values()
    somewhere = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/second"

    async with seeded.client:
        answers = [
            await seeded.put("fic1"),
            await seeded.put("fic1", body_of(issuer="https://ours.example.test/")),
            await seeded.ask("DELETE", WRITER),
            await seeded.ask("PUT", somewhere, body={"location": "northeurope"}),
            await seeded.ask("PUT", f"{GROUP}/{AUTHORIZATION}/locks/x", version="2020-05-01", body={}),
            await seeded.ask("PUT", f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv2", version="2026-05-15", body={}),
        ]

    assert [code_of(each) for each in answers] == [
        (403, "RequestDisallowedByPolicy"),
        (201, ""),
        (409, "ScopeLocked"),
        (403, "RequestDisallowedByPolicy"),
        (403, "AuthorizationFailed"),
        (409, "MissingSubscriptionRegistration"),
    ]
    vault = seeded.world.vaults["team-kv"]
    assert (vault.rbac, vault.access_policies[0].object_id) == (False, seeded.identity.principal_id)
    assert vault.access_policies[0].secrets == ("get", "list")


async def _nowhere(url: str) -> tuple[int, bytes]:
    raise ConnectionRefusedError(url)


BAD = {
    "a lock of another level": (SEED.replace("CanNotDelete", "Never"), "  level: Never", "Known fields: scope, level"),
    "a lock on nothing": (
        SEED.replace(f"- scope: {WRITER}", "- scope: here"),
        "- scope: here",
        "a scope: /subscriptions/",
    ),
    "a policy of nothing": (
        SEED.replace("  allowedLocations: [westeurope]\n", ""),
        "- name: places",
        "says one of allowedIssuers",
    ),
    "a policy of two things": (
        SEED.replace("  allowedLocations: [westeurope]\n", "  allowedLocations: [x]\n  deniedTypes: [y]\n"),
        "- name: places",
        "Split it",
    ),
    "a policy without a name": (SEED.replace("name: places", "name: 'a b'"), "- name: 'a b'", "a name has 1 to 64"),
    "a role that is there": (
        SEED.replace("- name: Writer of everything", "- name: reader"),
        "- name: reader",
        "Give it another name",
    ),
    "a role for nowhere": (
        SEED.replace(f"assignableScopes: [{GROUP}]", "assignableScopes: []"),
        "  assignableScopes",
        "length >= 1",
    ),
    "a role of another tenant": (
        SEED.replace("  actions: ['*']\n", "  tenant: x\n"),
        "  tenant: x",
        "not in tenants. Add it there",
    ),
    "a condition that is none": (
        SEED.replace("condition: '!(ActionMatches", "condition: 'Nonsense "),
        "  condition: 'Nonsense",
        "leave it out",
    ),
    "a provider of another subscription": (
        SEED.replace(f"- subscription: {SUBSCRIPTION}", "- subscription: x"),
        "- subscription: x",
        "not in subscriptions",
    ),
    "an unknown provider": (
        SEED.replace("namespace: Microsoft.KeyVault", "namespace: X"),
        "  namespace: X",
        "subscription, namespace",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_seed_names_the_line_and_the_cure(tmp_path: Path, case: str) -> None:
    text, start, cure = BAD[case]
    path = tmp_path / "seed.yaml"
    path.write_text(text)

    with pytest.raises(BadSeed) as refused:
        read_seed(path)

    line = int(str(refused.value).removeprefix(f"{path}:").partition(":")[0])
    assert text.splitlines()[line - 1].startswith(start)
    assert cure in str(refused.value)
