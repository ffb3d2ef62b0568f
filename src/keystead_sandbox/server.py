"""Serves an ASGI app on loopback, over TLS when given a context.

- :meth:`Server.start` returns the port once connections are accepted; nobody waits by polling.
- Signals are the caller's: uvicorn installs no handlers of its own here.
- What a client shows as its certificate is in ``scope["extensions"]["tls"]``, as ASGI's TLS extension has it.
- ``scope["extensions"]["keystead.abort"]`` drops the request's connection without an answer; ASGI has no word for
  that, and a sandbox must be able to lose an answer.
"""

import asyncio
import contextlib
import importlib.util
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

ABORT = "keystead.abort"
_LOOPBACK = "127.0.0.1"
_KEEP_ALIVE = 75  # seconds; longer than any client's own pool keeps an idle connection, so none is closed under it


class Server:
    """One ASGI app on one loopback port."""

    def __init__(self, app: ASGIApp, *, port: int = 0, tls: ssl.SSLContext | None = None, grace: int = 1) -> None:
        self._port = port
        config = uvicorn.Config(
            _with_abort(app),
            http="httptools" if importlib.util.find_spec("httptools") else "h11",
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=grace,
        )
        config.load()
        config.ssl = tls
        self._server = _Uvicorn(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use; 0 before :meth:`start` when none was asked for."""
        return self._port

    async def start(self) -> int:
        """Begin to accept; returns the port."""
        # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer is 40 ms late.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        try:
            listener.bind((_LOOPBACK, self._port))
        except OSError:
            listener.close()
            raise
        self._port = int(listener.getsockname()[1])
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name=f"server:{self._port}")
        ready = asyncio.create_task(self._server.accepting.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task
            raise RuntimeError(f"the server on port {self._port} ended before it accepted a connection")
        return self._port

    async def stop(self) -> None:
        """Stop accepting, give requests in flight their grace, and close."""
        if self._task is None:
            return
        self._server.leave()
        await self._task
        self._task = None


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers and without its ten ticks a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()
        self._leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.accepting.set()

    async def main_loop(self) -> None:
        # The tick only refreshes the Date header and counts requests; the services set Date from their clock.
        await self._leaving.wait()

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()


def _with_abort(app: ASGIApp) -> ASGIApp:
    async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn hands out a bound method of the object that owns the connection; any other caller has no transport.
        transport: Any = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is not None:
            scope["extensions"] = {**(scope.get("extensions") or {}), ABORT: transport.abort, **_tls(transport)}
        await app(scope, receive, send)

    return with_abort


def _tls(transport: Any) -> dict[str, Any]:
    """The ``tls`` extension, of what is known: the client's own certificate, without those of its authorities."""
    connection = transport.get_extra_info("ssl_object")
    shown = connection.getpeercert(binary_form=True) if connection is not None else None
    return {} if shown is None else {"tls": {"client_cert_chain": (ssl.DER_cert_to_PEM_cert(shown),)}}
