"""What Entra serves: discovery, keys, and the token endpoint."""

import hmac
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.entra.errors import Refusal
from keystead_sandbox.entra.rules import exchange, resource_of
from keystead_sandbox.entra.state import Fetch, Memory
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.world import Application, Identity, World

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_HOSTS = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]


def entra_app(world: World, authority: TokenAuthority, fetch: Fetch) -> Starlette:
    """The ASGI app for the login hosts."""
    service = _Service(world, authority, Memory(world, fetch))
    return Starlette(
        routes=[
            Route("/common/discovery/instance", service.instance),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", service.configuration),
            Route("/{tenant}/.well-known/openid-configuration", service.configuration),
            Route("/{tenant}/discovery/v2.0/keys", service.keys),
            Route("/{tenant}/discovery/keys", service.keys),
            Route("/{tenant}/oauth2/v2.0/token", service.token, methods=["POST"]),
        ]
    )


class _Service:
    def __init__(self, world: World, authority: TokenAuthority, memory: Memory) -> None:
        self._world = world
        self._authority = authority
        self._memory = memory

    async def instance(self, request: Request) -> Response:
        base = f"https://{request.headers['host']}"
        return JSONResponse(
            {
                "tenant_discovery_endpoint": f"{base}/common/v2.0/.well-known/openid-configuration",
                "api-version": request.query_params.get("api-version", "1.1"),
                "metadata": [{"preferred_network": _HOSTS[0], "preferred_cache": _HOSTS[1], "aliases": _HOSTS}],
            }
        )

    async def configuration(self, request: Request) -> Response:
        tenant, base = request.path_params["tenant"], f"https://{request.headers['host']}"
        if tenant not in ("common", "organizations") and tenant.lower() not in self._world.tenants:
            refusal = Refusal(90002, tenant=tenant)
            return self._refused(request, refusal, {})
        return JSONResponse(
            {
                "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "jwks_uri": f"{base}/{tenant}/discovery/v2.0/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"{base}/{tenant}/v2.0",
                "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/devicecode",
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
                "cloud_graph_host_name": "graph.windows.net",
                "msgraph_host": "graph.microsoft.com",
                "rbac_url": "https://pas.windows.net",
            }
        )

    async def keys(self, request: Request) -> Response:
        del request
        return JSONResponse(self._authority.jwks())

    async def token(self, request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        form = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
        note: dict[str, str] = {"client": form.get("client_id", "")}
        try:
            return await self._grant(request, form, note)
        except Refusal as refusal:
            return self._refused(request, refusal, note)

    async def _grant(self, request: Request, form: dict[str, str], note: dict[str, str]) -> Response:
        tenant = request.path_params["tenant"].lower()
        if tenant not in self._world.tenants:
            raise Refusal(90002, tenant=request.path_params["tenant"])
        for name in ("client_id", "scope", "grant_type"):
            if not form.get(name):
                raise Refusal(900144, name=name)
        if form["grant_type"] != "client_credentials":
            raise Refusal(70003, grant=form["grant_type"])
        principal = self._principal(form["client_id"].lower(), tenant)
        if "client_assertion" in form and isinstance(principal, Identity):
            if form.get("client_assertion_type") != _ASSERTION:
                raise Refusal(50027)
            note |= await exchange(self._world, self._memory, principal, form["client_assertion"])
        elif "client_assertion" in form:
            raise Refusal(70025, client=principal.client_id, name=principal.name)
        elif isinstance(principal, Application) and "client_secret" in form:
            if not hmac.compare_digest(form["client_secret"].encode(), principal.secret.encode()):
                raise Refusal(7000215, client=principal.client_id)
        else:
            raise Refusal(7000218)
        audience = resource_of(form["scope"], tenant)
        life = int(self._world.rules.token_lifetime) - 1
        request.state.note = {"detail": note | {"resource": audience}, "caller": principal.name, "code": ""}
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": self._authority.issue(principal, audience),
        }
        return JSONResponse(answer, headers={"Cache-Control": "no-store, no-cache"})

    def _principal(self, client_id: str, tenant: str) -> Identity | Application:
        found: Identity | Application | None = self._world.identities_by_client.get(client_id)
        found = found or self._world.applications.get(client_id)
        if found is None or found.tenant_id != tenant:
            raise Refusal(700016, client=client_id, tenant=tenant)
        return found

    def _refused(self, request: Request, refusal: Refusal, note: dict[str, str]) -> Response:
        detail = note | {key: value for key, value in refusal.values.items() if key in ("issuer", "subject")}
        request.state.note = {"detail": detail, "caller": "", "code": f"AADSTS{refusal.code}"}
        return refusal.response(self._world.clock.wall())
