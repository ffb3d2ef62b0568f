"""Who owns which fields: ``managedFields``, and what server-side apply makes of them.

- A manager that applies owns what it names; where another owns a field and wants another value, it is a conflict,
  unless forced. What it named before, names no more, and nobody else owns, goes.
- A manager that writes otherwise owns what it changed, and takes it from all others.
- Through a subresource a manager is another one.
"""

import copy
import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from keystead_sandbox.kube import events, fieldsets
from keystead_sandbox.kube.errors import ApiError, apply_conflict
from keystead_sandbox.kube.fieldsets import Fields
from keystead_sandbox.kube.kinds import Kind

Object: TypeAlias = dict[str, Any]
Entry: TypeAlias = dict[str, Any]
_KUBECTL, _LAST_APPLIED = "kubectl", "kubectl.kubernetes.io/last-applied-configuration"
_BEFORE = "before-first-apply"
"""Who owned what was there before anybody's fields were tracked."""


def apply(live: Object | None, wanted: Object, kind: Kind, *, manager: str, force: bool, now: str, sub: str) -> Object:
    """The object after *manager* applied *wanted*; ApiError with the other managers' names on conflict."""
    base = copy.deepcopy(events.named(kind, live)) if live is not None else {"metadata": {}}
    entries: list[Entry] = base["metadata"].pop("managedFields", None) or []
    if live is not None and not entries:
        entries = [_entry(_BEFORE, "Update", kind, now, "", fieldsets.compare(_empty(kind), base, kind).added)]
    mine = fieldsets.members(wanted, kind)
    before = next((each for each in entries if _is(each, manager, "Apply", sub)), None)
    others = [(each, fieldsets.decode(each["fieldsV1"])) for each in entries if each is not before]
    result = fieldsets.merged(base, copy.deepcopy(wanted), kind)
    if before is not None:
        held = mine.union(*(fields for _, fields in others))
        result = _pruned(result, fieldsets.decode(before["fieldsV1"]), held, kind)
    difference = fieldsets.compare(base, result, kind)
    changed = difference.added | difference.modified
    conflicts = [(entry, fields & changed) for entry, fields in others if fields & changed]
    if conflicts and not force:
        raise _conflict(conflicts)
    kept = [(entry, fields - changed - difference.removed) for entry, fields in others]
    # Who changes nothing of the object has no moment, or keeps the one of before.
    moment = now if live is None or result != base else (before or {}).get("time", "")
    if manager == _KUBECTL and _LAST_APPLIED in (result.get("metadata", {}).get("annotations") or {}):
        # So that who goes back to applying by kubectl's own means finds what was applied in between.
        result = copy.deepcopy(result)
        result["metadata"]["annotations"][_LAST_APPLIED] = _as_applied(wanted)
    result.setdefault("metadata", {})
    own = _entry(manager, "Apply", kind, moment, sub, mine)
    result["metadata"]["managedFields"] = _sorted([*_left(kept), *([own] if mine else [])])
    return events.stored(kind, dict(result))


def _as_applied(wanted: Object) -> str:
    """What was applied, as kubectl's annotation has it."""
    applied = copy.deepcopy(wanted)
    annotations = applied.get("metadata", {}).get("annotations") or {}
    annotations.pop(_LAST_APPLIED, None)
    if not annotations:
        applied.get("metadata", {}).pop("annotations", None)
    return json.dumps(applied, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"


def _pruned(merged: Object, last: Fields, held: Fields, kind: Kind) -> Object:
    """*merged* without what was applied *last* and nobody holds now."""
    named = fieldsets.with_named(last, kind)
    everything = fieldsets.with_named(fieldsets.members(merged, kind), kind)
    pruned = fieldsets.without(merged, named, kind)
    left = fieldsets.with_named(fieldsets.members(pruned, kind), kind)
    pruned = fieldsets.without(merged, everything - (left | fieldsets.with_named(held, kind)), kind)
    left = fieldsets.with_named(fieldsets.members(pruned, kind), kind)
    result: Object = fieldsets.without(merged, (everything - left) & named, kind)
    for name in ("apiVersion", "kind", "metadata"):
        if name in merged and name not in result:
            result[name] = {} if name == "metadata" else merged[name]
    system = {name: value for name, value in merged["metadata"].items() if ("f:metadata", f"f:{name}") in _SYSTEM}
    result["metadata"] = {**system, **(result["metadata"] or {})}
    return result


_SYSTEM = fieldsets.STRIPPED | {("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:deletionGracePeriodSeconds")}


def _entry(manager: str, operation: str, kind: Kind, now: str, sub: str, fields: Fields) -> Entry:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": kind.api_version,
        **({"time": now} if now and sub != "scale" else {}),
        "fieldsType": "FieldsV1",
        "fieldsV1": fieldsets.encode(fields),
        **({"subresource": sub} if sub else {}),
    }


def _left(entries: Iterable[tuple[Entry, Fields]]) -> list[Entry]:
    """Others' entries with what is left to them; their moment is that of their own last change."""
    return [{**entry, "fieldsV1": fieldsets.encode(fields)} for entry, fields in entries if fields]


def is_same(item: Object, other: Object) -> bool:
    """Whether two objects are the same but for the moments of their managers."""
    if {**item, "metadata": {}} != {**other, "metadata": {}}:
        return False
    one, two = (
        {
            **each["metadata"],
            "managedFields": [{**entry, "time": ""} for entry in each["metadata"].get("managedFields") or ()],
        }
        for each in (item, other)
    )
    return one == two


def _sorted(entries: list[Entry]) -> list[Entry]:
    """Applies first, then by time and name."""
    names = ("operation", "time", "manager", "apiVersion", "subresource")
    return sorted(entries, key=lambda each: [each.get(name) or "" for name in names])


def _is(entry: Entry, manager: str, operation: str, sub: str) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource", "")) == (manager, operation, sub)


def _conflict(conflicts: Iterable[tuple[Entry, Fields]]) -> ApiError:
    by_manager: dict[str, list[str]] = {}
    for entry, fields in conflicts:
        by_manager.setdefault(_named(entry), []).extend(fieldsets.shown(path) for path in sorted(fields))
    return apply_conflict(dict(sorted(by_manager.items())))


def _named(entry: Entry) -> str:
    """A manager as conflicts name it: those that applied by their name alone, others with the version."""
    text = json.dumps(entry["manager"])
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return text if entry["operation"] == "Apply" else f"{text} using {entry['apiVersion']}"


def update(before: Object | None, after: Object, kind: Kind, *, manager: str, now: str, sub: str) -> None:
    """Note in *after* that *manager* changed what differs from *before*; an empty object's fields are nobody's."""
    entries = copy.deepcopy((before or {}).get("metadata", {}).get("managedFields") or [])
    after["metadata"].pop("managedFields", None)
    if before is not None and not entries:
        return  # what nobody tracked from the start is tracked from the first apply on
    old = events.named(kind, before) if before is not None else _empty(kind)
    difference = fieldsets.compare(old, events.named(kind, after), kind)
    changed = difference.added | difference.modified
    own = next(
        (each for each in entries if _is(each, manager, "Update", sub) and each["apiVersion"] == kind.api_version), None
    )
    held = fieldsets.decode(own["fieldsV1"]) if own is not None else set()
    others = [(each, fieldsets.decode(each["fieldsV1"])) for each in entries if each is not own]
    kept = _left((entry, fields - changed - difference.removed) for entry, fields in others)
    mine = (held - difference.removed) | changed
    moment = now if changed else (own or {}).get("time", "")
    managed = _sorted([*kept, *([_entry(manager, "Update", kind, moment, sub, mine)] if mine else [])])
    if managed:
        after["metadata"]["managedFields"] = managed


def _empty(kind: Kind) -> Object:
    return _EMPTY.get(kind.key, {} if kind.custom else {"metadata": {}})


_EMPTY: dict[tuple[str, str], Object] = {
    ("", "namespaces"): {"metadata": {}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
    ("", "events"): {"metadata": {}, "source": {}, "involvedObject": {}},
    ("events.k8s.io", "events"): {"metadata": {}, "deprecatedSource": {}, "regarding": {}},
    ("coordination.k8s.io", "leases"): {"metadata": {}, "spec": {}},
    ("apiextensions.k8s.io", "customresourcedefinitions"): {
        "metadata": {},
        "spec": {"group": "", "names": {"plural": "", "kind": ""}, "scope": "", "versions": None},
        "status": {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": None},
    },
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): {"metadata": {}, "spec": {}, "status": {}},
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): {"metadata": {}, "spec": {}},
}
"""A built-in kind's object with nothing in it: its structs are there, and so belong to nobody."""
