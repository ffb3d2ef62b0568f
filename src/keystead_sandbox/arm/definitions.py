"""Role definitions: Microsoft.Authorization/roleDefinitions, built in and custom.

- A custom role's name is its tenant's own; built-in names are taken too.
- It may be assigned at or below its assignable scopes, and whoever writes it needs the right at each of them.
- It is deleted after its last assignment.
"""

import re
from typing import Any

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import access_errors as errors
from keystead_sandbox.arm import filters, rules, scopes
from keystead_sandbox.arm.access_state import role_body
from keystead_sandbox.arm.call import SCOPE, Call, Row
from keystead_sandbox.governance import covers
from keystead_sandbox.roles import ROLES, Role, role_named
from keystead_sandbox.world import World

_ALL = SCOPE + r"/providers/microsoft\.authorization/roledefinitions"
_ACTION = "Microsoft.Authorization/roleDefinitions"
_FILTERS = frozenset({"rolename", "type", "atscope", "atscopeandbelow"})
_KINDS = {"builtinrole": "", "customrole": "custom"}
_PATTERN = re.compile(r"[A-Za-z0-9.*_-]+(/[A-Za-z0-9.*_$-]+)*", re.ASCII)
_LONGEST_NAME = 512
_MOST_CUSTOM = 5000  # in a tenant
_SCOPE = re.compile(r"/subscriptions/[^/]+(/resourcegroups/[^/]+)?", re.IGNORECASE | re.ASCII)


class Definitions:
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
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, f"{_ACTION}/read", call.collection)
        asked, scope = filters.read(call.filter, _FILTERS), call.names["scope"]
        name, kind = asked.get("rolename", "").lower(), asked.get("type", "").lower()
        below = "atscopeandbelow" in asked
        found = [
            role_body(role, scope)
            for role in (*ROLES, *self._custom(call))
            if name in ("", role.name.lower())
            and (not kind or _KINDS.get(kind) == ("custom" if role.tenant_id else ""))
            and any(covers(each, scope) or (below and covers(scope, each)) for each in role.assignable_scopes)
        ]
        return call.page(found, self._world.rules.page_size)

    async def _get(self, call: Call) -> Response:
        rules.check_form(call.version)
        if call.names["scope"]:  # what Azure itself defines, everybody may read
            rules.admit(self._world, call.caller, f"{_ACTION}/read", call.path)
        return JSONResponse(role_body(self._found(call), call.names["scope"]))

    async def _put(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, f"{_ACTION}/write", call.path)
        name = call.names["name"].lower()
        if role_named(name) is not None:
            raise errors.built_in_role()
        if not scopes.is_guid(name):
            raise errors.bad_role(f"The role definition ID '{name}' is not valid. It must be a GUID.")
        role = _role(name, call.properties(), call.caller.tenant_id)
        for scope in role.assignable_scopes:
            rules.authorise(self._world, call.caller, f"{_ACTION}/write", scope)
            scopes.check(self._world, scope)
        same = self._world.role(role.name, call.caller.tenant_id)
        if same is not None and same.id != name:
            raise errors.role_name_taken()
        if name not in self._world.custom_roles and len(self._custom(call)) >= _MOST_CUSTOM:
            raise errors.bad_role("Role definition limit exceeded. No more role definitions can be created.")
        self._world.custom_roles[name] = role
        return JSONResponse(role_body(role, call.names["scope"]), status_code=201)

    async def _delete(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, f"{_ACTION}/delete", call.path)
        name = call.names["name"].lower()
        if role_named(name) is not None:
            raise errors.built_in_role()
        role = next((each for each in self._custom(call) if each.id == name), None)
        if role is None:
            return Response(status_code=204)
        for scope in role.assignable_scopes:
            rules.authorise(self._world, call.caller, f"{_ACTION}/delete", scope)
        if any(each.role_definition_id == role.id for each in self._world.assignments.values()):
            raise errors.role_in_use()
        del self._world.custom_roles[name]
        return JSONResponse(role_body(role, call.names["scope"]))

    def _custom(self, call: Call) -> list[Role]:
        return [role for role in self._world.custom_roles.values() if role.tenant_id == call.caller.tenant_id]

    def _found(self, call: Call) -> Role:
        number = call.names["name"]
        role = self._world.role(number, call.caller.tenant_id) if scopes.is_guid(number) else None
        if role is None:
            raise errors.no_role(number)
        return role


def _role(number: str, properties: dict[str, Any], tenant: str) -> Role:
    """The role of a body. Refusal when it makes no sense."""
    name, described = properties.get("roleName"), properties.get("description") or ""
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME or not isinstance(described, str):
        raise errors.bad_role(f"A custom role has a roleName of at most {_LONGEST_NAME} characters.")
    permissions, reach = properties.get("permissions"), properties.get("assignableScopes")
    if not isinstance(permissions, list) or len(permissions) != 1 or not isinstance(permissions[0], dict):
        raise errors.bad_role("A custom role has one element in permissions.")
    if not isinstance(reach, list) or not reach or not all(isinstance(each, str) for each in reach):
        raise errors.bad_role("A custom role has assignableScopes.")
    if not all(_SCOPE.fullmatch(each) for each in reach):
        raise errors.bad_role("assignableScopes are subscriptions and resource groups here; custom roles have no '/'.")
    return Role(
        number,
        name,
        described,
        actions=_patterns(permissions[0].get("actions")),
        not_actions=_patterns(permissions[0].get("notActions")),
        data_actions=_patterns(permissions[0].get("dataActions")),
        not_data_actions=_patterns(permissions[0].get("notDataActions")),
        tenant_id=tenant,
        assignable_scopes=tuple(reach),
    )


def _patterns(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(each, str) and _PATTERN.fullmatch(each) for each in given):
        raise errors.bad_role("Actions are texts such as 'Microsoft.KeyVault/vaults/read', with '*' for any part.")
    return tuple(given)
