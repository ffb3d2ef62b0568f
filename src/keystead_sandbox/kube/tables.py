"""Objects as the tables that kubectl prints."""

import datetime
import re
from collections.abc import Iterable
from typing import Any

from keystead_sandbox.kube import events
from keystead_sandbox.kube.kinds import Kind

_FILTER = re.compile(r'^\[\?\(@\.(?P<field>[\w.]+)=="(?P<value>[^"]*)"\)\]')


def table(
    kind: Kind,
    items: Iterable[dict[str, Any]],
    now: datetime.datetime,
    *,
    metadata: dict[str, Any],
    include: str = "Metadata",
) -> dict[str, Any]:
    """A ``meta.k8s.io/v1`` Table; ages are relative to *now*."""
    rows = []
    for item in items:
        row: dict[str, Any] = {"cells": [_cell(item, type_, path, now) for _, type_, path, _ in kind.columns]}
        if include == "Object":
            row["object"] = events.shown(kind, item)
        elif include != "None":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": item["metadata"],
            }
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": title,
                "type": "string" if type_ == "date" else type_,
                "format": "name" if title == "Name" else "",
                "description": title,
                "priority": priority,
            }
            for title, type_, _, priority in kind.columns
        ],
        "rows": rows,
    }


def _cell(item: dict[str, Any], type_: str, path: str, now: datetime.datetime) -> Any:
    if path.startswith("event:"):
        return _event(item, path, now)
    if path.startswith("count:"):
        return len(lookup(item, path[6:]) or ())
    if path == "role:":
        role = item.get("roleRef") or {}
        return f"{role.get('kind', '')}/{role.get('name', '')}"
    value = lookup(item, path)
    if type_ == "date":
        return age(value, now)
    if value is None:
        return None if type_ in ("integer", "number", "boolean") else "" if type_ == "string" and path else None
    return value if isinstance(value, str | int | float | bool) else str(value)


def lookup(item: Any, path: str) -> Any:
    """The value at a JSON path of the kind that printer columns use."""
    rest = path
    while rest and item is not None:
        found = _FILTER.match(rest)
        if found is not None:
            rows = item if isinstance(item, list) else []
            item = next((each for each in rows if str(lookup(each, "." + found["field"])) == found["value"]), None)
            rest = rest[found.end() :]
            continue
        step = re.match(r"^\.?((?:[^.\[\\]|\\.)+)|^\[(\d+)\]", rest)
        if step is None:
            return None
        if step[1] is not None:
            item = item.get(step[1].replace("\\", "")) if isinstance(item, dict) else None
        else:
            item = item[int(step[2])] if isinstance(item, list) and int(step[2]) < len(item) else None
        rest = rest[step.end() :]
    return item


def age(value: Any, now: datetime.datetime) -> str:
    """As kubectl shows ages: 5s, 3m10s, 4h, 12d."""
    try:
        seconds = int((now - datetime.datetime.fromisoformat(str(value))).total_seconds())
    except ValueError:
        return "<unknown>"
    seconds = max(0, seconds)
    minute, hour, day = 60, 3600, 86400
    if seconds < 2 * minute:
        return f"{seconds}s"
    if seconds < 10 * minute:
        rest = seconds % minute
        return f"{seconds // minute}m{f'{rest}s' if rest else ''}"
    if seconds < 3 * hour:
        return f"{seconds // minute}m"
    if seconds < 2 * day:
        return f"{seconds // hour}h"
    return f"{seconds // day}d"


def _event(item: dict[str, Any], path: str, now: datetime.datetime) -> str:
    about = item.get("involvedObject") or {}
    if path == "event:object":
        return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
    series = item.get("series") or {}
    seen = series.get("lastObservedTime") or item.get("lastTimestamp") or item.get("eventTime")
    return age(seen or item["metadata"].get("creationTimestamp"), now)
