"""An httpx2 transport that runs an ASGI app in this process and streams its answers, so that watches work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message


class StreamingASGITransport(httpx2.AsyncBaseTransport):
    """httpx2's own ASGI transport waits for the whole body; a watch has no end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _Exchange(
            request.method, str(request.url.path), request.url.query, request.url.host, request.headers.raw
        )
        exchange.body = await request.aread()
        task = asyncio.create_task(exchange.run(self._app))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            status, headers = await exchange.started
        except BaseException:
            task.cancel()
            raise
        return httpx2.Response(status, headers=headers, stream=_Stream(exchange, task), request=request)

    async def aclose(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


class _Exchange:
    """One request and its answer as ASGI messages."""

    def __init__(self, method: str, path: str, query: bytes, host: str, headers: list[tuple[bytes, bytes]]) -> None:
        self.body = b""
        self.started: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self.parts: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._read = False
        self._gone = asyncio.Event()
        names = {name.lower() for name, _ in headers}
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in headers]
            + ([] if b"host" in names else [(b"host", host.encode())]),
            "client": ("127.0.0.1", 1),
            "server": (host, 443),
            "state": {},
        }

    async def run(self, app: ASGIApp) -> None:
        error: BaseException | None = None
        try:
            await app(self.scope, self._receive, self._send)
        except asyncio.CancelledError:
            raise
        except Exception as problem:  # noqa: BLE001 - a server's failure is the client's lost connection
            error = httpx2.ReadError(f"{type(problem).__name__}: {problem}")
        if not self.started.done():
            self.started.set_exception(error or httpx2.ReadError("the app answered nothing"))
        self.parts.put_nowait(error)

    async def _receive(self) -> Message:
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self.started.done():
                self.started.set_result((message["status"], list(message.get("headers", ()))))
        elif message.get("body"):
            self.parts.put_nowait(message["body"])

    def leave(self) -> None:
        self._gone.set()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange, task: asyncio.Task[None]) -> None:
        self._exchange = exchange
        self._task = task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            part = await self._exchange.parts.get()
            if part is None:
                return
            if isinstance(part, BaseException):
                raise part
            yield part

    async def aclose(self) -> None:
        self._exchange.leave()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
