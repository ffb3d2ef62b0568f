"""Key Vault: what holds for every request, whatever it asks: the challenge, paths, bodies, headers, throttling."""

import asyncio
import json
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.journal import Journal
from keystead_sandbox.keyvault import keys, material
from keystead_sandbox.keyvault.routes import keyvault_app
from keystead_sandbox.resources import Rules
from keystead_sandbox.traffic import Traffic
from keystead_sandbox.world import World
from sandbox import entra_keyvault_fixtures, keyvault_fixtures
from sandbox.entra_keyvault_fixtures import PLANTED, SANDBOX_KEY, Cloud
from sandbox.keyvault_fixtures import ADMINISTRATOR, CURVE_KEY, OPERATIONS, ask, plant_certificate, refusal, told

cloud, admin = entra_keyvault_fixtures.cloud, keyvault_fixtures.admin
HOST = "payments-kv.vault.azure.net"
METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]


# The challenge ---------------------------------------------------------------------------------------------------


@pytest.mark.looptime
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/secrets/db-password/", "/secrets/absent", "/keys/x/create", "/nonsense", "/"])
async def test_without_a_token_every_request_is_challenged_alike(cloud: Cloud, method: str, path: str) -> None:
    response = await ask(cloud, method, path, headers={}, version=None)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == (
        f'Bearer authorization="https://login.microsoftonline.com/{cloud.tenant}", resource="https://vault.azure.net"'
    )


@pytest.mark.looptime
async def test_a_token_that_nobody_signed_is_refused_with_its_header_alone(admin: Cloud) -> None:
    head, payload, signature = admin.bearer()["Authorization"].removeprefix("Bearer ").split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"

    response = await ask(admin, "GET", "/secrets", headers={"Authorization": f"Bearer {forged}"})

    message = response.json()["error"]["message"]
    assert response.status_code == 401
    assert message == (
        f"AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: '{head}'."
    )
    assert payload not in response.text


@pytest.mark.looptime
async def test_a_token_whose_time_is_over_is_refused(admin: Cloud) -> None:
    headers = admin.bearer()
    await asyncio.sleep(86400)

    response = await ask(admin, "GET", "/secrets", headers=headers)

    assert (response.status_code, response.json()["error"]["message"]) == (401, "Error validating token: IDX10223")


# Requests that External Secrets Operator 2.9 was seen to send, with what it expects ---------------------------------

AUTOREST = "go-autorest/v14.2.1 keyvault/7.0"
AZSECRETS = "azsdk-go-azsecrets/v1.4.0"
SEEN = [
    ("the legacy SDK reads at once, with a slash", "/secrets/db-password/?api-version=7.0", AUTOREST, True, 200),
    ("the legacy SDK lists", "/secrets?api-version=7.0", AUTOREST, True, 200),
    ("the legacy SDK reads a version", "/secrets/db-password/{version}?api-version=7.0", AUTOREST, True, 200),
    ("the legacy SDK reads a key", "/keys/signer/?api-version=7.0", AUTOREST, True, 404),
    ("the legacy SDK reads a certificate", "/certificates/shop/?api-version=7.0", AUTOREST, True, 404),
    ("the new SDK asks without a token", "/secrets/db-password/?api-version=7.6", AZSECRETS, False, 401),
    ("the new SDK asks again", "/secrets/db-password/?api-version=7.6", AZSECRETS, True, 200),
]


@pytest.mark.looptime
@pytest.mark.parametrize(("path", "agent", "signed", "status"), [each[1:] for each in SEEN], ids=[s[0] for s in SEEN])
async def test_requests_of_external_secrets_are_answered(
    admin: Cloud, path: str, agent: str, signed: bool, status: int
) -> None:
    headers = {"User-Agent": agent, **(admin.bearer() if signed else {})}
    url = f"https://{HOST}{path.format(version=admin.vault.secrets['db-password'][0].version)}"

    response = await admin.keyvault.get(url, headers=headers)

    assert response.status_code == status
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


# Paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.looptime
@pytest.mark.parametrize("path", ["//secrets/db-password", "/Secrets/DB-Password", "/secrets//db-password//"])
async def test_case_and_empty_segments_of_a_path_do_not_matter(admin: Cloud, path: str) -> None:
    assert (await told(admin, "GET", f"https://{HOST}{path}"))["value"] == PLANTED


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/secrets/db-password/latest", (400, "BadParameter", "")),
        ("GET", "/keys/x/latest", (400, "BadParameter", "")),
        ("POST", "/keys/x/frobnicate", (400, "BadParameter", "")),
        ("GET", "/secrets/a/b/c/d", (400, "BadParameter", "")),
        ("POST", "/secrets/db-password", (405, "MethodNotAllowed", "")),
        ("PUT", "/secrets", (405, "MethodNotAllowed", "")),
        ("HEAD", "/secrets/db-password", (405, "", "")),
        ("GET", "/storage/x", (404, "NotFound", "")),
        ("GET", "/", (404, "NotFound", "")),
        ("POST", "/rng", (400, "BadParameter", "")),
    ],
    ids=str,
)
async def test_what_there_is_not_is_refused(
    admin: Cloud, method: str, path: str, expected: tuple[int, str, str]
) -> None:
    response = await ask(admin, method, path)

    assert response.status_code == expected[0]
    assert method == "HEAD" or refusal(response) == expected


@pytest.mark.looptime
async def test_a_version_that_is_none_is_read_as_an_operation(admin: Cloud) -> None:
    response = await ask(admin, "GET", "/secrets/db-password/latest")

    assert response.json()["error"]["message"] == "Method GET does not allow operation 'latest'"


@pytest.mark.looptime
async def test_a_vault_that_was_deleted_answers_no_more(admin: Cloud) -> None:
    assert (await ask(admin, "GET", "/secrets")).status_code == 200

    del admin.world.vaults["payments-kv"]

    assert refusal(await ask(admin, "GET", "/secrets"))[:2] == (404, "VaultNotFound")


# Bodies ----------------------------------------------------------------------------------------------------------

BAD_BODIES = [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"value": 5}', b'{"value":"\\ud800"}', b"[" * 5000]


@pytest.mark.looptime
@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/secrets/new"), ("POST", "/keys/new/create"), ("PUT", "/keys/new"), ("POST", "/certificates/new/create"),
     ("POST", "/certificates/new/import"), ("POST", "/secrets/restore"), ("PUT", "/certificates/contacts")],
)  # fmt: skip
async def test_a_body_that_does_not_fit_is_a_bad_parameter(admin: Cloud, method: str, path: str, body: bytes) -> None:
    response = await admin.keyvault.request(
        method, path, params={"api-version": "7.6"}, content=body, headers=admin.bearer()
    )

    assert refusal(response)[:2] == (400, "BadParameter")
    assert "new" not in {*admin.vault.secrets, *admin.vault.keys, *admin.vault.certificates}


@pytest.mark.looptime
async def test_a_refused_body_is_named_by_its_place_and_never_quoted(admin: Cloud) -> None:
    response = await ask(admin, "PUT", "/secrets/new", body={"value": {"nested": PLANTED}})

    assert response.json()["error"]["message"] == "Property value has invalid value\r\n"
    assert PLANTED not in response.text


@pytest.mark.looptime
async def test_nobody_reads_a_body_without_end(admin: Cloud) -> None:
    response = await ask(admin, "PUT", "/secrets/new", body={"value": "x" * (1 << 18)})

    assert refusal(response)[0] == 413


# Headers and api-versions ------------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_an_answer_without_a_body_has_no_type(admin: Cloud) -> None:
    await told(admin, "DELETE", "/secrets/db-password")

    response = await ask(admin, "DELETE", "/deletedsecrets/db-password")

    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response.headers
    assert response.headers["x-ms-keyvault-network-info"].startswith("conn_type=Ipv4;addr=")


@pytest.mark.looptime
@pytest.mark.parametrize("version", ["7.4-preview.1", "7.6-preview.2", "2025-06-01-preview"])
async def test_previews_are_served(admin: Cloud, version: str) -> None:
    assert (await ask(admin, "GET", "/secrets", version=version)).status_code == 200


@pytest.mark.looptime
async def test_an_unknown_version_is_told_the_newest(admin: Cloud) -> None:
    response = await ask(admin, "GET", "/secrets", version="8.0")

    assert response.json()["error"]["message"] == (
        "The specified version (8.0) is not recognized. Consider using the latest supported version (2026-04-01)."
    )


# Throttling ------------------------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_kinds_of_transactions_are_counted_apart(admin: Cloud) -> None:
    admin.world.rules = Rules(vault_set_capacity=1, vault_create_capacity=1, vault_create_refill=0.1)

    async def statuses() -> list[int]:
        asked = [
            await ask(admin, "PUT", "/secrets/a", body={"value": "x"}),
            await ask(admin, "POST", "/keys/a/create", body={"kty": "EC"}),
            await ask(admin, "GET", "/secrets"),
        ]
        return [response.status_code for response in asked]

    assert await statuses() == [200, 200, 200]
    assert await statuses() == [429, 429, 200]


@pytest.mark.looptime
async def test_vaults_of_one_subscription_and_region_share_five_times_what_one_has(admin: Cloud) -> None:
    admin.world.rules = Rules(vault_capacity=2, vault_region_factor=1.5)
    for name in ("second-kv", "third-kv"):
        admin.world.add_vault(name)
    far = admin.world.add_vault("far-kv", location="northeurope")

    async def read(name: str) -> int:
        url = f"https://{name}.vault.azure.net/secrets?api-version=7.4"
        return (await admin.keyvault.get(url, headers=admin.bearer())).status_code

    assert [await read(name) for name in ("second-kv", "third-kv", "second-kv", "third-kv")] == [403, 403, 403, 429]
    assert await read(far.name) == 403


@pytest.mark.looptime
async def test_a_throttled_answer_says_why_and_how_long(admin: Cloud) -> None:
    admin.world.rules = Rules(vault_capacity=1, vault_refill=0.25)
    await told(admin, "GET", "/secrets")

    response = await ask(admin, "GET", "/secrets")

    assert response.json() == {
        "error": {
            "code": "Throttled",
            "message": "Request was not processed because too many requests were received."
            " Reason: VaultRequestTypeLimitReached",
        }
    }
    assert response.headers["Retry-After"] == "4"


# Whatever comes --------------------------------------------------------------------------------------------------

WORDS = (
    *("value", "attributes", "tags", "contentType", "kty", "key", "key_ops", "crv", "n", "e", "d", "x", "y", "policy"),
    *("x509_props", "subject", "issuer", "name", "pwd", "enabled", "exp", "nbf", "alg", "digest", "contacts", "x5c"),
    *("key_props", "key_size", "lifetimeActions", "action", "trigger", "type", "provider", "sans", "exportable"),
    *("EC", "RSA", "P-256", "RS256", "RSA1_5", "Self", "CN=a", "AQAB", "Rotate", "P90D", "release_policy"),
)
WORD = st.sampled_from(WORDS)
PATHS = st.one_of(
    st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(["x", "one-key", "shop", "db-password"])).map(
        lambda drawn: (drawn[0][0], drawn[0][1].replace("/x", f"/{drawn[1]}"))
    ),
    st.tuples(st.sampled_from(METHODS), st.lists(st.text(max_size=6), max_size=5).map("/".join)),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORD | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=5),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked=PATHS,
    query=st.dictionaries(st.sampled_from(["maxresults", "$skiptoken", "includePending"]), st.text(max_size=8)),
    body=st.one_of(st.binary(max_size=40), VALUES.map(lambda value: json.dumps(value).encode())),
)
def test_whatever_comes_is_answered_in_key_vaults_way(
    asked: tuple[str, str], query: dict[str, str], body: bytes
) -> None:
    method, path = asked

    response, journal = asyncio.run(_asked(method, f"/{path.lstrip('/')}", query, body))

    assert response.status_code < 500
    assert response.status_code < 400 or method == "HEAD" or set(response.json()["error"]) >= {"code", "message"}
    assert PLANTED not in journal


async def _asked(method: str, path: str, query: dict[str, str], body: bytes) -> tuple[httpx2.Response, str]:
    clock = ScaledClock()
    journal = Journal(clock)
    world = World(clock, journal)
    world.add_tenant()
    world.add_subscription()
    vault = world.add_vault("payments-kv")
    world.set_secret(vault, "db-password", PLANTED)
    plant_certificate(world, vault, "shop")
    keys.add(world, vault, "one-key", material.stored(CURVE_KEY))
    owner = world.add_application("owner", secret="x")
    world.assign_role(owner.object_id, ADMINISTRATOR, vault.resource_id)
    authority = TokenAuthority(world, SANDBOX_KEY)
    transport = httpx2.ASGITransport(Traffic(world, "keyvault", keyvault_app(world, authority)))
    async with httpx2.AsyncClient(transport=transport, base_url=f"https://{HOST}") as client:
        response = await client.request(
            method,
            f"https://{HOST}{quote(path)}",
            params={**query, "api-version": "7.6"},
            content=body,
            headers={"Authorization": f"Bearer {authority.issue(owner, 'https://vault.azure.net')}"},
        )
    return response, repr(journal.entries())
