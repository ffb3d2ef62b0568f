"""CEL rules of CRDs (``x-kubernetes-validations``), as far as the CEL library carries them.

- A rule that uses ``oldSelf`` is a transition rule: it is asked only when there is an old value at the same place;
  items of a list that is a map are matched by their keys, other lists' items have no old value (Kubernetes docs:
  "Transition rules").
- Some of Kubernetes' own functions are added here. A rule that needs another is not enforced, and creating the CRD
  answers with a warning that says so; it is never passed over in silence.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import cel

Problem: TypeAlias = tuple[str, str, str]
Schema: TypeAlias = Mapping[str, Any]

_ADDED: dict[str, Callable[..., Any]] = {
    "find": lambda text, pattern: next((each[0] for each in re.finditer(pattern, text)), ""),
    "findAll": lambda text, pattern: re.findall(pattern, text),
    "indexOf": lambda text, part: text.find(part),
    "isSorted": lambda items: items == sorted(items),
    "join": lambda items, separator="": separator.join(items),
    "lowerAscii": lambda text: text.lower(),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, separator: text.split(separator),
    "sum": sum,
    "substring": lambda text, start, end=None: text[start:end],
    "trim": lambda text: text.strip(),
    "upperAscii": lambda text: text.upper(),
}
_CARRIED = frozenset(
    (
        *(
            "all",
            "bool",
            "bytes",
            "contains",
            "double",
            "duration",
            "dyn",
            "type",
            "endsWith",
            "exists",
            "exists_one",
            "filter",
            "has",
        ),
        *("getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"),
        *(
            "getMinutes",
            "getMonth",
            "getSeconds",
            "int",
            "map",
            "matches",
            "max",
            "min",
            "size",
            "startsWith",
            "string",
        ),
        *("timestamp", "uint", *_ADDED),
        *("of", "none", "ofNonZeroValue", "hasValue", "value", "or", "orValue"),
    )
)
_OPERATOR = re.compile(r"^[^A-Za-z]")


def rules_of(schema: Schema, path: str = "") -> list[tuple[str, str]]:
    """All rules below a schema, with the path they stand at."""
    found = [(path, each["rule"]) for each in schema.get("x-kubernetes-validations") or ()]
    for name, inner in (schema.get("properties") or {}).items():
        found += rules_of(inner, f"{path}.{name}" if path else name)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            found += rules_of(schema[key], f"{path}{mark}")
    return found


def unsupported(schema: Schema) -> list[str]:
    """A warning for each rule that is not enforced."""
    warnings = []
    for path, rule in rules_of(schema):
        why = _unsupported(rule)
        if why:
            warnings.append(f"the rule at {path or 'the root'} is not enforced here: {why}")
    return warnings


def check(schema: Schema, new: Any, old: Any, path: str = "") -> list[Problem]:
    """Problems of *new*, and of the way from *old* to it."""
    problems: list[Problem] = []
    for each in schema.get("x-kubernetes-validations") or ():
        rule = each["rule"]
        if _unsupported(rule) or ("oldSelf" in _program(rule).variables() and old is None):
            continue
        failed = _failure(rule, new, old)
        if failed is not None:
            problems.append(_problem(each, path, failed or _said(each, new, old)))
    return problems + _below(schema, new, old, path)


def _below(schema: Schema, new: Any, old: Any, path: str) -> list[Problem]:
    problems: list[Problem] = []
    if isinstance(new, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, value in new.items():
            inner = properties.get(name) or (extra if isinstance(extra, dict) else None)
            if inner is not None:
                before = old.get(name) if isinstance(old, dict) else None
                problems += check(inner, value, before, f"{path}.{name}" if path else name)
    if isinstance(new, list) and isinstance(schema.get("items"), dict):
        keys = schema.get("x-kubernetes-list-map-keys") or ()
        held = {_identity(each, keys): each for each in old or ()} if keys and isinstance(old, list) else {}
        for index, each in enumerate(new):
            before = held.get(_identity(each, keys)) if keys else None
            problems += check(schema["items"], each, before, f"{path}[{index}]")
    return problems


def _identity(item: Any, keys: Any) -> tuple[Any, ...]:
    return tuple(str(item.get(key)) for key in keys) if isinstance(item, dict) else ()


def _failure(rule: str, new: Any, old: Any) -> str | None:
    """Why the rule does not hold; empty when it says no."""
    try:
        return None if _program(rule).execute(_context(new, old)) is True else ""
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # As the real server: a rule that cannot be evaluated refuses the object.
        return f"rule evaluation error: {str(error).splitlines()[0]}"


def _said(each: Mapping[str, Any], new: Any, old: Any) -> str:
    """What the rule's own expression says of the failure; empty when it has none, or none that can be evaluated."""
    expression = each.get("messageExpression")
    if not expression or _unsupported(expression):
        return ""
    try:
        said = _program(expression).execute(_context(new, old))
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        return ""
    return said if isinstance(said, str) else ""


def _context(new: Any, old: Any) -> Any:
    context = cel.Context({"self": new, "oldSelf": old} if old is not None else {"self": new})
    for name, function in _ADDED.items():
        context.add_function(name, function)
    return context


class EvaluationError(Exception):
    """An expression has no value."""


def evaluate(expression: str, variables: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """The value of an expression of an admission policy; EvaluationError when it has none."""
    why = unsupported_expression(expression, frozenset(functions))
    if why:
        raise EvaluationError(why)
    context = cel.Context(dict(variables))
    for name, function in (*_ADDED.items(), *functions.items()):
        context.add_function(name, function)
    try:
        return _program(expression).execute(context)
    except KeyError as error:
        raise EvaluationError(f"no such key: {error.args[0]}") from None
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise EvaluationError(str(error).splitlines()[0]) from None


@functools.cache
def unsupported_expression(expression: str, more: frozenset[str]) -> str:
    """Why an expression cannot be evaluated, with *more* functions than CRDs have; empty when it can."""
    try:
        used = _program(expression).functions()
    except ValueError as error:
        return str(error).splitlines()[0]
    unknown = sorted({name for name in used if not _OPERATOR.match(name) and name not in _CARRIED | more})
    return f"the sandbox has no {', '.join(unknown)}" if unknown else ""


def _problem(each: Mapping[str, Any], path: str, failed: str) -> Problem:
    message = failed or each.get("message") or f"failed rule: {each['rule']}"
    reason = each.get("reason") or "FieldValueInvalid"
    field = path + (each.get("fieldPath") or "")
    if reason == "FieldValueForbidden":
        return field.lstrip("."), reason, f"Forbidden: {message}"
    if reason == "FieldValueRequired":
        return field.lstrip("."), reason, f"Required value: {message}"
    return field.lstrip(".") or "<nil>", reason, f"Invalid value: {message}"


@functools.cache
def _program(rule: str) -> Any:
    return cel.compile(rule)


def _unsupported(rule: str) -> str:
    """Why a rule is not enforced; empty when it is."""
    return unsupported_expression(rule, frozenset())
