"""Label and field selectors, as query strings have them."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from keystead_sandbox.kube import rules
from keystead_sandbox.kube.errors import ApiError, bad_request
from keystead_sandbox.kube.kinds import Kind

Matcher: TypeAlias = Callable[[dict[str, Any]], bool]
_Test: TypeAlias = Callable[[dict[str, str]], bool]
_ALWAYS = 2  # every kind can be selected by its name and namespace
_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_OPERATORS = ("in", "notin", "=", "==", "!=", "gt", "lt")


def labels(selector: str) -> Matcher:
    """A test for ``a=b,c!=d,e in (f,g),h,!i,j>1``; ApiError 400 for what cannot be read."""
    tests = _Parser(_TOKEN.findall(selector)).requirements()

    def matches(item: dict[str, Any]) -> bool:
        given = item["metadata"].get("labels") or {}
        return all(test(given) for test in tests)

    return matches


class _Parser:
    """Reads one requirement after the other."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._place = 0

    def _look(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._look()
        self._place += 1
        return token

    def requirements(self) -> list[_Test]:
        tests: list[_Test] = []
        while self._look():
            if self._look() != "!" and not _is_word(self._look()):
                raise bad_request(f"found '{self._look()}', expected: !, identifier, or 'end of string'")
            tests.append(self._requirement())
            after = self._take()
            if after not in ("", ","):
                raise bad_request(f"found '{after}', expected: ',' or 'end of string'")
            if after == "," and not _is_word(self._look()) and self._look() != "!":
                raise bad_request(f"found '{self._look()}', expected: identifier after ','")
        return tests

    def _requirement(self) -> _Test:
        if self._look() == "!":
            self._take()
            key = _key(self._take())
            return lambda given: key not in given
        key = _key(self._take())
        operator = self._look()
        if operator in ("", ","):
            return lambda given: key in given
        if operator not in ("in", "notin", "=", "==", "!=", ">", "<"):
            raise _unparsed(f"found '{operator}', expected: {', '.join(_OPERATORS)}")
        self._take()
        if operator in ("in", "notin"):
            values = self._values(key)
            return lambda given: (given.get(key) in values) is (operator == "in")
        value = self._take() if _is_word(self._look()) else ""
        if operator in (">", "<"):
            return _compared(key, operator, value)
        _check_value(value, key, 0)
        if operator == "!=":
            return lambda given: given.get(key) != value
        return lambda given: given.get(key) == value

    def _values(self, key: str) -> set[str]:
        if self._take() != "(":
            raise _unparsed(
                f"found '{self._tokens[self._place - 1] if self._place <= len(self._tokens) else ''}', expected: '('"
            )
        values: list[str] = []
        while True:
            token = self._take()
            if token == ")":  # noqa: S105 - a parenthesis
                return set(values) or {""}
            if token == ",":  # noqa: S105 - a comma
                continue
            if not _is_word(token):
                raise _unparsed(f"found '{token}', expected: ',', ')' or identifier")
            _check_value(token, key, len(values))
            values.append(token)


def _is_word(token: str) -> bool:
    return bool(token) and token[0] not in "=!(),<>"


def _compared(key: str, operator: str, value: str) -> _Test:
    if not value.removeprefix("-").isdigit():
        text = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise _unparsed(f'values[0]: Invalid value: "{value}": {text}')
    most = int(value)

    def test(given: dict[str, str]) -> bool:
        text = given.get(key, "")
        if not text.removeprefix("-").isdigit():
            return False
        return int(text) > most if operator == ">" else int(text) < most

    return test


def _unparsed(text: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {text}")


def _key(text: str) -> str:
    wrong = rules.qualified(text)
    if wrong:
        raise _unparsed(f'<nil>: Invalid value: "{text}": {"; ".join(wrong)}')
    return text


def _check_value(value: str, key: str, index: int) -> None:
    wrong = rules.label_value(value)
    if wrong:
        raise _unparsed(f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(wrong)}')


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
            known = '"metadata.name", "metadata.namespace"'
            shown = f'"{label}" is not a known field selector: only {known}'
            few = len(kind.selectable) == _ALWAYS and not kind.custom
            raise bad_request(shown if few else f"field label not supported: {label}")
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
