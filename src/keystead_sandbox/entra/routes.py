"""What login.microsoftonline.com serves here: discovery, keys and the token endpoint.

- The checks come in the order that Entra's answers suggest (inferred): request, tenant, client, assertion, directory
  and issuer, signature, time, subject, audience, resource.
- Discovery documents name the host that the client asked, so that an authority by any name is consistent.
- The journal learns who asked for what and the outcome's code: never an assertion, a secret or a token.
"""

import hmac
import re
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.clouds import CLOUDS, PUBLIC, cloud_at
from keystead_sandbox.entra import rules
from keystead_sandbox.entra.errors import RefusedError, wire
from keystead_sandbox.entra.state import Directory, Fetch, Issuers
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.resources import Application, Identity
from keystead_sandbox.world import World

_KNOWN_HOSTS = frozenset(host for cloud in CLOUDS for host in cloud.login_aliases)
_ANY_TENANT = ("common", "organizations")
_VERSIONS = ("1.0", "1.1")
_HEADERS = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
_LONGEST_FIELD = 600  # what a credential's own fields may hold; a claim may be longer, the journal need not
_TENANT_PATH = re.compile(r"[A-Za-z0-9.-]+")


def entra_app(world: World, authority: TokenAuthority, fetch: Fetch) -> Starlette:
    """The ASGI app of the login host."""
    service = _Entra(world, authority, fetch)
    return Starlette(
        routes=[
            Route("/common/discovery/instance", service.answering(service.instance), methods=["GET"]),
            Route("/{tenant}/.well-known/openid-configuration", service.answering(service.openid), methods=["GET"]),
            Route(
                "/{tenant}/v2.0/.well-known/openid-configuration", service.answering(service.openid), methods=["GET"]
            ),
            Route("/{tenant}/discovery/keys", service.answering(service.keys), methods=["GET"]),
            Route("/{tenant}/discovery/v2.0/keys", service.answering(service.keys), methods=["GET"]),
            Route("/{tenant}/oauth2/v2.0/token", service.answering(service.token), methods=["POST"]),
        ]
    )


class _Entra:
    """One handler per endpoint."""

    def __init__(self, world: World, authority: TokenAuthority, fetch: Fetch) -> None:
        self._world = world
        self._authority = authority
        self._directory = Directory(world)
        self._issuers = Issuers(world.clock, fetch)

    def answering(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """*handler* with refusals in Entra's shape, the headers of every answer, and a note for the journal."""

        async def answer(request: Request) -> Response:
            note = {"code": "", "caller": "", "detail": {}}
            request.state.note = note
            trace = self._authority.trace()
            try:
                response = await handler(request)
            except RefusedError as refused:
                note["code"] = str(refused)
                response = JSONResponse(
                    wire(
                        refused,
                        now=self._world.clock.wall(),
                        trace=trace,
                        correlation=_correlation(request) or self._authority.trace(),
                        host=_host(request),
                    ),
                    status_code=refused.status,
                )
            response.headers.update({**_HEADERS, "x-ms-request-id": trace})
            response.headers["Content-Type"] = "application/json; charset=utf-8"
            if (correlation := _correlation(request)) and "client-request-id" in request.headers:
                response.headers["client-request-id"] = correlation
            return response

        return answer

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
        known = (*_KNOWN_HOSTS, _host(request))
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
        tenant = self._tenant(request, any_tenant=True)
        host = _host(request)
        base, cloud = f"https://{host}/{tenant}", cloud_at(host)
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"https://{host}/{'{tenantid}' if tenant in _ANY_TENANT else tenant}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "tenant_region_scope": "EU",
                "cloud_instance_name": cloud.login_aliases[0].removeprefix("login."),
                "msgraph_host": cloud.graph.removeprefix("https://"),
            }
        )

    async def keys(self, request: Request) -> Response:
        """The keys that access tokens are signed with."""
        self._tenant(request, any_tenant=True)
        return JSONResponse(self._authority.jwks())

    # Tokens ------------------------------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        """The client credentials grant, with a federated assertion or a client secret."""
        form = dict(reversed(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)))
        grant = _required(form, "grant_type")
        if grant != "client_credentials":
            raise RefusedError(70003, grant_type=grant)
        client_id = _required(form, "client_id")
        request.state.note["detail"] = {"client_id": client_id[:_LONGEST_FIELD]}
        tenant = self._tenant(request)
        principal = self._principal(client_id, tenant)
        scope = _required(form, "scope")
        if form.get("client_assertion") and form.get("client_assertion_type") == rules.ASSERTION_TYPE:
            certificate = await self._prove(request, principal, form["client_assertion"])
        elif form.get("client_secret"):
            certificate = False
            _check_secret(principal, form["client_secret"])
        else:
            raise RefusedError(7000218)
        audience = rules.resource_of(scope, tenant=tenant)
        request.state.note["caller"] = principal.name or principal.client_id
        request.state.note["detail"]["resource"] = audience
        lifetime = int(self._world.rules.token_lifetime) - 1
        return JSONResponse(
            {
                "token_type": "Bearer",
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "access_token": self._authority.issue(
                    principal,
                    audience,
                    capabilities=rules.capabilities_of(form.get("claims", "")),
                    certificate=certificate,
                ),
            }
        )

    async def _prove(self, request: Request, principal: Identity | Application, text: str) -> bool:
        """Accept the assertion as *principal*'s proof, or refuse; whether a certificate's key had signed it."""
        assertion = rules.read_assertion(text)
        own = isinstance(principal, Application) and assertion.issuer.lower() == principal.client_id
        if isinstance(principal, Application) and own:
            base = f"https://{_host(request)}/{principal.tenant_id}"
            rules.check_certificate(
                text,
                assertion,
                principal.certificates,
                endpoints=(f"{base}/oauth2/v2.0/token", f"{base}/oauth2/token", f"{base}/v2.0", base),
                now=self._world.clock.wall(),
            )
        else:
            await self._exchange(request, principal, text, assertion)
        return own

    async def _exchange(
        self, request: Request, principal: Identity | Application, text: str, assertion: rules.Assertion
    ) -> None:
        """Accept another issuer's token, when a federated credential trusts it."""
        rules.check_tenant(assertion, self._world.tenants[principal.tenant_id])
        request.state.note["detail"].update(
            issuer=assertion.issuer[:_LONGEST_FIELD], subject=assertion.subject[:_LONGEST_FIELD]
        )
        # What the directory shows is read once: a propagation that ends while keys are fetched must not mix two views.
        view = self._directory.view(principal, assertion)
        try:
            trusting = rules.match_issuer(assertion, view, client_id=principal.client_id, name=principal.name)
            key = await self._issuers.key(assertion.issuer, assertion.key_id)
            rules.check_signature(text, assertion, key)
            rules.check_time(assertion, self._world.clock.wall())
            credential = rules.match_subject(assertion, trusting)
        except RefusedError as refused:
            if refused.code in rules.NO_MATCH:
                self._directory.refuse(principal, assertion, view)
            if self._world.rules.combined_refusals and refused.code in rules.TOLD_APART:
                raise rules.combined(assertion) from None
            raise
        self._directory.use(principal, credential)

    def _tenant(self, request: Request, *, any_tenant: bool = False) -> str:
        tenant = str(request.path_params["tenant"])
        known = self._world.tenants.get(tenant.lower())
        if (known is not None and known.is_in(cloud_at(_host(request)))) or (
            any_tenant and tenant.lower() in _ANY_TENANT
        ):
            return tenant.lower()
        # Only what can be a tenant's name is quoted back.
        refused = RefusedError(90002, tenant=tenant if _TENANT_PATH.fullmatch(tenant) else "")
        if request.method == "GET":
            refused.error = "invalid_tenant"  # discovery's word for it
        raise refused

    def _principal(self, client_id: str, tenant: str) -> Identity | Application:
        found = self._world.identities_by_client.get(client_id.lower()) or self._world.applications.get(
            client_id.lower()
        )
        if found is None or found.tenant_id != tenant:
            raise RefusedError(700016, client_id=client_id[:_LONGEST_FIELD], tenant=tenant)
        return found


def _check_secret(principal: Identity | Application, secret: str) -> None:
    # A managed identity has no secret that anybody could know.
    expected = principal.secret if isinstance(principal, Application) else ""
    if not expected or not hmac.compare_digest(expected.encode(), secret.encode()):
        raise RefusedError(7000215, client_id=principal.client_id)


def _required(form: dict[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise RefusedError(900144, parameter=name)
    return value


def _host(request: Request) -> str:
    return request.headers.get("host", PUBLIC.login_host).lower().removesuffix(":443")


def _correlation(request: Request) -> str:
    """The client's own id for this request, when it is a GUID."""
    try:
        return str(uuid.UUID(request.headers.get("client-request-id", "")))
    except ValueError:
        return ""
