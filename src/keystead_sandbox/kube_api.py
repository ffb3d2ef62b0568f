"""Any Kubernetes API server, as JSON over its paths: for what the sandbox sets up in a cluster and takes out again.

Signs in as :mod:`keystead_sandbox.access` has read it in a kubeconfig.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any, cast

import httpx2
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.core.exceptions import ConfigError

from keystead_sandbox.access import Access, KubernetesRefused

MANAGER = "keystead-sandbox"
_DEADLINE = 15.0  # wall seconds for one request
_PATIENCE = 60.0  # wall seconds until a new kind of objects is served
_LOOK = 0.05
_NOT_FOUND, _ERROR = 404, 400
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_FOLDERS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
    "Role": f"{_RBAC}/namespaces/{{namespace}}/roles",
    "RoleBinding": f"{_RBAC}/namespaces/{{namespace}}/rolebindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ValidatingAdmissionPolicy": f"{_ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{_ADMISSION}/validatingadmissionpolicybindings",
}


class Unready(KubernetesRefused):
    """The API server is busy, or prepares what was asked for; asked again later it may answer."""


class KubeApi:
    """Requests as one user."""

    def __init__(self, access: Access) -> None:
        params = ConnectionParams(
            timeout=httpx2.Timeout(_DEADLINE), trust_env=False, transport=cast("Any", access.transport())
        )
        self._http: httpx2.AsyncClient = AsyncClient(access.config, params)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **params: str) -> Any:
        """Decoded JSON, or ``None`` where there is nothing."""
        return await self._request("GET", path, params=params)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._request("POST", path, body=body)

    async def delete(self, path: str) -> None:
        """Begin to delete; what is gone already is well."""
        await self._request("DELETE", path, params={"propagationPolicy": "Background"})

    async def merge(self, path: str, body: Mapping[str, Any]) -> None:
        """Merge patch; what is gone already is well."""
        await self._request("PATCH", path, body=body, content_type="application/merge-patch+json")

    async def apply(self, item: Mapping[str, Any]) -> Any:
        """Server-side apply of an object of one of the kinds that the sandbox sets up."""
        path = f"{path_of(item)}/{item['metadata']['name']}"
        params = {"fieldManager": MANAGER}
        return await self._request("PATCH", path, params=params, body=item, content_type="application/apply-patch+yaml")

    async def until_served(self, definition: Mapping[str, Any]) -> None:
        """Wait until the objects of a definition (CRD) can be listed: it is accepted well before that."""
        spec = definition["spec"]
        version = next(each["name"] for each in spec["versions"] if each["served"])
        path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if await self.get(path, limit="1") is not None:
                    return
                if time.monotonic() > deadline:
                    raise KubernetesRefused(f"{path} is not served after {_PATIENCE:.0f} s")
            except Unready:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_LOOK)

    async def token(self, namespace: str, account: str, *, seconds: int) -> str:
        """A token of a ServiceAccount; the server may make it shorter-lived."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = await self.post(path, {**request, "spec": {"expirationSeconds": seconds}})
        return str(answer["status"]["token"])

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            answer = await self._http.request(method, path, params=params, content=content, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ConfigError) as error:
            raise KubernetesRefused(f"{method} {path}: no answer from the API server: {error}") from error
        if answer.status_code == _NOT_FOUND and method != "POST":
            return None
        if answer.status_code >= _ERROR:
            refusal = Unready if answer.status_code in (429, 503) else KubernetesRefused
            raise refusal(f"{method} {path}: {answer.status_code} {_message(answer)}")
        return answer.json()


def path_of(item: Mapping[str, Any]) -> str:
    """The folder of an object of one of the kinds that the sandbox sets up."""
    return _FOLDERS[item["kind"]].format(namespace=item["metadata"].get("namespace", ""))


def _message(answer: httpx2.Response) -> str:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return str(answer.json().get("message") or "")
    return ""
