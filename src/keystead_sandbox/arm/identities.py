"""User-assigned identities: Microsoft.ManagedIdentity/userAssignedIdentities."""

from typing import Any

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, rules, state
from keystead_sandbox.arm.call import GROUP, SUBSCRIPTION, Call, Row
from keystead_sandbox.resources import Identity
from keystead_sandbox.world import World

PROVIDER = r"/providers/microsoft\.managedidentity/userassignedidentities"
IDENTITY = GROUP + PROVIDER + r"/(?P<identity>[^/]+)"


class Identities:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        return [
            Row("GET", SUBSCRIPTION + PROVIDER, self._list),
            Row("GET", GROUP + PROVIDER, self._list),
            Row("GET", IDENTITY, self._get),
            Row("PUT", IDENTITY, self._put),
            Row("PATCH", IDENTITY, self._patch),
            Row("DELETE", IDENTITY, self._delete),
        ]

    def _enter(self, call: Call, verb: str, scope: str) -> None:
        rules.check_version(call.version, rules.IDENTITIES)
        rules.authorise(self._world, call.caller, f"{rules.IDENTITIES}/{verb}", scope)

    async def _list(self, call: Call) -> Response:
        scope = call.path.lower().partition("/providers/")[0]
        self._enter(call, "read", scope)
        if call.names.get("group"):
            rules.group(self._world, call.names["subscription"], call.names["group"])
        found = [each for key, each in self._world.identities.items() if key.startswith(f"{scope}/")]
        return JSONResponse({"value": [state.identity_body(each) for each in found]})

    async def _get(self, call: Call) -> Response:
        self._enter(call, "read", call.path)
        return JSONResponse(state.identity_body(self._found(call)))

    async def _put(self, call: Call) -> Response:
        self._enter(call, "write", call.path)
        rules.check_identity_name(call.names["identity"])
        body = await call.body()
        location = body.get("location")
        if not isinstance(location, str) or not location.strip():
            raise errors.Refusal(400, "LocationRequired", "The location property is required for this definition.")
        group = rules.group(self._world, call.names["subscription"], call.names["group"])
        identity = self._world.identity(call.path)
        if identity is not None:
            if _region(identity.location) != _region(location):
                raise errors.location_taken(identity, group.name, location)
            _describe(identity, body)
            return JSONResponse(state.identity_body(identity))
        identity = self._world.add_identity(
            call.names["identity"], group.name, location=_region(location), subscription_id=group.subscription_id
        )
        _describe(identity, body)
        return JSONResponse(state.identity_body(identity), status_code=201, headers={"Location": identity.resource_id})

    async def _patch(self, call: Call) -> Response:
        self._enter(call, "write", call.path)
        body = await call.body()
        identity = self._found(call)
        _describe(identity, body)
        return JSONResponse(state.identity_body(identity))

    async def _delete(self, call: Call) -> Response:
        self._enter(call, "delete", call.path)
        identity = self._world.identity(call.path)
        if identity is None:
            return Response(status_code=204)
        self._world.remove_identity(identity)
        return Response(status_code=200)

    def _found(self, call: Call) -> Identity:
        identity = self._world.identity(call.path)
        if identity is None:
            rules.group(self._world, call.names["subscription"], call.names["group"])
            raise errors.not_found(rules.IDENTITIES, call.names["identity"], call.names["group"])
        return identity


def _describe(identity: Identity, body: dict[str, Any]) -> None:
    """Tags and isolation scope, where the body has them; a tag list replaces the one before."""
    if isinstance(body.get("tags"), dict):
        identity.tags = {str(name): str(value) for name, value in body["tags"].items()}
    properties = body.get("properties")
    if isinstance(properties, dict) and isinstance(properties.get("isolationScope"), str):
        identity.properties["isolationScope"] = properties["isolationScope"]


def _region(location: str) -> str:
    """``West Europe`` and ``westeurope`` are one place, answered in the latter form."""
    return location.replace(" ", "").lower()
