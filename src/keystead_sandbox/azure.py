"""The emulated Azure as one ASGI app: its services by host name, and the control API at any other host."""

from joserfc.jwk import RSAKey
from starlette.types import ASGIApp, Receive, Scope, Send

from keystead_sandbox.arm.routes import ArmApp
from keystead_sandbox.clouds import CLOUDS, ServiceName, service_at
from keystead_sandbox.control import control_app
from keystead_sandbox.entra.routes import entra_app
from keystead_sandbox.entra.state import Fetch
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.imds.routes import imds_app
from keystead_sandbox.keyvault.routes import keyvault_app
from keystead_sandbox.traffic import Traffic, host_of
from keystead_sandbox.world import World

NAMES = (*(name for cloud in CLOUDS for name in cloud.names), "localhost", "127.0.0.1")
"""What the server's certificate is for."""


class AzureApp:
    """The ASGI app."""

    def __init__(self, world: World, fetch: Fetch, key: RSAKey | None = None) -> None:
        """*key* signs tokens; one is made when none is given."""
        self.world = world
        self.authority = TokenAuthority(world, key)
        self._services: dict[ServiceName, ASGIApp] = {
            "entra": Traffic(world, "entra", entra_app(world, self.authority, fetch)),
            "arm": Traffic(world, "arm", ArmApp(world, self.authority)),
            "keyvault": Traffic(world, "keyvault", keyvault_app(world, self.authority)),
        }
        self._control = control_app(world)
        self.imds = Traffic(world, "imds", imds_app(world, self.authority))
        """The metadata service: on a port of its own, since its host is an address and not a name."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._service(host_of(scope))(scope, receive, send)

    def _service(self, host: str) -> ASGIApp:
        service = service_at(host)
        return self._services[service] if service is not None else self._control
