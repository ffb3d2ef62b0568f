"""What a vault serves: secrets, their versions and lists, and soft-deleted ones."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.buckets import Limit
from keystead_sandbox.entra.tokens import Caller, TokenAuthority
from keystead_sandbox.keyvault import rules
from keystead_sandbox.keyvault.errors import Refusal, bad_audience, bad_parameter, challenge, not_found
from keystead_sandbox.keyvault.state import bundle, find, moment, readable
from keystead_sandbox.world import DeletedSecret, Vault, World

Handler = Callable[[Request, Vault, Caller], Awaitable[Response]]
_PAGE = 25
_EMPTY = 204


def keyvault_app(world: World, authority: TokenAuthority) -> Starlette:
    """The ASGI app for all vaults; which one is the request's host."""
    service = _Service(world, authority)
    guarded = service.guarded
    return Starlette(
        routes=[
            Route("/secrets", guarded(service.list_secrets)),
            Route("/secrets/", guarded(service.list_secrets)),
            Route("/secrets/{name}/versions", guarded(service.list_versions)),
            Route("/secrets/{name}", guarded(service.secret), methods=["GET", "PUT", "PATCH", "DELETE"]),
            Route("/secrets/{name}/", guarded(service.secret), methods=["GET", "PATCH"]),
            Route("/secrets/{name}/{version}", guarded(service.secret), methods=["GET", "PATCH"]),
            Route("/deletedsecrets", guarded(service.list_deleted)),
            Route("/deletedsecrets/{name}", guarded(service.deleted), methods=["GET", "DELETE"]),
            Route("/deletedsecrets/{name}/recover", guarded(service.recover), methods=["POST"]),
        ],
    )


class _Service:
    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority

    def guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Vault, token, version and throttle before anything else."""

        async def guard(request: Request) -> Response:
            note: dict[str, Any] = {"detail": {}, "caller": "", "code": ""}
            request.state.note = note
            try:
                vault, caller = self._admit(request)
                note["caller"] = caller.name
                rules.check_version(request.query_params.get("api-version"))
                self._throttle(vault)
                response = await handler(request, vault, caller)
            except Refusal as refusal:
                note["code"] = refusal.inner or refusal.code
                response = refusal.response()
            response.headers["x-ms-keyvault-service-version"] = "1.9.2000.1"
            response.headers["x-ms-request-id"] = self._world.new_id("request")
            return response

        return guard

    def _admit(self, request: Request) -> tuple[Vault, Caller]:
        vault = self._world.vault_of_host(request.headers["host"])
        if vault is None:
            raise Refusal(404, "VaultNotFound", "The vault does not exist.")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise challenge(vault.tenant_id)
        caller = self._authority.verify(token, rules.AUDIENCES)
        if caller is None or caller.tenant_id != vault.tenant_id:
            raise bad_audience(vault.tenant_id, self._authority.audience_of(token) or "unreadable")
        return vault, caller

    def _throttle(self, vault: Vault) -> None:
        limits = self._world.rules
        refused = self._world.buckets.take([(("vault", vault.name), Limit(limits.vault_capacity, limits.vault_refill))])
        if refused is not None:
            seconds = max(1, round(self._world.clock.to_wall_seconds(refused.wait)))
            raise Refusal(
                429,
                "Throttled",
                "Request was not processed because too many requests were received.",
                headers={"Retry-After": str(seconds)},
            )

    async def list_secrets(self, request: Request, vault: Vault, caller: Caller) -> Response:
        rules.authorise(self._world, vault, caller, rules.LIST)
        items = [
            bundle(vault, name, found[-1], value=False, versioned=False)
            for name, found in sorted(vault.secrets.items())
        ]
        return _page(request, items)

    async def list_versions(self, request: Request, vault: Vault, caller: Caller) -> Response:
        name = request.path_params["name"]
        rules.authorise(self._world, vault, caller, rules.LIST, name)
        versions = vault.secrets.get(name.lower(), [])
        return _page(request, [bundle(vault, name, each, value=False) for each in versions])

    async def secret(self, request: Request, vault: Vault, caller: Caller) -> Response:
        name, version = request.path_params["name"], request.path_params.get("version", "")
        rules.check_name(name)
        match request.method:
            case "PUT":
                return await self._set(request, vault, caller, name)
            case "PATCH":
                return await self._update(request, vault, caller, name, version)
            case "DELETE":
                return self._delete(vault, caller, name)
        rules.authorise(self._world, vault, caller, rules.GET, name)
        return JSONResponse(bundle(vault, name, readable(find(vault, name, version)), value=True))

    async def _set(self, request: Request, vault: Vault, caller: Caller, name: str) -> Response:
        rules.authorise(self._world, vault, caller, rules.SET, name)
        if name.lower() in vault.deleted:
            text = f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused."
            raise Refusal(409, "Conflict", text, inner="ObjectIsDeletedButRecoverable")
        body = await _body(request)
        value = body.get("value")
        if not isinstance(value, str) or len(value.encode()) > rules.LONGEST_VALUE:
            raise bad_parameter("Parameter 'value' must be a string of at most 25k bytes.")
        version = self._world.set_secret(vault, name, value)
        _change(version, body)
        return JSONResponse(bundle(vault, name, version, value=True))

    async def _update(self, request: Request, vault: Vault, caller: Caller, name: str, version: str) -> Response:
        rules.authorise(self._world, vault, caller, rules.SET, name)
        found = find(vault, name, version)
        _change(found, await _body(request))
        found.updated = self._world.clock.wall()
        return JSONResponse(bundle(vault, name, found, value=False))

    def _delete(self, vault: Vault, caller: Caller, name: str) -> Response:
        rules.authorise(self._world, vault, caller, rules.DELETE, name)
        find(vault, name, "")
        vault.deleted[name.lower()] = DeletedSecret(vault.secrets.pop(name.lower()), self._world.clock.wall())
        return JSONResponse(self._deleted_bundle(vault, name))

    async def list_deleted(self, request: Request, vault: Vault, caller: Caller) -> Response:
        rules.authorise(self._world, vault, caller, rules.LIST)
        return _page(request, [self._deleted_bundle(vault, name) for name in sorted(vault.deleted)])

    async def deleted(self, request: Request, vault: Vault, caller: Caller) -> Response:
        name = request.path_params["name"]
        if name.lower() not in vault.deleted:
            raise not_found(name)
        if request.method == "DELETE":
            rules.authorise(self._world, vault, caller, rules.DELETE, name)
            del vault.deleted[name.lower()]
            return Response(status_code=_EMPTY)
        rules.authorise(self._world, vault, caller, rules.LIST, name)
        return JSONResponse(self._deleted_bundle(vault, name))

    async def recover(self, request: Request, vault: Vault, caller: Caller) -> Response:
        name = request.path_params["name"]
        rules.authorise(self._world, vault, caller, rules.SET, name)
        if name.lower() not in vault.deleted:
            raise not_found(name)
        vault.secrets[name.lower()] = vault.deleted.pop(name.lower()).versions
        return JSONResponse(bundle(vault, name, find(vault, name, ""), value=False))

    def _deleted_bundle(self, vault: Vault, name: str) -> dict[str, Any]:
        gone = vault.deleted[name.lower()]
        at = int(gone.deleted.timestamp())
        return {
            **bundle(vault, name, gone.versions[-1], value=False, versioned=False),
            "recoveryId": f"https://{vault.name}.vault.azure.net/deletedsecrets/{name}",
            "deletedDate": at,
            "scheduledPurgeDate": at + 90 * 86400,
        }


def _page(request: Request, items: Sequence[dict[str, Any]]) -> Response:
    size = request.query_params.get("maxresults", str(_PAGE))
    if not size.isdigit() or not 1 <= int(size) <= _PAGE:
        raise bad_parameter(f"Parameter 'maxresults' must be between 1 and {_PAGE}, and not {size}.")
    start = int(request.query_params.get("$skiptoken", "0") or 0)
    end = start + int(size)
    link = None
    if end < len(items):
        host = request.headers["host"].partition(":")[0]
        version = request.query_params["api-version"]
        link = f"https://{host}:443{request.url.path}?api-version={version}&$skiptoken={end}&maxresults={size}"
    return JSONResponse({"value": list(items[start:end]), "nextLink": link})


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.body())
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        raise bad_parameter("The request body is not a JSON object.")
    return body


def _change(version: Any, body: dict[str, Any]) -> None:
    attributes = body.get("attributes") or {}
    version.enabled = bool(attributes.get("enabled", version.enabled))
    version.not_before = moment(attributes.get("nbf")) or version.not_before
    version.expires = moment(attributes.get("exp")) or version.expires
    version.content_type = str(body.get("contentType", version.content_type) or "")
    version.tags = dict(body.get("tags", version.tags) or {})
