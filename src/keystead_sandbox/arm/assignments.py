"""Role assignments: Microsoft.Authorization/roleAssignments.

- An assignment is one principal, one role, one scope; the same again under another name is refused.
- A principal that the directory does not show yet is refused, unless the request says what type it is.
- Whoever assigns under a condition is measured by what the request asks for, or, to delete, by what stands there.
- Giving and taking have their effect after ``roleDelay``.
"""

from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from keystead_sandbox import conditions
from keystead_sandbox.arm import access_errors as errors
from keystead_sandbox.arm import filters, rules, scopes
from keystead_sandbox.arm.access_state import assignment_body
from keystead_sandbox.arm.call import SCOPE, Call, Row
from keystead_sandbox.governance import covers
from keystead_sandbox.resources import RoleAssignment
from keystead_sandbox.roles import Role
from keystead_sandbox.world import World

_ALL = SCOPE + r"/providers/microsoft\.authorization/roleassignments"
_ACTION = "Microsoft.Authorization/roleAssignments"
_FILTERS = frozenset({"atscope", "assignedto", "principalid"})
_TYPES = frozenset({"User", "Group", "ServicePrincipal", "ForeignGroup", "Device"})
_CONDITION_VERSIONS = frozenset({"1.0", "2.0"})
_PRINCIPAL_TYPE = "ServicePrincipal"  # of everybody in the sandbox's directory


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The body of a write, checked."""

    principal: str
    role: Role
    kind: str
    settings: dict[str, str]


class Assignments:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        one = _ALL + r"/(?P<name>[^/]+)"
        return [
            Row("GET", _ALL, self._list),
            Row("GET", one, self._get),
            Row("PUT", one, self._put),
            Row("DELETE", one, self._delete),
        ]

    async def _list(self, call: Call) -> Response:
        """Assignments at, above and below the scope; ``atScope()`` leaves out those below."""
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, f"{_ACTION}/read", call.collection)
        asked, scope = filters.read(call.filter, _FILTERS), call.names["scope"]
        principals = {asked[name].lower() for name in ("principalid", "assignedto") if name in asked}
        found = [
            assignment_body(each)
            for each in self._world.assignments.values()
            if (covers(each.scope, scope) or ("atscope" not in asked and covers(scope, each.scope)))
            and all(each.principal_id == principal for principal in principals)
        ]
        return call.page(found, self._world.rules.page_size)

    async def _get(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, f"{_ACTION}/read", call.path)
        found = self._world.assignments.get(call.path.lower())
        if found is None:
            raise errors.no_assignment(call.names["name"])
        return JSONResponse(assignment_body(found))

    async def _put(self, call: Call) -> Response:
        rules.check_form(call.version)
        properties, scope = call.properties(), call.names["scope"]
        asked = _attributes(
            "Request",
            properties.get("roleDefinitionId"),
            properties.get("principalId"),
            properties.get("principalType") or _PRINCIPAL_TYPE,
        )
        rules.admit(self._world, call.caller, f"{_ACTION}/write", call.path, asked)
        wanted = self._wanted(call, properties)
        scopes.check(self._world, scope)
        standing = self._world.assignments.get(call.path.lower())
        if standing is not None:
            if (standing.principal_id, standing.role_definition_id) != (wanted.principal, wanted.role.id):
                raise errors.assignment_fixed()
            self._settle(standing, wanted)
            return JSONResponse(assignment_body(standing))
        self._check_place(scope, wanted)
        made = self._world.assign_role(wanted.principal, wanted.role.id, scope, assignment=call.names["name"], new=True)
        made.principal_type = wanted.kind or _PRINCIPAL_TYPE
        made.created_by = call.caller.object_id
        self._settle(made, wanted)
        call.tell(principal=wanted.principal, role=wanted.role.name)
        return JSONResponse(assignment_body(made), status_code=201)

    def _settle(self, assignment: RoleAssignment, wanted: _Wanted) -> None:
        for name, value in wanted.settings.items():
            setattr(assignment, name, value)
        assignment.updated_on = self._world.clock.wall()

    def _check_place(self, scope: str, wanted: _Wanted) -> None:
        """Not there under another name, and room left in the subscription."""
        for each in self._world.assignments.values():
            same = (each.principal_id, each.role_definition_id) == (wanted.principal, wanted.role.id)
            if same and each.scope.lower() == scope.lower():
                raise errors.assignment_exists(each.id.rpartition("/")[2])
        subscription = "/".join(scope.split("/")[:3])
        held = sum(covers(subscription, each.scope) for each in self._world.assignments.values())
        if subscription and held >= self._world.rules.assignment_limit:
            raise errors.too_many_assignments()

    def _wanted(self, call: Call, properties: dict[str, Any]) -> _Wanted:
        if not scopes.is_guid(call.names["name"]):
            raise errors.bad_assignment_name(call.names["name"])
        if not properties:
            raise errors.bad_format()
        principal, kind = properties.get("principalId"), properties.get("principalType")
        definition = properties.get("roleDefinitionId")
        if not isinstance(definition, str) or kind not in (None, "", *_TYPES):
            raise errors.bad_format("roleDefinitionId and principalType must be texts that Azure knows.")
        if not isinstance(principal, str) or not scopes.is_guid(principal):
            raise errors.bad_principal()
        number = definition.rpartition("/")[2]
        role = self._world.role(number, call.caller.tenant_id) if scopes.is_guid(number) else None
        if role is None or not any(covers(each, call.names["scope"]) for each in role.assignable_scopes):
            raise errors.no_role(number)
        known = self._world.principal_known(principal)
        if not kind and not known:
            raise errors.no_principal(principal, call.caller.tenant_id)
        if kind and known and kind != _PRINCIPAL_TYPE:
            raise errors.other_principal_type(principal, _PRINCIPAL_TYPE, kind)
        return _Wanted(principal.lower(), role, kind or "", _settings(properties))

    async def _delete(self, call: Call) -> Response:
        rules.check_form(call.version)
        found = self._world.assignments.get(call.path.lower())
        asked = (
            _attributes("Resource", found.role_definition_id, found.principal_id, found.principal_type)
            if found is not None
            else {}
        )
        rules.admit(self._world, call.caller, f"{_ACTION}/delete", call.path, asked)
        if found is None:
            return Response(status_code=204)
        self._world.remove_assignment(found, at_once=False)
        return JSONResponse(assignment_body(found))


def _attributes(source: str, role: Any, principal: Any, kind: Any) -> dict[str, str]:
    """What conditions look at, by their names in lower case."""
    given = {"RoleDefinitionId": str(role or "").rpartition("/")[2], "PrincipalId": principal, "PrincipalType": kind}
    return {f"@{source}[{_ACTION}:{name}]".lower(): str(value) for name, value in given.items() if value}


def _settings(properties: dict[str, Any]) -> dict[str, str]:
    """Description, condition and the like; a condition that cannot be read is refused now."""
    named = {
        "description": "description",
        "condition": "condition",
        "conditionVersion": "condition_version",
        "delegatedManagedIdentityResourceId": "delegated_identity",
    }
    given = {own: properties.get(name) or "" for name, own in named.items()}
    if any(not isinstance(value, str) for value in given.values()):
        raise errors.bad_format(f"{', '.join(named)} must be texts.")
    if given["condition"]:
        if given["condition_version"] not in _CONDITION_VERSIONS:
            raise errors.bad_condition("conditionVersion must be '2.0'")
        try:
            conditions.parse(given["condition"])
        except ValueError as error:
            raise errors.bad_condition(str(error)) from None
    return given
