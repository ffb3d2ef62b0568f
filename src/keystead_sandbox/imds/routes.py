"""What 169.254.169.254 serves on a machine in Azure: ``/metadata/identity/oauth2/token``.

Plain HTTP, as there. Clients reach it through ``AZURE_POD_IDENTITY_AUTHORITY_HOST``. Paths are compared without regard
to case; the journal learns which identity and resource, never a token.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.imds import errors, rules
from keystead_sandbox.imds.state import Machine
from keystead_sandbox.world import World

_TOKEN = "/metadata/identity/oauth2/token"  # noqa: S105 - a path


def imds_app(world: World, authority: TokenAuthority) -> ASGIApp:
    """The ASGI app of the metadata service."""
    return _Imds(world, authority)


class _Imds:
    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority
        self._machine = Machine(world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        note = {"code": "", "caller": "", "detail": {}}
        request.state.note = note
        try:
            response = self._answer(request)
        except errors.RefusedError as refused:
            note["code"] = refused.error if refused.status != 429 else "TooManyRequests"  # noqa: PLR2004 - HTTP's
            response = JSONResponse(refused.wire(), status_code=refused.status)
            if refused.retry_after:
                response.headers["Retry-After"] = str(refused.retry_after)
        response.headers["Server"] = "IMDS"
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path = request.url.path.rstrip("/").lower()
        if request.method != "GET":
            raise errors.RefusedError(405, "method_not_allowed", f"{request.method} is not allowed")
        if path != _TOKEN:
            raise errors.RefusedError(404, "not_found", "The sandbox's metadata service has tokens only")
        rules.check_request(request.headers, request.query_params)
        self._machine.take_turn()
        return self._token(request)

    def _token(self, request: Request) -> Response:
        identity = rules.chosen(request.query_params, self._machine.attached())
        resource = rules.resource_of(request.query_params, identity.tenant_id, self._world.cloud_of(identity.tenant_id))
        request.state.note.update(caller=identity.name, detail={"client_id": identity.client_id, "resource": resource})
        now, lifetime = int(self._world.clock.wall().timestamp()), int(self._world.rules.token_lifetime)
        token = self._authority.issue(identity, resource, machine=self._machine.id_for(identity))
        # Numbers are text here, unlike at the token endpoint.
        return JSONResponse(
            {
                "access_token": token,
                "client_id": identity.client_id,
                "expires_in": str(lifetime - 1),
                "expires_on": str(now + lifetime),
                "ext_expires_in": str(lifetime - 1),
                "not_before": str(now),
                "resource": resource,
                "token_type": "Bearer",
            }
        )
