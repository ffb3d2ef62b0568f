"""User-assigned identities: Microsoft.ManagedIdentity/userAssignedIdentities."""

from typing import Any

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, rules, state
from keystead_sandbox.arm.call import GROUP, SUBSCRIPTION, Call, Row
from keystead_sandbox.arm.regions import normal, region
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

    def _enter(self, call: Call, verb: str) -> None:
        rules.check_version(call.version, rules.IDENTITIES)
        scope = call.path if "identity" in call.names else call.collection
        rules.admit(self._world, call.caller, f"{rules.IDENTITIES}/{verb}", scope)

    async def _list(self, call: Call) -> Response:
        self._enter(call, "read")
        scope = call.path.lower().partition("/providers/")[0]
        if call.names.get("group"):
            rules.group(self._world, call.names["subscription"], call.names["group"])
        found = [each for key, each in self._world.identities.items() if key.startswith(f"{scope}/")]
        return call.page([state.identity_body(each, call.version) for each in found], self._world.rules.page_size)

    async def _get(self, call: Call) -> Response:
        self._enter(call, "read")
        return JSONResponse(state.identity_body(self._found(call), call.version))

    async def _put(self, call: Call) -> Response:
        self._enter(call, "write")
        body = call.body()
        rules.check_policies(self._world, rules.IDENTITIES, call.path, body)
        rules.check_identity_name(call.names["identity"])
        location = region(body, rules.IDENTITIES)
        group = rules.open_group(self._world, call.names["subscription"], call.names["group"])
        identity = self._world.identity(call.path)
        if identity is not None and normal(identity.location) != location:
            raise errors.location_taken(identity.name, identity.location, group.name, location)
        tags, properties = rules.tags_of(body), rules.identity_properties(body, call.version)
        made = identity is None
        if identity is None:
            identity = self._world.add_identity(
                call.names["identity"], group.name, location=location, subscription_id=group.subscription_id, new=True
            )
        _describe(identity, tags, properties)
        headers = {**state.operation_header(call.caller, identity)}
        if made:
            headers["Location"] = identity.resource_id
        return JSONResponse(
            state.identity_body(identity, call.version), status_code=201 if made else 200, headers=headers
        )

    async def _patch(self, call: Call) -> Response:
        self._enter(call, "write")
        body = call.body()
        identity = self._found(call)
        rules.check_policies(self._world, rules.IDENTITIES, call.path, {"location": identity.location, **body})
        _describe(identity, rules.tags_of(body), rules.identity_properties(body, call.version))
        return JSONResponse(
            state.identity_body(identity, call.version), headers=state.operation_header(call.caller, identity)
        )

    async def _delete(self, call: Call) -> Response:
        """200, or 204 when it is not there; its role assignments stay behind, with a principal that is gone."""
        self._enter(call, "delete")
        identity = self._world.identity(call.path)
        if identity is None:
            return Response(status_code=204)
        self._world.remove_identity(identity)
        return Response(status_code=200, headers=state.operation_header(call.caller, identity))

    def _found(self, call: Call) -> Identity:
        identity = self._world.identity(call.path)
        if identity is None:
            rules.group(self._world, call.names["subscription"], call.names["group"])
            raise errors.not_found(rules.IDENTITIES, call.names["identity"], call.names["group"])
        return identity


def _describe(identity: Identity, tags: dict[str, str] | None, properties: dict[str, Any]) -> None:
    """Tags and settings, where the body has them; a tag list replaces the one before."""
    if tags is not None:
        identity.tags = tags
    identity.properties.update(properties)
