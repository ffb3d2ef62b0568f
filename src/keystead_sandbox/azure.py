"""The emulated Azure as one ASGI app: services by host name, faults and journal around all of them, and the control API.

The control API (any other host: 127.0.0.1, localhost) is for tests and scenarios: ``/journal?since=N``, ``/state``,
``/faults``, ``/clock``. It needs no token; it is on loopback, and shows no secret.
"""

import asyncio
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keystead_sandbox.arm.routes import ArmApp
from keystead_sandbox.arm.state import summary
from keystead_sandbox.entra.routes import entra_app
from keystead_sandbox.entra.state import Fetch
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.journal import Service
from keystead_sandbox.keyvault.routes import keyvault_app
from keystead_sandbox.server import ABORT
from keystead_sandbox.world import World

LOGIN_HOSTS = ("login.microsoftonline.com", "login.windows.net")
ARM_HOST = "management.azure.com"
VAULT_SUFFIX = ".vault.azure.net"
NAMES = (*LOGIN_HOSTS, ARM_HOST, f"*{VAULT_SUFFIX}", "localhost", "127.0.0.1")
"""What the server's certificate is for."""


class AzureApp:
    """The ASGI app."""

    def __init__(self, world: World, fetch: Fetch) -> None:
        self.world = world
        self.authority = TokenAuthority(world)
        self._entra = entra_app(world, self.authority, fetch)
        self._arm = ArmApp(world, self.authority)
        self._keyvault = keyvault_app(world, self.authority)
        self._control = _control(world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = Request(scope).headers.get("host", "").partition(":")[0].lower()
        service, app = self._service(host)
        if service is None:
            await self._control(scope, receive, send)
            return
        await self._watched(service, app, host, scope, receive, send)

    def _service(self, host: str) -> tuple[Service | None, ASGIApp]:
        if host in LOGIN_HOSTS:
            return "entra", self._entra
        if host == ARM_HOST:
            return "arm", self._arm
        if host.endswith(VAULT_SUFFIX):
            return "keyvault", self._keyvault
        return None, self._control

    async def _watched(
        self, service: Service, app: ASGIApp, host: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one request under the faults in force, and write it down."""
        world, began = self.world, self.world.clock.now()
        note: dict[str, Any] = {}
        scope = {**scope, "state": {**scope.get("state", {}), "note": note}}
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"date", _date(world))]
            await send(message)

        fault = world.faults.match(service, scope["method"], host, scope["path"])
        if fault is None:
            await app(scope, receive, sending)
        else:
            await _faulty(world, fault, app, scope, receive, sending)
        told = scope["state"]["note"]
        world.journal.record(
            service=service,
            method=scope["method"],
            host=host,
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            status=status,
            code=str(told.get("code", "")) or (f"fault:{fault.effect}" if fault is not None else ""),
            caller=str(told.get("caller", "")),
            at=began,
            detail=told.get("detail"),
        )


async def _faulty(world: World, fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await world.clock.sleep(world.faults.wait(fault))
    if fault.effect is Effect.DELAY:
        await app(scope, receive, send)
        return
    if fault.effect in (Effect.HALF_WRITE, Effect.LOST_ANSWER):
        await app(scope, receive, _swallow)
    if fault.effect is Effect.HANG:
        await _until_gone(receive)
        return
    if fault.effect in (Effect.RESET, Effect.LOST_ANSWER):
        abort = (scope.get("extensions") or {}).get(ABORT)
        if abort is None:
            raise ConnectionResetError("a scripted fault of the sandbox")
        abort()
        return
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(world.clock.to_wall_seconds(fault.retry_after))))
    body = {"error": {"code": fault.code, "message": fault.message}}
    await JSONResponse(body, status_code=fault.status, headers=headers)(scope, receive, send)


async def _swallow(message: Message) -> None:
    """The answer is lost; the effect is not."""


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)


def _date(world: World) -> bytes:
    return world.clock.wall().strftime("%a, %d %b %Y %H:%M:%S GMT").encode()


def _control(world: World) -> Starlette:
    async def journal(request: Request) -> Response:
        since = int(request.query_params.get("since", "0"))
        return _json(world.journal.entries(since))

    async def shown(request: Request) -> Response:
        del request
        return _json(summary(world))

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            world.faults.clear()
            return _json({})
        if request.method == "POST":
            try:
                fault = msgspec.json.decode(await request.body(), type=Fault)
            except msgspec.ValidationError as error:
                return JSONResponse({"error": str(error)}, status_code=400)
            return _json({"number": world.faults.add(fault)})
        return _json(
            [{"number": number, "fault": fault, "hits": hits} for number, fault, hits in world.faults.standing()]
        )

    async def clock(request: Request) -> Response:
        del request
        return _json({"rate": world.clock.rate, "now": world.clock.now(), "wall": world.clock.wall().isoformat()})

    return Starlette(
        routes=[
            Route("/journal", journal),
            Route("/state", shown),
            Route("/faults", faults, methods=["GET", "POST", "DELETE"]),
            Route("/clock", clock),
        ]
    )


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
