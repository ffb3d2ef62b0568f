"""What management.azure.com serves here. Path segments match without regard to case."""

import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from keystead_sandbox.arm import errors, rules, state
from keystead_sandbox.entra.tokens import Caller, TokenAuthority
from keystead_sandbox.world import Credential, Identity, World

Handler: TypeAlias = Callable[[Request, Caller, re.Match[str]], Awaitable[Response]]
_SUBSCRIPTION = r"^/subscriptions/(?P<subscription>[^/]+)"
_GROUP = _SUBSCRIPTION + r"/resourcegroups/(?P<group>[^/]+)"
_IDENTITY = _GROUP + r"/providers/microsoft\.managedidentity/userassignedidentities/(?P<identity>[^/]+)"
_REMAINING = {
    "GET": ("x-ms-ratelimit-remaining-subscription-global-reads", "16499"),
    "DELETE": ("x-ms-ratelimit-remaining-subscription-global-deletes", "11998"),
}


class ArmApp:
    """The ASGI app for management.azure.com."""

    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority
        self._holds = state.Holds()
        fics = _IDENTITY + r"/federatedidentitycredentials"
        table: list[tuple[str, str, Handler]] = [
            ("GET", r"^/subscriptions/?$", self._subscriptions),
            ("GET", _SUBSCRIPTION + "/?$", self._subscription),
            ("GET", _SUBSCRIPTION + r"/resourcegroups/?$", self._groups),
            ("GET", _GROUP + "/?$", self._group),
            (
                "GET",
                _SUBSCRIPTION + r"/providers/microsoft\.managedidentity/userassignedidentities/?$",
                self._identities,
            ),
            ("GET", _GROUP + r"/providers/microsoft\.managedidentity/userassignedidentities/?$", self._identities),
            ("GET", _IDENTITY + "$", self._get_identity),
            ("PUT", _IDENTITY + "$", self._put_identity),
            ("DELETE", _IDENTITY + "$", self._delete_identity),
            ("GET", fics + "/?$", self._list_credentials),
            ("GET", fics + "/(?P<name>[^/]+)$", self._get_credential),
            ("PUT", fics + "/(?P<name>[^/]+)$", self._put_credential),
            ("DELETE", fics + "/(?P<name>[^/]+)$", self._delete_credential),
            ("GET", _GROUP + r"/providers/microsoft\.keyvault/vaults/(?P<vault>[^/]+)$", self._vault),
            ("GET", r"^(?P<scope>/.*)/providers/microsoft\.authorization/roleassignments/?$", self._assignments),
        ]
        self._table = [(method, re.compile(pattern, re.IGNORECASE), handler) for method, pattern, handler in table]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        note: dict[str, Any] = {"detail": {}, "caller": "", "code": ""}
        request.state.note = note
        try:
            response = await self._answer(request, note)
        except errors.Refusal as refusal:
            note["code"] = refusal.code
            response = refusal.response()
        self._decorate(request, response)
        await response(scope, receive, send)

    async def _answer(self, request: Request, note: dict[str, Any]) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        caller = self._authority.verify(token, rules.AUDIENCES) if scheme.lower() == "bearer" else None
        if caller is None:
            raise errors.unauthenticated()
        note["caller"] = caller.name
        found = False
        for method, pattern, handler in self._table:
            match = pattern.match(request.url.path)
            if match is not None and method == request.method:
                return await handler(request, caller, match)
            found = found or match is not None
        if found:
            raise errors.Refusal(405, "MethodNotAllowed", f"The method {request.method} is not allowed here.")
        raise errors.Refusal(404, "InvalidResourceType", "The resource type could not be found by the sandbox.")

    def _decorate(self, request: Request, response: Response) -> None:
        """Headers that every answer of ARM carries."""
        number = str(uuid.uuid4())
        response.headers["Cache-Control"] = "no-cache"
        response.headers["x-ms-request-id"] = number
        response.headers["x-ms-correlation-request-id"] = request.headers.get("x-ms-correlation-request-id", number)
        moment = self._world.clock.wall().strftime("%Y%m%dT%H%M%SZ")
        response.headers["x-ms-routing-request-id"] = f"SANDBOX:{moment}:{number}"
        name, left = _REMAINING.get(request.method, ("x-ms-ratelimit-remaining-subscription-global-writes", "11999"))
        response.headers[name] = left

    # Identities --------------------------------------------------------------------------------------------------

    async def _identities(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        rules.check_version(_version(request), rules.IDENTITIES)
        parts = match.groupdict()
        prefix = f"/subscriptions/{parts['subscription']}/".lower()
        prefix += f"resourcegroups/{parts['group']}/".lower() if parts.get("group") else ""
        rules.authorise(self._world, caller, f"{rules.IDENTITIES}/read", prefix.rstrip("/"))
        found = [each for key, each in self._world.identities.items() if key.startswith(prefix)]
        return JSONResponse({"value": [state.identity_body(each) for each in found]})

    async def _get_identity(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        rules.check_version(_version(request), rules.IDENTITIES)
        rules.authorise(self._world, caller, f"{rules.IDENTITIES}/read", match[0])
        identity = self._world.identity(match[0])
        if identity is None:
            raise errors.not_found(rules.IDENTITIES, match["identity"], match["group"])
        return JSONResponse(state.identity_body(identity))

    async def _put_identity(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        rules.check_version(_version(request), rules.IDENTITIES)
        rules.authorise(self._world, caller, f"{rules.IDENTITIES}/write", match[0])
        rules.check_identity_name(match["identity"])
        body = await _body(request)
        if not isinstance(body.get("location"), str):
            raise errors.Refusal(400, "LocationRequired", "The location property is required for this definition.")
        group = f"/subscriptions/{match['subscription']}/resourceGroups/{match['group']}"
        if group.lower() not in self._world.groups:
            text = f"Resource group '{match['group']}' could not be found."
            raise errors.Refusal(404, "ResourceGroupNotFound", text)
        identity = self._world.identity(match[0])
        status = 200 if identity is not None else 201
        if identity is None:
            identity = self._world.add_identity(
                match["identity"], match["group"], location=body["location"], subscription_id=match["subscription"]
            )
        identity.tags = dict(body.get("tags") or identity.tags)
        headers = {"Location": identity.resource_id} if status == 201 else {}  # noqa: PLR2004 - HTTP's Created
        return JSONResponse(state.identity_body(identity), status_code=status, headers=headers)

    async def _delete_identity(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        rules.check_version(_version(request), rules.IDENTITIES)
        rules.authorise(self._world, caller, f"{rules.IDENTITIES}/delete", match[0])
        identity = self._world.identity(match[0])
        if identity is None:
            return Response(status_code=204)
        self._world.remove_identity(identity)
        return Response(status_code=200)

    # Federated credentials ---------------------------------------------------------------------------------------

    def _parent(self, request: Request, caller: Caller, match: re.Match[str], verb: str) -> Identity:
        rules.check_version(_version(request), rules.CREDENTIALS)
        path = match[0].lower().partition("/federatedidentitycredentials")[0]
        rules.authorise(self._world, caller, f"{rules.CREDENTIALS}/{verb}", path)
        identity = self._world.identity(path)
        if identity is None:
            raise errors.parent_missing()
        return identity

    async def _list_credentials(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        identity = self._parent(request, caller, match, "read")
        rules.take_turn(self._world, identity, "list")
        held = [state.credential_body(identity, each) for each in identity.credentials.values()]
        size = int(request.query_params.get("$top") or self._world.rules.page_size)
        start = int(request.query_params.get("$skiptoken") or request.query_params.get("$skipToken") or 0)
        page: dict[str, Any] = {"value": held[start : start + size]}
        if start + size < len(held):
            version = _version(request)
            page["nextLink"] = (
                f"https://{request.headers['host']}{request.url.path}?api-version={version}&$top={size}"
                f"&$skiptoken={start + size}"
            )
        return JSONResponse(page)

    async def _get_credential(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        identity = self._parent(request, caller, match, "read")
        rules.take_turn(self._world, identity, "get")
        held = identity.credentials.get(match["name"].lower())
        if held is None:
            raise errors.not_found(rules.CREDENTIALS, match["name"], match["group"])
        return JSONResponse(state.credential_body(identity, held))

    async def _put_credential(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        identity = self._parent(request, caller, match, "write")
        trust = rules.trust_of(match["name"], await _body(request))
        request.state.note["detail"] = {"issuer": trust[0], "subject": trust[1]}
        await self._hold(identity)
        try:
            rules.check_place(self._world, identity, match["name"], trust)
            old = identity.credentials.get(match["name"].lower())
            await self._world.clock.sleep(self._world.rules.write_hold)
            name = old.name if old is not None else match["name"]
            new = Credential(name, *trust, written_at=self._world.clock.now())
            # The same again is no change: exchanges that found it go on finding it.
            same = old is not None and (old.issuer, old.subject, old.audience) == trust
            held = old if same and old is not None else new
            identity.credentials[match["name"].lower()] = held
        finally:
            self._holds.release(identity)
        body = state.credential_body(identity, held)
        if old is not None:
            return JSONResponse(body)
        return JSONResponse(body, status_code=201, headers={"Location": body["id"]})

    async def _delete_credential(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        identity = self._parent(request, caller, match, "delete")
        await self._hold(identity)
        try:
            held = identity.credentials.get(match["name"].lower())
            if held is None:
                return Response(status_code=204)
            await self._world.clock.sleep(self._world.rules.write_hold)
            identity.credentials.pop(match["name"].lower(), None)
            identity.deleted.append((held, self._world.clock.now()))
        finally:
            self._holds.release(identity)
        request.state.note["detail"] = {"issuer": held.issuer, "subject": held.subject}
        return Response(status_code=200)

    async def _hold(self, identity: Identity) -> None:
        """The provider's order: overlapping writes first, which cost no token, then the rates."""
        if self._holds.held(identity):
            raise errors.concurrent(identity.resource_id)
        rules.take_turn(self._world, identity, "write")
        self._holds.take(identity)

    # What stands around ------------------------------------------------------------------------------------------

    async def _subscriptions(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        del request, match
        seen = [each for each in self._world.subscriptions.values() if each.tenant_id == caller.tenant_id]
        return JSONResponse({"value": [state.subscription_body(each) for each in seen], "count": {"value": len(seen)}})

    async def _subscription(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        del request
        found = self._world.subscriptions.get(match["subscription"].lower())
        if found is None or found.tenant_id != caller.tenant_id:
            text = f"The subscription '{match['subscription']}' could not be found."
            raise errors.Refusal(404, "SubscriptionNotFound", text)
        return JSONResponse(state.subscription_body(found))

    async def _groups(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        del request
        rules.authorise(self._world, caller, "Microsoft.Resources/subscriptions/resourceGroups/read", match[0])
        wanted = match["subscription"].lower()
        found = [state.group_body(each) for each in self._world.groups.values() if each.subscription_id == wanted]
        return JSONResponse({"value": found})

    async def _group(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        del request
        rules.authorise(self._world, caller, "Microsoft.Resources/subscriptions/resourceGroups/read", match[0])
        found = self._world.groups.get(match[0].rstrip("/").lower())
        if found is None:
            raise errors.Refusal(404, "ResourceGroupNotFound", f"Resource group '{match['group']}' could not be found.")
        return JSONResponse(state.group_body(found))

    async def _vault(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        del request
        rules.authorise(self._world, caller, "Microsoft.KeyVault/vaults/read", match[0])
        vault = self._world.vault(match["vault"])
        if vault is None or vault.resource_id.lower() != match[0].lower():
            raise errors.not_found("Microsoft.KeyVault/vaults", match["vault"], match["group"])
        return JSONResponse(state.vault_body(vault))

    async def _assignments(self, request: Request, caller: Caller, match: re.Match[str]) -> Response:
        del request
        rules.authorise(self._world, caller, "Microsoft.Authorization/roleAssignments/read", match["scope"])
        scope = match["scope"].lower()
        found = [each for each in self._world.assignments.values() if scope.startswith(each.scope.lower())]
        return JSONResponse({"value": [state.assignment_body(each) for each in found]})


def _version(request: Request) -> str:
    return request.query_params.get("api-version", "")


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.body())
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        raise errors.Refusal(
            400, "InvalidRequestContent", "The request content was invalid and could not be deserialized."
        )
    return body
