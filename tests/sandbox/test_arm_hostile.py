"""Whatever is sent to Resource Manager, the answer is one of its own: no failure of the server, no hang."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from keystead_sandbox.buckets import Buckets
from keystead_sandbox.resources import Rules
from sandbox.arm_fixtures import Arm, body_of, client_of

IDENTITY = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
AUTHORIZATION = "providers/Microsoft.Authorization"
PATHS = (
    "/subscriptions",
    "/subscriptions/{s}/resourcegroups/{n}",
    "/subscriptions/{s}/resourcegroups/identities/" + IDENTITY + "/{n}",
    "/subscriptions/{s}/resourcegroups/identities/" + IDENTITY + "/writer/federatedIdentityCredentials/{n}",
    "/subscriptions/{s}/resourcegroups/identities/providers/Microsoft.KeyVault/vaults/{n}",
    "/subscriptions/{s}/resourcegroups/identities/providers/Microsoft.KeyVault/vaults/team-kv/accessPolicies/add",
    "/subscriptions/{s}/providers/Microsoft.KeyVault/checkNameAvailability",
    "/subscriptions/{s}/providers/Microsoft.KeyVault/locations/{n}/deletedVaults/{n}/purge",
    "/subscriptions/{s}/" + AUTHORIZATION + "/roleAssignments/00000000-0000-4000-8000-000000000001",
    "/subscriptions/{s}/" + AUTHORIZATION + "/roleDefinitions/00000000-0000-4000-8000-000000000002",
    "/subscriptions/{s}/" + AUTHORIZATION + "/locks/{n}",
    "/subscriptions/{s}/" + AUTHORIZATION + "/policyAssignments/{n}",
    "/subscriptions/{s}/" + AUTHORIZATION + "/policyDefinitions/{n}",
    "/subscriptions/{s}/providers/{n}/register",
    "/{n}",
)
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS", "TRACE")
VERSIONS = ("2024-11-30", "2025-01-31-preview", "2026-05-31", "2022-04-01", "soon", "")
FIELDS = (
    *("properties", "location", "tags", "issuer", "subject", "audiences", "claimsMatchingExpression", "principalId"),
    *(
        "roleDefinitionId",
        "principalType",
        "condition",
        "conditionVersion",
        "permissions",
        "assignableScopes",
        "roleName",
    ),
    *(
        "level",
        "notes",
        "policyRule",
        "if",
        "then",
        "effect",
        "field",
        "equals",
        "allOf",
        "not",
        "parameters",
        "notScopes",
    ),
    *("tenantId", "sku", "accessPolicies", "objectId", "softDeleteRetentionInDays", "enableRbacAuthorization", "name"),
    *("isolationScope", "assignmentRestrictions", "providers", "value", "languageVersion", "policyDefinitionId"),
)
texts = some.one_of(
    some.text(max_size=20),
    some.sampled_from(["\0", "westeurope", "deny", "2.0", "recover", "../..", "%2F", "\u202e", "x" * 700, "Owner"]),
)
values = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), texts),
    lambda inner: some.one_of(
        some.lists(inner, max_size=3), some.dictionaries(some.sampled_from(FIELDS) | texts, inner, max_size=5)
    ),
    max_leaves=15,
)
names = texts.filter(bool).map(lambda text: quote(text.replace("/", "%2f"), safe=""))
queries = some.dictionaries(
    some.sampled_from(["$top", "$skiptoken", "$filter", "x"]),
    texts | some.sampled_from(["9" * 5000, "X'9999999999999'", "X'1'", "principalId eq 'x'", "-1", "\uff11"]),
    max_size=3,
)


class Asking:
    """One world for all examples, on real time: nothing in it waits for long."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.arm = self.loop.run_until_complete(self._made())

    async def _made(self) -> Arm:
        made = Arm()
        made.world.rules = Rules(write_hold=0)
        made.world.add_vault("team-kv", "identities")
        return made

    def ask(self, method: str, url: str, content: bytes) -> tuple[int, bytes]:
        async def asked() -> tuple[int, bytes]:
            self.arm.world.buckets = Buckets(self.arm.clock)  # full again
            async with client_of(self.arm.app) as client:
                answer = await client.request(method, url, headers=self.arm.bearer(), content=content)
            return answer.status_code, answer.content

        return self.loop.run_until_complete(asyncio.wait_for(asked(), 20))


@pytest.fixture(scope="module")
def asking() -> Any:
    made = Asking()
    yield made
    made.loop.close()


@given(
    method=some.sampled_from(METHODS),
    path=some.sampled_from(PATHS),
    name=names,
    version=some.sampled_from(VERSIONS),
    query=queries,
    body=values,
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_makes_it_fail(
    asking: Asking, method: str, path: str, name: str, version: str, query: dict[str, str], body: Any
) -> None:
    url = path.format(s=asking.arm.subscription.id, n=name) + f"?api-version={version}"
    url += "".join(f"&{key}={quote(value, safe='')}" for key, value in query.items())

    status, content = asking.ask(method, url, json.dumps(body).encode())

    assert status < 500
    if status >= 400 and method != "HEAD":
        assert set(json.loads(content)["error"]) >= {"code", "message"}


HOSTILE = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"properties": "\xff"}',
    "a lone surrogate": b'{"properties": {"issuer": "\\ud800", "subject": "s", "audiences": ["a"]}}',
    "a number beyond all": b'{"properties": {"issuer": 1e999, "subject": 9' + b"9" * 5000 + b', "audiences": [1]}}',
    "a list a hundred thousand deep": b"[" * 100_000 + b"]" * 100_000,
    "objects a hundred thousand deep": b'{"properties":' * 100_000 + b"1" + b"}" * 100_000,
    "five megabytes": b'{"properties": "' + b"x" * (5 << 20) + b'"}',
    "a list": b"[]",
    "a text": b'"properties"',
    "null": b"null",
    "the same name twice": b'{"properties": {}, "properties": 7}',
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("path", [path for path in PATHS if "{n}" in path or "Assignments" in path])
def test_no_body_makes_it_fail(asking: Asking, path: str, case: str) -> None:
    url = path.format(s=asking.arm.subscription.id, n="abc") + "?api-version=2024-11-30"

    status, content = asking.ask("PUT", url, HOSTILE[case])

    assert 400 <= status < 500
    assert json.loads(content)["error"]["code"]


@pytest.mark.parametrize(
    ("name", "status"),
    [("a%2Fb", 404), ("a%00b", 400), ("%2e%2e", 400), ("%F0%9F%98%80abc", 400), ("abc%0A", 400), ("%ff%fe%fd", 400)],
)
def test_odd_names_are_refused(asking: Asking, name: str, status: int) -> None:
    url = f"{asking.arm.identity.resource_id}/federatedIdentityCredentials/{name}?api-version=2024-11-30"

    assert asking.ask("PUT", url, json.dumps(body_of()).encode())[0] == status


def test_a_very_long_path_is_answered(asking: Asking) -> None:
    url = "/providers/microsoft.authorization" * 500 + "/roleassignments/x?api-version=2022-04-01"

    assert asking.ask("GET", url, b"")[0] in (403, 404)
