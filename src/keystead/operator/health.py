"""/healthz, /readyz and /metrics: a few lines of HTTP on a port of its own."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from keystead.operator.app import Operator

_LONGEST_REQUEST = 5.0  # seconds


async def serve_health(operator: Operator, address: str, port: int) -> asyncio.Server:
    """Start to answer; the caller closes the server."""
    return await asyncio.start_server(_answerer(operator), address, port)


def _answerer(operator: Operator) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unreadable = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError)
        with contextlib.suppress(TimeoutError, ConnectionError, *unreadable):
            async with asyncio.timeout(_LONGEST_REQUEST):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode("ascii", "replace").split("?")[0]
                status, kind, body = _page(operator, path)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        writer.close()

    return answer


def _page(operator: Operator, path: str) -> tuple[str, str, bytes]:
    if path == "/healthz":
        return "200 OK", "text/plain", b"ok"
    if path == "/readyz":
        ready = operator.readiness()
        # A standby is ready to take over: leadership is shown, and not asked for.
        ok = ready["synced"] and ready["watching"] and ready["azure"]
        return ("200 OK" if ok else "503 Service Unavailable"), "application/json", msgspec.json.encode(ready)
    if path == "/metrics":
        return "200 OK", "text/plain; version=0.0.4", operator.metrics.text()
    return "404 Not Found", "text/plain", b"try /healthz, /readyz or /metrics"
