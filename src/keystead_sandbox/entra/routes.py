"""What login.microsoftonline.com serves here: discovery, keys and the token endpoint, in both versions.

- Discovery documents name the host that the client asked, so that an authority by any name is consistent; a tenant that
  was asked for by its domain is named by its id in them.
- What is not served is a 404 without a body; a method that an endpoint does not take is AADSTS900561. Entra answers
  people's browsers with pages there, which no client of its API reads.
- The journal learns of each request its outcome's code; :mod:`keystead_sandbox.entra.grants` says what else.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.clouds import CLOUDS, cloud_at
from keystead_sandbox.entra.errors import RefusedError, wire
from keystead_sandbox.entra.forms import TooLargeError
from keystead_sandbox.entra.grants import Grants
from keystead_sandbox.entra.state import ANY_TENANT, Directory, Fetch, Issuers, host_asked
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.world import World

_Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
_KNOWN_HOSTS = frozenset(host for cloud in CLOUDS for host in cloud.login_aliases)
_VERSIONS = ("1.0", "1.1")
_HEADERS = {
    "Cache-Control": "no-store, no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def entra_app(world: World, authority: TokenAuthority, fetch: Fetch) -> Starlette:
    """The ASGI app of the login host."""
    service = _Entra(world, authority)
    grants = Grants(world, authority, Issuers(world.clock, fetch))

    def row(path: str, handler: _Handler, *accepted: str) -> Route:
        return Route(path, service.answering(handler, accepted), methods=_METHODS)

    app = Starlette(
        routes=[
            row("/common/discovery/instance", service.instance, "GET"),
            row("/{tenant}/.well-known/openid-configuration", service.openid_v1, "GET"),
            row("/{tenant}/v2.0/.well-known/openid-configuration", service.openid, "GET"),
            row("/{tenant}/discovery/keys", service.keys, "GET"),
            row("/{tenant}/discovery/v2.0/keys", service.keys, "GET"),
            row("/{tenant}/oauth2/v2.0/token", grants.token, "POST"),
            row("/{tenant}/oauth2/token", grants.token_v1, "POST"),
        ],
        exception_handlers={HTTPException: service.answering(_nothing, _METHODS)},
    )
    app.router.redirect_slashes = False
    return app


async def _nothing(request: Request, error: Exception | None = None) -> Response:
    """A path that nobody serves."""
    del request, error
    return Response(status_code=404)


class _Entra:
    """One handler per endpoint."""

    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority
        self._directory = Directory(world)

    def answering(self, handler: _Handler, accepted: tuple[str, ...]) -> Callable[..., Awaitable[Response]]:
        """*handler* with refusals in Entra's shape, the headers of every answer, and a note for the journal."""

        async def answer(request: Request, error: Exception | None = None) -> Response:
            del error  # Starlette's own: no such path
            note = {"code": "", "caller": "", "detail": {}}
            request.state.note = note
            trace = self._authority.trace()
            try:
                if request.method not in (*accepted, "HEAD" if "GET" in accepted else ""):
                    raise RefusedError(900561, accepted=", ".join(accepted), method=request.method)  # noqa: TRY301 - one shape
                response = await handler(request)
            except RefusedError as refused:
                note["code"] = str(refused)
                response = self._refusal(request, refused, trace)
            except TooLargeError:
                note["code"] = "RequestEntityTooLarge"
                response = Response(status_code=413, headers={"Connection": "close"})
            response.headers.update({**_HEADERS, "x-ms-request-id": trace})
            if isinstance(response, JSONResponse):
                response.headers["Content-Type"] = "application/json; charset=utf-8"
            if correlation := _correlation(request):
                response.headers["client-request-id"] = correlation
            return response

        return answer

    def _refusal(self, request: Request, refused: RefusedError, trace: str) -> Response:
        body = wire(
            refused,
            now=self._world.clock.wall(),
            trace=trace,
            correlation=_correlation(request) or self._authority.trace(),
            host=host_asked(request),
        )
        return JSONResponse(body, status_code=refused.status)

    # Discovery ---------------------------------------------------------------------------------------------------

    async def instance(self, request: Request) -> Response:
        """Which hosts are one cloud, and where a tenant's configuration is."""
        version = request.query_params.get("api-version", "")
        if version not in _VERSIONS:
            raise RefusedError(900144, parameter="api-version")
        try:
            endpoint = urlsplit(request.query_params.get("authorization_endpoint", ""))
        except ValueError:  # a bracket that never closes
            raise RefusedError(50049) from None
        tenant = endpoint.path.strip("/").partition("/")[0]
        known = (*_KNOWN_HOSTS, host_asked(request))
        if endpoint.scheme != "https" or endpoint.netloc.lower() not in known or not tenant:
            raise RefusedError(50049)
        body: dict[str, object] = {
            "tenant_discovery_endpoint": f"https://{endpoint.netloc}/{tenant}/v2.0/.well-known/openid-configuration",
            "api-version": version,
        }
        if version != "1.0":
            body["metadata"] = [
                {
                    "preferred_network": cloud.login_aliases[0],
                    "preferred_cache": cloud.login_aliases[1],
                    "aliases": list(cloud.login_aliases),
                }
                for cloud in CLOUDS
            ]
        return JSONResponse(body)

    async def openid(self, request: Request) -> Response:
        """A tenant's OpenID configuration; MSAL for Go insists on the authority's host in ``issuer``."""
        tenant, host = self._directory.tenant(request, any_tenant=True), host_asked(request)
        base = f"https://{host}/{tenant}"
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "issuer": f"https://{host}/{_named(tenant)}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                **_configuration(host),
            }
        )

    async def openid_v1(self, request: Request) -> Response:
        """The configuration that clients of the v1 endpoints read, where tokens' own issuer is named."""
        tenant, host = self._directory.tenant(request, any_tenant=True), host_asked(request)
        base = f"https://{host}/{tenant}"
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/token",
                "jwks_uri": f"https://{host}/common/discovery/keys",
                "issuer": f"{cloud_at(host).sts}{_named(tenant)}/",
                "authorization_endpoint": f"{base}/oauth2/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/devicecode",
                **_configuration(host),
            }
        )

    async def keys(self, request: Request) -> Response:
        """The keys that access tokens are signed with."""
        self._directory.tenant(request, any_tenant=True)
        return JSONResponse(self._authority.jwks())


def _named(tenant: str) -> str:
    """The tenant in an issuer's name: a placeholder where it could be any."""
    return "{tenantid}" if tenant in ANY_TENANT else tenant


def _configuration(host: str) -> dict[str, object]:
    """What both versions of the OpenID configuration say."""
    cloud = cloud_at(host)
    return {
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": cloud.login_aliases[0].removeprefix("login."),
        "msgraph_host": cloud.graph.removeprefix("https://"),
    }


def _correlation(request: Request) -> str:
    """The client's own id for this request, when it is a GUID."""
    try:
        return str(uuid.UUID(request.headers.get("client-request-id", "")))
    except ValueError:
        return ""
