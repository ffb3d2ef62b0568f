"""Objects as the tables that kubectl prints."""

import datetime
import re
from collections.abc import Iterable
from typing import Any

from keystead_sandbox.kube import events
from keystead_sandbox.kube.columns import age, cell
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
    show = cell if kind.custom else _cell
    for item in items:
        row: dict[str, Any] = {"cells": [show(item, type_, path, now) for _, type_, path, _ in kind.columns]}
        if include == "Object":
            row["object"] = events.shown(kind, item)
        elif include == "None":
            row["object"] = None
        else:
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
                "type": type_,
                "format": "name" if title == "Name" else "",
                "description": title,
                "priority": priority,
            }
            for title, type_, _, priority in kind.columns
        ],
        "rows": rows,
    }


def _cell(item: dict[str, Any], type_: str, path: str, now: datetime.datetime) -> Any:
    kind, colon, rest = path.partition(":")
    if colon and kind == "event":
        return _event(item, rest, now)
    if colon and kind == "count":
        return sum(len(lookup(item, each) or ()) for each in rest.split(","))
    if colon and kind == "subjects":
        return _subjects(item, rest)
    if path == "role:":
        role = item.get("roleRef") or {}
        return f"{role.get('kind', '')}/{role.get('name', '')}"
    if colon and kind in ("param", "ref"):
        spec = item.get("spec") or {}
        about = spec.get("paramKind") if kind == "param" else spec.get("paramRef")
        names = (
            (
                about.get("apiVersion" if kind == "param" else "namespace"),
                about.get("kind" if kind == "param" else "name"),
            )
            if about
            else ()
        )
        return "/".join(filter(None, names)) or "<unset>"
    if colon and kind == "age":
        return age(lookup(item, rest), now)
    value = lookup(item, path.removeprefix("="))
    if type_ == "date" and not path.startswith("="):
        return age(value, now)
    if value is None:
        return "" if ":" not in path and not path.startswith((".spec", ".status")) else None
    return value if isinstance(value, str | int | float | bool) else str(value)


def _subjects(item: dict[str, Any], kind: str) -> str:
    found = [each for each in item.get("subjects") or () if each.get("kind") == kind]
    return ", ".join(
        f"{each.get('namespace', '')}/{each['name']}" if kind[0] == "S" else each["name"] for each in found
    )


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


def _event(item: dict[str, Any], what: str, now: datetime.datetime) -> Any:
    about, source = item.get("involvedObject") or {}, item.get("source") or {}
    series = item.get("series") or {}
    if what == "object":
        return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
    if what == "subobject":
        return about.get("fieldPath", "")
    if what == "source":
        component = source.get("component") or item.get("reportingComponent") or ""
        host = source.get("host") or item.get("reportingInstance") or ""
        return f"{component}, {host}" if host else component
    if what == "message":
        return (item.get("message") or "").strip()
    if what == "count":
        return series.get("count") or item.get("count") or 1
    if what == "first":
        return age(item.get("firstTimestamp") or item.get("eventTime"), now)
    return age(series.get("lastObservedTime") or item.get("lastTimestamp") or item.get("eventTime"), now)
