"""Management locks and policies: Microsoft.Authorization/locks, policyAssignments, policyDefinitions.

- Locks do not stand in the way of their own removal.
- Of policy definitions there are the built-in ones of :mod:`keystead_sandbox.governance`, and those of a subscription.
"""

from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import access_errors as errors
from keystead_sandbox.arm import filters, rules, scopes
from keystead_sandbox.arm.access_state import lock_body, policy_body, policy_definition_body
from keystead_sandbox.arm.call import SCOPE, SUBSCRIPTION, Call, Row
from keystead_sandbox.governance import BUILT_IN, Lock, PolicyAssignment, PolicyDefinition, check_rule, covers
from keystead_sandbox.world import World

_PROVIDER = r"/providers/microsoft\.authorization"
_LOCKS = SCOPE + _PROVIDER + "/locks"
_POLICIES = SCOPE + _PROVIDER + "/policyassignments"
_DEFINITIONS = f"(?:{SUBSCRIPTION})?" + _PROVIDER + "/policydefinitions"
_NAME = "/(?P<name>[^/]+)"
_ACTION = "Microsoft.Authorization"
_LEVELS = ("CanNotDelete", "ReadOnly")
_LONGEST_NOTE = 512


class Governance:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        return [
            Row("GET", _LOCKS, self._locks),
            Row("GET", _LOCKS + _NAME, self._lock),
            Row("PUT", _LOCKS + _NAME, self._put_lock),
            Row("DELETE", _LOCKS + _NAME, self._remove_lock),
            Row("GET", _POLICIES, self._policies),
            Row("GET", _POLICIES + _NAME, self._policy),
            Row("PUT", _POLICIES + _NAME, self._put_policy),
            Row("DELETE", _POLICIES + _NAME, self._remove_policy),
            Row("GET", _DEFINITIONS, self._definitions),
            Row("GET", _DEFINITIONS + _NAME, self._definition),
            Row("PUT", SUBSCRIPTION + _PROVIDER + "/policydefinitions" + _NAME, self._put_definition),
            Row("DELETE", SUBSCRIPTION + _PROVIDER + "/policydefinitions" + _NAME, self._remove_definition),
        ]

    def _enter(self, call: Call, kind: str, verb: str) -> None:
        rules.check_form(call.version)
        scope = call.path if "name" in call.names else call.collection
        if kind == "policyDefinitions" and verb == "read" and not call.names.get("subscription"):
            return  # what Azure itself defines, everybody may read
        ask = rules.authorise if kind == "locks" else rules.admit  # a lock does not guard itself
        ask(self._world, call.caller, f"{_ACTION}/{kind}/{verb}", scope)

    async def _locks(self, call: Call) -> Response:
        """Locks at, above and below the scope."""
        self._enter(call, "locks", "read")
        scope = call.names["scope"]
        found = [lock for lock in self._world.locks.values() if covers(lock.scope, scope) or covers(scope, lock.scope)]
        if "atscope" in filters.read(call.filter, {"atscope"}):
            found = [lock for lock in found if covers(lock.scope, scope)]
        return call.page([lock_body(each) for each in found], self._world.rules.page_size)

    async def _lock(self, call: Call) -> Response:
        self._enter(call, "locks", "read")
        found = self._world.locks.get(call.path.lower())
        if found is None:
            raise errors.no_lock(call.names["name"])
        return JSONResponse(lock_body(found))

    async def _put_lock(self, call: Call) -> Response:
        self._enter(call, "locks", "write")
        properties, scope = call.properties(), call.names["scope"]
        level, notes = properties.get("level"), properties.get("notes") or ""
        if level not in _LEVELS:
            raise errors.bad_lock(f"The lock level must be one of {', '.join(_LEVELS)}.")
        if not isinstance(notes, str) or len(notes) > _LONGEST_NOTE:
            raise errors.bad_lock(f"The lock's notes are a text of at most {_LONGEST_NOTE} characters.")
        scopes.check(self._world, scope)
        made = call.path.lower() not in self._world.locks
        lock = Lock(call.path, scope, str(level), notes)
        self._world.locks[call.path.lower()] = lock
        return JSONResponse(lock_body(lock), status_code=201 if made else 200)

    async def _remove_lock(self, call: Call) -> Response:
        self._enter(call, "locks", "delete")
        found = self._world.locks.pop(call.path.lower(), None)
        return Response(status_code=204 if found is None else 200)

    async def _policies(self, call: Call) -> Response:
        self._enter(call, "policyAssignments", "read")
        scope = call.names["scope"]
        found = [
            each for each in self._world.policies.values() if covers(each.scope, scope) or covers(scope, each.scope)
        ]
        if "atscope" in filters.read(call.filter, {"atscope"}):
            found = [each for each in found if covers(each.scope, scope)]
        return call.page([policy_body(each) for each in found], self._world.rules.page_size)

    async def _policy(self, call: Call) -> Response:
        self._enter(call, "policyAssignments", "read")
        found = self._world.policies.get(call.path.lower())
        if found is None:
            raise errors.no_policy(call.names["name"])
        return JSONResponse(policy_body(found))

    async def _put_policy(self, call: Call) -> Response:
        self._enter(call, "policyAssignments", "write")
        scopes.check(self._world, call.names["scope"])
        policy = self._assigned(call, call.properties())
        self._world.policies[call.path.lower()] = policy
        return JSONResponse(policy_body(policy), status_code=201)

    def _assigned(self, call: Call, properties: dict[str, Any]) -> PolicyAssignment:
        wanted = properties.get("policyDefinitionId")
        definition = self._defined(wanted) if isinstance(wanted, str) else None
        if definition is None:
            raise errors.no_policy_definition(str(wanted)[:200])
        given, not_scopes = properties.get("parameters") or {}, properties.get("notScopes") or []
        if not isinstance(given, dict) or any(not isinstance(each, dict) for each in given.values()):
            raise errors.bad_policy("parameters are objects with a 'value'")
        if set(given) - set(definition.defaults):
            raise errors.bad_policy(f"the definition has no parameter {min(set(given) - set(definition.defaults))!r}")
        if not isinstance(not_scopes, list) or any(not isinstance(each, str) for each in not_scopes):
            raise errors.bad_policy("notScopes are texts")
        name = properties.get("displayName")
        return PolicyAssignment(
            id=call.path,
            scope=call.names["scope"],
            definition=definition,
            display_name=name if isinstance(name, str) and name else call.names["name"],
            parameters={name: each.get("value") for name, each in given.items()},
            not_scopes=tuple(not_scopes),
            enforced=properties.get("enforcementMode") != "DoNotEnforce",
            properties={name: value for name, value in properties.items() if name in ("displayName", "parameters")},
        )

    async def _remove_policy(self, call: Call) -> Response:
        self._enter(call, "policyAssignments", "delete")
        found = self._world.policies.pop(call.path.lower(), None)
        return Response(status_code=204) if found is None else JSONResponse(policy_body(found))

    def _defined(self, name: str) -> PolicyDefinition | None:
        return BUILT_IN.get(name.lower()) or self._world.policy_definitions.get(name.lower())

    async def _definitions(self, call: Call) -> Response:
        self._enter(call, "policyDefinitions", "read")
        scope = call.collection.lower().removesuffix("/providers/microsoft.authorization")
        own = [each for key, each in self._world.policy_definitions.items() if key.startswith(f"{scope}/")]
        found = [*BUILT_IN.values(), *(own if scope else ())]
        return call.page([policy_definition_body(each) for each in found], self._world.rules.page_size)

    async def _definition(self, call: Call) -> Response:
        self._enter(call, "policyDefinitions", "read")
        tail = call.path.lower().rpartition("/providers/")[2]
        found = self._defined(call.path) or (
            BUILT_IN.get(f"/providers/{tail}") if "subscription" in call.names else None
        )
        if found is None:
            raise errors.no_policy_definition(call.names["name"])
        return JSONResponse(policy_definition_body(found))

    async def _put_definition(self, call: Call) -> Response:
        self._enter(call, "policyDefinitions", "write")
        properties = call.properties()
        parameters = properties.get("parameters") or {}
        if not isinstance(parameters, dict) or any(not isinstance(each, dict) for each in parameters.values()):
            raise errors.bad_policy("parameters are objects")
        defaults = {name: each.get("defaultValue") for name, each in parameters.items()}
        try:
            check_rule(properties.get("policyRule"), defaults)
        except ValueError as error:
            raise errors.bad_policy(str(error)) from None
        name = properties.get("displayName")
        definition = PolicyDefinition(
            id=call.path,
            name=name if isinstance(name, str) and name else call.names["name"],
            rule=properties["policyRule"],
            defaults=defaults,
            properties={key: value for key, value in properties.items() if key in _KEPT},
        )
        self._world.policy_definitions[call.path.lower()] = definition
        for key, each in self._world.policies.items():  # who assigned it follows its new rule
            if each.definition.id.lower() == call.path.lower():
                self._world.policies[key] = replace(each, definition=definition)
        return JSONResponse(policy_definition_body(definition), status_code=201)

    async def _remove_definition(self, call: Call) -> Response:
        self._enter(call, "policyDefinitions", "delete")
        if any(each.definition.id.lower() == call.path.lower() for each in self._world.policies.values()):
            raise errors.policy_in_use(call.names["name"])
        found = self._world.policy_definitions.pop(call.path.lower(), None)
        return Response(status_code=204 if found is None else 200)


_KEPT = frozenset({"displayName", "description", "mode", "metadata", "parameters"})
