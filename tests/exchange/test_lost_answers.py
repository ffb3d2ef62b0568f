"""What azure-core's own transport raises when the answer to a write is lost, and what is made of it.

Fact: its transport on aiohttp raises ServiceRequestError, "no request was sent", for every trouble with the connection,
whether the request had gone out by then or not (azure-core, ``pipeline/transport/_aiohttp.py``).
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest

from keystead.azure.errors import from_arm
from keystead.azure.transport import aiohttp_transport
from keystead.model.errors import KeysteadError, Retryable, Uncertain
from keystead.model.reasons import Reason

Ends = Callable[[asyncio.StreamWriter], None]


def _closes(writer: asyncio.StreamWriter) -> None:
    writer.close()


def _resets(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


def _cuts(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"id": ')
    writer.close()


@asynccontextmanager
async def _server(ends: Ends) -> AsyncIterator[int]:
    """Takes a request in, and ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"the end")
        ends(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _put(port: int) -> KeysteadError:
    request = HttpRequest("PUT", f"http://127.0.0.1:{port}/subscriptions/s", content=b"the end")
    async with aiohttp_transport() as transport:
        with pytest.raises(AzureError) as raised:
            await (await transport.send(request)).load_body()
    return from_arm(raised.value, write=True)


@pytest.mark.parametrize("ends", [_closes, _resets, _cuts], ids=["closed", "reset", "cut short"])
async def test_a_write_that_was_sent_and_not_answered_may_have_happened(ends: Ends) -> None:
    async with _server(ends) as port:
        error = await _put(port)

    assert isinstance(error, Uncertain), error
    assert error.reason is Reason.AZURE_UNAVAILABLE


async def test_a_write_that_reached_nobody_has_not_happened() -> None:
    async with _server(_closes) as port:
        pass
    error = await _put(port)

    assert isinstance(error, Retryable)
    assert error.reason is Reason.AZURE_UNAVAILABLE
