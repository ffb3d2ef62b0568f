r"""Pure: one value out of a JSON document, by the path language that ``remoteRef.property`` uses.

That language is GJSON's (github.com/tidwall/gjson, SYNTAX.md). Here are its plain paths: names separated by dots, array
indexes, ``#`` for a length, ``*`` and ``?`` in a name, ``\\`` before a character that is meant literally.

Rules:
- Objects and arrays come out as the very text they have in the document, white space included.
- A number of digits alone comes out as it stands, any other as Go's ``FormatFloat(f, 'f', -1, 64)`` writes it.
- Queries, modifiers, pipes and multipaths are named as what they are: NeedsOperator, never "not found".
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

_SPACE = re.compile(r"[ \t\n\r]*")
_ADVANCED = re.compile(r"(^|[.|])@|\||#\(|#\.|(^|\.)[\[{!]")


class NeedsOperator(Exception):
    """The engine does not do this; External Secrets Operator does."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs External Secrets Operator")


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """A value inside a document: the document and where the value's text begins and ends."""

    document: str
    start: int
    end: int

    @property
    def raw(self) -> str:
        return self.document[self.start : self.end]

    @property
    def is_object(self) -> bool:
        return self.document[self.start] == "{"

    @property
    def is_array(self) -> bool:
        return self.document[self.start] == "["

    def text(self) -> str:
        """As a string: strings unquoted, ``null`` empty, numbers as Go prints them, the rest as it stands."""
        first = self.document[self.start]
        if first == '"':
            return _string(self.document, self.start)[0]
        if first == "n":
            return ""
        if first in "-0123456789":
            return number_text(self.raw)
        return self.raw

    def members(self) -> Iterator[tuple[str, "Node"]]:
        """Names and values of an object, in the document's order."""
        at = _skip(self.document, self.start + 1)
        while self.document[at] != "}":
            name, at = _string(self.document, at)
            value = _node(self.document, _skip(self.document, _skip(self.document, at) + 1))
            yield name, value
            at = _after_comma(self.document, value.end)

    def items(self) -> Iterator["Node"]:
        """Values of an array."""
        at = _skip(self.document, self.start + 1)
        while self.document[at] != "]":
            value = _node(self.document, at)
            yield value
            at = _after_comma(self.document, value.end)


def parse(document: str) -> Node | None:
    """Pure: the document's value, or ``None`` when the text is not JSON."""
    try:
        start = _skip(document, 0)
        value = _node(document, start)
    except (ValueError, RecursionError):
        return None
    return value if _skip(document, value.end) == len(document) else None


def select(document: str, path: str) -> Node | str | None:
    """Pure: what *path* leads to, ``None`` when there is nothing. A literal name with dots is tried last, as ESO does.

    Raises NeedsOperator for the parts of the language that are not here.
    """
    if _ADVANCED.search(path):
        raise NeedsOperator(f"property {path!r}")
    root = parse(document)
    if root is None:
        return None
    found = _walk(root, _split(path))
    if found is None and "." in path:
        found = _walk(root, _split(path.replace(".", "\\.")))
    return found


def number_text(raw: str) -> str:
    """Pure: a JSON number as GJSON's ``String()`` shows it."""
    if raw.removeprefix("-").isdigit():
        return raw
    shortest = format(Decimal(repr(float(raw))), "f")
    return shortest.rstrip("0").rstrip(".") if "." in shortest else shortest


def _split(path: str) -> list[tuple[str, bool]]:
    r"""Names of a path; whether each holds a wildcard. ``\`` takes a character literally."""
    parts: list[tuple[str, bool]] = []
    name, pattern, wild, at = "", "", False, 0
    while at < len(path):
        character = path[at]
        if character == "\\" and at + 1 < len(path):
            at += 1
            name += path[at]
            pattern += re.escape(path[at])
        elif character == ".":
            parts.append((pattern if wild else name, wild))
            name, pattern, wild = "", "", False
        else:
            wild = wild or character in "*?"
            name += character
            pattern += {"*": ".*", "?": "."}.get(character, re.escape(character))
        at += 1
    return [*parts, (pattern if wild else name, wild)]


def _walk(node: Node, parts: list[tuple[str, bool]]) -> Node | str | None:
    for position, (name, wild) in enumerate(parts):
        if node.is_object:
            matches = re.compile(name, re.DOTALL).fullmatch if wild else name.__eq__
            step = next((value for key, value in node.members() if matches(key)), None)
        elif node.is_array and name == "#" and position == len(parts) - 1:
            return str(sum(1 for _ in node.items()))
        elif node.is_array and name.isdigit() and name.isascii():
            wanted = int(name)
            step = next((value for index, value in enumerate(node.items()) if index == wanted), None)
        else:
            step = None
        if step is None:
            return None
        node = step
    return node


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=str, parse_float=str)


def _node(document: str, start: int) -> Node:
    _, end = _DECODER.raw_decode(document, start)
    return Node(document, start, end)


def _string(document: str, start: int) -> tuple[str, int]:
    value, end = _DECODER.raw_decode(document, start)
    return str(value), end


def _skip(document: str, at: int) -> int:
    match = _SPACE.match(document, at)
    return match.end() if match else at


def _after_comma(document: str, at: int) -> int:
    at = _skip(document, at)
    return _skip(document, at + 1) if document[at] == "," else at
