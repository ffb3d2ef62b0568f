"""Azure's public names land in the sandbox, and nothing else gets out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.proxy import Proxy


class Through:
    """A proxy before a server that answers what it is sent, in capitals."""

    def __init__(self, journal: Journal, port: int) -> None:
        self.journal = journal
        self.port = port

    async def say(self, head: bytes, more: bytes = b"") -> bytes:
        """Send, say no more, and read all."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        if more:
            writer.write(more)
            answer += await reader.read(len(more))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return answer


@pytest.fixture
async def through() -> AsyncIterator[Through]:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(4096):
            writer.write(chunk.upper())
        writer.close()

    target = await asyncio.start_server(shout, "127.0.0.1", 0)
    journal = Journal(ScaledClock())
    proxy = Proxy(journal, target.sockets[0].getsockname()[1])
    yield Through(journal, await proxy.start())
    await proxy.stop()
    target.close()


@pytest.mark.parametrize(
    "host",
    [
        "login.microsoftonline.com",
        "login.windows.net",
        "management.azure.com",
        "team-kv.vault.azure.net",
        "Management.Azure.COM",
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_azures_names_are_led_to_the_sandbox(through: Through, host: str, version: bytes) -> None:
    answer = await through.say(b"CONNECT " + host.encode() + b":443 " + version + b"\r\nHost: x\r\n\r\n", b"hello")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"HELLO")
    assert through.journal.entries() == []


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT example.com:443 HTTP/1.1",
        b"CONNECT azcliprod.blob.core.windows.net:443 HTTP/1.0",
        b"CONNECT vault.azure.net.example.com:443 HTTP/1.1",
        b"CONNECT management.azure.com.example.com:443 HTTP/1.1",
        b"CONNECT evilmanagement.azure.com:443 HTTP/1.1",
        b"CONNECT management.azure.com:22 HTTP/1.1",
        b"CONNECT 127.0.0.1:443 HTTP/1.1",
        b"CONNECT management.azure.com HTTP/1.1",
        b"GET http://management.azure.com/ HTTP/1.1",
        b"nonsense",
    ],
)
async def test_nothing_else_gets_out(through: Through, line: bytes) -> None:
    answer = await through.say(line + b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 403 ")
    (entry,) = through.journal.entries()
    assert (entry.service, entry.status, entry.code) == ("proxy", 403, "Refused")


async def test_a_client_that_goes_away_leaves_nothing_behind(through: Through) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"CONNECT manage")
    writer.close()
    await writer.wait_closed()

    assert (await through.say(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n", b"x")).endswith(b"X")


async def test_a_head_without_end_is_dropped(through: Through) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"CONNECT " + b"a" * (1 << 20))

    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_stopping_ends_open_tunnels() -> None:
    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    target = await asyncio.start_server(quiet, "127.0.0.1", 0)
    proxy = Proxy(Journal(ScaledClock()), target.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
    writer.write(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")

    async with asyncio.timeout(10):
        await proxy.stop()
        assert await reader.read() == b""

    writer.close()
    target.close()
