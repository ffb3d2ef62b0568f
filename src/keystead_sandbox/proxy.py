"""A CONNECT proxy that leads Azure's public names to the sandbox, and lets nothing else out.

- Only CONNECT, only to port 443 of a name that is Azure's: all else is answered 403 and goes nowhere, also a plain
  request for a whole URL. Only the sandbox's own TLS port is ever connected to.
- A head has to be complete within ten seconds (408) and 64 KiB (431).
- A tunnel passes bytes on as they come, those that follow the head in one packet too. When one side has said all, the
  other is told so, and may still answer; a tunnel ends when both have, or when either breaks.
- The journal has an entry for each tunnel, when it opens, and for each refusal; of what was asked only a name.
- Faults that name the service ``proxy`` refuse, delay, hang, drop and cut tunnels.
"""

import asyncio
import contextlib
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from keystead_sandbox.clouds import service_at
from keystead_sandbox.faults import NO_HIT, Effect, Fault, Hit
from keystead_sandbox.journal import Journal
from keystead_sandbox.world import World

_HEAD_LIMIT = 10.0  # seconds for the request's head
_LINGER = 2.0  # seconds that a refused client has to hear so
_CHUNK = 65536
_NAME = re.compile(r"[a-z0-9.-]{1,253}")
_REASONS = {403: "Forbidden", 408: "Request Timeout", 431: "Request Header Fields Too Large", 502: "Bad Gateway"}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request line; ``host`` is empty unless it is a name."""

    method: str
    host: str
    port: str

    @property
    def is_azure(self) -> bool:
        return self.method == "CONNECT" and self.port == "443" and service_at(self.host) is not None


class Proxy:
    """Listens on loopback; tunnels to the sandbox's TLS port."""

    def __init__(self, journal: Journal, target_port: int, world: World | None = None) -> None:
        """*world* has the faults and their clock; without it there are none."""
        self._journal = journal
        self._world = world
        self._target = target_port
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def idle(self) -> None:
        """Until no connection is left."""
        while self._tunnels:
            await asyncio.wait(self._tunnels)

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
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # a client that went away
        except asyncio.CancelledError:
            if not self._stopping:  # asyncio's own server complains aloud of a cancelled handler
                raise
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_LIMIT):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            await self._refuse(_Asked("", "", ""), 408, "Timeout", reader, writer)
            return
        except asyncio.LimitOverrunError:
            await self._refuse(_Asked("", "", ""), 431, "TooLarge", reader, writer)
            return
        asked = _asked(head)
        if not asked.is_azure:
            await self._refuse(asked, 403, "Refused", reader, writer)
            return
        hit = NO_HIT if self._world is None else self._world.faults.match("proxy", asked.method, asked.host, "")
        fault = hit.fault
        if fault is None or fault.effect is not Effect.CUT:
            await self._wait(hit)
        if fault is None or fault.effect is Effect.CUT:
            await self._open(asked, hit, reader, writer)
            return
        await self._suffer(asked, fault, reader, writer)

    async def _suffer(
        self, asked: _Asked, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        told = {"fault": str(fault.effect)}
        if fault.effect is Effect.ANSWER:
            await self._refuse(asked, fault.status, fault.code, reader, writer, told)
            return
        if fault.effect is Effect.HANG:
            while await reader.read(_CHUNK):
                pass
        self._journal.record(service="proxy", method="CONNECT", host=asked.host, path="", status=0, detail=told)
        writer.transport.abort()

    async def _refuse(
        self,
        asked: _Asked,
        status: int,
        code: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        detail: dict[str, str] | None = None,
    ) -> None:
        self._journal.record(
            service="proxy", method=asked.method, host=asked.host, path="", status=status, code=code, detail=detail
        )
        text = f"The sandbox's proxy leads to Azure's names on port 443 alone: {code}.\n".encode()
        writer.write(
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Refused')}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode()
            + text
        )
        await writer.drain()
        writer.write_eof()
        # What the client still sends is read, or closing would reset the connection before it has read the answer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while await reader.read(_CHUNK):
                    pass

    async def _open(self, asked: _Asked, hit: Hit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            await self._refuse(asked, 502, "Unreachable", reader, writer)
            return
        detail = {"fault": hit.effect} if hit.effect else {}
        self._journal.record(service="proxy", method="CONNECT", host=asked.host, path="", status=200, detail=detail)
        cut = asyncio.create_task(self._cut(hit, writer)) if hit.fault is not None else None
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await _both(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()
            if cut is not None:
                cut.cancel()

    async def _cut(self, hit: Hit, writer: asyncio.StreamWriter) -> None:
        await self._wait(hit)
        writer.transport.abort()  # the pumps end with it

    async def _wait(self, hit: Hit) -> None:
        if self._world is not None and hit is not NO_HIT:
            await self._world.clock.sleep(hit.wait)


def _asked(head: bytes) -> _Asked:
    method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    host, _, port = rest.split(" ")[0].rpartition(":")
    host = host.lower()
    # A whole URL, or anything else that is no name, may hold what nobody should write down.
    return _Asked(method, host if _NAME.fullmatch(host) else "", port)


async def _both(one: Coroutine[Any, Any, bool], other: Coroutine[Any, Any, bool]) -> None:
    """Until both sides have said all, or one of them broke."""
    tasks = {asyncio.ensure_future(one), asyncio.ensure_future(other)}
    try:
        waiting = set(tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not all(task.result() for task in done):
                return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """All that *reader* has to say, to *writer*; whether it came to an end rather than broke."""
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        return False
    return True
