"""Label and field selectors, as query strings have them."""

import re
from collections.abc import Callable
from typing import Any

from keystead_sandbox.kube.errors import bad_request

Matcher = Callable[[dict[str, Any]], bool]
_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)$")
_PART = re.compile(r",(?![^(]*\))")


def labels(selector: str) -> Matcher:
    """A test for ``a=b,c!=d,e in (f,g),h,!i``."""
    tests = [_label(part.strip()) for part in _PART.split(selector) if part.strip()]

    def matches(item: dict[str, Any]) -> bool:
        given = item["metadata"].get("labels") or {}
        return all(test(given) for test in tests)

    return matches


def _label(part: str) -> Callable[[dict[str, str]], bool]:
    found = _SET.match(part)
    if found is not None:
        values = {value.strip() for value in found["values"].split(",")}
        key = found["key"]
        if found["operator"] == "in":
            return lambda given: given.get(key) in values
        return lambda given: given.get(key) not in values
    for operator in ("!=", "==", "="):
        if operator in part:
            key, value = (text.strip() for text in part.split(operator, 1))
            if operator == "!=":
                return lambda given: given.get(key) != value
            return lambda given: given.get(key) == value
    if part.startswith("!"):
        return lambda given: part[1:] not in given
    return lambda given: part in given


def fields(selector: str) -> Matcher:
    """A test for ``metadata.name=x,spec.a!=y``."""
    tests: list[Matcher] = []
    for part in filter(None, (each.strip() for each in selector.split(","))):
        operator = next((each for each in ("!=", "==", "=") if each in part), None)
        if operator is None:
            raise bad_request(f"invalid field selector: {part!r}")
        path, value = (text.strip() for text in part.split(operator, 1))
        tests.append(_field(path, value, negated=operator == "!="))
    return lambda item: all(test(item) for test in tests)


def _field(path: str, value: str, *, negated: bool) -> Matcher:
    def test(item: dict[str, Any]) -> bool:
        here: Any = item
        for name in path.split("."):
            here = here.get(name) if isinstance(here, dict) else None
        return (("" if here is None else str(here)) == value) is not negated

    return test
