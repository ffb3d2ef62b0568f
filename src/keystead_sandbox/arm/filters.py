"""OData ``$filter`` as Resource Manager's lists take it: ``name eq 'text'`` and ``function('text')``, joined by ``and``.

Each list says which names it knows; what it does not know is refused, since a filter that is passed over answers too
much.
"""

import re
from collections.abc import Collection

from keystead_sandbox.arm import errors

_TERM = re.compile(
    r"\s*(?:(?P<name>[A-Za-z/]+)\s+eq\s+'(?P<value>(?:[^']|'')*)'|(?P<function>[A-Za-z]+)\(\s*(?:'(?P<argument>[^']*)')?\s*\))"
    r"\s*",
    re.IGNORECASE,
)
_AND = re.compile(r"and\b", re.IGNORECASE)


def read(text: str, known: Collection[str]) -> dict[str, str]:
    """What is asked for, by name in lower case; a function's argument under its name. Refusal for anything else."""
    found: dict[str, str] = {}
    position = 0
    while text.strip():
        match = _TERM.match(text, position)
        if match is None:
            raise errors.bad_filter(text)
        name = (match["name"] or match["function"]).lower()
        if name not in known or name in found:
            raise errors.bad_filter(text)
        value = match["value"] if match["name"] else match["argument"]
        found[name] = (value or "").replace("''", "'")
        position = match.end()
        if position == len(text):
            break
        joined = _AND.match(text, position)
        if joined is None:
            raise errors.bad_filter(text)
        position = joined.end()
    return found
