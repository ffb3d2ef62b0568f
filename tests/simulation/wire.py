"""The network between a process and the two services, below the operator's two HTTP seams.

- A request is carried out on the far side, in no process: it goes on when whoever asked is killed, frozen or gives up.
- Every request and every answer takes a little time, drawn for each process by itself, so that answers overtake.
- Read time-outs are kept as the real transports keep them. A watch may lag, break, or fall silent without breaking.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

import httpx2
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from starlette.types import ASGIApp, Message
from yarl import URL

from azure_transport import AzureResponse, InProcessTransport, content_of
from simulation.loop import Process, outside

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it leaves a process."""

    process: Process
    service: str
    method: str
    host: str
    path: str
    query: dict[str, str]
    body: bytes
    at: float


class Guard(Protocol):
    """Who watches the requests."""

    def sent(self, asked: Asked) -> None: ...

    def arrived(self, asked: Asked) -> None:
        """At the service, before it does anything."""

    def answered(self, asked: Asked, status: int, headers: Headers, content: bytes) -> None:
        """By the service; whether anybody hears it is another matter."""

    def ended(self, asked: Asked) -> None:
        """For the process: it was answered, failed, or was given up."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong with one API server's answers for a while; *share* of the requests that match are hit."""

    kind: str
    """``error``, ``reset`` (never arrives), ``lost`` (takes effect, no answer), ``slow``."""
    until: float
    share: float = 1.0
    method: str = ""
    path: str = ""
    status: int = 500
    seconds: float = 0.0


@dataclass
class Line:
    """One process's connection: its latencies, and what ails it."""

    process: Process
    guard: Guard
    chance: random.Random
    troubles: list[Trouble] = field(default_factory=list)
    """Shared by all processes that talk to one API server."""
    lag: float = 0.0
    """Seconds that watch events take."""
    hits: int = 0
    closed: bool = False
    """The process is being buried: nothing leaves it any more."""
    streams: list["_Stream"] = field(default_factory=list)
    _tasks: dict["asyncio.Task[None]", None] = field(default_factory=dict)

    def delay(self) -> float:
        return self.chance.uniform(0.001, 0.02) if self.chance.random() > 0.02 else self.chance.uniform(0.1, 1.5)

    def start(self, call: "_Call", app: ASGIApp) -> None:
        """Send it off. OSError when there is no network any more."""
        if self.closed:
            raise ConnectionRefusedError("the process is being buried")
        self.guard.sent(call.asked)
        task = asyncio.get_running_loop().create_task(call.run(app), context=outside())
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None), context=outside())

    def trouble(self, method: str, path: str) -> Trouble | None:
        now = asyncio.get_running_loop().time()
        for each in self.troubles:
            means = now < each.until and re.search(each.method, method) and re.search(each.path, path)
            if means and self.chance.random() < each.share:
                self.hits += 1
                return each
        return None

    def cut(self) -> None:
        """All open watches break."""
        for stream in list(self.streams):
            stream.fail(httpx2.ReadError("the connection was cut"))

    def mute(self) -> None:
        """All open watches fall silent; nobody is told."""
        for stream in self.streams:
            stream.silent = True

    def hang_up(self) -> None:
        """The process is gone: the far side notices."""
        for stream in list(self.streams):
            stream.call.gone.set()
        self.streams.clear()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Call:
    """One request, on the far side."""

    def __init__(self, line: Line, asked: Asked, scope: dict[str, Any]) -> None:
        self.line = line
        self.asked = asked
        self.scope = scope
        self.gone = asyncio.Event()
        self.answer: asyncio.Future[tuple[int, Headers, bytes]] = asyncio.get_running_loop().create_future()
        self.stream: _Stream | None = None
        self._read = False

    async def run(self, app: ASGIApp) -> None:
        line, asked = self.line, self.asked
        await asyncio.sleep(line.delay())
        trouble = line.trouble(asked.method, asked.path) if asked.service == "kube" else None
        if trouble is not None and trouble.kind == "slow":
            await asyncio.sleep(trouble.seconds * line.chance.random())
        if trouble is not None and trouble.kind == "reset":
            self._fail(ConnectionResetError("reset before it arrived"))
            return
        if trouble is not None and trouble.kind == "error":
            self._finish(trouble.status, [(b"content-type", b"application/json")], _status(trouble.status))
            return
        line.guard.arrived(asked)
        status, headers, content, error = 0, list[tuple[bytes, bytes]](), bytearray(), None

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message.get("headers", ()))
                if self.stream is not None:
                    self._finish(status, headers, b"")
            elif self.stream is not None:
                self.stream.put(message.get("body", b""))
            else:
                content.extend(message.get("body", b""))

        try:
            await app(self.scope, self._receive, send)
        except OSError as problem:
            error = problem
        if self.stream is not None:
            self.stream.put(None)
            return
        if status:
            line.guard.answered(asked, status, headers, bytes(content))
        await asyncio.sleep(line.delay())
        if error is None and trouble is not None and trouble.kind == "lost":
            error = ConnectionResetError("the answer was lost")
        if error is not None or not status:
            self._fail(error or ConnectionResetError("no answer"))
        else:
            self._finish(status, headers, bytes(content))

    def _finish(self, status: int, headers: Headers, content: bytes) -> None:
        if not self.answer.done():
            self.answer.set_result((status, headers, content))

    def _fail(self, error: OSError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # whoever asked may be gone

    async def _receive(self) -> Message:
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": self.asked.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}


class _Stream(httpx2.AsyncByteStream):
    """What a watch tells, in order, each part *lag* later."""

    def __init__(self, call: _Call, patience: float) -> None:
        self.call = call
        self.silent = False
        self._patience = patience
        self._parts: asyncio.Queue[tuple[float, bytes | Exception | None]] = asyncio.Queue()
        self._last = 0.0

    def put(self, part: bytes | None) -> None:
        if part == b"" or self.silent:
            return
        line, now = self.call.line, asyncio.get_running_loop().time()
        self._last = max(self._last, now + line.lag + line.chance.uniform(0.0, 0.01))
        self._parts.put_nowait((self._last, part))

    def fail(self, error: Exception) -> None:
        self._parts.put_nowait((0.0, error))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    due, part = await self._parts.get()
            except TimeoutError:
                raise httpx2.ReadTimeout("the watch said nothing") from None
            wait = due - asyncio.get_running_loop().time()
            if wait > 1e-5:
                await asyncio.sleep(wait)
            if part is None:
                return
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self) -> None:
        self.call.gone.set()
        if self in self.call.line.streams:
            self.call.line.streams.remove(self)


class KubeTransport(httpx2.AsyncBaseTransport):
    """Of one process, to one API server."""

    def __init__(self, line: Line, app: ASGIApp) -> None:
        self._line = line
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        line, loop, content = self._line, asyncio.get_running_loop(), await request.aread()
        raw = request.url.query
        query = dict(parse_qsl(raw.decode()))
        asked = Asked(
            line.process, "kube", request.method, request.url.host, str(request.url.path), query, content, loop.time()
        )
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        call = _Call(line, asked, _scope(request.method, asked.host, asked.path, raw, headers))
        patience = request.extensions.get("timeout", {}).get("read") or 15.0
        if query.get("watch") == "true":
            call.stream = _Stream(call, patience)
            line.streams.append(call.stream)
        try:
            line.start(call, self._app)
            async with asyncio.timeout(patience if call.stream is None else 15.0):
                status, answered, body = await asyncio.shield(call.answer)
        except TimeoutError:
            call.gone.set()
            raise httpx2.ReadTimeout("no answer in time") from None
        except OSError as error:
            raise httpx2.ReadError(str(error)) from error
        except asyncio.CancelledError:
            call.gone.set()
            raise
        finally:
            if not line.closed:
                line.guard.ended(asked)
        if call.stream is not None:
            return httpx2.Response(status, headers=answered, stream=call.stream, request=request)
        return httpx2.Response(status, headers=answered, content=body, request=request)


class AzureTransport(InProcessTransport):
    """Of one process, to Azure."""

    def __init__(self, line: Line, app: ASGIApp) -> None:
        self._line = line
        self._app = app

    async def send(self, request: Any, **kwargs: Any) -> Any:
        line, loop, url = self._line, asyncio.get_running_loop(), URL(request.url, encoded=True)
        body, host = content_of(request), url.host or ""
        asked = Asked(line.process, "azure", request.method, host, url.path, dict(url.query), body, loop.time())
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        headers |= {"host": host, "content-length": str(len(body))}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        call = _Call(line, asked, _scope(request.method, host, url.path, url.raw_query_string.encode(), raw))
        try:
            line.start(call, self._app)
            async with asyncio.timeout(kwargs.get("read_timeout") or 30):
                status, answered, content = await asyncio.shield(call.answer)
        except TimeoutError as error:
            call.gone.set()
            raise ServiceResponseError("no answer in time") from error
        except ConnectionRefusedError as error:
            raise ServiceRequestError(str(error), error=error) from error
        except OSError as error:
            raise ServiceResponseError(str(error), error=error) from error
        except asyncio.CancelledError:
            call.gone.set()
            raise
        finally:
            if not line.closed:
                line.guard.ended(asked)
        return AzureResponse(request, status, answered, content)


def _scope(method: str, host: str, path: str, query: bytes, headers: Headers) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers if any(name == b"host" for name, _ in headers) else [*headers, (b"host", host.encode())],
        "client": ("127.0.0.1", 1),
        "server": (host, 443),
        "state": {},
    }


def _status(code: int) -> bytes:
    reason = {409: "Conflict", 429: "TooManyRequests", 403: "Forbidden"}.get(code, "InternalError")
    text = f'{{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"{reason}","code":{code},"message":"trouble"}}'
    return text.encode()
