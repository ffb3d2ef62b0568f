"""Events: one store behind two groups.

v1 and events.k8s.io/v1 are the same objects under other names of their fields (Kubernetes API reference: Event v1 core
and Event v1 events.k8s.io). They are kept with the names of v1. A client of the new group is held to its stricter
rules.
"""

import re
from typing import Any

from keystead_sandbox.kube.kinds import CLUSTER_ROLES, EVENTS, LEASES, POLICIES, ROLES, Kind

_NEW_GROUP = "events.k8s.io"
_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "source": "deprecatedSource",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}
_SHORT, _NOTE = 128, 1024
_CONTROLLER = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_CLUSTER_NAMESPACES = ("default", "kube-system")

Problem = tuple[str, str, str]


def stored(kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
    """An object as the store keeps it."""
    if kind.group != _NEW_GROUP:
        return item
    return {_OLD_NAMES.get(name, name): value for name, value in item.items()}


def named(kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
    """An object of the store with the names of the group that was asked for."""
    if kind.group != _NEW_GROUP:
        return item
    return {_NEW_NAMES.get(name, name): value for name, value in item.items()}


def shown(kind: Kind, item: dict[str, Any], *, listed: bool = False) -> dict[str, Any]:
    """An object at the group and version that was asked for; in a list the kind of a built-in one goes without saying."""
    head = {"kind": kind.kind, "apiVersion": kind.api_version} if kind.custom or not listed else {}
    if kind.storage == EVENTS:
        item = named(kind, {**_NOTHING, **item})
        if kind.group == _NEW_GROUP:
            item = {name: value for name, value in item.items() if value or name not in _LEFT_OUT}
    if kind.key in _ZEROS:
        item = {**_ZEROS[kind.key], **item}
    return head | {name: value for name, value in item.items() if name not in ("kind", "apiVersion")}


_ZEROS: dict[tuple[str, str], dict[str, Any]] = {
    ROLES: {"rules": None},
    CLUSTER_ROLES: {"rules": None},
    LEASES: {"spec": {}},
    POLICIES: {"status": {}},
}
"""Fields of other kinds that are always shown."""


def empty(kind: Kind, metadata: dict[str, Any]) -> dict[str, Any]:
    """An object of a kind with nothing but metadata."""
    return shown(kind, {**_STRUCTS.get(kind.key, {}), "metadata": metadata})


_STRUCTS: dict[tuple[str, str], dict[str, Any]] = {
    ("", "namespaces"): {"spec": {}, "status": {}},
    ("coordination.k8s.io", "leases"): {"spec": {}},
}
_LEFT_OUT = ("reportingController", "reportingInstance")
_NOTHING: dict[str, Any] = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
"""Fields that are always shown, whether or not they were given."""


_FIXED = (
    *("involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count"),
    *("reportingComponent", "reportingInstance", "action", "type", "eventTime", "related"),
)


def check(kind: Kind, item: dict[str, Any], before: dict[str, Any] | None) -> list[Problem]:
    """What the server refuses in an Event; *item* has the names of v1."""
    if kind.storage != EVENTS:
        return []
    if before is not None:
        if kind.group != _NEW_GROUP:
            return []
        changed = [name for name in _FIXED if item.get(name) != before.get(name)]
        return [
            (each, "FieldValueInvalid", f'Invalid value: "{item.get(each)}": field is immutable') for each in changed
        ]
    strict = kind.group == _NEW_GROUP
    if strict and not item.get("eventTime"):
        return [("eventTime", "FieldValueRequired", "Required value")]
    about = item.get("involvedObject") or {}
    field = "regarding" if strict else "involvedObject"
    namespace, wanted = item["metadata"]["namespace"], about.get("namespace") or ""
    problems: list[Problem] = []
    if (wanted and wanted != namespace) or (not wanted and namespace not in _CLUSTER_NAMESPACES):
        text = f'Invalid value: "{wanted}": does not match event.namespace'
        problems.append((f"{field}.namespace", "FieldValueInvalid", text))
    return problems + (_strict(item) if strict else [])


def _strict(item: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    for field in ("reportingController", "reportingInstance", "action", "reason"):
        value = item.get(_OLD_NAMES.get(field, field)) or ""
        if not value:
            problems.append((field, "FieldValueRequired", "Required value"))
        elif len(value) > _SHORT:
            problems.append((field, "FieldValueInvalid", f'Invalid value: "": can have at most {_SHORT} characters'))
    controller = item.get("reportingComponent") or ""
    if controller and not _CONTROLLER.match(controller):
        text = f'Invalid value: "{controller}": must be a qualified name'
        problems.append(("reportingController", "FieldValueInvalid", text))
    if len(item.get("message") or "") > _NOTE:
        problems.append(("note", "FieldValueInvalid", f'Invalid value: "": can have at most {_NOTE} characters'))
    if item.get("type") not in ("Normal", "Warning"):
        problems.append(("type", "FieldValueInvalid", f'Invalid value: "{item.get("type") or ""}": has invalid value'))
    return problems
