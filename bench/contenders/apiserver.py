"""A read-only API server that costs the clients' machine as little as it can: every object is serialised once.

``python bench/contenders/apiserver.py PORT OBJECTS``: namespaces, service accounts and claims, OBJECTS of each. It serves discovery,
lists (pages), watches (streamed lists, bookmarks, resume by version) and metadata alone; ``POST /burst`` changes 10,000
objects, a third of each kind, as fast as its clients take them. Writes are counted and answered with what is stored.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

BURST = 10_000
_PART = 256 * 1024  # bytes sent at once
_FIRST = 1000


@dataclass
class Kind:
    """One resource: its objects as text, and its log of changes."""

    group: str
    kind: str
    plural: str
    namespaced: bool
    objects: list[dict[str, Any]] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    partial: list[bytes] = field(default_factory=list)
    log: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1alpha1" if self.group else "v1"

    @property
    def path(self) -> str:
        return f"/apis/{self.api_version}/{self.plural}" if self.group else f"/api/v1/{self.plural}"

    def put(self, item: dict[str, Any]) -> None:
        self.objects.append(item)
        self.texts.append(_text(item))
        self.partial.append(_text(_partial(item)))

    def change(self, index: int, version: int) -> None:
        item = self.objects[index]
        item["metadata"]["resourceVersion"] = str(version)
        item["metadata"].setdefault("annotations", {})["azure.workload.identity/client-id"] = f"changed-{version}"
        item["metadata"].setdefault("labels", {})["team"] = f"changed-{version}"
        if "conditions" in item.get("status", ()):
            item["status"]["conditions"][-1]["message"] = f"changed {version}"
        self.texts[index], self.partial[index] = _text(item), _text(_partial(item))
        self.log.append((version, _event(self.texts[index]), _event(self.partial[index])))


def _text(item: Any) -> bytes:
    return json.dumps(item, separators=(",", ":")).encode()


def _event(text: bytes, type_: bytes = b"MODIFIED") -> bytes:
    return b'{"type":"' + type_ + b'","object":' + text + b"}\n"


def _partial(item: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


class Server:
    """All kinds, and one version for all of them."""

    def __init__(self, count: int) -> None:
        self.version = _FIRST
        self.writes = 0
        self.kinds = [
            Kind("", "Namespace", "namespaces", namespaced=False),
            Kind("", "ServiceAccount", "serviceaccounts", namespaced=True),
            Kind("keystead.dev", "VaultClaim", "vaultclaims", namespaced=True),
        ]
        self.empty = [
            Kind("keystead.dev", "VaultGrant", "vaultgrants", namespaced=False),
            Kind("keystead.dev", "VaultApproval", "vaultapprovals", namespaced=False),
            Kind("keystead.dev", "Federation", "federations", namespaced=False),
        ]
        for number in range(count):
            for kind, item in zip(self.kinds, (_namespace(number), _account(number), _claim(number)), strict=True):
                self.version += 1
                item["metadata"]["resourceVersion"] = str(self.version)
                kind.put({"apiVersion": kind.api_version, "kind": kind.kind, **item})

    def burst(self) -> None:
        for number in range(BURST):
            kind = self.kinds[number % 3]
            self.version += 1
            kind.change(number // 3 % len(kind.texts), self.version)
        for kind in self.kinds:
            grown, kind.grown = kind.grown, asyncio.Event()
            grown.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/burst":
            self.burst()
            return web.json_response({"writes": self.writes})
        if request.method not in ("GET", "HEAD"):
            self.writes += 1
            return web.json_response(self._one(path) or {"kind": "Status", "status": "Success"})
        for kind in (*self.kinds, *self.empty):
            if path == kind.path:
                return await self._collection(kind, request)
        found = _discovery(path, (*self.kinds, *self.empty))
        if found is None:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
            return web.json_response(status, status=404)
        return web.json_response(found)

    def _one(self, path: str) -> dict[str, Any] | None:
        for kind in self.kinds:
            for item in kind.objects if kind.plural in path else ():
                metadata = item["metadata"]
                inside = f"/namespaces/{metadata.get('namespace')}" if kind.namespaced else ""
                if path.endswith(f"{inside}/{kind.plural}/{metadata['name']}"):
                    return item
        return None

    async def _collection(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        partial = "as=PartialObjectMetadata" in request.headers.get("Accept", "")
        if request.query.get("watch") in ("true", "1", "True"):
            return await self._watch(kind, request, partial=partial)
        texts = kind.partial if partial else kind.texts
        begin = int(request.query.get("continue") or 0)
        end = min(len(texts), begin + int(request.query.get("limit") or len(texts) or 1))
        more = str(end) if end < len(texts) else ""
        metadata = {"resourceVersion": str(self.version), "continue": more} if more else {}
        head = {"apiVersion": kind.api_version, "kind": f"{kind.kind}List", "metadata": metadata or self._meta()}
        body = _text(head)[:-1] + b',"items":[' + b",".join(texts[begin:end]) + b"]}"
        return web.Response(body=body, content_type="application/json")

    def _meta(self) -> dict[str, Any]:
        return {"resourceVersion": str(self.version)}

    async def _watch(self, kind: Kind, request: web.Request, *, partial: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        version = int(request.query.get("resourceVersion") or 0)
        if request.query.get("sendInitialEvents") == "true":
            version = self.version
            texts = kind.partial if partial else kind.texts
            marks = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
            end = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": marks}
            for part in _parts([*(_event(text, b"ADDED") for text in texts), _event(_text(end), b"BOOKMARK")]):
                await response.write(part)
        sent = 0
        while True:
            grown = kind.grown
            fresh = kind.log[sent:]
            sent = len(kind.log)
            for part in _parts([whole if not partial else meta for at, whole, meta in fresh if at > version]):
                await response.write(part)
            if sent == len(kind.log):
                await grown.wait()


def _parts(lines: list[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PART:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _discovery(path: str, kinds: tuple[Kind, ...]) -> dict[str, Any] | None:
    version = {"groupVersion": "keystead.dev/v1alpha1", "version": "v1alpha1"}
    group = {"name": "keystead.dev", "versions": [version], "preferredVersion": version}
    if path == "/version":
        return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}
    if path == "/apis/keystead.dev":
        return {"kind": "APIGroup", "apiVersion": "v1", **group}
    wanted = {"/api/v1": "", "/apis/keystead.dev/v1alpha1": "keystead.dev"}.get(path)
    if wanted is None:
        return None
    rows = [
        {
            "name": each.plural,
            "singularName": each.kind.lower(),
            "namespaced": each.namespaced,
            "kind": each.kind,
            "verbs": ["get", "list", "watch", "patch", "create", "update", "delete"],
        }
        for each in kinds
        if each.group == wanted
    ]
    return {"kind": "APIResourceList", "groupVersion": path.split("/", 2)[-1], "resources": rows}


def _meta(number: int, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "f:metadata": {"f:annotations": {".": {}, "f:example.com/owner": {}}, "f:labels": {".": {}, "f:team": {}}}
    }
    entry = {
        "manager": "argocd-controller",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "uid": f"{number:08x}-0000-4000-8000-{number:012x}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 1,
        "labels": {"team": "team", "kubernetes.io/metadata.name": name},
        "annotations": {"example.com/owner": f"owner-{number}", "example.com/note": "n" * 160},
        "managedFields": [entry, {**entry, "manager": "kubectl"}, {**entry, "manager": "rancher"}],
        **more,
    }


def _namespace(number: int) -> dict[str, Any]:
    return {
        "metadata": _meta(number, f"tenant-{number:05}"),
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _account(number: int) -> dict[str, Any]:
    return {"metadata": _meta(number + 10**6, "keystead", f"tenant-{number:05}")}


def _claim(number: int) -> dict[str, Any]:
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": type_,
            "message": f"{type_}: nothing is left to do about this.",
            "lastTransitionTime": f"2026-01-01T00:{number % 60:02}:00.000000Z",
            "observedGeneration": 1,
        }
        for type_ in ("Accepted", "Approved", "Federated", "Verified", "StoreReady", "Ready")
    ]
    status = {"conditions": conditions, "federationName": f"ks-{number}", "vaultUrl": "https://v.vault.azure.net"}
    return {
        "metadata": _meta(number + 2 * 10**6, "team", f"tenant-{number:05}"),
        "spec": {"grantName": f"grant-{number % 20}"},
        "status": status,
    }


async def _serve(port: int, count: int) -> None:
    server = Server(count)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
