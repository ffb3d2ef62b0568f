"""Resource groups, and the resources in them.

- A DELETE is answered at once with the place to ask at; what is in the group is gone then, the group after
  ``groupDelete`` seconds, and until then nothing can be put into it.
- Lists show what the caller may read, as Resource Manager filters them, and refuse nobody.
"""

import hashlib
import math
import re

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, filters, rules, state, vaults
from keystead_sandbox.arm.call import GROUP, SUBSCRIPTION, Call, Row
from keystead_sandbox.arm.regions import normal, region
from keystead_sandbox.governance import covers
from keystead_sandbox.resources import Identity, ResourceGroup, Vault
from keystead_sandbox.world import World

_NAME = re.compile(r"[\w.()-]{0,89}[\w()-]")
_POLL = 15  # seconds between two questions of a client, as Azure answers
_TAGS = frozenset({"tagname", "tagvalue"})
_FIELDS = frozenset({"resourcetype", "name", "location", "resourcegroup"})


class Groups:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        return [
            Row("GET", SUBSCRIPTION + "/resourcegroups", self._list),
            Row("GET", GROUP, self._get),
            Row("HEAD", GROUP, self._head),
            Row("PUT", GROUP, self._put),
            Row("PATCH", GROUP, self._patch),
            Row("DELETE", GROUP, self._delete),
            Row("GET", SUBSCRIPTION + "/operationresults/(?P<operation>[^/]+)", self._operation),
            Row("GET", SUBSCRIPTION + "/resources", self._resources),
            Row("GET", GROUP + "/resources", self._resources),
        ]

    def _enter(self, call: Call, verb: str) -> None:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, f"{rules.GROUPS}/{verb}", call.path)

    def _found(self, call: Call) -> ResourceGroup:
        return rules.group(self._world, call.names["subscription"], call.names["group"])

    def _standing(self, subscription: str) -> list[ResourceGroup]:
        now = self._world.clock.now()
        return [
            each
            for each in self._world.groups.values()
            if each.subscription_id == subscription.lower() and (each.gone_at is None or each.gone_at > now)
        ]

    async def _list(self, call: Call) -> Response:
        rules.check_form(call.version)
        asked = filters.read(call.filter, _TAGS)
        found = [
            state.group_body(each)
            for each in self._standing(call.names["subscription"])
            if self._world.may(call.caller.object_id, f"{rules.GROUPS}/read", each.id) and _tagged(each.tags, asked)
        ]
        return call.page(found, self._world.rules.page_size)

    async def _get(self, call: Call) -> Response:
        self._enter(call, "read")
        return JSONResponse(state.group_body(self._found(call)))

    async def _head(self, call: Call) -> Response:
        self._enter(call, "read")
        try:
            self._found(call)
        except errors.Refusal:
            return Response(status_code=404)
        return Response(status_code=204)

    async def _put(self, call: Call) -> Response:
        self._enter(call, "write")
        body, name = call.body(), call.names["group"]
        rules.check_policies(self._world, rules.GROUPS, call.path, body)
        if _NAME.fullmatch(name) is None:
            raise errors.bad_group_name(name)
        location, tags = region(body, rules.GROUPS), rules.tags_of(body)
        try:
            group = rules.open_group(self._world, call.names["subscription"], name)
        except errors.Refusal as refusal:
            if refusal.status != 404:  # noqa: PLR2004 - the one that says it is not there
                raise
            group = self._world.add_group(name, location, call.names["subscription"])
            group.tags = tags or {}
            return JSONResponse(state.group_body(group), status_code=201)
        if normal(group.location) != location:
            raise errors.group_elsewhere(location, group.location)
        group.tags = tags or {}
        return JSONResponse(state.group_body(group))

    async def _patch(self, call: Call) -> Response:
        self._enter(call, "write")
        tags = rules.tags_of(call.body())
        group = rules.open_group(self._world, call.names["subscription"], call.names["group"])
        group.tags = group.tags if tags is None else tags
        return JSONResponse(state.group_body(group))

    async def _delete(self, call: Call) -> Response:
        self._enter(call, "delete")
        rules.check_locks(self._world, "delete", call.path, below=True)
        group, world = self._found(call), self._world
        if group.gone_at is None:
            self._empty(group)
            group.gone_at = world.clock.now() + world.rules.group_delete
        token = hashlib.sha256(f"{group.id}/{group.gone_at}".lower().encode()).hexdigest()
        world.operations[token] = (group.subscription_id, group.gone_at)
        return self._pending(call, token, group.gone_at)

    def _empty(self, group: ResourceGroup) -> None:
        """Delete all that is in a group or on it: vaults softly, the rest for good."""
        world = self._world
        for identity in [each for each in world.identities.values() if covers(group.id, each.resource_id)]:
            world.remove_identity(identity)
        for vault in [each for each in world.vaults.values() if covers(group.id, each.resource_id)]:
            vaults.delete(world, vault)
        for assignment in [each for each in world.assignments.values() if covers(group.id, each.scope)]:
            world.remove_assignment(assignment, at_once=False)
        for kept in (world.locks, world.policies):
            for key in [key for key in kept if covers(group.id, key)]:
                del kept[key]

    async def _operation(self, call: Call) -> Response:
        """202 until it is through, then 200; another subscription's, or none, is 404."""
        rules.check_form(call.version)
        subscription, through = self._world.operations.get(call.names["operation"], ("", 0.0))
        if subscription != call.names["subscription"].lower():
            raise errors.no_type("Microsoft.Resources", "operationresults", call.version)
        if through <= self._world.clock.now():
            return Response(status_code=200)
        return self._pending(call, call.names["operation"], through)

    def _pending(self, call: Call, token: str, through: float) -> Response:
        clock = self._world.clock
        wait = min(clock.to_wall_seconds(_POLL), clock.to_wall_seconds(through - clock.now()))
        place = f"/subscriptions/{call.names['subscription'].lower()}/operationresults/{token}"
        location = f"https://{call.request.headers['host']}{place}?api-version={call.version}"
        return Response(status_code=202, headers={"Location": location, "Retry-After": str(max(1, math.ceil(wait)))})

    async def _resources(self, call: Call) -> Response:
        rules.check_form(call.version)
        asked = filters.read(call.filter, _TAGS | _FIELDS)
        if call.names.get("group"):
            self._found(call)
        scope = call.path.lower().rpartition("/resources")[0]
        everything: list[Identity | Vault] = [*self._world.identities.values(), *self._world.vaults.values()]
        found = []
        for each in everything:
            if not covers(scope, each.resource_id):
                continue
            group = rules.group(self._world, *each.resource_id.split("/")[2:5:2])
            body = state.resource_body(each, group.name)
            shown = {"resourcetype": body["type"], "name": body["name"], "resourcegroup": group.name}
            shown["location"] = normal(str(body["location"]))
            wanted = all(asked[name].lower() == shown[name].lower() for name in asked if name in shown)
            readable = self._world.may(call.caller.object_id, f"{body['type']}/read", each.resource_id)
            if wanted and readable and _tagged(each.tags, asked):
                found.append(body)
        return call.page(found, self._world.rules.page_size)


def _tagged(tags: dict[str, str], asked: dict[str, str]) -> bool:
    """Whether a resource has the tag that is asked for, with its value when that is asked for too."""
    if "tagname" not in asked:
        return True
    value = {name.lower(): value for name, value in tags.items()}.get(asked["tagname"].lower())
    return value is not None and asked.get("tagvalue", value) == value
