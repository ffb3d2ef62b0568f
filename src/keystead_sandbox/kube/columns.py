"""Cells of a definition's own printer columns: what a JSON path finds, in the form that the column's type has.

- The first that a path finds is shown; nothing found, and what does not fit the type, is an empty cell.
- Text columns show maps and lists as JSON; dates are shown as ages.

Source: Kubernetes docs, "Extend the Kubernetes API with CustomResourceDefinitions" (additional printer columns), and a
real server's answers.
"""

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

_STEP = re.compile(
    r"""\.?(?P<name>(?:[^.\[\]\\]|\\.)+)
    | \['(?P<quoted>[^']*)'\]
    | \[(?P<index>-?\d+)\]
    | (?P<every>\[\*\]|\.\*)
    | \[\?\(@\.(?P<field>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]
    """,
    re.VERBOSE,
)


def cell(item: Any, type_: str, path: str, now: datetime.datetime) -> Any:
    """One cell."""
    value = next(found(item, path), None)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if type_ == "integer":
        return int(value) if number else None
    if type_ == "number":
        return value if number else None
    if type_ == "boolean":
        return value if isinstance(value, bool) else None
    if type_ == "date":
        return age(value, now, unknown="<invalid>") if isinstance(value, str) else None
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)


def found(item: Any, path: str) -> Iterator[Any]:
    """All that is at a JSON path; what a path cannot say finds nothing."""
    if not path:
        yield item
        return
    step = _STEP.match(path)
    if step is None:
        return
    rest = path[step.end() :]
    for inner in _below(item, step):
        yield from found(inner, rest)


def _below(item: Any, step: re.Match[str]) -> list[Any]:
    if isinstance(item, dict):
        name = step["quoted"] if step["quoted"] is not None else (step["name"] or "").replace("\\", "")
        if step["every"]:
            return list(item.values())
        return [item[name]] if name in item else []
    if not isinstance(item, list):
        return []
    if step["every"]:
        return list(item)
    if step["index"] is not None:
        index = int(step["index"])
        return [item[index]] if -len(item) <= index < len(item) else []
    if step["field"] is not None:
        return [each for each in item if str(next(found(each, f".{step['field']}"), None)) == step["value"]]
    return []


def age(value: Any, now: datetime.datetime, *, unknown: str = "<unknown>") -> str:
    """As kubectl shows ages: 5s, 3m10s, 4h30m, 12d, 3y40d; *unknown* for what is no instant."""
    try:
        seconds = int((now - datetime.datetime.fromisoformat(str(value))).total_seconds())
    except (ValueError, TypeError):
        return unknown
    minutes, hours, days = (seconds := max(0, seconds)) // 60, seconds // 3600, seconds // 86400
    years = days // 365
    # Up to which count, of which unit, with which smaller one beside it (k8s.io/apimachinery, HumanDuration).
    for count, limit, unit, rest in (
        (seconds, 120, "s", ""),
        (minutes, 10, "m", f"{seconds % 60}s"),
        (minutes, 180, "m", ""),
        (hours, 8, "h", f"{minutes % 60}m"),
        (hours, 48, "h", ""),
        (days, 8, "d", f"{hours % 24}h"),
        (days, 730, "d", ""),
        (years, 8, "y", f"{days % 365}d"),
    ):
        if count < limit:
            return f"{count}{unit}{'' if rest[:-1] == '0' else rest}"
    return f"{years}y"
