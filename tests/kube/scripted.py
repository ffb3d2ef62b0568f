"""An API server of one kind that misbehaves on request: an ASGI app, its objects the truth that caches are held to."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from keystead.kube.client import Api
from keystead.kube.informer import Informer, Patience
from keystead.operator.clock import LoopClock
from transports import StreamingASGITransport

PATH = "/apis/example.com/v1/things"
Key = tuple[str, str]
GRAIN = 1e-3  # seconds: a wait below the clock's own grain need not move it
_MANY = 5000  # requests, after which there is no answer: whoever asks in a hot loop lets time pass, and is found out
QUICK = Patience(first_retry=0.5, longest_retry=30.0)


class Thing(msgspec.Struct, frozen=True):
    """What the tests' informers decode."""

    name: str
    namespace: str
    uid: str
    value: int


class _Wire(msgspec.Struct):
    class Meta(msgspec.Struct):
        name: str
        namespace: str = ""
        uid: str = ""

    class Spec(msgspec.Struct):
        value: int

    metadata: Meta
    spec: Spec


def decode(text: msgspec.Raw) -> Thing:
    wire = msgspec.json.decode(text, type=_Wire)
    return Thing(wire.metadata.name, wire.metadata.namespace, wire.metadata.uid, wire.spec.value)


def status(code: int, reason: str, *, causes: tuple[str, ...] = (), message: str = "as scripted") -> dict[str, Any]:
    details = {"causes": [{"reason": each, "message": message} for each in causes]}
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return {**body, "code": code, "details": details}


def config(server: str = "https://scripted.example") -> SingleConfig:
    made = KubeConfig.from_server(server).get()
    assert made is not None
    return made


@dataclass
class Asked:
    """One request, and when."""

    at: float
    watch: bool
    query: dict[str, str]
    accept: str


@dataclass
class Scripted:
    """*script* gives, for each request, a misbehaviour or None; when it has run out, all goes well."""

    streams: bool = True
    """Whether it knows ``sendInitialEvents``: True, or refuses it; ``ignores`` makes it pass over it in silence."""
    ignores: bool = False
    served: bool = True
    page: int = 2
    asked: list[Asked] = field(default_factory=list)
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    version: int = 100
    script: "list[Misbehaviour]" = field(default_factory=list)
    always: "Misbehaviour | None" = None

    def __post_init__(self) -> None:
        self._log: list[tuple[int, bytes]] = []
        self._compacted = 0
        self._uids = itertools.count(1)
        self._watches: list[asyncio.Queue[bytes | None]] = []
        self.quiet = False
        self.bookmark_every = 60.0

    # Changing ----------------------------------------------------------------------------------------------------

    def put(self, name: str, value: Any = 0, namespace: str = "shop", **metadata: Any) -> None:
        key = (namespace, name)
        self.version += 1
        before = self.objects.get(key)
        uid = before["metadata"]["uid"] if before else f"uid-{next(self._uids)}"
        meta = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(self.version), **metadata}
        self.objects[key] = {"metadata": meta, "spec": {"value": value}}
        self._note("MODIFIED" if before else "ADDED", self.objects[key])

    def delete(self, name: str, namespace: str = "shop") -> None:
        item = self.objects.pop((namespace, name))
        self.version += 1
        self._note("DELETED", {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}})

    def _note(self, type_: str, item: dict[str, Any]) -> None:
        line = _line(type_, item)
        self._log.append((self.version, line))
        self.send(line)

    def send(self, part: bytes) -> None:
        """Bytes to all who watch, unless their connections are dead."""
        if not self.quiet:
            for watch in self._watches:
                watch.put_nowait(part)

    def hang_up(self) -> None:
        """All watches end."""
        for watch in self._watches:
            watch.put_nowait(None)

    def compact(self) -> None:
        """Forget the past: versions before now have expired."""
        self._compacted = self.version
        self._log.clear()

    def lose_state(self, version: int = 10) -> None:
        """Come back from a backup: older version, no past, watches gone."""
        self.version = self._compacted = version
        self._log.clear()
        self.hang_up()

    # Answering ---------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        query, watch = dict(request.query_params), "watch" in request.query_params
        now = asyncio.get_running_loop().time()
        self.asked.append(Asked(now, watch, query, request.headers.get("accept", "")))
        if len(self.asked) > _MANY:
            await asyncio.Event().wait()
        respond = self.script.pop(0) if self.script else self.always
        response = respond(self, request) if respond is not None else None
        if response is None:
            response = self._watch(query) if watch else self._list(query)
        await response(scope, receive, send)

    def _list(self, query: dict[str, str]) -> Response:
        if not self.served:
            return answer(404, "NotFound")
        at, _, begin = query.get("continue", "").partition(":")
        if at and int(at) < self._compacted:
            return answer(410, "Expired")
        keys = sorted(self.objects)
        limit = min(self.page, int(query["limit"])) if "limit" in query else len(keys)
        chosen = keys[int(begin or 0) : int(begin or 0) + limit]
        end = int(begin or 0) + limit
        metadata = {"resourceVersion": at or str(self.version)}
        if end < len(keys):
            metadata["continue"] = f"{metadata['resourceVersion']}:{end}"
        return Response(json.dumps({"metadata": metadata, "items": [self.objects[key] for key in chosen]}))

    def _watch(self, query: dict[str, str]) -> Response:
        initial = query.get("sendInitialEvents") == "true"
        if not self.served:
            return answer(404, "NotFound")
        if initial and not (self.streams or self.ignores):
            return answer(422, "Invalid")
        version = int(query.get("resourceVersion") or 0)
        if version and version < self._compacted:
            return answer(410, "Expired")
        if version > self.version:
            return answer(504, "Timeout", causes=("ResourceVersionTooLarge",))
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        if initial:
            for item in self.objects.values():
                queue.put_nowait(_line("ADDED", item))
            if not self.ignores:
                queue.put_nowait(bookmark(self.version, initial=True))
        else:
            for at, line in self._log:
                if at > version:
                    queue.put_nowait(line)
        return StreamingResponse(self._lines(queue, float(query["timeoutSeconds"])), media_type="application/json")

    async def _lines(self, queue: asyncio.Queue[bytes | None], seconds: float) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._watches.append(queue)
        try:
            while (left := end - loop.time()) > GRAIN:
                try:
                    async with asyncio.timeout(min(left, self.bookmark_every)):
                        line = await queue.get()
                except TimeoutError:
                    if not self.quiet:
                        yield bookmark(self.version)
                    continue
                if line is None:
                    return
                yield line
            if self.quiet:
                await asyncio.Event().wait()  # a dead connection never ends
        finally:
            self._watches.remove(queue)

    def count(self, *, watch: bool) -> int:
        return sum(each.watch == watch for each in self.asked)


Misbehaviour: TypeAlias = Callable[[Scripted, Request], Response | None]


def answer(code: int, reason: str, *, causes: tuple[str, ...] = (), headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(status(code, reason, causes=causes))
    return Response(body, code, headers, media_type="application/json")


def stream(*parts: bytes) -> Response:
    """An answer of these bytes, which then ends."""

    async def lines() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return StreamingResponse(lines(), media_type="application/json")


def _line(type_: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": item}, ensure_ascii=False).encode() + b"\n"


def bookmark(version: int, *, initial: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return _line("BOOKMARK", {"kind": "Thing", "metadata": metadata})


class Follower:
    """An informer on the scripted server, and all that it told."""

    def __init__(self, server: Scripted, **how: Any) -> None:
        self.server = server
        self.told: list[tuple[Thing | None, Thing | None]] = []
        self.known: dict[Key, Thing] = {}
        """What a listener believes that hears nothing but changes."""
        self.api = Api(config(), transport=StreamingASGITransport(server))
        how.setdefault("patience", QUICK)
        self.informer = Informer(self.api, LoopClock(), PATH, decode, self._changed, **how)

    def _changed(self, old: Thing | None, new: Thing | None) -> None:
        self.told.append((old, new))
        if old is not None:
            assert self.known.pop((old.namespace, old.name)) == old
        if new is not None:
            assert (new.namespace, new.name) not in self.known
            self.known[new.namespace, new.name] = new

    @property
    def deleted(self) -> list[str]:
        return [old.name for old, new in self.told if old is not None and new is None]

    def is_true(self) -> bool:
        """Cache and listener hold exactly what the server holds."""
        truth = {
            key: Thing(key[1], key[0], item["metadata"]["uid"], item["spec"]["value"])
            for key, item in self.server.objects.items()
        }
        return truth == self.informer.objects == self.known

    async def until_true(self, seconds: float = 600.0) -> None:
        async with asyncio.timeout(seconds):
            while not (self.informer.synced.is_set() and self.is_true()):  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.25)


@asynccontextmanager
async def following(server: Scripted, **how: Any) -> AsyncIterator[Follower]:
    """A running follower."""
    follower = Follower(server, **how)
    running = asyncio.create_task(follower.informer.run())
    try:
        yield follower
        assert not running.done(), running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await follower.api.close()
