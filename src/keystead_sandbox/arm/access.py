"""Role assignments and role definitions: Microsoft.Authorization.

- An assignment is one principal, one role, one scope; the same again under another name is refused.
- A principal that the directory does not show yet is refused, unless the request says what type it is.
"""

import re
import uuid

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, rules, state
from keystead_sandbox.arm.call import Call, Row
from keystead_sandbox.resources import RoleAssignment
from keystead_sandbox.roles import ROLES, Role, role_named
from keystead_sandbox.world import World

_ASSIGNMENTS = r"(?P<scope>(?:/.+?)?)/providers/microsoft\.authorization/roleassignments"
_DEFINITIONS = r"(?P<scope>(?:/.+?)?)/providers/microsoft\.authorization/roledefinitions"
_ACTION = "Microsoft.Authorization/roleAssignments"
_ROLE_NAME = re.compile(r"roleName\s+eq\s+'(?P<name>[^']*)'", re.IGNORECASE)
_PRINCIPAL = re.compile(r"(?:principalId\s+eq\s+|assignedTo\()'(?P<id>[^']*)'", re.IGNORECASE)


class Access:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        one = _ASSIGNMENTS + r"/(?P<name>[^/]+)"
        return [
            Row("GET", _ASSIGNMENTS, self._list),
            Row("GET", one, self._get),
            Row("PUT", one, self._put),
            Row("DELETE", one, self._delete),
            Row("GET", _DEFINITIONS, self._definitions),
            Row("GET", _DEFINITIONS + r"/(?P<name>[^/]+)", self._definition),
        ]

    def _enter(self, call: Call, verb: str) -> str:
        rules.check_form(call.version)
        rules.authorise(self._world, call.caller, f"{_ACTION}/{verb}", call.names["scope"])
        return call.names["scope"]

    async def _list(self, call: Call) -> Response:
        """Assignments at, above and below the scope; ``atScope()`` leaves out those below."""
        scope = self._enter(call, "read").lower()
        wanted = _PRINCIPAL.search(call.filter)
        below = "atscope()" not in call.filter.lower()
        found = [
            each
            for each in self._world.assignments.values()
            if (_within(scope, each.scope.lower()) or (below and _within(each.scope.lower(), scope)))
            and (wanted is None or each.principal_id == wanted["id"].lower())
        ]
        return JSONResponse({"value": [state.assignment_body(each) for each in found]})

    async def _get(self, call: Call) -> Response:
        self._enter(call, "read")
        found = self._world.assignments.get(call.path.lower())
        if found is None:
            raise errors.no_assignment(call.names["name"])
        return JSONResponse(state.assignment_body(found))

    async def _put(self, call: Call) -> Response:
        scope = self._enter(call, "write")
        wanted = await self._wanted(call)
        standing = self._world.assignments.get(call.path.lower())
        if standing is not None:
            same = (standing.principal_id, standing.role_definition_id) == (wanted[0], wanted[1].id)
            if not same:
                raise errors.Refusal(
                    400,
                    "RoleAssignmentUpdateNotPermitted",
                    "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
                )
            return JSONResponse(state.assignment_body(standing))
        for each in self._world.assignments.values():
            if (each.scope.lower(), each.principal_id, each.role_definition_id) == (
                scope.lower(),
                wanted[0],
                wanted[1].id,
            ):
                raise errors.assignment_exists(each.id.rpartition("/")[2])
        made = self._world.assign_role(wanted[0], wanted[1].id, scope, assignment=call.names["name"])
        made.principal_type = wanted[2] or "ServicePrincipal"
        call.tell(principal=wanted[0], role=wanted[1].name)
        return JSONResponse(state.assignment_body(made), status_code=201)

    async def _wanted(self, call: Call) -> tuple[str, Role, str]:
        """Principal, role and principal type of the body."""
        try:
            uuid.UUID(call.names["name"])
        except ValueError:
            raise errors.Refusal(
                400, "InvalidRoleAssignmentId", f"The role assignment ID '{call.names['name']}' is not valid."
            ) from None
        properties = (await call.body()).get("properties")
        if not isinstance(properties, dict):
            raise errors.Refusal(400, "BadRequestFormat", "The request was incorrectly formatted.")
        principal, kind = str(properties.get("principalId", "")).lower(), str(properties.get("principalType") or "")
        definition = str(properties.get("roleDefinitionId", ""))
        role = role_named(definition.rpartition("/")[2])
        if role is None:
            raise errors.Refusal(
                404,
                "RoleDefinitionDoesNotExist",
                f"The specified role definition with ID '{definition}' does not exist.",
            )
        if not kind and not self._world.principal_known(principal):
            raise errors.no_principal(principal, call.caller.tenant_id)
        return principal, role, kind

    async def _delete(self, call: Call) -> Response:
        self._enter(call, "delete")
        found: RoleAssignment | None = self._world.assignments.get(call.path.lower())
        if found is None:
            return Response(status_code=204)
        self._world.remove_assignment(found)
        return JSONResponse(state.assignment_body(found))

    async def _definitions(self, call: Call) -> Response:
        self._enter_definitions(call)
        wanted = _ROLE_NAME.search(call.filter)
        found = [role for role in ROLES if wanted is None or role.name.lower() == wanted["name"].lower()]
        return JSONResponse({"value": [state.role_body(role, call.names["scope"]) for role in found]})

    async def _definition(self, call: Call) -> Response:
        self._enter_definitions(call)
        role = role_named(call.names["name"])
        if role is None:
            name = call.names["name"]
            raise errors.Refusal(
                404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{name}' does not exist."
            )
        return JSONResponse(state.role_body(role, call.names["scope"]))

    def _enter_definitions(self, call: Call) -> None:
        rules.check_form(call.version)
        rules.authorise(self._world, call.caller, "Microsoft.Authorization/roleDefinitions/read", call.names["scope"])


def _within(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer}/")
