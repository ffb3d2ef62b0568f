"""What Entra grants, what its tokens say, and how clients discover it."""

import asyncio

import pytest
from joserfc import jws, jwt
from joserfc.jwk import KeySet

from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.entra.tokens import Fault, TokenAuthority, TokenRefusedError
from keystead_sandbox.journal import Journal
from keystead_sandbox.resources import AUDIENCE
from keystead_sandbox.world import World
from sandbox import entra_keyvault_fixtures
from sandbox.entra_keyvault_fixtures import (
    CLIENT_SECRET,
    EPOCH,
    LOGIN,
    SANDBOX_KEY,
    SUBJECT,
    VAULT_SCOPE,
    Cloud,
    code_of,
)

cloud = entra_keyvault_fixtures.cloud
pytestmark = pytest.mark.looptime
VAULT = "https://vault.azure.net"


async def test_an_exchange_grants_a_token_with_the_identitys_claims(cloud: Cloud) -> None:
    cloud.trust()

    response = await cloud.post(client_assertion=cloud.cluster.token())

    body = response.json()
    assert {name: value for name, value in body.items() if name != "access_token"} == {
        "token_type": "Bearer",
        "expires_in": 86399,
        "ext_expires_in": 86399,
    }
    keys = KeySet.import_key_set((await cloud.entra.get(f"/{cloud.tenant}/discovery/v2.0/keys")).json())
    token = jwt.decode(body["access_token"], keys, algorithms=["RS256"])
    now = int(EPOCH.timestamp())
    expected = {
        "aud": VAULT,
        "iss": f"https://sts.windows.net/{cloud.tenant}/",
        "iat": now,
        "nbf": now,
        "exp": now + 86400,
        "appid": cloud.identity.client_id,
        "appidacr": "2",
        "idp": f"https://sts.windows.net/{cloud.tenant}/",
        "idtyp": "app",
        "oid": cloud.identity.principal_id,
        "sub": cloud.identity.principal_id,
        "tid": cloud.tenant,
        "ver": "1.0",
        "xms_mirid": cloud.identity.resource_id,
    }
    assert {name: token.claims[name] for name in expected} == expected
    assert set(token.claims) - set(expected) == {"aio", "rh", "uti"}
    assert token.header["typ"] == "JWT"


async def test_a_client_secret_grants_a_token_without_an_identity(cloud: Cloud) -> None:
    response = await cloud.post(
        client_id=cloud.application.client_id, client_secret=CLIENT_SECRET, client_assertion_type=None
    )

    caller = cloud.authority.verify(response.json()["access_token"], {VAULT})
    assert caller is not None
    assert (caller.object_id, caller.resource_id) == (cloud.application.object_id, "")


@pytest.mark.parametrize(
    ("scope", "audience"),
    [
        ("https://vault.azure.net/.default openid offline_access profile", VAULT),
        ("openid https://management.azure.com/.default", "https://management.azure.com"),
        ("https://management.core.windows.net//.default", "https://management.core.windows.net/"),
        ("cfa8b339-82a2-471a-a3c9-0fc0be7a4093/.default", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"),
    ],
)
async def test_a_scope_becomes_the_audience_as_asked(cloud: Cloud, scope: str, audience: str) -> None:
    cloud.trust()

    response = await cloud.post(client_assertion=cloud.cluster.token(), scope=scope)

    token = response.json()["access_token"]
    assert f'"aud":"{audience}"'.encode() in jws.extract_compact(token.encode()).payload.replace(b": ", b":")
    assert cloud.authority.verify(token, {audience.rstrip("/")})


async def test_capabilities_and_unknown_fields_are_accepted(cloud: Cloud) -> None:
    cloud.trust()

    response = await cloud.post(
        client_assertion=cloud.cluster.token(),
        claims='{"access_token": {"xms_cc": {"values": ["CP1"]}}}',
        client_info="1",
        unknown="field",
    )

    assert b'"xms_cc"' in jws.extract_compact(response.json()["access_token"].encode()).payload


@pytest.mark.parametrize("claims", ["", "nonsense", "[]", '{"access_token": {"nbf": {"essential": true}}}'])
async def test_other_claims_requests_change_nothing(cloud: Cloud, claims: str) -> None:
    cloud.trust()

    assert code_of(await cloud.post(client_assertion=cloud.cluster.token(), claims=claims)) == 0


async def test_one_of_several_audiences_is_enough(cloud: Cloud) -> None:
    cloud.trust()

    assert await cloud.exchange(aud=["https://kubernetes.default.svc", AUDIENCE]) == 0


async def test_a_token_of_exactly_25_hours_is_accepted(cloud: Cloud) -> None:
    cloud.trust()

    assert await cloud.exchange(exp=int(EPOCH.timestamp()) + 25 * 3600) == 0


async def test_a_credential_without_the_issuers_slash_matches_a_token_without_it(cloud: Cloud) -> None:
    plain = "https://oidc.example.test/cluster-a"
    cloud.trust(issuer=plain)
    cloud.cluster.document["issuer"] = plain

    assert await cloud.exchange(iss=plain) == 0
    assert cloud.cluster.fetched[0] == f"{plain}/.well-known/openid-configuration"


async def test_the_client_and_tenant_match_in_any_case(cloud: Cloud) -> None:
    cloud.trust()

    response = await cloud.post(
        tenant=cloud.tenant.upper(),
        client_id=cloud.identity.client_id.upper(),
        client_assertion=cloud.cluster.token(),
    )

    assert code_of(response) == 0


# Verification by the other services ------------------------------------------------------------------------------


async def test_a_token_is_refused_for_its_own_reason(cloud: Cloud) -> None:
    good = cloud.authority.issue(cloud.identity, VAULT)
    other_key = TokenAuthority(cloud.world).issue(cloud.identity, VAULT)
    stranger = World(VirtualClock(EPOCH), Journal(cloud.clock))
    stranger.add_tenant("11111111-1111-4111-8111-111111111111")
    foreign = TokenAuthority(stranger, SANDBOX_KEY).issue(stranger.add_application("x", secret="y"), VAULT)
    head, payload, signature = good.split(".")
    flipped = f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"

    def fault(token: str, audience: str = VAULT) -> Fault:
        with pytest.raises(TokenRefusedError) as refused:
            cloud.authority.check(token, {audience})
        assert token not in str(refused.value) or not token
        assert cloud.authority.verify(token, {audience}) is None
        return refused.value.fault

    assert fault("") is Fault.MALFORMED
    assert fault("é") is Fault.MALFORMED
    assert fault(cloud.cluster.token()) is Fault.MALFORMED
    assert fault(foreign) is Fault.ISSUER
    assert fault(other_key) is Fault.SIGNATURE
    assert fault(flipped) is Fault.SIGNATURE
    assert fault(good, "https://management.azure.com") is Fault.AUDIENCE
    await asyncio.sleep(86400)
    assert fault(good) is Fault.EXPIRED


# Discovery -------------------------------------------------------------------------------------------------------


async def test_the_configuration_names_the_host_that_was_asked(cloud: Cloud) -> None:
    for host in (LOGIN, "127.0.0.1:8443"):
        url = f"https://{host}/{cloud.tenant}/v2.0/.well-known/openid-configuration"
        document = (await cloud.entra.get(url)).json()

        assert document["issuer"] == f"https://{host}/{cloud.tenant}/v2.0"
        assert document["token_endpoint"] == f"https://{host}/{cloud.tenant}/oauth2/v2.0/token"
        assert document["authorization_endpoint"].startswith(f"https://{host}/")
        assert (await cloud.entra.get(document["jwks_uri"])).json()["keys"][0]["alg"] == "RS256"


async def test_an_unknown_tenant_has_no_configuration(cloud: Cloud) -> None:
    response = await cloud.entra.get("/nobody.example.test/v2.0/.well-known/openid-configuration")

    assert response.status_code == 400
    assert (response.json()["error"], code_of(response)) == ("invalid_tenant", 90002)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_instance_discovery_knows_the_public_cloud(cloud: Cloud, version: str) -> None:
    query = {
        "api-version": version,
        "authorization_endpoint": f"https://{LOGIN}/{cloud.tenant}/oauth2/v2.0/authorize",
    }

    body = (await cloud.entra.get("/common/discovery/instance", params=query)).json()

    where = f"https://{LOGIN}/{cloud.tenant}/v2.0/.well-known/openid-configuration"
    assert (body["tenant_discovery_endpoint"], body["api-version"]) == (where, version)
    assert ("metadata" in body) == (version == "1.1")


async def test_instance_discovery_wants_a_known_version(cloud: Cloud) -> None:
    response = await cloud.entra.get("/common/discovery/instance", params={"api-version": "3.0"})

    assert code_of(response) == 900144


@pytest.mark.parametrize("path", ["/", "/x/y", "/common/oauth2/v2.0/authorize"])
async def test_what_is_not_served_is_not_found(cloud: Cloud, path: str) -> None:
    assert (await cloud.entra.get(path)).status_code == 404


async def test_a_scope_is_checked_after_the_proof(cloud: Cloud) -> None:
    response = await cloud.post(client_assertion="x", scope=VAULT_SCOPE.replace("vault", "nowhere"))

    assert code_of(response) == 50027


async def test_a_principal_never_prints_its_secret(cloud: Cloud) -> None:
    assert CLIENT_SECRET not in repr(cloud.application)
    assert SUBJECT in repr(cloud.trust())
