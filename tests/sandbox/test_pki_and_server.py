"""The throwaway authority and the loopback server, with real sockets and strict verification."""

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import ABORT, Server

NAMES = ("localhost", "127.0.0.1", "*.vault.azure.net")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/abort":
        scope["extensions"][ABORT]()
        while (await receive())["type"] != "http.disconnect":
            pass
    elif scope["path"] == "/slow":
        await asyncio.Event().wait()
    else:
        await PlainTextResponse("served")(scope, receive, send)


def trusting(pem: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python does by itself from 3.13 on
    return context


@contextlib.asynccontextmanager
async def serving(authority: Authority) -> AsyncIterator[int]:
    server = Server(app, tls=server_context(*authority.issue(NAMES)))
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "team-kv.vault.azure.net"])
async def test_a_certificate_is_good_for_its_names(host: str) -> None:
    authority = Authority()
    async with serving(authority) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting(authority.ca_pem), server_hostname=host
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("host", ["example.com", "vault.azure.net", "a.b.vault.azure.net", "127.0.0.2"])
async def test_a_certificate_is_for_no_other_name(host: str) -> None:
    authority = Authority()
    async with serving(authority) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=trusting(authority.ca_pem), server_hostname=host)


async def test_another_authoritys_certificate_is_not_trusted() -> None:
    async with serving(Authority()) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusting(Authority().ca_pem), server_hostname="localhost"
            )


def test_a_certificate_needs_a_name() -> None:
    with pytest.raises(ValueError, match="at least one name"):
        Authority().issue([])


async def test_a_dropped_connection_has_no_answer() -> None:
    server = Server(app)
    port = await server.start()
    async with aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await session.get(f"http://127.0.0.1:{port}/abort")
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            assert await response.text() == "served"
    await server.stop()


async def test_a_port_in_use_is_the_callers_error() -> None:
    server = Server(app)
    port = await server.start()

    with pytest.raises(OSError, match="in use"):
        await Server(app, port=port).start()

    await server.stop()


async def test_stopping_ends_requests_that_would_never_end() -> None:
    server = Server(app)
    port = await server.start()
    async with aiohttp.ClientSession() as session:
        waiting = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/slow"))
        async with session.get(f"http://127.0.0.1:{port}/"):
            pass
        async with asyncio.timeout(10):
            await server.stop()
        with contextlib.suppress(aiohttp.ClientError):
            await waiting
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://127.0.0.1:{port}/")


async def test_signals_stay_the_callers() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    server = Server(app)
    await server.start()

    during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    await server.stop()
    assert during == before


async def test_a_server_that_was_never_started_stops() -> None:
    await Server(app).stop()


async def test_small_answers_are_sent_at_once() -> None:
    """With Nagle's algorithm, an answer's body waits 40 ms for the client to acknowledge its head."""
    found: list[int] = []

    async def looking(scope: Scope, receive: Receive, send: Send) -> None:
        protocol: Any = receive
        connection = protocol.__self__.transport.get_extra_info("socket")
        found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await PlainTextResponse("x")(scope, receive, send)

    server = Server(looking)
    async with aiohttp.ClientSession() as session:
        await session.get(f"http://127.0.0.1:{await server.start()}/")
    await server.stop()

    assert found == [1]
