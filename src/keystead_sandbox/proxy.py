"""A CONNECT proxy that leads Azure's public names to the sandbox, and lets nothing else out."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from keystead_sandbox.clouds import service_at
from keystead_sandbox.journal import Journal

_HEAD_LIMIT = 10.0  # seconds for the request's head
_CHUNK = 65536


class Proxy:
    """Listens on loopback; tunnels to the sandbox's TLS port."""

    def __init__(self, journal: Journal, target_port: int) -> None:
        self._journal = journal
        self._target = target_port
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self, port: int = 0) -> int:
        """Begin to accept; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tunnels.add(task)
            task.add_done_callback(self._tunnels.discard)
        try:
            async with asyncio.timeout(_HEAD_LIMIT):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._connect(head, reader, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that went away, or never said what it wanted
        except asyncio.CancelledError:
            if not self._stopping:  # asyncio's own server complains aloud of a cancelled handler
                raise
        finally:
            writer.close()

    async def _connect(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        host, _, port = rest.split(" ")[0].rpartition(":")
        if method != "CONNECT" or port != "443" or service_at(host.lower()) is None:
            self._journal.record(service="proxy", method=method, host=host, path="", status=403, code="Refused")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        try:
            await _both(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()


async def _both(one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    """Until either side has nothing more to say."""
    tasks = {asyncio.ensure_future(one), asyncio.ensure_future(other)}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
