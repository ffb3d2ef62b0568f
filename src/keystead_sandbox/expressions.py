"""The language of flexible federated credentials, version 1: ``claims['sub'] matches 'repo:contoso/*' and …``.

One or more comparisons of a claim with a text, joined by ``and``: ``eq`` compares byte for byte, ``matches`` takes ``*``
for any run of characters and ``?`` for one (Entra docs: "Flexible federated identity credentials").
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_COMPARISON = re.compile(r"\s*claims\['(?P<claim>[A-Za-z0-9_]+)'\]\s+(?P<operator>eq|matches)\s+'(?P<text>[^']*)'\s*")
_AND = re.compile(r"and\b")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One claim, and what it must be like."""

    claim: str
    pattern: re.Pattern[str]

    def holds(self, claims: Mapping[str, object]) -> bool:
        """Whether the claim is there and alike."""
        value = claims.get(self.claim)
        return isinstance(value, str) and self.pattern.fullmatch(value) is not None


def parse(text: str) -> tuple[Comparison, ...]:
    """The comparisons of an expression. ValueError, with the position, when it is none."""
    found: list[Comparison] = []
    position = 0
    while True:
        match = _COMPARISON.match(text, position)
        if match is None:
            raise ValueError(f"expected claims['NAME'] eq|matches 'TEXT' at position {position}")
        found.append(Comparison(match["claim"], _pattern(match["operator"], match["text"])))
        position = match.end()
        if position == len(text):
            return tuple(found)
        joined = _AND.match(text, position)
        if joined is None:
            raise ValueError(f"expected 'and' at position {position}")
        position = joined.end()


def holds(text: str, claims: Mapping[str, object]) -> bool:
    """Whether all comparisons of an expression that parses hold."""
    return all(comparison.holds(claims) for comparison in parse(text))


def _pattern(operator: str, text: str) -> re.Pattern[str]:
    if operator == "eq":
        return re.compile(re.escape(text))
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(character) or re.escape(character) for character in text), re.DOTALL)
