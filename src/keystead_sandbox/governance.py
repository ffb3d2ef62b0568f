"""What stands above single resources: management locks, and policies that deny.

- A lock counts for its scope and everything below; a policy likewise, less its ``notScopes``.
- Of Azure Policy's language it reads what a denial of resources by their fields needs: ``allOf``, ``anyOf``, ``not``,
  ``field`` with ``equals``, ``in``, ``like``, ``contains``, ``exists`` and their negations, and ``parameters('…')``. A
  rule that goes further is refused when it is written: a policy that silently denies nothing would be a lie.
- A definition of the mode ``Indexed`` is about what has a location and tags; groups and credentials it leaves alone.
- Effects: ``deny`` denies; ``audit`` and ``disabled`` let pass. Comparisons disregard case, as Azure Policy's do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PARAMETER = re.compile(r"\[parameters\('(?P<name>[^']+)'\)\]")
_OPERATORS = frozenset(
    name.lower()
    for name in ("equals", "notEquals", "in", "notIn", "like", "notLike", "contains", "notContains", "exists")
)
_PASSING = frozenset({"audit", "disabled"})
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Lock:
    """A management lock; ``level`` is CanNotDelete or ReadOnly."""

    id: str
    scope: str
    level: str
    notes: str = ""

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class PolicyDefinition:
    """A rule, and what its parameters are when an assignment does not say."""

    id: str
    name: str
    rule: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    #: The body it came in, for those who read it back.
    properties: Mapping[str, Any] = field(default_factory=dict)
    built_in: bool = False

    @property
    def indexed(self) -> bool:
        """Whether it is about resources with a location and tags alone."""
        return str(self.properties.get("mode", "All")).lower() == "indexed"


@dataclass(frozen=True, slots=True)
class PolicyAssignment:
    """A definition in force at a scope."""

    id: str
    scope: str
    definition: PolicyDefinition
    display_name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    not_scopes: tuple[str, ...] = ()
    enforced: bool = True
    properties: Mapping[str, Any] = field(default_factory=dict)

    def denies(self, scope: str, fields: Mapping[str, Any]) -> bool:
        """Whether it forbids a resource at *scope* with these *fields* (names in lower case)."""
        if not self.enforced or not covers(self.scope, scope) or any(covers(each, scope) for each in self.not_scopes):
            return False
        given = {**self.definition.defaults, **self.parameters}
        effect = _resolved(self.definition.rule["then"]["effect"], given)
        if str(effect).lower() != "deny":
            return False
        return _holds(self.definition.rule["if"], fields, given)


def covers(outer: str, inner: str) -> bool:
    """Whether the scope *inner* is *outer* or below it, in any case."""
    return f"{inner.strip('/')}/".lower().startswith(f"{outer.strip('/')}/".lower()) or not outer.strip("/")


def check_rule(rule: Any, parameters: Mapping[str, Any]) -> None:
    """Whether a policy rule is one that can be kept. ValueError, saying what is not understood."""
    if not isinstance(rule, dict) or set(rule) != {"if", "then"} or not isinstance(rule["then"], dict):
        raise ValueError("a policyRule has 'if' and 'then'")
    effect = rule["then"].get("effect")
    named = _PARAMETER.fullmatch(effect) if isinstance(effect, str) else None
    if named is None and (not isinstance(effect, str) or effect.lower() not in {"deny", *_PASSING}):
        raise ValueError(f"the effect {effect!r} is not one of deny, audit, disabled")
    _check(rule["if"], parameters, 0)
    for name in set(_parameters_in(rule)) - set(parameters):
        raise ValueError(f"the parameter {name!r} is not defined")


def _check(node: Any, parameters: Mapping[str, Any], depth: int) -> None:
    if not isinstance(node, dict) or depth > _DEEPEST:
        raise ValueError("a condition of a policyRule is an object, not nested too deeply")
    if len(node) == 1:
        ((name, inner),) = node.items()
        if name == "not":
            _check(inner, parameters, depth + 1)
            return
        if name in ("allOf", "anyOf") and isinstance(inner, list):
            for each in inner:
                _check(each, parameters, depth + 1)
            return
    operators = set(node) - {"field"}
    if "field" not in node or len(operators) != 1 or next(iter(operators)).lower() not in _OPERATORS:
        raise ValueError(f"a condition with {', '.join(sorted(map(str, node)))} is not understood by the sandbox")
    if not isinstance(node["field"], str) or node["field"].startswith("["):
        raise ValueError("a field is named, not computed")


def _parameters_in(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [name for each in node.values() for name in _parameters_in(each)]
    if isinstance(node, list):
        return [name for each in node for name in _parameters_in(each)]
    match = _PARAMETER.fullmatch(node) if isinstance(node, str) else None
    return [match["name"]] if match is not None else []


def _resolved(value: Any, given: Mapping[str, Any]) -> Any:
    match = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
    return value if match is None else given.get(match["name"])


def _holds(node: Mapping[str, Any], fields: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    if "not" in node:
        return not _holds(node["not"], fields, given)
    if "allOf" in node:
        return all(_holds(each, fields, given) for each in node["allOf"])
    if "anyOf" in node:
        return any(_holds(each, fields, given) for each in node["anyOf"])
    operator = next(name for name in node if name != "field")
    wanted, plain = _resolved(node[operator], given), operator.lower()
    found = fields.get(node["field"].lower())
    if plain == "exists":
        return (found is not None) == (str(wanted).lower() == "true")
    negated = plain.startswith("not")
    return _compare(plain.removeprefix("not"), found, wanted) != negated


def _compare(operator: str, found: Any, wanted: Any) -> bool:
    text = str(found).lower() if found is not None else None
    if operator == "in":
        return isinstance(wanted, list) and text in [str(each).lower() for each in wanted]
    if text is None:
        return False
    if operator == "contains":
        return str(wanted).lower() in text
    if operator == "like":
        return re.fullmatch(".*".join(map(re.escape, str(wanted).lower().split("*"))), text, re.DOTALL) is not None
    return text == str(wanted).lower()


def _built_in(
    number: str, name: str, condition: Mapping[str, Any], *, mode: str = "Indexed", **parameters: Any
) -> PolicyDefinition:
    parameters = {"effect": "Deny", **parameters}
    return PolicyDefinition(
        id=f"/providers/Microsoft.Authorization/policyDefinitions/{number}",
        name=name,
        rule={"if": condition, "then": {"effect": "[parameters('effect')]"}},
        defaults=parameters,
        properties={"displayName": name, "policyType": "BuiltIn", "mode": mode},
        built_in=True,
    )


# Names, ids, modes and parameters are those of the Azure Policy built-in definitions ("General").
BUILT_IN = {
    definition.id.lower(): definition
    for definition in (
        _built_in(
            "e56962a6-4747-49cd-b67b-bf8b01975c4c",
            "Allowed locations",
            {
                "allOf": [
                    {"field": "location", "notIn": "[parameters('listOfAllowedLocations')]"},
                    {"field": "location", "exists": "true"},
                    {"field": "location", "notEquals": "global"},
                ]
            },
            listOfAllowedLocations=[],
        ),
        _built_in(
            "6c112d4e-5bc7-47ae-a041-ea2d9dccd749",
            "Not allowed resource types",
            {"field": "type", "in": "[parameters('listOfResourceTypesNotAllowed')]"},
            mode="All",
            listOfResourceTypesNotAllowed=[],
        ),
        _built_in(
            "a08ec900-254a-4555-9bf5-e42af04b5c5c",
            "Allowed resource types",
            {"not": {"field": "type", "in": "[parameters('listOfResourceTypesAllowed')]"}},
            listOfResourceTypesAllowed=[],
        ),
    )
}
