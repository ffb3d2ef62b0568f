"""The engine on virtual time between the sandbox's Kubernetes and the sandbox's Azure, joined below the two seams.

Nothing of the engine is replaced: real URL building, sign-in, paging, watches and error mapping run in every test.
"""

import asyncio
import base64
import datetime
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec
import pytest
import yaml
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest._http_response_impl_async import AsyncHttpResponseImpl
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster as KubeCluster
from lightkube.config.models import User as KubeUser
from starlette.types import ASGIApp

import acting
from keystead.kube.permissions import ENGINE_LEASE, NAMESPACE
from keystead.kube.rbac import manifests
from keystead.sync.app import SyncApp
from keystead.sync.settings import SyncSettings
from keystead_sandbox.azure import AzureApp
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.faults import Fault
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import ADMINS, User
from keystead_sandbox.resources import SecretVersion
from keystead_sandbox.world import World

EPOCH = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
ISSUER, ADMIN, ENGINE = "https://kubernetes.sandbox", "admin-token", "engine-token"
ESO = "/apis/external-secrets.io/v1/namespaces"
READER = "Key Vault Secrets User"


class LoopClock:
    """Time of the running loop, counted from the epoch."""

    def now(self) -> datetime.datetime:
        return EPOCH + datetime.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def _scope(method: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    parts = urllib.parse.urlsplit(url)
    given = {"host": parts.netloc, **{name.lower(): value for name, value in headers.items()}}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": urllib.parse.unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "server": (parts.hostname, parts.port or 443),
        "client": ("127.0.0.1", 1),
    }


class _Exchange:
    """One request being answered: the head once it is there, then the body piece by piece."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], body: bytes) -> None:
        self.head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self.task = asyncio.create_task(self._answer(app, scope))

    async def _answer(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:
            if self.head.done():
                raise
            self.head.set_exception(error)
        finally:
            self.pieces.put_nowait(None)

    async def _receive(self) -> dict[str, Any]:
        if self._body is None:
            await self._left.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            if not self.head.done():  # else its client has given up, and nobody reads the answer
                self.head.set_result((message["status"], list(message["headers"])))
        elif message.get("body"):
            self.pieces.put_nowait(message["body"])

    async def whole(self) -> bytes:
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            yield piece

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._exchange:
            yield piece

    async def aclose(self) -> None:
        await self._exchange.close()


class KubeTransport(httpx2.AsyncBaseTransport):
    """httpx2 onto an ASGI app, watches included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _Exchange(
            self._app, _scope(request.method, str(request.url), request.headers), await request.aread()
        )
        status, headers = await exchange.head
        return httpx2.Response(status, headers=headers, stream=_Stream(exchange))


class AzureTransport(AsyncHttpTransport[Any, Any]):
    """azure-core onto an ASGI app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def send(self, request: Any, **_options: Any) -> Any:
        content = request.content if hasattr(request, "content") else request.data
        if isinstance(content, Mapping):
            content = urllib.parse.urlencode(content)
        body = content.encode() if isinstance(content, str) else content or b""
        exchange = _Exchange(self._app, _scope(request.method, request.url, request.headers), body)
        status, headers = await exchange.head
        whole = await exchange.whole()
        shown = httpx2.Headers(headers)
        answer = AsyncHttpResponseImpl(
            request=request,
            internal_response=None,
            status_code=status,
            reason="",
            content_type=shown.get("content-type", ""),
            headers=shown,
            stream_download_generator=None,
        )
        answer._content = whole
        answer._is_closed = True
        return answer

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None: ...


@dataclass
class Stage:
    """Both worlds, and hands to change them as people would."""

    azure: World
    cluster: Cluster
    http: httpx2.AsyncClient
    azure_app: AzureApp
    running: list[tuple[asyncio.Task[None], asyncio.Event]] = field(default_factory=list)

    async def begin(self) -> None:
        """Namespace t1 whose account may read ``vault-one``; an identity that has trusted it since long ago."""
        acting.install(self.cluster, manifests(account_names=("eso",)))
        for each in yaml.safe_load_all(resources.files("keystead_sandbox.kube").joinpath("eso_crds.yaml").read_text()):
            await self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", each)
        tenant = self.azure.add_tenant()
        self.azure.add_subscription()
        identity = self.azure.add_identity("pool-one", "rg")
        vault = self.azure.add_vault("vault-one", "rg")
        self.azure.assign_role(identity.principal_id, READER, vault.resource_id)
        self.azure.add_credential(identity, "t1", ISSUER, "system:serviceaccount:t1:eso")
        self.put("db", "s3cr3t")
        await self.namespace("t1", client=identity.client_id, tenant=tenant.id)

    async def start(self, *, kube: ASGIApp | None = None, **settings: Any) -> SyncApp:
        """A new engine process, as it were; *kube* stands between it and the API server, if anything does."""
        config = KubeConfig.from_one(cluster=KubeCluster(server=ISSUER), user=KubeUser(token=ENGINE)).get()
        app = SyncApp(
            SyncSettings(**{"lease": (NAMESPACE, ENGINE_LEASE), **settings}),
            config=config,
            kube_transport=KubeTransport(kube or self.cluster),
            make_transport=lambda: AzureTransport(self.azure_app),
            clock=LoopClock(),
        )
        stop = asyncio.Event()
        self.running.append((asyncio.create_task(app.run(stop)), stop))
        return app

    async def stop(self) -> None:
        for task, stop in self.running:
            stop.set()
            await task
        self.running.clear()

    async def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind}
        content = None if body is None else msgspec.json.encode(body)
        answer = await self.http.request(method, path, content=content, headers=headers)
        assert answer.status_code < 300 or (method in ("GET", "DELETE") and answer.status_code == 404), answer.text
        return None if answer.status_code == 404 else msgspec.json.decode(answer.content)

    async def namespace(self, name: str, *, client: str = "", tenant: str = "", annotated: bool = True) -> None:
        """With ServiceAccount ``eso``."""
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        notes = {"azure.workload.identity/client-id": client, "azure.workload.identity/tenant-id": tenant}
        account = {"metadata": {"name": "eso", "annotations": notes if annotated else {}}}
        await self.call("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)

    async def store(self, namespace: str = "t1", name: str = "kv", controller: str = "keystead", **azure: Any) -> None:
        given = {
            "authType": "WorkloadIdentity",
            "vaultUrl": "https://vault-one.vault.azure.net",
            "serviceAccountRef": {"name": "eso"},
            **azure,
        }
        spec = {"controller": controller, "provider": {"azurekv": given}}
        await self.make(f"{ESO}/{namespace}/secretstores", "SecretStore", name, spec)

    async def external(self, name: str = "es", namespace: str = "t1", **spec: Any) -> None:
        given = {
            "refreshInterval": "1h",
            "secretStoreRef": {"name": "kv"},
            "data": [{"secretKey": "password", "remoteRef": {"key": "db"}}],
            **spec,
        }
        await self.make(f"{ESO}/{namespace}/externalsecrets", "ExternalSecret", name, given)

    async def make(self, path: str, kind: str, name: str, spec: Any) -> None:
        body = {"apiVersion": "external-secrets.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        await self.call("POST", path, body)

    async def patch(self, path: str, body: Any) -> None:
        await self.call("PATCH", path, body, "application/merge-patch+json")

    async def secret(self, name: str = "es", namespace: str = "t1") -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        return found

    async def data(self, name: str = "es", namespace: str = "t1") -> dict[str, str] | None:
        found = await self.secret(name, namespace)
        return (
            None
            if found is None
            else {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
        )

    async def status(self, resource: str = "externalsecrets/es", namespace: str = "t1") -> dict[str, Any]:
        return dict((await self.call("GET", f"{ESO}/{namespace}/{resource}")).get("status") or {})

    async def ready(self, resource: str = "externalsecrets/es", namespace: str = "t1") -> tuple[str, str, str] | None:
        conditions = (await self.status(resource, namespace)).get("conditions") or []
        found = next((each for each in conditions if each["type"] == "Ready"), None)
        return None if found is None else (found["status"], found["reason"], found["message"])

    async def events(self, namespace: str = "t1") -> list[tuple[str, str, str]]:
        found = await self.call("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
        return [(each["type"], each["reason"], each["note"]) for each in found["items"]]

    def calls(self, service: str) -> list[Any]:
        """Answers of 200 from a service of Azure."""
        return [each for each in self.azure.journal.entries() if each.service == service and each.status == 200]

    def fault(self, **given: Any) -> None:
        self.azure.faults.add(Fault(**given))

    def put(self, name: str, value: str, **about: Any) -> SecretVersion:
        version = self.azure.set_secret(self.vault, name, value)
        for key, given in about.items():
            setattr(version, key, given)
        return version

    @property
    def vault(self) -> Any:
        return next(iter(self.azure.vaults.values()))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Empty worlds; a test begins them itself, since virtual time runs in tests alone."""
    clock = VirtualClock(EPOCH)
    azure = World(clock, Journal(clock))
    engine, journal = acting.engine(), Journal(clock)
    cluster = Cluster(clock, journal, issuer=ISSUER, users={ADMIN: User("admin", (ADMINS,)), ENGINE: engine})
    async with httpx2.AsyncClient(transport=KubeTransport(cluster), base_url=ISSUER) as http:

        async def fetch(url: str) -> tuple[int, bytes]:
            answer = await http.get(url)
            return answer.status_code, answer.content

        made = Stage(azure, cluster, http, AzureApp(azure, fetch))
        try:
            yield made
        finally:
            await made.stop()
        refused = [each for each in journal.entries() if each.code == "Forbidden" and each.caller == engine.name]
        assert [each for each in refused if each.detail.get("cause") != "NamespaceTerminating"] == []
