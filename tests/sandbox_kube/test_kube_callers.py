"""Who may ask, tokens, reviews, the documents of the issuer, and what the journal is told."""

import base64
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from sandbox_kube.kube_api import ISSUER, Api

pytestmark = pytest.mark.looptime
SA = "/api/v1/namespaces/default/serviceaccounts"
NS = "/api/v1/namespaces"
NOW = 1_795_521_600  # the epoch of these tests


async def _token(api: Api, **spec: Any) -> Any:
    return await api.ask("POST", f"{SA}/default/token", {"spec": spec})


@pytest.mark.parametrize("token", ["unknown", "a.b.c"])
async def test_nobody_is_refused(api: Api, token: str) -> None:
    answer = await api.ask("GET", NS, token=token, expect=401)

    assert (answer["kind"], answer["reason"]) == ("Status", "Unauthorized")


@pytest.mark.parametrize(
    "path", ["/healthz", "/livez", "/readyz", "/version", "/.well-known/openid-configuration", "/openid/v1/jwks"]
)
async def test_these_are_for_everybody(api: Api, path: str) -> None:
    assert (await api.send("GET", path, token="")).status_code == 200


async def test_callers_learn_who_they_are(api: Api) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    dev = await api.ask("POST", path, {}, token="t-dev")
    assert dev["status"]["userInfo"] == {"username": "dev", "groups": ["devs", "system:authenticated"]}

    headers = {"Impersonate-User": "eve", "Impersonate-Group": "ops"}
    eve = await api.ask("POST", path, {}, headers=headers)
    assert eve["status"]["userInfo"] == {"username": "eve", "groups": ["ops", "system:authenticated"]}
    refused = await api.ask("POST", path, {}, token="t-dev", headers=headers, expect=403)
    assert "cannot impersonate" in refused["message"]


async def test_a_token_says_what_kubernetes_says_and_its_signature_verifies(api: Api) -> None:
    account = await api.ask("GET", f"{SA}/default")
    answer = await _token(api, audiences=["api://AzureADTokenExchange"], expirationSeconds=1200)
    keys = KeySet.import_key_set(await api.ask("GET", "/openid/v1/jwks", token=""))
    decoded = jwt.decode(answer["status"]["token"], keys, algorithms=["RS256"])

    claims = decoded.claims
    assert claims.pop("jti")
    assert claims == {
        "aud": ["api://AzureADTokenExchange"],
        "iss": ISSUER,
        "sub": "system:serviceaccount:default:default",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 1200,
        "kubernetes.io": {
            "namespace": "default",
            "serviceaccount": {"name": "default", "uid": account["metadata"]["uid"]},
        },
    }
    assert answer["status"]["expirationTimestamp"] == "2026-11-24T12:20:00Z"
    configuration = await api.ask("GET", "/.well-known/openid-configuration", token="")
    assert (configuration["issuer"], configuration["jwks_uri"]) == (ISSUER, f"{ISSUER}/openid/v1/jwks")


async def test_published_keys_are_public_and_outlive_a_rotation(api: Api) -> None:
    old = (await _token(api))["status"]["token"]
    api.cluster.tokens.rotate()
    published = await api.ask("GET", "/openid/v1/jwks", token="")

    assert len(published["keys"]) == 2
    assert not {"d", "p", "q"} & {name for key in published["keys"] for name in key}
    assert jwt.decode(old, KeySet.import_key_set(published), algorithms=["RS256"]).claims["iss"] == ISSUER
    new = (await _token(api))["status"]["token"]
    assert (
        jwt.decode(new, KeySet.import_key_set(published), algorithms=["RS256"]).header
        != jwt.decode(old, KeySet.import_key_set(published), algorithms=["RS256"]).header
    )


async def test_a_key_that_is_retired_is_published_no_more_and_its_tokens_are_nobodys(api: Api) -> None:
    old = (await _token(api))["status"]["token"]
    api.cluster.tokens.rotate()
    assert (await api.send("GET", "/api", token=old)).status_code == 200
    api.cluster.tokens.retire()

    assert len((await api.ask("GET", "/openid/v1/jwks", token=""))["keys"]) == 1
    assert (await api.send("GET", "/api", token=old)).status_code == 401


@pytest.mark.parametrize("seconds", [599, 0, -1, 2**32 + 1])
async def test_lives_of_tokens_have_bounds(api: Api, seconds: Any) -> None:
    answer = await api.ask("POST", f"{SA}/default/token", {"spec": {"expirationSeconds": seconds}}, expect=422)

    assert answer["details"]["causes"][0]["field"] == "spec.expirationSeconds"


async def test_the_life_of_a_token_is_a_number(api: Api) -> None:
    answer = await api.ask("POST", f"{SA}/default/token", {"spec": {"expirationSeconds": "long"}}, expect=400)

    assert "cannot unmarshal string into Go struct field TokenRequestSpec.spec.expirationSeconds" in answer["message"]


async def test_a_token_can_be_bound_to_a_secret(api: Api) -> None:
    made = await api.ask("POST", f"{NS}/default/secrets", {"metadata": {"name": "s"}})
    bound = await _token(api, boundObjectRef={"kind": "Secret", "apiVersion": "v1", "name": "s"})
    payload = base64.urlsafe_b64decode(bound["status"]["token"].split(".")[1] + "==")

    assert msgspec.json.decode(payload)["kubernetes.io"]["secret"] == {"name": "s", "uid": made["metadata"]["uid"]}
    for reference, code in (
        ({"kind": "Secret", "name": "t"}, 404),
        ({"kind": "Pod", "name": "p"}, 404),
        ({"kind": "ConfigMap"}, 400),
    ):
        await api.ask("POST", f"{SA}/default/token", {"spec": {"boundObjectRef": reference}}, expect=code)
    wrong = {"kind": "Secret", "name": "s", "uid": "0"}
    await api.ask("POST", f"{SA}/default/token", {"spec": {"boundObjectRef": wrong}}, expect=409)


async def test_an_account_that_is_not_there_gets_no_token(api: Api) -> None:
    await api.ask("POST", f"{SA}/nobody/token", {"spec": {}}, expect=404)


async def test_an_account_may_ask_with_its_token_until_it_ends(api: Api) -> None:
    mine = (await _token(api))["status"]["token"]
    me = await api.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=mine)
    assert me["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
    assert "system:serviceaccounts:default" in me["status"]["userInfo"]["groups"]

    await api.clock.sleep(3601)
    await api.ask("GET", NS, token=mine, expect=401)


async def test_tokens_for_others_and_of_accounts_that_went_are_refused(api: Api) -> None:
    for_azure = (await _token(api, audiences=["api://AzureADTokenExchange"]))["status"]["token"]
    await api.ask("GET", NS, token=for_azure, expect=401)

    mine = (await _token(api))["status"]["token"]
    await api.ask("DELETE", f"{SA}/default")
    await api.ask("GET", NS, token=mine, expect=401)


async def test_the_journal_has_each_request_and_never_a_secret(api: Api) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"k": "hunter2"}}
    await api.ask(
        "POST",
        f"{NS}/default/secrets",
        secret,
        headers={"Impersonate-User": "dev", "Impersonate-Group": "system:masters"},
    )
    token = (await _token(api))["status"]["token"]
    await api.ask("GET", f"{NS}/nobody", expect=404)
    entries = api.journal.entries()

    assert [(each.method, each.status, each.caller, each.code) for each in entries] == [
        ("POST", 201, "dev", ""),
        ("POST", 201, "admin", ""),
        ("GET", 404, "admin", "NotFound"),
    ]
    told = msgspec.json.encode(entries)
    for hidden in (b"hunter2", base64.b64encode(b"hunter2"), token.encode(), b"t-admin"):
        assert hidden not in told


async def test_a_refused_json_patch_does_not_quote_the_secret(api: Api) -> None:
    await api.ask("POST", f"{NS}/default/secrets", {"metadata": {"name": "s"}, "stringData": {"k": "hunter2"}})
    for patch in ([{"op": "remove", "path": "/x/y"}], [{"op": "test", "path": "/data/k", "value": "z"}]):
        response = await api.send("PATCH", f"{NS}/default/secrets/s", patch, type_="application/json-patch+json")
        assert response.status_code == 422
        assert base64.b64encode(b"hunter2").decode() not in response.text


async def test_a_binding_in_one_namespace_grants_nothing_in_another(api: Api) -> None:
    await api.namespace("other")
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/other/rolebindings"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    dev = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev"}
    await api.ask("POST", bindings, {"metadata": {"name": "dev"}, "roleRef": role, "subjects": [dev]})

    await api.ask("GET", f"{NS}/other/configmaps", token="t-dev")
    await api.ask("GET", f"{NS}/default/configmaps", token="t-dev", expect=403)


async def test_an_apply_to_the_status_of_what_is_not_there_makes_nothing_and_is_no_question_of_rights(api: Api) -> None:
    role: dict[str, Any] = {
        "metadata": {"name": "says"},
        "rules": [{"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]}],
    }
    subject = {"kind": "User", "name": "dev", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "says"}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    await api.ask("POST", f"{rbac}/clusterroles", role)
    binding = {"metadata": {"name": "says"}, "roleRef": reference, "subjects": [subject]}
    await api.ask("POST", f"{rbac}/clusterrolebindings", binding)
    status = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "absent"}, "status": {"phase": "Active"}}

    refused = await api.apply("/api/v1/namespaces/absent/status", status, token="t-dev", expect=403)
    assert "cannot patch" in refused["message"]
    role["rules"][0]["resources"] = ["namespaces/status"]
    await api.ask("PUT", f"{rbac}/clusterroles/says", role)
    answer = await api.apply("/api/v1/namespaces/absent/status", status, token="t-dev", expect=404)

    assert answer["reason"] == "NotFound"
