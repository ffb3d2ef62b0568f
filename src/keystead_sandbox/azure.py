"""The emulated Azure as one ASGI app: its services by host name, and the control API.

The control API (any other host: 127.0.0.1, localhost) is for tests and scenarios: ``/journal?since=N``, ``/state``,
``/faults``, ``/clock``. It needs no token; it is on loopback, and shows no secret.
"""

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from keystead_sandbox.arm.routes import ArmApp
from keystead_sandbox.arm.state import summary
from keystead_sandbox.entra.routes import entra_app
from keystead_sandbox.entra.state import Fetch
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.faults import Fault
from keystead_sandbox.keyvault.routes import keyvault_app
from keystead_sandbox.traffic import Traffic, host_of
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
        self._entra = Traffic(world, "entra", entra_app(world, self.authority, fetch))
        self._arm = Traffic(world, "arm", ArmApp(world, self.authority))
        self._keyvault = Traffic(world, "keyvault", keyvault_app(world, self.authority))
        self._control = _control(world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._service(host_of(scope))(scope, receive, send)

    def _service(self, host: str) -> ASGIApp:
        if host in LOGIN_HOSTS:
            return self._entra
        if host == ARM_HOST:
            return self._arm
        if host.endswith(VAULT_SUFFIX):
            return self._keyvault
        return self._control


def _control(world: World) -> Starlette:
    async def journal(request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            return JSONResponse({"error": f"since must be a sequence number, not {since!r}"}, status_code=400)
        return _json(world.journal.entries(int(since)))

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
            except msgspec.DecodeError as error:
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
