"""Conditions on role assignments (Azure ABAC): a parser and an evaluator of what constrains a delegation.

- Read: ``ActionMatches{'…'}``, ``Exists``, comparisons of texts, GUIDs and booleans, their four quantifiers, AND, OR, NOT
  (``&&``, ``||``, ``!``) and parentheses; AND binds closer than OR (Azure docs: "role assignment condition format").
- What the parser cannot read is refused when it is written, never guessed at when it is used.
- Attributes are looked up as ``@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId]``, without regard to
  case. A comparison with an attribute that the request does not have is false, for the negated operators too.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

_LONGEST = 8192  # characters, as documented
_DEEPEST = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<attribute>@(?:Request|Resource|Principal|Environment)\s*\[[^\]\s]+\])"
    r"|(?P<word>[A-Za-z0-9][A-Za-z0-9:._-]*)|(?P<sign>&&|\|\||[!(){},]))",
    re.IGNORECASE,
)
_QUANTIFIERS = ("foranyofanyvalues", "forallofanyvalues", "foranyofallvalues", "forallofallvalues")

Facts: TypeAlias = Mapping[str, str]
_Test: TypeAlias = Callable[[str, Facts], bool]


def holds(text: str, action: str, attributes: Facts) -> bool:
    """Whether a condition that parses allows *action* with these *attributes* (names in lower case)."""
    return parse(text)(action, attributes)


@cache
def parse(text: str) -> _Test:
    """The condition as a test. ValueError, with what was expected, when it is none that can be read."""
    if len(text) > _LONGEST:
        raise ValueError(f"a condition has at most {_LONGEST} characters")
    reader = _Reader(list(_tokens(text)))
    test = reader.either(0)
    if reader.here.kind != "end":
        raise ValueError(f"unexpected {reader.here.text!r} at position {reader.here.at}")
    return test


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ValueError(f"unreadable at position {position}")
        yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        position = match.end()
    yield _Token("end", "the end", len(text))


class _Reader:
    """Recursive descent, one method a level of binding."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    @property
    def here(self) -> _Token:
        return self._tokens[self._next]

    def _is(self, *texts: str) -> bool:
        if self.here.kind in ("word", "sign") and self.here.text.lower() in texts:
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise ValueError(f"expected {text!r} at position {self.here.at}")

    def either(self, depth: int) -> _Test:
        tests = [self._all(depth)]
        while self._is("or", "||"):
            tests.append(self._all(depth))
        return tests[0] if len(tests) == 1 else lambda action, facts: any(test(action, facts) for test in tests)

    def _all(self, depth: int) -> _Test:
        tests = [self._one(depth)]
        while self._is("and", "&&"):
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda action, facts: all(test(action, facts) for test in tests)

    def _one(self, depth: int) -> _Test:
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST}")
        if self._is("not", "!"):
            inner = self._one(depth + 1)
            return lambda action, facts: not inner(action, facts)
        if self._is("("):
            inner = self.either(depth + 1)
            self._expect(")")
            return inner
        if self._is("actionmatches"):
            wanted = [_wild(each, ignore_case=True) for each in self._values()]
            return lambda action, _: any(pattern.fullmatch(action) for pattern in wanted)
        if self._is("exists"):
            name = self._attribute()
            return lambda _, facts: name in facts
        return self._comparison()

    def _comparison(self) -> _Test:
        name, word = self._attribute(), self.here
        if word.kind != "word":
            raise ValueError(f"expected an operator at position {word.at}")
        self._next += 1
        quantifier, _, operator = word.text.lower().rpartition(":")
        compare = _operator(operator)
        if compare is None or quantifier not in ("", *_QUANTIFIERS):
            raise ValueError(f"the operator {word.text!r} is not one that can be read")
        values = self._values()
        # The attributes that exist here have one value each, so the first half of a quantifier decides nothing.
        many = all if quantifier.endswith("allvalues") else any
        return lambda _, facts: name in facts and many(compare(facts[name], value) for value in values)

    def _attribute(self) -> str:
        token = self.here
        if token.kind != "attribute":
            raise ValueError(f"expected an attribute such as @Request[…] at position {token.at}")
        self._next += 1
        return re.sub(r"\s", "", token.text).lower()

    def _values(self) -> list[str]:
        if not self._is("{"):
            return [self._value()]
        values = [self._value()]
        while self._is(","):
            values.append(self._value())
        self._expect("}")
        return values

    def _value(self) -> str:
        token = self.here
        if token.kind not in ("text", "word"):
            raise ValueError(f"expected a value at position {token.at}")
        self._next += 1
        return re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "text" else token.text


def _operator(name: str) -> Callable[[str, str], bool] | None:
    """What an operator compares; None for one that is not known."""
    match = re.fullmatch(r"(string|guid|bool)(not)?(equals|startswith|like)(ignorecase)?", name)
    if match is None or (match[1] != "string" and (match[3] != "equals" or match[4])):
        return None
    ignore_case = match[1] != "string" or match[4] is not None
    negated, kind = match[2] is not None, match[3]

    def compare(found: str, wanted: str) -> bool:
        if kind == "like":
            return (_wild(wanted, ignore_case=ignore_case).fullmatch(found) is not None) != negated
        left, right = (found.lower(), wanted.lower()) if ignore_case else (found, wanted)
        return (left == right if kind == "equals" else left.startswith(right)) != negated

    return compare


@cache
def _wild(pattern: str, *, ignore_case: bool) -> re.Pattern[str]:
    """``*`` for any run of characters, ``?`` for one."""
    wild = {"*": ".*", "?": "."}
    text = "".join(wild.get(character) or re.escape(character) for character in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else re.NOFLAG))
