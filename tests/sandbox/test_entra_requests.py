"""The ways in which clients ask Entra: both versions, by domain, with odd methods, bodies and paths."""

import asyncio
import base64
import json
from typing import Any

import httpx2
import pytest
from joserfc import jws

from keystead_sandbox.entra.forms import LONGEST_BODY
from keystead_sandbox.entra.rules import ASSERTION_TYPE
from sandbox import entra_keyvault_fixtures
from sandbox.entra_keyvault_fixtures import CLIENT_SECRET, EPOCH, KEYS, LOGIN, VAULT_SCOPE, Cloud, code_of

cloud = entra_keyvault_fixtures.cloud
pytestmark = pytest.mark.looptime
VAULT = "https://vault.azure.net"
DOMAIN = "contoso.onmicrosoft.com"


def secret_form(cloud: Cloud, **more: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": cloud.application.client_id,
        "client_secret": CLIENT_SECRET,
        **more,
    }


async def test_the_old_endpoint_writes_numbers_as_text(cloud: Cloud) -> None:
    response = await cloud.entra.post(f"/{cloud.tenant}/oauth2/token", data=secret_form(cloud, resource=VAULT))

    body = response.json()
    now = int(EPOCH.timestamp())
    assert cloud.authority.verify(body.pop("access_token"), {VAULT})
    assert body == {
        "token_type": "Bearer",
        "expires_in": "86399",
        "ext_expires_in": "86399",
        "expires_on": str(now + 86399),
        "not_before": str(now),
        "resource": VAULT,
    }


async def test_the_old_endpoint_exchanges_assertions_too(cloud: Cloud) -> None:
    cloud.trust()
    form = {
        "grant_type": "client_credentials",
        "client_id": cloud.identity.client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": cloud.cluster.token(),
        "resource": "https://management.core.windows.net/",
    }

    response = await cloud.entra.post(f"/{cloud.tenant}/oauth2/token", data=form)

    assert code_of(response) == 0


async def test_the_old_configuration_names_the_tokens_own_issuer(cloud: Cloud) -> None:
    document = (await cloud.entra.get(f"/{cloud.tenant}/.well-known/openid-configuration")).json()

    assert document["issuer"] == f"https://sts.windows.net/{cloud.tenant}/"
    assert document["token_endpoint"] == f"https://{LOGIN}/{cloud.tenant}/oauth2/token"
    keys = await cloud.entra.get(document["jwks_uri"])
    assert keys.json() == (await cloud.entra.get(f"/{cloud.tenant}/discovery/v2.0/keys")).json()


async def test_a_tenant_answers_to_its_domain_and_is_named_by_its_id(cloud: Cloud) -> None:
    cloud.world.tenants[cloud.tenant].domains = (DOMAIN,)
    cloud.trust()

    document = (await cloud.entra.get(f"/{DOMAIN.upper()}/v2.0/.well-known/openid-configuration")).json()
    exchanged = await cloud.post(tenant=DOMAIN, client_assertion=cloud.cluster.token())

    assert document["issuer"] == f"https://{LOGIN}/{cloud.tenant}/v2.0"
    assert document["token_endpoint"] == f"https://{LOGIN}/{cloud.tenant}/oauth2/v2.0/token"
    assert code_of(exchanged) == 0


async def test_a_client_of_one_tenant_is_unknown_in_another(cloud: Cloud) -> None:
    cloud.trust()
    other = cloud.world.add_tenant(name="other").id
    cloud.world.add_subscription(tenant_id=other)
    stranger = cloud.world.add_application("stranger", secret=CLIENT_SECRET, tenant_id=other)
    at_home: dict[str, Any] = {
        "client_id": stranger.client_id,
        "client_secret": CLIENT_SECRET,
        "client_assertion_type": None,
    }

    assert code_of(await cloud.post(tenant=other, **at_home)) == 0
    assert code_of(await cloud.post(**at_home)) == 700016
    assert code_of(await cloud.post(tenant=other, client_assertion=cloud.cluster.token())) == 700016
    token = (await cloud.post(tenant=other, **at_home)).json()["access_token"]
    caller = cloud.authority.check(token, {VAULT}, other)
    assert (caller.tenant_id, caller.issuer) == (other, f"https://sts.windows.net/{other}/")


async def test_a_secret_may_come_in_a_header(cloud: Cloud) -> None:
    pair = base64.b64encode(f"{cloud.application.client_id}:{CLIENT_SECRET}".encode()).decode()

    response = await cloud.entra.post(
        f"/{cloud.tenant}/oauth2/v2.0/token",
        data={"grant_type": "client_credentials", "scope": VAULT_SCOPE},
        headers={"Authorization": f"Basic {pair}"},
    )

    assert code_of(response) == 0


@pytest.mark.parametrize("header", ["Basic", "Basic !!", "Basic eA==", "Bearer x", "Basic \tx"])
async def test_other_headers_prove_nothing(cloud: Cloud, header: str) -> None:
    response = await cloud.entra.post(
        f"/{cloud.tenant}/oauth2/v2.0/token",
        data={"grant_type": "client_credentials", "scope": VAULT_SCOPE},
        headers={"Authorization": header},
    )

    assert code_of(response) == 900144


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_the_token_endpoint_takes_posts_only(cloud: Cloud, method: str) -> None:
    response = await cloud.entra.request(method, f"/{cloud.tenant}/oauth2/v2.0/token")

    assert response.status_code == 400
    assert method == "HEAD" or code_of(response) == 900561


async def test_discovery_answers_a_head(cloud: Cloud) -> None:
    response = await cloud.entra.head(f"/{cloud.tenant}/v2.0/.well-known/openid-configuration")

    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/", "/{t}", "/{t}/oauth2/v2.0/authorize", "/{t}/oauth2/v2.0/token/", "//", "/%00"])
async def test_what_is_not_served_is_not_found(cloud: Cloud, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        response = await cloud.entra.request(method, path.replace("{t}", cloud.tenant))

        assert (response.status_code, response.content) == (404, b"")
        assert response.headers["x-ms-request-id"]


async def test_a_body_without_end_is_cut_short(cloud: Cloud) -> None:
    response = await cloud.entra.post(
        f"/{cloud.tenant}/oauth2/v2.0/token",
        content=b"a" * (LONGEST_BODY + 1),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    assert response.status_code == 413


async def test_a_bare_question_mark_changes_nothing(cloud: Cloud) -> None:
    response = await cloud.entra.get(f"/{cloud.tenant}/v2.0/.well-known/openid-configuration?")

    assert response.status_code == 200


async def test_every_answer_has_entras_headers(cloud: Cloud) -> None:
    answers: list[httpx2.Response] = [
        await cloud.entra.get(f"/{cloud.tenant}/discovery/v2.0/keys"),
        await cloud.post(client_assertion="x"),
        await cloud.entra.get("/nothing"),
    ]

    for answer in answers:
        assert answer.headers["cache-control"] == "no-store, no-cache"
        assert answer.headers["strict-transport-security"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert [answer.headers.get("content-type") for answer in answers] == ["application/json; charset=utf-8"] * 2 + [
        None
    ]


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "x" * 100_000},
        {"aud": ["a"] * 1000},
        {"exp": 0.5},
        {"exp": True},
        {"nbf": -1},
        {"iss": "\u0000"},
        {"sub": "{client_id}"},
    ],
)
async def test_hostile_claims_are_refused_in_shape(cloud: Cloud, claims: dict[str, Any]) -> None:
    cloud.trust()

    response = await cloud.post(client_assertion=cloud.cluster.token(**claims))

    assert code_of(response) > 0


@pytest.mark.parametrize("claim", ["iss", "sub", "aud"])
async def test_half_a_character_is_no_text(cloud: Cloud, claim: str) -> None:
    cloud.trust()
    payload = json.dumps({**cloud.cluster.claims(), claim: "\ud800"}).encode()  # escaped, as JSON allows
    token = jws.serialize_compact({"alg": "RS256", "kid": "k1"}, payload, KEYS["k1"])

    assert code_of(await cloud.post(client_assertion=token)) == 50027


async def test_exchanges_that_wait_for_an_issuer_share_its_failure(cloud: Cloud) -> None:
    cloud.trust()
    cloud.cluster.hold, cloud.cluster.down = asyncio.Event(), True
    waiting = [asyncio.create_task(cloud.exchange()) for _ in range(20)]
    await asyncio.sleep(1)
    waiting[0].cancel()  # who gives up spoils nothing for the others
    await asyncio.sleep(1)

    cloud.cluster.hold.set()

    assert await asyncio.gather(*waiting[1:]) == [50166] * 19
    assert len(cloud.cluster.fetched) == 1


async def test_keys_are_looked_up_again_after_the_clock_was_set_back(cloud: Cloud) -> None:
    cloud.trust()
    number = cloud.world.take_snapshot()
    cloud.world.clock.advance(7200)
    assert await cloud.exchange() == 0

    cloud.world.restore(number)
    cloud.cluster.published = ["k2"]

    assert await cloud.exchange(kid="k2") == 0
