"""Applications that sign in with a certificate, and credentials that match by an expression."""

import base64

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws

from keystead_sandbox import expressions
from keystead_sandbox.resources import AUDIENCE, Credential
from sandbox import arm_fixtures, entra_keyvault_fixtures
from sandbox.arm_fixtures import Arm, code_of
from sandbox.entra_keyvault_fixtures import ISSUER, LOGIN, Cloud, certificate_of, certified, pem_of
from sandbox.entra_keyvault_fixtures import code_of as aadsts_of

cloud = entra_keyvault_fixtures.cloud
arm = arm_fixtures.arm
looptime = pytest.mark.looptime(start=0)


@looptime
@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
@pytest.mark.parametrize("audience", ["/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "/"])
async def test_a_certificates_key_signs_in(cloud: Cloud, algorithm: str, audience: str) -> None:
    certificate = certificate_of("k1", cloud.clock.wall())
    cloud.application.certificates = (pem_of(certificate_of("k2", cloud.clock.wall())), pem_of(certificate))
    assertion = certified(cloud, certificate, algorithm=algorithm, aud=f"https://{LOGIN}/{cloud.tenant}{audience}")

    granted = await cloud.post(client_id=cloud.application.client_id, client_assertion=assertion)

    payload = jws.extract_compact(granted.json()["access_token"].encode()).payload
    assert f'"appid":"{cloud.application.client_id}"'.encode() in payload
    assert b'"appidacr":"2"' in payload


@looptime
async def test_an_assertion_about_oneself_is_no_proof_of_another_client(cloud: Cloud) -> None:
    certificate = certificate_of("k1", cloud.clock.wall())
    cloud.application.certificates = (pem_of(certificate),)
    cloud.trust()

    refused = await cloud.post(client_assertion=certified(cloud, certificate))

    assert aadsts_of(refused) == 700211


@looptime
@pytest.mark.parametrize("given_", ["AB", "!", base64.b64encode(b"x" * 20).decode(), ""])
async def test_a_thumbprint_of_no_certificate_finds_no_key(cloud: Cloud, given_: str) -> None:
    certificate = certificate_of("k1", cloud.clock.wall())
    cloud.application.certificates = (pem_of(certificate),)
    client = cloud.application.client_id
    token = cloud.cluster.token(header={"x5t": given_}, iss=client, sub=client, aud=f"https://{LOGIN}/{cloud.tenant}")

    refused = await cloud.post(client_id=client, client_assertion=token)

    assert aadsts_of(refused) in (700027, 50027)


@looptime
async def test_an_expression_lets_a_matching_subject_in(cloud: Cloud) -> None:
    wanted = "claims['sub'] matches 'repo:contoso/*' and claims['ref'] eq 'main'"
    cloud.identity.credentials["f"] = Credential("f", ISSUER, "", AUDIENCE, -1000, wanted)

    assert await cloud.exchange(sub="repo:contoso/shop:main", ref="main") == 0
    assert await cloud.exchange(sub="repo:contoso/shop:main", ref="Main") == 7002131
    cloud.trust()
    assert await cloud.exchange() == 0


@looptime
async def test_only_the_previews_know_expressions(arm: Arm) -> None:
    properties = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "claimsMatchingExpression": {"value": "claims['sub'] matches 'repo:*'", "languageVersion": 1},
    }

    async def put(version: str, **changed: object) -> httpx2.Response:
        body = {"properties": {**properties, **changed}}
        return await arm.ask("PUT", arm.url("flexible"), version=version, body=body)

    assert code_of(await put("2024-11-30")) == (400, "BadRequest")
    assert code_of(await put("2025-01-31-preview", subject="also")) == (400, "BadRequest")
    for expression in (1, {"value": "x", "languageVersion": 1}, {"value": "claims['a'] eq 'b'", "languageVersion": 2}):
        assert code_of(await put("2025-01-31-preview", claimsMatchingExpression=expression)) == (400, "BadRequest")
    made = await put("2025-01-31-preview")
    assert made.json()["properties"] == properties
    shown = await arm.ask("GET", arm.url("flexible"), version="2024-11-30")
    assert shown.json()["properties"] == {"issuer": ISSUER, "audiences": [AUDIENCE]}


@pytest.mark.parametrize(
    "text",
    ["", "claims['sub']", "claims['sub'] eq x", "claims['sub'] like 'x'", "claims['a'] eq 'b' or claims['a'] eq 'c'"],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        expressions.parse(text)


@given(st.text(alphabet="ab/*?.", max_size=12), st.text(alphabet="ab/.", max_size=12))
def test_a_star_is_any_run_and_a_mark_is_one_character(pattern: str, value: str) -> None:
    def matches(wanted: str, given_: str) -> bool:  # the plain definition
        if not wanted:
            return not given_
        if wanted[0] == "*":
            return matches(wanted[1:], given_) or (bool(given_) and matches(wanted, given_[1:]))
        return bool(given_) and wanted[0] in ("?", given_[0]) and matches(wanted[1:], given_[1:])

    assert expressions.holds(f"claims['sub'] matches '{pattern}'", {"sub": value}) == matches(pattern, value)
    assert expressions.holds(f"claims['sub'] eq '{pattern}'", {"sub": value}) == (pattern == value)
    assert not expressions.holds(f"claims['sub'] matches '{pattern}'", {"other": value})
