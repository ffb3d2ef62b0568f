"""What surrounds every request to the emulated Azure: scripted faults, the Date header and the journal.

- A service tells what only it knows through ``request.state.note``: ``caller``, ``code`` and ``detail``.
- Each request makes one journal entry, also when its answer was lost or its client went away; then the status is 0.
- Date is the sandbox's own clock, so that a client that compares it with a token's times sees one time.
"""

import asyncio
import math
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keystead_sandbox.faults import NO_HIT, Effect, Fault, Hit
from keystead_sandbox.journal import Service
from keystead_sandbox.server import ABORT
from keystead_sandbox.world import World

_HALF = (Effect.HALF_WRITE, Effect.LOST_ANSWER, Effect.TRUNCATE)


class Traffic:
    """One service's requests, under the faults in force and written down."""

    def __init__(self, world: World, service: Service, app: ASGIApp) -> None:
        self._world = world
        self._service: Service = service
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        world, began, host = self._world, self._world.clock.now(), host_of(scope)
        scope = {**scope, "state": {**scope.get("state", {}), "note": {}}}
        status = 0
        hit = world.faults.match(self._service, scope["method"], host, scope["path"])

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = _overridden([*message.get("headers", ()), (b"date", _date(world))], hit.headers)
                message = {**message, "headers": headers}
            await send(message)

        try:
            if hit is NO_HIT:
                await self._app(scope, receive, sending)
            else:
                await self._suffer(hit, scope, receive, sending)
        finally:
            told: dict[str, Any] = scope["state"]["note"]
            world.journal.record(
                service=self._service,
                method=scope["method"],
                host=host,
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                status=status,
                code=_code(told, hit.fault),
                caller=str(told.get("caller", "")),
                seconds=world.clock.now() - began,
                detail={**(told.get("detail") or {}), **({"fault": hit.effect} if hit.effect else {})},
            )

    async def _suffer(self, hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
        await self._world.clock.sleep(hit.wait)
        fault = hit.fault
        if fault is None:
            await self._app(scope, receive, send)
            return
        if fault.effect is Effect.HANG:
            await _until_gone(receive)
            return
        kept: list[Message] = []
        if fault.effect in _HALF:

            async def keep(message: Message) -> None:
                kept.append(message)

            await self._app(scope, receive, keep)
        if fault.effect is Effect.TRUNCATE:
            await _half_of(kept, send)
        if fault.effect in (Effect.RESET, Effect.LOST_ANSWER, Effect.TRUNCATE):
            await _drop(scope, receive)
        else:
            await self._error(fault)(scope, receive, send)

    def _error(self, fault: Fault) -> Response:
        headers = {}
        if fault.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self._world.clock.to_wall_seconds(fault.retry_after))))
        if fault.body is not None:
            return Response(fault.body, status_code=fault.status, headers=headers, media_type="text/html")
        return JSONResponse(_body(self._service, fault), status_code=fault.status, headers=headers)


def _overridden(
    headers: list[tuple[bytes, bytes]], override: Mapping[str, str | None]
) -> list[tuple[bytes, bytes]]:  # fmt: skip
    if not override:
        return headers
    named = {name.lower().encode() for name in override}
    kept = [(name, value) for name, value in headers if name.lower() not in named]
    return [*kept, *((name.encode(), value.encode()) for name, value in override.items() if value is not None)]


async def _half_of(messages: list[Message], send: Send) -> None:
    """The head of an answer, which promises all of it, and the first half of its body."""
    for message in messages:
        if message["type"] == "http.response.start":
            await send(message)
    body = b"".join(message.get("body", b"") for message in messages)
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


def host_of(scope: Scope) -> str:
    """The host that the client asked for, without its port, in lower case."""
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value.decode("latin-1")).partition(":")[0].lower()
    return ""


def _code(told: dict[str, Any], fault: Fault | None) -> str:
    if fault is not None and fault.effect in (Effect.ANSWER, Effect.HALF_WRITE):
        return fault.code  # what the client was told
    return str(told.get("code", ""))


def _body(service: Service, fault: Fault) -> dict[str, Any]:
    """An error as the service words it: OAuth's at Entra, ``error.code`` elsewhere."""
    if service != "entra":
        return {"error": {"code": fault.code, "message": fault.message}}
    digits = fault.code.removeprefix("AADSTS")
    if not digits.isdigit():
        return {"error": fault.code, "error_description": fault.message}
    error = "temporarily_unavailable" if fault.status >= 500 else "invalid_request"  # noqa: PLR2004 - server errors
    return {"error": error, "error_description": f"{fault.code}: {fault.message}", "error_codes": [int(digits)]}


async def _drop(scope: Scope, receive: Receive) -> None:
    abort = (scope.get("extensions") or {}).get(ABORT)
    if abort is None:
        raise ConnectionResetError("the sandbox dropped the connection: a scripted fault")
    abort()
    await _until_gone(receive)  # else the server would answer for us, on a connection that it has yet to see closed


async def _until_gone(receive: Receive) -> None:
    """Until the client has closed its connection."""
    ended = False
    message = await receive()
    while message["type"] != "http.disconnect":
        if ended:  # a caller in this process that cannot disconnect: it gives up by cancelling us
            await asyncio.Event().wait()
        ended = not message.get("more_body", False)
        message = await receive()


def _date(world: World) -> bytes:
    return format_datetime(world.clock.wall(), usegmt=True).encode()
