"""Label and field selectors, as query strings have them."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from keystead_sandbox.kube.errors import bad_request
from keystead_sandbox.kube.kinds import Kind

Matcher: TypeAlias = Callable[[dict[str, Any]], bool]
_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)$")
_PART = re.compile(r",(?![^(]*\))")
_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")


def labels(selector: str) -> Matcher:
    """A test for ``a=b,c!=d,e in (f,g),h,!i``."""
    tests = [_label(part.strip()) for part in _PART.split(selector) if part.strip()]

    def matches(item: dict[str, Any]) -> bool:
        given = item["metadata"].get("labels") or {}
        return all(test(given) for test in tests)

    return matches


def of_selector(selector: dict[str, Any]) -> Matcher:
    """A test for a ``LabelSelector`` as objects have it; an empty one selects everything."""
    wanted = selector.get("matchLabels") or {}
    tests = [_expression(each) for each in selector.get("matchExpressions") or ()]

    def matches(item: dict[str, Any]) -> bool:
        given = item["metadata"].get("labels") or {}
        return all(given.get(key) == value for key, value in wanted.items()) and all(test(given) for test in tests)

    return matches


def _expression(given: dict[str, Any]) -> Callable[[dict[str, str]], bool]:
    key, operator, values = given.get("key", ""), given.get("operator"), given.get("values") or ()
    if operator == "In":
        return lambda labels: labels.get(key) in values
    if operator == "NotIn":
        return lambda labels: labels.get(key) not in values
    return lambda labels: (key in labels) is (operator == "Exists")


def _label(part: str) -> Callable[[dict[str, str]], bool]:
    found = _SET.match(part)
    if found is not None:
        values = {value.strip() for value in found["values"].split(",")}
        key = _key(found["key"])
        if found["operator"] == "in":
            return lambda given: given.get(key) in values
        return lambda given: given.get(key) not in values
    for operator in ("!=", "==", "="):
        if operator in part:
            name, value = (text.strip() for text in part.split(operator, 1))
            key = _key(name)
            if operator == "!=":
                return lambda given: given.get(key) != value
            return lambda given: given.get(key) == value
    if part.startswith("!"):
        key = _key(part[1:].strip())
        return lambda given: key not in given
    key = _key(part)
    return lambda given: key in given


def _key(text: str) -> str:
    if _KEY.match(text) is None:
        raise bad_request(f"unable to parse requirement: <nil>: Invalid value: {text!r}: name part must be valid")
    return text


def fields(selector: str, kind: Kind) -> Matcher:
    """A test for ``metadata.name=x,spec.a!=y``, of the few fields that the kind can be selected by."""
    tests: list[Matcher] = []
    for part in filter(None, (each.strip() for each in selector.split(","))):
        operator = next((each for each in ("!=", "==", "=") if each in part), None)
        if operator is None:
            raise bad_request(f"invalid selector: '{selector}'; can't understand '{part}'")
        label, value = (text.strip() for text in part.split(operator, 1))
        path = kind.selectable.get(label)
        if path is None:
            shown = f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            raise bad_request(shown if len(kind.selectable) == 2 else f"field label not supported: {label}")  # noqa: PLR2004 - no kind has fewer
        tests.append(_field(path, value, negated=operator == "!="))
    return lambda item: all(test(item) for test in tests)


def _field(path: str, value: str, *, negated: bool) -> Matcher:
    names = path.split(".")

    def test(item: dict[str, Any]) -> bool:
        here: Any = item
        for name in names:
            here = here.get(name) if isinstance(here, dict) else None
        return (_text(here) == value) is not negated

    return test


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
