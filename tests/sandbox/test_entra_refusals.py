"""Every AADSTS code that the sandbox answers, the request that earns it, and the shape of the answer."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from joserfc import jwt

from keystead_sandbox.entra.errors import CODES
from keystead_sandbox.resources import AUDIENCE, Credential, Rules
from sandbox import entra_keyvault_fixtures
from sandbox.entra_keyvault_fixtures import (
    CLIENT_SECRET,
    CURVE_KEY,
    ISSUER,
    KEYS,
    PLANTED,
    SUBJECT,
    VAULT_SCOPE,
    Cloud,
    certificate_of,
    certified,
    code_of,
    pem_of,
)

cloud = entra_keyvault_fixtures.cloud
pytestmark = pytest.mark.looptime
HOUR = 3600


async def _assertion(cloud: Cloud, **changed: Any) -> httpx2.Response:
    """A token of the trusted cluster, with some claims or header changed."""
    cloud.trust()
    return await cloud.post(client_assertion=cloud.cluster.token(**changed))


async def _raw(cloud: Cloud, text: str) -> httpx2.Response:
    cloud.trust()
    return await cloud.post(client_assertion=text)


async def _lifetime(cloud: Cloud, seconds: int) -> httpx2.Response:
    now = int(cloud.clock.wall().timestamp())
    return await _assertion(cloud, exp=now + seconds)


async def _issuer_down(cloud: Cloud) -> httpx2.Response:
    cloud.cluster.down = True
    return await _assertion(cloud)


async def _issuer_status(cloud: Cloud) -> httpx2.Response:
    cloud.cluster.status = 403
    return await _assertion(cloud)


async def _documents(cloud: Cloud, **changed: Any) -> httpx2.Response:
    cloud.cluster.document.update(changed)
    return await _assertion(cloud)


async def _issuer_bytes(cloud: Cloud, raw: bytes) -> httpx2.Response:
    cloud.cluster.raw = raw
    return await _assertion(cloud)


async def _elsewhere(cloud: Cloud, issuer: str) -> httpx2.Response:
    """Only this credential exists, and the cluster's token is shown."""
    cloud.trust(issuer=issuer)
    return await cloud.post(client_assertion=cloud.cluster.token())


async def _assertion_of(cloud: Cloud, issuer: str) -> httpx2.Response:
    """A trusted issuer's token, where nothing can be fetched by that name."""
    cloud.trust(issuer=issuer)
    return await cloud.post(client_assertion=cloud.cluster.token(iss=issuer))


async def _for_subject(cloud: Cloud, subject: str) -> httpx2.Response:
    cloud.trust(subject=subject)
    return await cloud.post(client_assertion=cloud.cluster.token())


async def _no_credentials(cloud: Cloud) -> httpx2.Response:
    return await cloud.post(client_assertion=cloud.cluster.token())


async def _secret(cloud: Cloud, client_id: str, secret: str | None, scope: str | None = VAULT_SCOPE) -> httpx2.Response:
    return await cloud.post(client_id=client_id, client_secret=secret, client_assertion_type=None, scope=scope)


async def _scope(cloud: Cloud, scope: str | None) -> httpx2.Response:
    return await _secret(cloud, cloud.application.client_id, CLIENT_SECRET, scope=scope)


async def _body(
    cloud: Cloud, content: bytes, kind: str = "application/x-www-form-urlencoded; charset=utf-8"
) -> httpx2.Response:
    return await cloud.entra.post(
        f"/{cloud.tenant}/oauth2/v2.0/token", content=content, headers={"Content-Type": kind} if kind else {}
    )


async def _old(cloud: Cloud, **changed: str | None) -> httpx2.Response:
    """The v1 endpoint, asked by the application."""
    form: dict[str, str | None] = {
        "grant_type": "client_credentials",
        "client_id": cloud.application.client_id,
        "client_secret": CLIENT_SECRET,
        **changed,
    }
    data = {name: value for name, value in form.items() if value is not None}
    return await cloud.entra.post(f"/{cloud.tenant}/oauth2/token", data=data)


async def _other_tenant(cloud: Cloud) -> httpx2.Response:
    return await cloud.post(tenant=cloud.world.add_tenant(name="other").id, client_assertion=cloud.cluster.token())


async def _instance(cloud: Cloud, endpoint: str) -> httpx2.Response:
    query = {"api-version": "1.1", "authorization_endpoint": endpoint}
    return await cloud.entra.get("/common/discovery/instance", params=query)


async def _flexible(cloud: Cloud, expression: str, **changed: Any) -> httpx2.Response:
    cloud.identity.credentials["f"] = Credential("f", ISSUER, "", AUDIENCE, -1000, expression)
    return await cloud.post(client_assertion=cloud.cluster.token(**changed))


async def _combined(cloud: Cloud, issuer: str) -> httpx2.Response:
    cloud.world.rules = Rules(combined_refusals=True)
    return await _elsewhere(cloud, issuer)


async def _restricted(
    cloud: Cloud, *, federation: bool = True, issuers: tuple[str, ...] | None = None
) -> httpx2.Response:
    tenant = cloud.world.tenants[cloud.tenant]
    tenant.federation, tenant.allowed_issuers = federation, issuers
    return await _assertion(cloud)


async def _certified(
    cloud: Cloud, *, registered: bool = True, signed_by: str = "k1", days: int = 30, **changed: Any
) -> httpx2.Response:
    certificate = certificate_of("k1", cloud.clock.wall(), days=days)
    cloud.application.certificates = (pem_of(certificate),) if registered else ()
    token = certified(cloud, certificate, signed_by=signed_by, **changed)
    return await cloud.post(client_id=cloud.application.client_id, client_assertion=token)


def _signed(cloud: Cloud, header: dict[str, str]) -> str:
    key = CURVE_KEY if header["alg"] == "ES256" else KEYS["k1"]
    return jwt.encode(header, cloud.cluster.claims(), key, algorithms=["ES256", "RS256", "RS512"], default_type=None)


Ask = Callable[[Cloud], Awaitable[httpx2.Response]]
NO_TENANT = "00000000-0000-4000-8000-000000000000"
CASES: dict[str, tuple[int, Ask]] = {
    "an unknown tenant": (90002, lambda c: c.post(tenant=NO_TENANT, client_assertion=c.cluster.token())),
    "an unknown client": (700016, lambda c: c.post(client_id=NO_TENANT, client_assertion=c.cluster.token())),
    "a client of another tenant": (700016, _other_tenant),
    "another grant": (70003, lambda c: c.post(grant_type="password")),
    "no grant": (900144, lambda c: c.post(grant_type=None)),
    "no client": (900144, lambda c: c.post(client_id=None)),
    "no scope": (900144, lambda c: _scope(c, None)),
    "no proof": (7000218, lambda c: c.post()),
    "an assertion of no type": (
        7000218,
        lambda c: c.post(client_assertion=c.cluster.token(), client_assertion_type=None),
    ),
    "a wrong secret": (7000215, lambda c: _secret(c, c.application.client_id, "guess")),
    "a secret for an identity": (7000215, lambda c: _secret(c, c.identity.client_id, "guess")),
    "an empty secret for an identity": (7000218, lambda c: _secret(c, c.identity.client_id, "")),
    "an assertion that is no token": (50027, lambda c: _raw(c, "not-a-token")),
    "an assertion that is not ASCII": (50027, lambda c: _raw(c, "é.é.é")),
    "an assertion without a signature": (50027, lambda c: _raw(c, c.cluster.token().rpartition(".")[0] + ".")),
    "an assertion with a newline at its end": (50027, lambda c: _raw(c, c.cluster.token() + "\n")),
    "an assertion without exp": (50027, lambda c: _assertion(c, exp=None)),
    "an assertion without a subject": (50027, lambda c: _assertion(c, sub=None)),
    "an assertion without an audience": (50027, lambda c: _assertion(c, aud=[])),
    "an exp that is a word": (50027, lambda c: _assertion(c, exp="tomorrow")),
    "an exp that is no instant": (50027, lambda c: _assertion(c, exp=10**18)),
    "another kind of JWT": (5002727, lambda c: _assertion(c, header={"typ": "at+jwt"})),
    "no credentials at all": (70025, _no_credentials),
    "an application's assertion": (
        70025,
        lambda c: c.post(client_id=c.application.client_id, client_assertion=c.cluster.token()),
    ),
    "an issuer without its slash": (700211, lambda c: _elsewhere(c, ISSUER.removesuffix("/"))),
    "an issuer in another case": (700211, lambda c: _elsewhere(c, ISSUER.upper())),
    "a token of Entra's own": (700222, lambda c: _assertion(c, iss=f"https://sts.windows.net/{c.tenant}/")),
    "an issuer that is down": (50166, _issuer_down),
    "an issuer that refuses": (90061, _issuer_status),
    "a document of another issuer": (501661, lambda c: _documents(c, issuer=ISSUER.removesuffix("/"))),
    "a document without keys": (501661, lambda c: _documents(c, jwks_uri="")),
    "a document with an empty endpoint": (501661, lambda c: _documents(c, authorization_endpoint="")),
    "an issuer that is no address": (50166, lambda c: _assertion_of(c, "https://[")),
    "a document that is not JSON": (501661, lambda c: _issuer_bytes(c, b"<html>")),
    "a document that is a list": (501661, lambda c: _issuer_bytes(c, b"[]")),
    "keys that are no list": (
        501661,
        lambda c: _issuer_bytes(c, b'{"issuer": "%s", "jwks_uri": "https://x", "keys": 1}' % ISSUER.encode()),
    ),
    "a key that is not published": (700027, lambda c: _assertion(c, kid="k2")),
    "no key id": (700027, lambda c: _raw(c, _signed(c, {"alg": "RS256"}))),
    "a forged signature": (700027, lambda c: _assertion(c, kid="k1", signed_by="k2")),
    "another RSA algorithm": (700027, lambda c: _raw(c, _signed(c, {"alg": "RS512", "kid": "k1"}))),
    "a curve's signature": (700027, lambda c: _raw(c, _signed(c, {"alg": "ES256", "kid": "k1"}))),
    "an expired token": (700024, lambda c: _lifetime(c, -1)),
    "a token at the instant of its exp": (700024, lambda c: _lifetime(c, 0)),
    "a token before its nbf": (700024, lambda c: _assertion(c, nbf=int(c.clock.wall().timestamp()) + 60)),
    "a life above 25 hours": (70023, lambda c: _lifetime(c, 25 * HOUR + 1)),
    "no iat": (70023, lambda c: _assertion(c, iat=None)),
    "another subject": (700213, lambda c: _for_subject(c, "system:serviceaccount:shop:orders")),
    "a subject with a space": (700213, lambda c: _for_subject(c, SUBJECT + " ")),
    "a subject in another case": (7002138, lambda c: _for_subject(c, SUBJECT.lower())),
    "another audience": (700212, lambda c: _assertion(c, aud="https://kubernetes.default.svc")),
    "an audience in another case": (700212, lambda c: _assertion(c, aud=AUDIENCE.lower())),
    "a scope without its suffix": (1002012, lambda c: _scope(c, "https://vault.azure.net")),
    "a scope beside the right one": (1002012, lambda c: _scope(c, f"{VAULT_SCOPE} User.Read")),
    "OpenID scopes alone": (1002012, lambda c: _scope(c, "openid profile")),
    "a suffix of nothing": (70011, lambda c: _scope(c, "/.default")),
    "a resource of another cloud": (500011, lambda c: _scope(c, "https://vault.azure.cn/.default")),
    "two resources": (
        70011,
        lambda c: _scope(c, "https://vault.azure.net/.default https://graph.microsoft.com/.default"),
    ),
    "an unknown resource": (500011, lambda c: _scope(c, "https://vault.example.test/.default")),
    "a subject that no expression matches": (7002131, lambda c: _flexible(c, "claims['sub'] eq 'nobody'")),
    "an audience of an expression": (7002121, lambda c: _flexible(c, "claims['sub'] matches '*'", aud="nobody")),
    "an issuer, when refusals are one": (70021, lambda c: _combined(c, "https://else.test/")),
    "a tenant without federation": (700223, lambda c: _restricted(c, federation=False)),
    "a tenant that trusts other issuers": (700238, lambda c: _restricted(c, issuers=("https://else.test/",))),
    "a certificate that is not registered": (700027, lambda c: _certified(c, registered=False)),
    "a certificate's assertion by another key": (700027, lambda c: _certified(c, signed_by="k2")),
    "a certificate's assertion about another": (700021, lambda c: _certified(c, sub="another")),
    "a certificate's assertion for another": (700023, lambda c: _certified(c, aud="https://else.test/")),
    "a certificate's assertion too late": (700024, lambda c: _certified(c, exp=int(c.clock.wall().timestamp()))),
    "a certificate out of its time": (1000502, lambda c: _certified(c, days=-1)),
    "no tenant in particular": (50059, lambda c: c.post(tenant="organizations", client_assertion=c.cluster.token())),
    "a domain that nobody has": (90002, lambda c: c.post(tenant="contoso.example", client_assertion="x")),
    "a tenant that is no name": (900023, lambda c: c.post(tenant="contoso", client_assertion="x")),
    "a parameter that is there twice": (90013, lambda c: _body(c, b"client_id=a&client_id=b")),
    "a form that is JSON": (900144, lambda c: _body(c, b'{"grant_type": "client_credentials"}', "application/json")),
    "a form that says not what it is": (900144, lambda c: _body(c, b"grant_type=client_credentials", "")),
    "another method": (900561, lambda c: c.entra.get(f"/{c.tenant}/oauth2/v2.0/token")),
    "no resource at the old endpoint": (900144, lambda c: _old(c, resource=None)),
    "an unknown resource at the old endpoint": (500011, lambda c: _old(c, resource="https://vault.example.test")),
    "a foreign authority": (50049, lambda c: _instance(c, "https://login.example.test/t/oauth2/v2.0/authorize")),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_refusal_has_its_code_status_and_shape(cloud: Cloud, case: str) -> None:
    code, ask = CASES[case]

    response = await ask(cloud)

    body = response.json()
    assert (response.status_code, body["error"]) == (CODES[code].status, CODES[code].error)
    assert body["error_codes"] == [code]
    assert set(body) == {
        "error", "error_description", "error_codes", "timestamp", "trace_id", "correlation_id", "error_uri"
    }  # fmt: skip
    assert body["timestamp"] == "2026-03-01 12:00:00Z"
    guid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    shape = f"AADSTS{code}: .+ Trace ID: {guid} Correlation ID: {guid} Timestamp: 2026-03-01 12:00:00Z"
    assert re.fullmatch(shape, body["error_description"], re.DOTALL)
    assert "{" not in body["error_description"]
    assert response.headers["x-ms-request-id"] == body["trace_id"]


def test_the_table_covers_the_catalogue() -> None:
    assert {code for code, _ in CASES.values()} == set(CODES)


async def test_a_refusal_quotes_what_was_claimed_and_never_the_assertion(cloud: Cloud) -> None:
    cloud.trust(subject="system:serviceaccount:other:other")
    token = cloud.cluster.token(secret=PLANTED)

    response = await cloud.post(client_assertion=token)

    assert f"subject '{SUBJECT}'" in response.json()["error_description"]
    assert token not in response.text
    assert PLANTED not in response.text


async def test_the_clients_own_request_id_comes_back(cloud: Cloud) -> None:
    number = "1f8a34f5-5b2a-4b0e-9a6c-9d1a2c4d7e10"

    response = await cloud.entra.post(
        f"/{cloud.tenant}/oauth2/v2.0/token", data={"grant_type": "x"}, headers={"client-request-id": number}
    )

    assert response.json()["correlation_id"] == number
    assert response.headers["client-request-id"] == number


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"tenant": NO_TENANT, "client_id": NO_TENANT}, 90002),
        ({"client_id": NO_TENANT, "client_assertion": "x"}, 700016),
        ({"client_assertion": "x", "scope": "https://nowhere.test/.default"}, 50027),
    ],
)
async def test_the_first_failing_check_answers(cloud: Cloud, broken: dict[str, str], code: int) -> None:
    assert code_of(await cloud.post(**{"client_assertion": "x", **broken})) == code


async def test_checks_of_an_assertion_come_in_order(cloud: Cloud) -> None:
    now = int(cloud.clock.wall().timestamp())
    cloud.trust()
    wrong = {"exp": now - 1, "sub": "nobody", "aud": "nothing"}

    assert await cloud.exchange(**wrong, iss="https://else.test", signed_by="k2") == 700211
    assert await cloud.exchange(**wrong, signed_by="k2") == 700027
    assert await cloud.exchange(**wrong) == 700024
    assert await cloud.exchange(sub="nobody", aud="nothing") == 700213
    assert await cloud.exchange(aud="nothing") == 700212


async def test_an_untrusted_issuer_is_never_fetched(cloud: Cloud) -> None:
    cloud.trust()

    assert await cloud.exchange(iss="https://attacker.test/") == 700211
    assert cloud.cluster.fetched == []


async def test_an_issuer_that_comes_back_is_asked_again(cloud: Cloud) -> None:
    cloud.trust()
    cloud.cluster.down = True
    assert await cloud.exchange() == 50166

    cloud.cluster.down = False
    assert await cloud.exchange() == 0


async def test_waiting_exchanges_share_one_fetch(cloud: Cloud) -> None:
    cloud.trust()

    codes = await asyncio.gather(*(cloud.exchange() for _ in range(5)))

    assert codes == [0] * 5
    assert len(cloud.cluster.fetched) == 2
