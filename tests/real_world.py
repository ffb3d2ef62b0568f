"""The world of the tests on a real control plane: a real API server, the operator as its own ServiceAccount with the
roles that we ship, and time that passes.

- Azure is emulated as ever, below the operator's second seam; its durations pass ten times as fast, and the operator's
  paces and waits are divided by the same rate, as ordinary settings.
- One control plane serves a whole run; each world leaves it as empty as it came, and waits for that.
- Limits of patience are long, since a machine may do much else; what a test waits for is an event, never a moment.
"""

import asyncio
import contextlib
import dataclasses
import ssl
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import httpx2
from lightkube.config.kubeconfig import KubeConfig, SingleConfig

from acting import bindings, who
from control_plane_fixture import Reachable
from keystead.kube.permissions import NAMESPACE, OPERATOR
from keystead.kube.rbac import manifests
from keystead.operator.clock import LoopClock
from keystead.operator.settings import Settings
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kubeconfig import cluster_section, document, token_section
from world import OPERATOR_NAME, Trap, World, custom_resources

RATE = 10.0
_LONGEST = 6.0  # wall seconds of time that only passes
_PATIENCE = 120.0  # wall seconds for an event beyond the test's own limit
_LOOK = 0.1  # wall seconds between two looks
_SYSTEM = ("default", "kube-node-lease", "kube-public", "kube-system", NAMESPACE)
_KEPT = ("lease_duration",)  # seconds of the wall that a slow machine needs
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_OURS = "/apis/keystead.dev/v1alpha1"
_ESO = "/apis/external-secrets.io/v1"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_OF_OURS = ("vaultgrants", "vaultapprovals", "vaultclaims", "federations", "secretstores")
_NAMESPACED = {
    "serviceaccounts": "/api/v1",
    "secrets": "/api/v1",
    "configmaps": "/api/v1",
    "events": "/api/v1",
    "vaultclaims": _OURS,
    "secretstores": _ESO,
    "externalsecrets": _ESO,
    "roles": _RBAC,
    "rolebindings": _RBAC,
    "leases": "/apis/coordination.k8s.io/v1",
}
_CLUSTER = {
    "namespaces": "/api/v1",
    "vaultgrants": _OURS,
    "vaultapprovals": _OURS,
    "federations": _OURS,
    "clusterroles": _RBAC,
    "clusterrolebindings": _RBAC,
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
}


class Session:
    """A control plane with Keystead's definitions, roles and accounts in it: a run's one, or a test's own."""

    def __init__(self, cluster: Reachable) -> None:
        self.cluster = cluster
        self.http = cluster.admin()
        for item in (*custom_resources(), *manifests(), *bindings()):
            self.put(item, manager="keystead")
        for plural in ("vaultgrants", "vaultclaims", "vaultapprovals", "federations", "secretstores"):
            while self.http.get(folder(plural)).status_code != httpx2.codes.OK:
                time.sleep(_LOOK)  # a kind is accepted before it is served

    def put(self, item: dict[str, Any], *, manager: str, sub: str = "") -> dict[str, Any]:
        """Apply an object as whoever writes such objects, who must have the right to; a status as the cluster's admin."""
        metadata = item["metadata"]
        path = f"{folder(item['kind'].lower() + 's', metadata.get('namespace', ''))}/{metadata['name']}"
        path += f"/{sub}" if sub else ""
        headers = {"Content-Type": "application/apply-patch+yaml", **({} if sub else acted(path))}
        answer = self.http.patch(path, params={"fieldManager": manager, "force": "true"}, json=item, headers=headers)
        return checked(answer)

    def create(self, item: dict[str, Any]) -> dict[str, Any]:
        """Make an object, in place of one that has its name."""
        metadata = item["metadata"]
        path = folder(item["kind"].lower() + "s", metadata.get("namespace", ""))
        gone = self.http.delete(f"{path}/{metadata['name']}", headers=acted(path))
        assert gone.status_code in (httpx2.codes.OK, httpx2.codes.NOT_FOUND), gone.text
        return checked(self.http.post(path, json=item, headers=acted(path)))

    def token(self, account: str, namespace: str = NAMESPACE) -> str:
        """A token of a ServiceAccount."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
        answer = self.http.post(f"{folder('serviceaccounts', namespace)}/{account}/token", json=body)
        return str(checked(answer)["status"]["token"])

    def config(self, token: str) -> SingleConfig:
        cluster = cluster_section(self.cluster.url, self.cluster.ca_pem)
        config = KubeConfig.from_dict(document(cluster, {"somebody": token_section(token)}, current="somebody")).get()
        assert config is not None
        return config

    def client(self, token: str) -> httpx2.Client:
        """A client for whoever has this token."""
        return self.cluster.client({"Authorization": f"Bearer {token}"})


_current: list[Session] = []


def session() -> Session | None:
    """The run's control plane, or the test's own; ``None`` in a run on the embedded Kubernetes."""
    return _current[-1] if _current else None


@contextlib.contextmanager
def begun(cluster: Reachable) -> Iterator[Session]:
    """All worlds that are made meanwhile are real ones."""
    _current.append(Session(cluster))
    try:
        yield _current[-1]
    finally:
        _current.pop().http.close()


def folder(plural: str, namespace: str = "") -> str:
    """Where objects lie, of one namespace or of all."""
    if plural in _CLUSTER:
        return f"{_CLUSTER[plural]}/{plural}"
    return f"{_NAMESPACED[plural]}/namespaces/{namespace}/{plural}" if namespace else f"{_NAMESPACED[plural]}/{plural}"


def acted(path: str) -> dict[str, str]:
    """Headers that make a request that of whoever writes such objects."""
    plural = next((part for part in path.split("/") if part.startswith("vault")), "")
    return who("keystead.dev", plural).headers


def checked(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code < httpx2.codes.BAD_REQUEST, answer.text
    found: dict[str, Any] = answer.json()
    return found


class RealWorld(World):
    """One Azure, operators that come and go, and the run's control plane for as long as this world lasts."""

    grain = 1.0

    def _make_clock(self) -> ScaledClock:
        return ScaledClock(RATE)

    def _make_settings(self, given: dict[str, Any]) -> Settings:
        whole = super()._make_settings(given)
        hastened = {
            each.name: getattr(whole, each.name) / RATE
            for each in dataclasses.fields(whole)
            if isinstance(each.default, float) and each.name not in _KEPT
        }
        return dataclasses.replace(whole, **hastened)

    def _make_cluster(self) -> None:
        found = session()
        assert found is not None
        self._session = found
        self.issuer = found.cluster.url

    async def _fetch(self, url: str) -> tuple[int, bytes]:
        """As Entra does: from the issuer itself, with no token."""
        with self._session.cluster.client() as anybody:
            answer = anybody.get(url)
        return answer.status_code, answer.content

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Take everything away that this world's people and operators made."""
        for plural in _OF_OURS:
            for each in self.objects(plural):
                metadata = each["metadata"]
                path = f"{folder(plural, metadata.get('namespace', ''))}/{metadata['name']}"
                self._take(path, metadata)
        for each in self.objects("namespaces"):
            if each["metadata"]["name"] not in _SYSTEM:
                self._end_namespace(each["metadata"]["name"])
        self._session.http.request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{OPERATOR}")
        deadline = time.monotonic() + _PATIENCE
        while left := self._left():
            assert time.monotonic() < deadline, left
            await asyncio.sleep(_LOOK)

    def _take(self, path: str, metadata: dict[str, Any]) -> None:
        if metadata.get("finalizers"):
            self._merge(path, {"metadata": {"finalizers": None}})
        self._session.http.request("DELETE", path, params={"propagationPolicy": "Background"})

    def _end_namespace(self, name: str) -> None:
        """As the namespace controller does, but at once: that one waits five seconds first, for the sake of API servers
        that lag, and a run has hundreds of worlds.
        """
        http = self._session.http
        http.request("DELETE", f"{folder('namespaces')}/{name}")
        for plural in _NAMESPACED:
            for each in self.objects(plural, name):
                self._take(f"{folder(plural, name)}/{each['metadata']['name']}", each["metadata"])
        answer = http.get(f"{folder('namespaces')}/{name}")
        if answer.is_success:
            http.put(f"{folder('namespaces')}/{name}/finalize", json={**answer.json(), "spec": {"finalizers": []}})

    def _left(self) -> list[str]:
        left = [each["metadata"]["name"] for plural in _OF_OURS for each in self.objects(plural)]
        left += [
            each for each in (item["metadata"]["name"] for item in self.objects("namespaces")) if each not in _SYSTEM
        ]
        accounts = self.objects("serviceaccounts")
        return left + [each["metadata"]["name"] for each in accounts if each["metadata"]["name"] == "keystead"]

    # Changing ----------------------------------------------------------------------------------------------------

    def put(self, item: dict[str, Any], *, manager: str = "people", sub: str = "") -> dict[str, Any]:
        return self._session.put(item, manager=manager, sub=sub)

    def create(self, item: dict[str, Any]) -> dict[str, Any]:
        return self._session.create(item)

    def namespace(
        self, name: str, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None
    ) -> str:
        # Who makes a namespace anew waits until the old one is gone, as its name is taken until then.
        while ((self.object("namespaces", name) or {}).get("metadata") or {}).get("deletionTimestamp"):
            time.sleep(_LOOK)
        return super().namespace(name, labels=labels, annotations=annotations)

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        path = f"{folder(plural, namespace)}/{name}"
        params = {"propagationPolicy": "Background"}
        checked(self._session.http.request("DELETE", path, params=params, headers=acted(path)))

    def disown(self, plural: str, name: str, namespace: str) -> None:
        self._merge(f"{folder(plural, namespace)}/{name}", {"metadata": {"ownerReferences": None}})

    def _merge(self, path: str, patch: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        self._session.http.patch(path, json=patch, headers=headers)

    # Operators ---------------------------------------------------------------------------------------------------

    def _operator_clock(self) -> LoopClock:
        return LoopClock()

    def _kubernetes(self, trap: Trap) -> tuple[SingleConfig, httpx2.AsyncBaseTransport]:
        trust = ssl.create_default_context(cadata=self._session.cluster.ca_pem.decode())
        transport = Watched(httpx2.AsyncHTTPTransport(verify=trust), trap, self.journal, self.clock)
        return self._session.config(self._session.token(OPERATOR)), transport

    # Time --------------------------------------------------------------------------------------------------------

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds / RATE, _LONGEST))

    async def until(self, condition: Callable[[], Any], *, seconds: float = 600.0) -> None:
        deadline = time.monotonic() + seconds / RATE + _PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.story()}"
            await asyncio.sleep(_LOOK)

    # Looking -----------------------------------------------------------------------------------------------------

    def objects(self, plural: str, namespace: str = "") -> list[dict[str, Any]]:
        deadline = time.monotonic() + _PATIENCE
        # A kind whose definition was just written is not served for a moment.
        while (
            answer := self._session.http.get(folder(plural, namespace))
        ).status_code == httpx2.codes.TOO_MANY_REQUESTS:
            assert time.monotonic() < deadline, answer.text
            time.sleep(_LOOK)
        found: list[dict[str, Any]] = checked(answer)["items"]
        return found

    def object(self, plural: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        if plural in _NAMESPACED and not namespace:
            return super().object(plural, name, namespace)
        answer = self._session.http.get(f"{folder(plural, namespace)}/{name}")
        return None if answer.status_code == httpx2.codes.NOT_FOUND else checked(answer)


class Watched(httpx2.AsyncBaseTransport):
    """Notes what an operator asks of the API server, and ends the operator where its trap says."""

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, trap: Trap, journal: Journal, clock: ScaledClock | Any
    ) -> None:
        self._inner = inner
        self._trap = trap
        self._journal = journal
        self._clock = clock

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        trap = self._trap
        if trap.dead:
            raise httpx2.ConnectError("the process is dead")
        if request.method in _WRITES and "/leases" not in request.url.path:
            trap.writes += 1
            if trap.writes == trap.at:
                trap.dead = True
                if trap.after:
                    await (await self._send(request)).aread()
                trap.sprung()
                raise httpx2.ReadError("the process died")
        return await self._send(request)

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        began = self._clock.now()
        response = await self._inner.handle_async_request(request)
        self._journal.record(
            service="kube",
            method=request.method,
            host="",
            path=request.url.path,
            query=request.url.query.decode(),
            status=response.status_code,
            code="Forbidden"
            if response.status_code == httpx2.codes.FORBIDDEN and await _lacks_a_rule(response)
            else "",
            caller=OPERATOR_NAME,
            seconds=self._clock.now() - began,
        )
        return response


async def _lacks_a_rule(response: httpx2.Response) -> bool:
    """Whether a 403 is about rights: new objects in a namespace that ends are refused to everybody."""
    await response.aread()
    details = response.json().get("details") or {}
    return all(each.get("reason") != "NamespaceTerminating" for each in details.get("causes") or ())
