"""What NAME.vault.azure.net serves here: secrets, deleted secrets, and the challenge before them.

- The checks come in this order: vault, token, api-version, throttling, name, role, body, existence. So a caller
  without a role learns nothing about what exists.
- The ``WWW-Authenticate`` parameters are separated by a comma and a space: the Go SDK splits at the space.
- The journal learns the vault and the secret's name, never a value.
"""

import itertools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.buckets import Limit
from keystead_sandbox.clouds import cloud_at
from keystead_sandbox.entra.tokens import Caller, Fault, TokenAuthority, TokenRefusedError
from keystead_sandbox.keyvault import errors, rules
from keystead_sandbox.keyvault.state import Secrets, trace
from keystead_sandbox.resources import Vault
from keystead_sandbox.world import World

_HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose caller is known and may do what it asks."""

    request: Request
    secrets: Secrets
    name: str
    version: str


_Handler: TypeAlias = Callable[[_Call], Awaitable[Response]]


def keyvault_app(world: World, authority: TokenAuthority) -> Starlette:
    """The ASGI app of every vault; the Host header says which."""
    service = _KeyVault(world, authority)
    table: list[tuple[str, str, str, _Handler]] = [
        ("GET", "/secrets", rules.READ_METADATA, service.list_secrets),
        ("GET", "/secrets/{name}/versions", rules.READ_METADATA, service.list_versions),
        ("GET", "/secrets/{name}", rules.READ, service.get),
        ("GET", "/secrets/{name}/{version}", rules.READ, service.get),
        ("PUT", "/secrets/{name}", rules.SET, service.set),
        ("PATCH", "/secrets/{name}", rules.UPDATE, service.update),
        ("PATCH", "/secrets/{name}/{version}", rules.UPDATE, service.update),
        ("DELETE", "/secrets/{name}", rules.DELETE, service.delete),
        ("GET", "/deletedsecrets", rules.READ_METADATA, service.list_deleted),
        ("GET", "/deletedsecrets/{name}", rules.READ_METADATA, service.get_deleted),
        ("POST", "/deletedsecrets/{name}/recover", rules.RECOVER, service.recover),
        ("DELETE", "/deletedsecrets/{name}", rules.PURGE, service.purge),
    ]
    routes = [
        Route(spelling, service.answering(action, handler), methods=[method])
        for method, path, action, handler in table
        for spelling in (path, f"{path}/")  # clients without a version ask with a slash at the end
    ]
    routes.append(Route("/{kind}/{rest:path}", service.answering("", service.nothing), methods=["GET", "PUT", "POST"]))
    routes.append(Route("/{kind}", service.answering("", service.nothing), methods=["GET"]))
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})


class _KeyVault:
    """One handler per operation."""

    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority
        self._numbers = itertools.count(1)

    def answering(self, action: str, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """*handler* behind the checks that every operation shares; *action* is the data action it needs."""

        async def answer(request: Request) -> Response:
            note = {"code": "", "caller": "", "detail": {}}
            request.state.note = note
            vault, cloud = self._world.vault_of_host(_host(request)), cloud_at(_host(request))
            try:
                if vault is None or not self._world.tenants[vault.tenant_id].is_in(cloud):
                    raise errors.no_such_vault(_host(request))
                response = await handler(self._admit(request, vault, action))
            except errors.RefusedError as refused:
                note["code"] = refused.inner or refused.code
                response = JSONResponse(refused.wire(), status_code=refused.status)
                if refused.retry_after:
                    response.headers["Retry-After"] = str(refused.retry_after)
                if refused.status == 401 and vault is not None:  # noqa: PLR2004 - HTTP's Unauthorized
                    response.headers["WWW-Authenticate"] = (
                        f'Bearer authorization="https://{cloud.login_host}/{vault.tenant_id}",'
                        f' resource="{cloud.vault_resource}"'
                    )
            self._decorate(request, response, vault)
            return response

        return answer

    def _admit(self, request: Request, vault: Vault, action: str) -> _Call:
        caller = self._caller(request, vault)
        request.state.note["caller"] = caller.name
        name = str(request.path_params.get("name", ""))
        request.state.note["detail"] = {"vault": vault.name, **({"secret": name[:127]} if name else {})}
        rules.check_version(request.query_params.get("api-version", ""))
        limit = Limit(self._world.rules.vault_capacity, self._world.rules.vault_refill)
        refusal = self._world.buckets.take([(("vault", vault.name.lower()), limit)])
        if refusal is not None:
            raise errors.throttled(vault, max(1, math.ceil(self._world.clock.to_wall_seconds(refusal.wait))))
        if name:
            rules.check_name(name)
        resource = f"{vault.resource_id}/secrets/{name}" if name else vault.resource_id
        if action and not self._world.may(caller.object_id, action, resource, data=True):
            raise errors.forbidden(caller, action, resource, vault)
        base = f"https://{_host(request)}"
        return _Call(request, Secrets(self._world, vault, base), name, str(request.path_params.get("version", "")))

    def _caller(self, request: Request, vault: Vault) -> Caller:
        cloud = cloud_at(_host(request))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise errors.unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
        try:
            return self._authority.check(token.strip(), (cloud.vault_resource, rules.APPLICATION), vault.tenant_id)
        except TokenRefusedError as refused:
            if refused.fault is Fault.AUDIENCE:
                text = f"AKV10022: Invalid audience. Expected {cloud.vault_resource}, found: {refused.found}."
            elif refused.fault is Fault.ISSUER:
                expected = self._authority.issuer_of(vault.tenant_id)
                text = f"AKV10032: Invalid issuer. Expected one of {expected}, found {refused.found}."
            else:
                # Key Vault's own wording for these is not known; the fault's name is ours.
                text = f"Error validating token: {refused.fault}."
            raise errors.unauthorized(text) from None

    def _decorate(self, request: Request, response: Response, vault: Vault | None) -> None:
        """Headers that every answer of a vault carries."""
        response.headers["Content-Type"] = "application/json; charset=utf-8"
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Pragma"] = "no-cache"
        response.headers["Expires"] = "-1"
        response.headers["Strict-Transport-Security"] = "max-age=31536000;includeSubDomains"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["x-ms-keyvault-region"] = vault.location if vault is not None else "none"
        response.headers["x-ms-keyvault-service-version"] = "1.9.0.0"
        response.headers["x-ms-keyvault-network-info"] = "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"
        response.headers["x-ms-request-id"] = trace(self._world, next(self._numbers))
        if "x-ms-client-request-id" in request.headers:
            response.headers["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"]

    # Secrets -----------------------------------------------------------------------------------------------------

    async def get(self, call: _Call) -> Response:
        held = call.secrets.read(call.name, call.version)
        return JSONResponse(call.secrets.bundle(call.name, held, value=True))

    async def set(self, call: _Call) -> Response:
        new = rules.read_new(await call.request.body())
        return JSONResponse(call.secrets.bundle(call.name, call.secrets.set(call.name, new), value=True))

    async def update(self, call: _Call) -> Response:
        change = rules.read_change(await call.request.body())
        held = call.secrets.update(call.name, call.version, change)
        return JSONResponse(call.secrets.bundle(call.name, held, value=False))

    async def delete(self, call: _Call) -> Response:
        return JSONResponse(call.secrets.delete(call.name))

    async def list_secrets(self, call: _Call) -> Response:
        return _paged(call, call.secrets.page)

    async def list_versions(self, call: _Call) -> Response:
        return _paged(call, lambda after, size: call.secrets.version_page(call.name, after, size))

    # Deleted secrets ---------------------------------------------------------------------------------------------

    async def get_deleted(self, call: _Call) -> Response:
        return JSONResponse(call.secrets.deleted_bundle(call.name))

    async def list_deleted(self, call: _Call) -> Response:
        return _paged(call, call.secrets.deleted_page)

    async def recover(self, call: _Call) -> Response:
        return JSONResponse(call.secrets.recover(call.name))

    async def purge(self, call: _Call) -> Response:
        call.secrets.purge(call.name)
        return Response(status_code=204)

    async def nothing(self, call: _Call) -> Response:
        """Keys, certificates and whatever else; only a known caller is told."""
        raise errors.not_served(str(call.request.path_params["kind"]))


async def _unrouted(request: Request, error: Exception) -> Response:
    """What no route serves, in the shape of every refusal."""
    del request
    status = error.status_code if isinstance(error, HTTPException) else 404
    refused = errors.RefusedError(status, "NotFound", "The sandbox's vaults serve nothing here.")
    return JSONResponse(refused.wire(), status_code=status)


def _paged(call: _Call, page: Callable[[str, int], tuple[list[dict[str, object]], str]]) -> Response:
    query = call.request.query_params
    token, size = query.get("$skiptoken", ""), rules.page_size(query.get("maxresults", ""))
    items, following = page(rules.skipped(token), size)
    link = None
    if following:
        host = _host(call.request)
        # Key Vault writes the port out, even the usual one.
        authority = host if ":" in host else f"{host}:{_HTTPS_PORT}"
        link = (
            f"https://{authority}{call.request.url.path}?api-version={query['api-version']}"
            f"&$skiptoken={quote(rules.skip_token(following))}&maxresults={size}"
        )
    return JSONResponse({"value": items, "nextLink": link})


def _host(request: Request) -> str:
    return request.headers.get("host", "").lower().removesuffix(f":{_HTTPS_PORT}")
