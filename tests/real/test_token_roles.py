"""On a real API server: the operator gives the right to mint tokens for a claim's account, and cannot give any other."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from keystead.kube.permissions import OPERATOR
from keystead.kube.rbac import manifests
from keystead.kube.writer import token_role
from keystead.plan.steps import ApplyStore
from real_world import Session, checked

pytestmark = pytest.mark.real
SHOP = "token-roles-shop"
_PATIENCE = 60.0  # wall seconds
_APPLY = "application/apply-patch+yaml"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def operator(real_session: Session) -> Iterator[httpx2.Client]:
    """The operator, with the rights that `keystead rbac --token-roles` adds."""
    for item in manifests(token_roles=True):
        real_session.put(item, manager="keystead")
    real_session.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}}, manager="test")
    client = real_session.client(real_session.token(OPERATOR))
    yield client
    client.close()
    for item in manifests():
        real_session.put(item, manager="keystead")
    checked(real_session.http.delete(f"/api/v1/namespaces/{SHOP}"))
    _wait(lambda: real_session.http.get(f"/api/v1/namespaces/{SHOP}").status_code == httpx2.codes.NOT_FOUND)


@pytest.fixture(scope="module")
def claim_uid(operator: httpx2.Client, real_session: Session) -> str:  # noqa: ARG001 - the namespace is there by then
    """Of the claim that roles go with: what has an owner that is not there is collected as garbage."""
    body = {
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "VaultClaim",
        "metadata": {"name": "claim", "namespace": SHOP},
        "spec": {"grantName": "team"},
    }
    return str(real_session.put(body, manager="test")["metadata"]["uid"])


def _objects(account: str, claim_uid: str) -> tuple[dict[str, Any], ...]:
    step = ApplyStore(
        "u", SHOP, "azure-store", "v", account, "", None, (), (), "claim", claim_uid, own=True, token_role=True
    )
    return token_role(step, "external-secrets/external-secrets")


def _apply(client: httpx2.Client, item: dict[str, Any]) -> httpx2.Response:
    path = f"{_RBAC}/namespaces/{SHOP}/{item['kind'].lower()}s/{item['metadata']['name']}"
    return client.patch(path, params={"fieldManager": "keystead"}, json=item, headers={"Content-Type": _APPLY})


def _allowed(client: httpx2.Client, review: dict[str, Any]) -> bool:
    answer = client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    return bool(checked(answer)["status"]["allowed"])


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_role_for_an_allowed_account_is_made_and_works(operator: httpx2.Client, claim_uid: str) -> None:
    role, binding = _objects("keystead", claim_uid)
    assert _apply(operator, role).is_success
    _wait(lambda: _apply(operator, binding).is_success)  # what the API server itself goes by is behind for a moment

    attributes = {
        "namespace": SHOP,
        "verb": "create",
        "resource": "serviceaccounts",
        "subresource": "token",
        "name": "keystead",
    }
    spec = {
        "user": "system:serviceaccount:external-secrets:external-secrets",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:external-secrets"],
        "resourceAttributes": attributes,
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    _wait(lambda: _allowed(operator, review))
    spec["resourceAttributes"] = {**attributes, "name": "default"}
    assert not _allowed(operator, review)


def test_a_right_that_the_operator_lacks_cannot_be_given_away(operator: httpx2.Client, claim_uid: str) -> None:
    role, _ = _objects("default", claim_uid)
    secrets = {**role, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}

    assert _apply(operator, role).status_code == httpx2.codes.FORBIDDEN
    assert _apply(operator, secrets).status_code == httpx2.codes.FORBIDDEN
