"""One embedded cluster and a client of it, in this process, on virtual time."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx2
import msgspec

from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import ADMINS, User
from keystead_sandbox.pki import Authority
from transports import StreamingASGITransport

ADMIN_TOKEN = "t-admin"
CA_PEM = Authority().ca_pem.decode()
EPOCH = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
ISSUER = "https://kubernetes.sandbox"
Object = dict[str, Any]
USERS = {"t-admin": User("admin", (ADMINS,)), "t-dev": User("dev", ("devs",))}
WIDGETS = "/apis/example.org/v1/namespaces/default/widgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Api:
    """Speaks HTTP to the cluster as a client would."""

    def __init__(self) -> None:
        self.clock = VirtualClock(EPOCH)
        self.journal = Journal(self.clock)
        self.cluster = Cluster(self.clock, self.journal, issuer=ISSUER, users=USERS, ca_pem=CA_PEM)
        self.transport = StreamingASGITransport(self.cluster.asgi)
        self.http = httpx2.AsyncClient(transport=self.transport, base_url=ISSUER, timeout=None)

    async def send(
        self,
        verb: str,
        path: str,
        content: Any = None,
        *,
        type_: str = "application/json",
        token: str = ADMIN_TOKEN,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        given = {"Authorization": f"Bearer {token}"} if token else {}
        if content is not None:
            given["Content-Type"] = type_
        raw = content if isinstance(content, bytes) else msgspec.json.encode(content) if content is not None else b""
        return await self.http.request(verb, path, content=raw, headers=given | (headers or {}))

    async def ask(self, verb: str, path: str, content: Any = None, *, expect: int = 0, **more: Any) -> Any:
        """The JSON of an answer of status *expect* (any below 300 when it is 0)."""
        response = await self.send(verb, path, content, **more)
        assert response.headers["content-type"] == "application/json"
        fits = response.status_code == expect if expect else response.status_code < 300
        assert fits, f"{verb} {path}: {response.status_code} {response.text[:600]}"
        return response.json()

    async def apply(self, path: str, content: Any, *, manager: str = "m", force: bool = False, **more: Any) -> Any:
        """Server-side apply."""
        joint = "&" if "?" in path else "?"
        url = f"{path}{joint}fieldManager={manager}&force={str(force).lower()}"
        return await self.ask("PATCH", url, content, type_="application/apply-patch+yaml", **more)

    async def namespace(self, name: str, **metadata: Any) -> Any:
        return await self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name, **metadata}})

    async def config(self, name: str, namespace: str = "default", **more: Any) -> Any:
        metadata = {"name": name, **more.pop("metadata", {})}
        return await self.ask("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": metadata, **more})

    def watch(self, path: str, *, token: str = ADMIN_TOKEN) -> "Watched":
        return Watched(self, path, token)


class Watched:
    """An open watch; its events come one by one."""

    def __init__(self, api: Api, path: str, token: str) -> None:
        self._api = api
        joint = "&" if "?" in path else "?"
        self._path = f"{path}{joint}watch=1"
        self._token = token
        self.lines: asyncio.Queue[Object | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        request = self._api.http.build_request("GET", self._path, headers={"Authorization": f"Bearer {self._token}"})
        self._response = await self._api.http.send(request, stream=True)
        assert self._response.status_code == 200, self._response.status_code
        self._task = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        async for line in self._response.aiter_lines():
            self.lines.put_nowait(msgspec.json.decode(line))
        self.lines.put_nowait(None)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._response.aclose()

    async def next(self) -> Object:
        """The next event; the watch must not have ended."""
        event = await self.lines.get()
        assert event is not None, "the watch ended"
        return event

    async def told(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(each["type"], each["object"]["metadata"].get("name", "")) for each in events]

    async def ended(self) -> list[Object]:
        """All that is left, until the server ends the watch."""
        rest = []
        while (event := await self.lines.get()) is not None:
            rest.append(event)
        return rest


@asynccontextmanager
async def serving() -> AsyncIterator[Api]:
    api = Api()
    try:
        yield api
    finally:
        await api.http.aclose()


def crd(
    schema: Object | None = None,
    *,
    plural: str = "widgets",
    kind: str = "Widget",
    scope: str = "Namespaced",
    **version: Any,
) -> Object:
    """A definition whose spec has *schema*."""
    spec = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    root = {
        "type": "object",
        "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    served = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.org"},
        "spec": {
            "group": "example.org",
            "scope": scope,
            "names": {"plural": plural, "kind": kind, "shortNames": [plural[:2]]},
            "versions": [{**served, **version}],
        },
    }


def widget(spec: Any = None, name: str = "w", **metadata: Any) -> Object:
    item: Object = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name, **metadata}}
    return item if spec is None else {**item, "spec": spec}
