"""Key Vault: the challenge, roles, and each operation's answers."""

import asyncio
import json
import re

import pytest

from keystead_sandbox.resources import Rules
from sandbox import entra_keyvault_fixtures
from sandbox.entra_keyvault_fixtures import PLANTED, Cloud, at_the_start
from sandbox.keyvault_fixtures import BASE, NOW, ask, refusal

cloud = entra_keyvault_fixtures.cloud
pytestmark = pytest.mark.looptime


@pytest.fixture
async def officer(cloud: Cloud) -> Cloud:
    with at_the_start():
        cloud.world.assign_role(cloud.identity.principal_id, "Key Vault Secrets Officer", cloud.vault.resource_id)
    return cloud


# The challenge ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic eA=="}, {"Authorization": "Bearer "}])
async def test_without_a_token_there_is_a_challenge(cloud: Cloud, headers: dict[str, str]) -> None:
    response = await ask(cloud, "GET", "/secrets/db-password/", headers=headers, version=None)

    assert refusal(response) == (401, "Unauthorized", "")
    assert response.json()["error"]["message"] == "AKV10000: Request is missing a Bearer or PoP token."
    challenge = (
        f'Bearer authorization="https://login.microsoftonline.com/{cloud.tenant}", resource="https://vault.azure.net"'
    )
    assert response.headers["WWW-Authenticate"] == challenge


async def test_a_token_for_another_audience_is_refused(officer: Cloud) -> None:
    response = await ask(officer, "GET", "/secrets", headers=officer.bearer("https://management.azure.com"))

    message = "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com."
    assert (response.status_code, response.json()["error"]["message"]) == (401, message)
    assert "WWW-Authenticate" in response.headers


async def test_a_token_of_another_tenant_is_refused(officer: Cloud) -> None:
    tenant = officer.world.add_tenant(name="other").id
    stranger = officer.world.add_application("stranger", secret="x", tenant_id=tenant)
    token = officer.authority.issue(stranger, "https://vault.azure.net")

    response = await ask(officer, "GET", "/secrets", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401
    assert response.json()["error"]["message"].startswith(
        "AKV10032: Invalid issuer. Expected one of https://sts.windows"
    )


@pytest.mark.parametrize("token", ["x", "a.b.c", "x.y"])
async def test_a_token_that_is_none_is_refused_and_not_quoted(officer: Cloud, token: str) -> None:
    response = await ask(officer, "GET", "/secrets", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401
    assert response.json()["error"]["message"] == "Error validating token: malformed."


async def test_an_expired_token_is_refused(officer: Cloud) -> None:
    headers = officer.bearer()
    await asyncio.sleep(86400)

    assert (await ask(officer, "GET", "/secrets", headers=headers)).status_code == 401


@pytest.mark.parametrize("audience", ["https://vault.azure.net/", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"])
async def test_other_spellings_of_the_audience_are_accepted(officer: Cloud, audience: str) -> None:
    assert (await ask(officer, "GET", "/secrets", headers=officer.bearer(audience))).status_code == 200


# Roles -----------------------------------------------------------------------------------------------------------

USER = "Key Vault Secrets User"
READER = "Key Vault Reader"
ROLE_CASES = [
    ("GET", "/secrets/db-password/", "getSecret/action", {USER: 200, READER: 403}),
    ("GET", "/secrets", "readMetadata/action", {USER: 200, READER: 200}),
    ("GET", "/secrets/db-password/versions", "readMetadata/action", {USER: 200, READER: 200}),
    ("PUT", "/secrets/db-password", "setSecret/action", {USER: 403, READER: 403}),
    ("PATCH", "/secrets/db-password/", "update/action", {USER: 403, READER: 403}),
    ("DELETE", "/secrets/db-password", "delete", {USER: 403, READER: 403}),
    ("GET", "/deletedsecrets", "readMetadata/action", {USER: 200, READER: 200}),
    ("POST", "/deletedsecrets/db-password/recover", "recover/action", {USER: 403, READER: 403}),
    ("DELETE", "/deletedsecrets/db-password", "purge/action", {USER: 403, READER: 403}),
]


@pytest.mark.parametrize("role", [USER, READER])
@pytest.mark.parametrize(("method", "path", "action", "expected"), ROLE_CASES, ids=lambda value: str(value)[:30])
async def test_a_role_allows_what_its_data_actions_say(
    cloud: Cloud, method: str, path: str, action: str, expected: dict[str, int], role: str
) -> None:
    cloud.world.assign_role(cloud.identity.principal_id, role, cloud.vault.resource_id)

    response = await ask(cloud, method, path, body={"value": "x"} if method in ("PUT", "PATCH") else None)

    assert response.status_code == expected[role]
    if response.status_code == 403:
        assert f"Action: 'Microsoft.KeyVault/vaults/secrets/{action}'" in response.json()["error"]["message"]


async def test_without_a_role_the_refusal_names_everything(cloud: Cloud) -> None:
    response = await ask(cloud, "GET", "/secrets/DB-password/")

    assert refusal(response) == (403, "Forbidden", "ForbiddenByRbac")
    group = cloud.vault.resource_id.split("/providers/")[0].lower()
    assert response.json()["error"]["message"] == (
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role"
        " definitions were changed recently, please observe propagation time.\r\n"
        f"Caller: appid={cloud.identity.client_id};oid={cloud.identity.principal_id};"
        f"iss=https://sts.windows.net/{cloud.tenant}/;xms_mirid={cloud.identity.resource_id}\r\n"
        "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\n"
        f"Resource: '{group}/providers/microsoft.keyvault/vaults/payments-kv/secrets/db-password'\r\n"
        "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\n"
        "Vault: Payments-KV;location=westeurope\r\n"
    )


async def test_a_caller_without_a_role_learns_nothing_about_what_exists(cloud: Cloud) -> None:
    for path in ("/secrets/db-password/", "/secrets/absent/"):
        assert refusal(await ask(cloud, "GET", path))[0] == 403


async def test_a_role_on_one_secret_opens_that_one(cloud: Cloud) -> None:
    cloud.world.set_secret(cloud.vault, "other", "x")
    scope = f"{cloud.vault.resource_id}/secrets/db-password"
    cloud.world.assign_role(cloud.identity.principal_id, USER, scope)

    assert (await ask(cloud, "GET", "/secrets/db-password/")).status_code == 200
    assert (await ask(cloud, "GET", "/secrets/other/")).status_code == 403
    assert (await ask(cloud, "GET", "/secrets")).status_code == 403


# Reading ---------------------------------------------------------------------------------------------------------


async def test_a_secret_reads_with_and_without_a_slash_and_by_version(officer: Cloud) -> None:
    version = officer.vault.secrets["db-password"][0].version
    answers = [
        await ask(officer, "GET", path)
        for path in ("/secrets/db-password/", "/secrets/db-password", f"/secrets/DB-Password/{version}")
    ]

    assert [answer.json() for answer in answers] == [
        {
            "value": PLANTED,
            "id": f"{BASE}/secrets/db-password/{version}",
            "attributes": {
                "enabled": True,
                "created": NOW,
                "updated": NOW,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": 90,
            },
        }
    ] * 3


async def test_answers_carry_key_vaults_headers(officer: Cloud) -> None:
    response = await ask(officer, "GET", "/secrets", headers={**officer.bearer(), "x-ms-client-request-id": "mine"})

    assert response.headers["x-ms-keyvault-region"] == "westeurope"
    assert response.headers["x-ms-client-request-id"] == "mine"
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["x-ms-request-id"])


@pytest.mark.parametrize(
    ("path", "name"), [("absent/", "absent"), (f"db-password/{'0' * 32}", f"db-password/{'0' * 32}")]
)
async def test_what_is_absent_is_not_found(officer: Cloud, path: str, name: str) -> None:
    response = await ask(officer, "GET", f"/secrets/{path}")

    assert refusal(response) == (404, "SecretNotFound", "")
    assert response.json()["error"]["message"].startswith(f"A secret with (name/id) {name} was not found in this key")


@pytest.mark.parametrize("name", ["under_score", "dot.dot", "a" * 128])
async def test_an_impossible_name_is_a_bad_parameter(officer: Cloud, name: str) -> None:
    assert refusal(await ask(officer, "GET", f"/secrets/{name}/")) == (400, "BadParameter", "")


@pytest.mark.parametrize("version", ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"])
async def test_every_version_in_use_is_served(officer: Cloud, version: str) -> None:
    assert (await ask(officer, "GET", "/secrets/db-password/", version=version)).status_code == 200


@pytest.mark.parametrize("version", [None, "", "2016-10-01", "7.7"])
async def test_any_other_version_is_a_bad_parameter(officer: Cloud, version: str | None) -> None:
    assert refusal(await ask(officer, "GET", "/secrets/db-password/", version=version)) == (400, "BadParameter", "")


async def test_a_disabled_secret_is_listed_and_not_read(officer: Cloud) -> None:
    await ask(officer, "PATCH", "/secrets/db-password/", body={"attributes": {"enabled": False}})

    response = await ask(officer, "GET", "/secrets/db-password/")

    assert refusal(response) == (403, "Forbidden", "SecretDisabled")
    assert response.json()["error"]["message"] == "Operation get is not allowed on a disabled secret."
    assert [item["attributes"]["enabled"] for item in (await ask(officer, "GET", "/secrets")).json()["value"]] == [
        False
    ]


async def test_nbf_and_exp_only_inform(officer: Cloud) -> None:
    await ask(officer, "PUT", "/secrets/old", body={"value": "x", "attributes": {"nbf": 1, "exp": 2}})

    body = (await ask(officer, "GET", "/secrets/old/")).json()

    assert (body["value"], body["attributes"]["nbf"], body["attributes"]["exp"]) == ("x", 1, 2)


# Lists -----------------------------------------------------------------------------------------------------------


async def test_a_list_pages_with_absolute_links_that_name_the_port(officer: Cloud) -> None:
    for number in range(30):
        officer.world.set_secret(officer.vault, f"s{number:02}", "x")

    first = (await ask(officer, "GET", "/secrets")).json()
    link = first["nextLink"]
    second = (await officer.keyvault.get(link, headers=officer.bearer())).json()

    assert link.startswith(f"{BASE}:443/secrets?api-version=7.4&$skiptoken=")
    names = [item["id"].rpartition("/")[2] for page in (first, second) for item in page["value"]]
    assert names == ["db-password", *(f"s{number:02}" for number in range(30))]
    assert (len(first["value"]), second["nextLink"]) == (25, None)
    assert all("value" not in item for item in first["value"])


async def test_a_page_goes_on_although_its_last_secret_is_gone(officer: Cloud) -> None:
    for name in ("e1", "e2"):
        officer.world.set_secret(officer.vault, name, "x")
    link = (await ask(officer, "GET", "/secrets", query={"maxresults": "2"})).json()["nextLink"]
    await ask(officer, "DELETE", "/secrets/e1")

    page = (await officer.keyvault.get(link, headers=officer.bearer())).json()

    assert [item["id"] for item in page["value"]] == [f"{BASE}/secrets/e2"]


@pytest.mark.parametrize("wanted", ["0", "26", "-1", "x", "1" * 5000])
async def test_a_page_has_one_to_25_items(officer: Cloud, wanted: str) -> None:
    assert refusal(await ask(officer, "GET", "/secrets", query={"maxresults": wanted}))[0] == 400


@pytest.mark.parametrize("token", ["%%%", "é", "////"])
async def test_a_broken_skip_token_is_a_bad_parameter(officer: Cloud, token: str) -> None:
    assert refusal(await ask(officer, "GET", "/secrets", query={"$skiptoken": token}))[0] == 400


async def test_versions_are_listed_without_values(officer: Cloud) -> None:
    await ask(officer, "PUT", "/secrets/db-password", body={"value": "second"})

    body = (await ask(officer, "GET", "/secrets/db-password/versions")).json()

    assert {item["id"].rpartition("/")[2] for item in body["value"]} == {
        version.version for version in officer.vault.secrets["db-password"]
    }
    assert "second" not in json.dumps(body)


# Writing ---------------------------------------------------------------------------------------------------------


async def test_a_set_makes_the_version_that_is_read_next(officer: Cloud) -> None:
    await asyncio.sleep(60)
    tags = {"owner": "shop"}
    written = await ask(officer, "PUT", "/secrets/New-One", body={"value": "v", "contentType": "text", "tags": tags})

    body = (await ask(officer, "GET", "/secrets/new-one/")).json()

    assert body == written.json()
    assert (body["value"], body["contentType"], body["tags"]) == ("v", "text", tags)
    assert body["attributes"]["created"] == NOW + 60
    assert "/secrets/New-One/" in body["id"]


async def test_an_update_leaves_the_value_and_moves_updated(officer: Cloud) -> None:
    await asyncio.sleep(60)

    changed = (await ask(officer, "PATCH", "/secrets/db-password/", body={"tags": {"a": "b"}, "value": "no"})).json()

    assert "value" not in changed
    assert (changed["attributes"]["created"], changed["attributes"]["updated"]) == (NOW, NOW + 60)
    assert (await ask(officer, "GET", "/secrets/db-password/")).json()["value"] == PLANTED


BAD_BODIES: dict[str, object] = {
    "none": None,
    "a list": [],
    "no value": {},
    "a null value": {"value": None},
    "a number": {"value": 5},
    "too long": {"value": "x" * 25601},
    "a long type": {"value": "x", "contentType": "t" * 256},
    "many tags": {"value": "x", "tags": {str(number): "" for number in range(16)}},
    "nbf after exp": {"value": "x", "attributes": {"nbf": 2, "exp": 1}},
    "an exp that is no instant": {"value": "x", "attributes": {"exp": 10**15}},
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_a_bad_body_is_a_bad_parameter(officer: Cloud, case: str) -> None:
    assert refusal(await ask(officer, "PUT", "/secrets/new", body=BAD_BODIES[case])) == (400, "BadParameter", "")
    assert "new" not in officer.vault.secrets


# Soft delete -----------------------------------------------------------------------------------------------------


async def test_a_deleted_secret_is_gone_but_keeps_its_name(officer: Cloud) -> None:
    deleted = (await ask(officer, "DELETE", "/secrets/db-password")).json()

    assert deleted["recoveryId"] == f"{BASE}/deletedsecrets/db-password"
    assert deleted["scheduledPurgeDate"] - deleted["deletedDate"] == 90 * 86400
    assert PLANTED not in json.dumps(deleted)
    assert (await ask(officer, "GET", "/deletedsecrets/db-password")).json() == deleted
    assert len((await ask(officer, "GET", "/deletedsecrets")).json()["value"]) == 1
    assert (await ask(officer, "GET", "/secrets")).json()["value"] == []
    assert refusal(await ask(officer, "GET", "/secrets/db-password/"))[1] == "SecretNotFound"
    again = await ask(officer, "PUT", "/secrets/db-password", body={"value": "x"})
    assert refusal(again) == (409, "Conflict", "ObjectIsDeletedButRecoverable")


async def test_a_recovered_secret_has_its_versions_again(officer: Cloud) -> None:
    await ask(officer, "DELETE", "/secrets/db-password")
    await ask(officer, "POST", "/deletedsecrets/db-password/recover")

    assert (await ask(officer, "GET", "/secrets/db-password/")).json()["value"] == PLANTED


async def test_a_purged_secret_frees_its_name(officer: Cloud) -> None:
    await ask(officer, "DELETE", "/secrets/db-password")
    assert (await ask(officer, "DELETE", "/deletedsecrets/db-password")).status_code == 204

    assert refusal(await ask(officer, "GET", "/deletedsecrets/db-password"))[0] == 404
    assert (await ask(officer, "PUT", "/secrets/DB-PASSWORD", body={"value": "x"})).status_code == 200


# The rest --------------------------------------------------------------------------------------------------------


async def test_too_many_transactions_are_throttled(officer: Cloud) -> None:
    officer.world.rules = Rules(vault_capacity=2, vault_refill=0.5)
    codes = [(await ask(officer, "GET", "/secrets")).status_code for _ in range(3)]
    refused = await ask(officer, "GET", "/secrets")

    assert codes == [200, 200, 429]
    assert (refusal(refused)[1], refused.headers["Retry-After"]) == ("Throttled", "2")
    await asyncio.sleep(2)
    assert (await ask(officer, "GET", "/secrets")).status_code == 200


async def test_a_vault_that_does_not_exist_says_so(officer: Cloud) -> None:
    response = await officer.keyvault.get("https://absent.vault.azure.net/secrets?api-version=7.4")

    assert refusal(response)[:2] == (404, "VaultNotFound")
