"""Each role on a real API server: what it may do, and above all what it may not. Every line is a real request.

Whether a thing exists does not matter: authorisation is asked before that, so a 404 is a yes.
"""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from keystead.kube.permissions import ADMIN, APPROVER, ENGINE, ENGINE_LEASE, LEASE, NAMESPACE, OPERATOR, VIEWER
from real_world import Session, checked

pytestmark = pytest.mark.real
SHOP, OTHER, TENANT = "roles-shop", "roles-other", "tenant"
_RBAC = "rbac.authorization.k8s.io"
OURS = "/apis/keystead.dev/v1alpha1"
ESO = "/apis/external-secrets.io/v1"
KINDS = {
    "vaultgrants": "VaultGrant",
    "vaultclaims": "VaultClaim",
    "vaultapprovals": "VaultApproval",
    "federations": "Federation",
}
_CASES: dict[str, dict[str, list[str]]] = {
    OPERATOR: {
        "may": [
            "GET /api/v1/namespaces",
            f"GET {OURS}/vaultgrants",
            f"POST {OURS}/federations",
            f"PATCH {OURS}/federations/x",
            f"PATCH {OURS}/vaultclaims/x/status in {SHOP}",
            f"POST /api/v1/serviceaccounts in {SHOP}",
            "GET /api/v1/serviceaccounts?fieldSelector=metadata.name=keystead",
            f"PATCH /api/v1/serviceaccounts/keystead in {SHOP}",
            f"POST /api/v1/serviceaccounts/keystead/token in {SHOP}",
            f"PATCH {ESO}/secretstores/x in {SHOP}",
            f"GET /apis/coordination.k8s.io/v1/leases/{LEASE} in {NAMESPACE}",
            "GET /.well-known/openid-configuration",
        ],
        "may not": [
            "GET /api/v1/secrets",
            f"GET /api/v1/secrets in {SHOP}",
            f"GET /api/v1/secrets/x in {NAMESPACE}",
            "GET /api/v1/serviceaccounts",
            f"GET /api/v1/serviceaccounts/default in {SHOP}",
            f"PATCH /api/v1/serviceaccounts/default in {SHOP}",
            f"POST /api/v1/serviceaccounts/default/token in {SHOP}",
            "POST /api/v1/serviceaccounts/namespace-controller/token in kube-system",
            f"DELETE /api/v1/serviceaccounts/keystead in {SHOP}",
            f"PATCH /api/v1/namespaces/{SHOP}",
            f"DELETE /api/v1/namespaces/{SHOP}",
            f"PATCH {OURS}/vaultgrants/x",
            f"POST {OURS}/vaultapprovals",
            f"PATCH {OURS}/vaultclaims/x in {SHOP}",
            f"DELETE {ESO}/secretstores/x in {SHOP}",
            "GET /apis/coordination.k8s.io/v1/leases/x in kube-system",
            f"GET /apis/coordination.k8s.io/v1/leases/another in {NAMESPACE}",
            f"POST /apis/{_RBAC}/v1/clusterrolebindings",
        ],
    },
    ENGINE: {
        "may": [
            "GET /api/v1/secrets?labelSelector=a=b",
            f"POST /api/v1/secrets in {SHOP}",
            f"PUT /api/v1/secrets/x in {SHOP}",
            f"GET {ESO}/clustersecretstores",
            f"PATCH {ESO}/externalsecrets/x/status in {SHOP}",
            f"GET /api/v1/serviceaccounts/keystead in {SHOP}",
            f"POST /api/v1/serviceaccounts/keystead/token in {SHOP}",
            f"PUT /apis/coordination.k8s.io/v1/leases/{ENGINE_LEASE} in {NAMESPACE}",
        ],
        "may not": [
            f"PUT /apis/coordination.k8s.io/v1/leases/{LEASE} in {NAMESPACE}",
            f"POST /api/v1/serviceaccounts/default/token in {SHOP}",
            f"GET /api/v1/serviceaccounts/default in {SHOP}",
            "GET /api/v1/namespaces",
            f"GET {OURS}/vaultgrants",
            f"GET {OURS}/federations",
            f"PATCH {ESO}/secretstores/x in {SHOP}",
            f"PATCH /api/v1/secrets/x in {SHOP}",
            f"POST {ESO}/externalsecrets in {SHOP}",
        ],
    },
    ADMIN: {
        "may": [f"POST {OURS}/vaultgrants", f"DELETE {OURS}/vaultclaims/x in {SHOP}", f"GET {OURS}/federations"],
        "may not": [
            f"POST {OURS}/vaultapprovals",
            f"DELETE {OURS}/vaultapprovals/x",
            f"POST {OURS}/federations",
            f"DELETE {OURS}/federations/x",
            f"PATCH {OURS}/vaultgrants/x/status",
            f"GET /api/v1/secrets in {SHOP}",
        ],
    },
    APPROVER: {
        "may": [
            f"POST {OURS}/vaultapprovals",
            f"DELETE {OURS}/vaultapprovals/x",
            f"GET {OURS}/vaultclaims",
            f"GET /api/v1/namespaces/{SHOP}",
        ],
        "may not": [
            f"PATCH {OURS}/vaultapprovals/x",
            f"POST {OURS}/federations",
            f"PATCH {OURS}/federations/x",
            f"DELETE {OURS}/federations/x",
            f"PATCH {OURS}/federations/x/status",
            f"POST {OURS}/vaultgrants",
            f"PATCH {OURS}/vaultgrants/x",
            f"POST {OURS}/vaultclaims in {SHOP}",
            f"PATCH /api/v1/namespaces/{SHOP}",
            f"GET /api/v1/secrets in {SHOP}",
        ],
    },
    VIEWER: {
        "may": [
            *(f"GET {OURS}/{plural}" for plural in KINDS),
            "GET /api/v1/namespaces",
            "GET /api/v1/serviceaccounts?fieldSelector=metadata.name=keystead",
            f"GET {ESO}/secretstores",
            "GET /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            "GET /.well-known/openid-configuration",
        ],
        "may not": [
            "GET /api/v1/serviceaccounts",
            f"GET {ESO}/externalsecrets",
            *(f"POST {OURS}/{plural}" for plural in KINDS if plural != "vaultclaims"),
            f"POST {OURS}/vaultclaims in {SHOP}",
            *(f"DELETE {OURS}/{plural}/x" for plural in KINDS if plural != "vaultclaims"),
            "GET /api/v1/secrets",
        ],
    },
    TENANT: {
        "may": [
            f"GET {OURS}/vaultclaims in {SHOP}",
            f"POST {OURS}/vaultclaims in {SHOP}",
            f"DELETE {OURS}/vaultclaims/x in {SHOP}",
        ],
        "may not": [
            f"POST {OURS}/vaultclaims in {OTHER}",
            f"GET {OURS}/vaultclaims",
            f"PATCH {OURS}/vaultclaims/x/status in {SHOP}",
            f"POST {OURS}/vaultapprovals",
            f"GET {OURS}/vaultapprovals",
            f"POST {OURS}/vaultgrants",
            f"GET {OURS}/federations",
            f"PATCH {OURS}/federations/x",
            f"PATCH /api/v1/namespaces/{OTHER}",
        ],
    },
}
_ROWS = [
    (who, request, word == "may")
    for who, words in _CASES.items()
    for word, requests in words.items()
    for request in requests
]


def _account(session: Session, who: str, binding: dict[str, Any]) -> httpx2.Client:
    session.put(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": who, "namespace": SHOP}}, manager="test"
    )
    subject = {"kind": "ServiceAccount", "name": who, "namespace": SHOP}
    session.put({"apiVersion": f"{_RBAC}/v1", **binding, "subjects": [subject]}, manager="test")
    return session.client(session.token(who, SHOP))


@pytest.fixture(scope="module")
def people(real_session: Session) -> Iterator[dict[str, httpx2.Client]]:
    """Everybody with a token of their own; the people bound as an admin would bind them."""
    for name in (SHOP, OTHER):
        real_session.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager="test")
    keystead = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "keystead", "namespace": SHOP}}
    real_session.put(keystead, manager="test")
    clients = {who: real_session.client(real_session.token(who)) for who in (OPERATOR, ENGINE)}
    for who in (ADMIN, APPROVER, VIEWER):
        reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": who}
        binding = {"kind": "ClusterRoleBinding", "metadata": {"name": f"test-{who}"}, "roleRef": reference}
        clients[who] = _account(real_session, who, binding)
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "edit"}
    metadata = {"name": "developers", "namespace": SHOP}
    clients[TENANT] = _account(
        real_session, TENANT, {"kind": "RoleBinding", "metadata": metadata, "roleRef": reference}
    )
    yield clients
    for client in clients.values():
        client.close()
    for who in (ADMIN, APPROVER, VIEWER):
        checked(real_session.http.delete(f"/apis/{_RBAC}/v1/clusterrolebindings/test-{who}"))
    for name in (SHOP, OTHER):
        checked(real_session.http.delete(f"/api/v1/namespaces/{name}"))


def _ask(client: httpx2.Client, request: str) -> httpx2.Response:
    method, path, *place = request.split(" ")
    if place:
        prefix, version, rest = path.partition("/v1/" if "/v1/" in path else "/v1alpha1/")
        path = f"{prefix}{version}namespaces/{place[1]}/{rest}"
    body = None if method in ("GET", "DELETE") else _body(path)
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    if method != "GET":
        path = f"{path}?dryRun=All"
    return client.request(method, path, json=body, headers=headers)


def _body(path: str) -> dict[str, Any]:
    if path.endswith("/token"):
        return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return {"metadata": {"name": "made-by-a-test", "annotations": {"a": "b"}}}


@pytest.mark.parametrize(
    ("who", "request_", "may"), _ROWS, ids=[f"{who} {'may' if may else 'may not'} {r}" for who, r, may in _ROWS]
)
def test_a_role_gives_its_rights_and_no_more(
    people: dict[str, httpx2.Client], who: str, request_: str, may: bool
) -> None:
    answer = _ask(people[who], request_)

    assert answer.status_code != httpx2.codes.UNAUTHORIZED
    assert (answer.status_code != httpx2.codes.FORBIDDEN) is may, answer.text


@pytest.mark.parametrize(
    ("who", "verb", "may"),
    [
        (ADMIN, "use", True),
        (ADMIN, "approve", False),
        (APPROVER, "approve", True),
        (APPROVER, "use", False),
        (VIEWER, "approve", False),
        (TENANT, "use", False),
        (TENANT, "approve", False),
        (OPERATOR, "approve", False),
    ],
)
def test_the_guards_own_verbs_are_given_to_one_role_each(
    people: dict[str, httpx2.Client], who: str, verb: str, may: bool
) -> None:
    attributes = {"group": "keystead.dev", "resource": "vaultgrants", "verb": verb, "name": "team"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = people[who].post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)

    assert checked(answer)["status"]["allowed"] is may


def test_the_shipped_roles_are_accepted_as_they_stand(real_session: Session) -> None:
    """Applied by the session; ``edit`` has taken the tenant's role up, as the controller does."""
    edit = checked(real_session.http.get(f"/apis/{_RBAC}/v1/clusterroles/edit"))

    assert any("vaultclaims" in rule.get("resources", ()) for rule in edit["rules"])
