"""Server-side apply: who owns which fields, and what an apply changes.

Fields are sets of paths; a path's parts are ``f:NAME`` for a map's entry, ``k:{...}`` for an item of a list that is a
map, ``v:VALUE`` for an item of a set. Other lists are one value. An apply conflicts where another manager owns a path
and wants another value there; fields that a manager applied before and does not apply now go, unless somebody else owns
them.
"""

import copy
import json
from collections.abc import Iterable
from typing import Any

from keystead_sandbox.kube.errors import ApiError
from keystead_sandbox.kube.kinds import Kind

Path = tuple[str, ...]
_IGNORED = {("f:apiVersion",), ("f:kind",), ("f:metadata",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace")}
_SYSTEM = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "selfLink",
)


def fields_of(item: Any, kind: Kind) -> set[Path]:
    """All leaf paths of an object, system fields left out."""
    found: set[Path] = set()
    _collect(item, (), (), kind, found)
    return {
        path
        for path in found
        if path not in _IGNORED and not (path[:1] == ("f:metadata",) and len(path) > 1 and path[1][2:] in _SYSTEM)
    }


def _collect(value: Any, plain: Path, path: Path, kind: Kind, found: set[Path]) -> None:
    if isinstance(value, dict) and value and plain not in kind.atomic:
        for name, inner in value.items():
            _collect(inner, (*plain, name), (*path, f"f:{name}"), kind, found)
        return
    keys = kind.list_keys.get(plain) if isinstance(value, list) else None
    if keys is None or not value or (keys and not all(isinstance(each, dict) for each in value)):
        found.add(path)
    elif not keys:
        found.update((*path, f"v:{json.dumps(each)}") for each in value)
    else:
        for each in value:
            here = (*path, _item_key(each, keys))
            found.add((*here, "."))
            for name, inner in each.items():
                _collect(inner, (*plain, name), (*here, f"f:{name}"), kind, found)


def _item_key(item: dict[str, Any], keys: Iterable[str]) -> str:
    return "k:" + json.dumps({key: item.get(key) for key in keys}, separators=(",", ":"))


def decode(fields: dict[str, Any]) -> set[Path]:
    """fieldsV1 as paths."""
    found: set[Path] = set()

    def walk(inner: dict[str, Any], path: Path) -> None:
        if not inner:
            found.add(path)
        for name, deeper in inner.items():
            if name == ".":
                found.add((*path, "."))
            else:
                walk(deeper, (*path, name))

    for name, inner in fields.items():
        walk(inner, (name,))
    return found


def encode(paths: Iterable[Path]) -> dict[str, Any]:
    """Paths as fieldsV1."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        here = tree
        for part in path:
            here = here.setdefault(part, {})
    return tree


def apply(
    live: dict[str, Any] | None, wanted: dict[str, Any], kind: Kind, *, manager: str, force: bool, now: str, sub: str
) -> dict[str, Any]:
    """The object after *manager* applied *wanted*; ApiError with the other managers' names on conflict."""
    base = copy.deepcopy(live) if live is not None else {"metadata": {}}
    managers = base["metadata"].pop("managedFields", None) or []
    mine = fields_of(wanted, kind)
    before = next((each for each in managers if _is(each, manager, "Apply", sub)), None)
    theirs = [each for each in managers if each is not before]
    conflicts = _conflicts(base, wanted, mine, theirs)
    if conflicts and not force:
        raise _conflict_error(conflicts)
    for path, entry in conflicts:
        entry["fieldsV1"] = encode(decode(entry["fieldsV1"]) - {path})
    result: dict[str, Any] = _merged(base, wanted, (), kind)
    gone = (decode(before["fieldsV1"]) if before is not None else set()) - mine
    held = set().union(*(decode(each["fieldsV1"]) for each in theirs)) if theirs else set()
    _withdraw(result, gone, mine | held)
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": kind.api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": encode(mine),
        **({"subresource": sub} if sub else {}),
    }
    same = before is not None and before["fieldsV1"] == entry["fieldsV1"]
    kept = [each for each in theirs if each["fieldsV1"]]
    result["metadata"]["managedFields"] = [*kept, before if same and before is not None else entry]
    return result


def _is(entry: dict[str, Any], manager: str, operation: str, sub: str) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource", "")) == (manager, operation, sub)


def _conflicts(
    live: dict[str, Any], wanted: dict[str, Any], mine: set[Path], theirs: list[dict[str, Any]]
) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for entry in theirs:
        shared = sorted(decode(entry["fieldsV1"]) & mine)
        found += [(each, entry) for each in shared if each[-1] != "." and _value(live, each) != _value(wanted, each)]
    return found


def _conflict_error(conflicts: list[tuple[Path, dict[str, Any]]]) -> ApiError:
    by_manager: dict[str, list[str]] = {}
    for path, entry in conflicts:
        by_manager.setdefault(_named(entry), []).append(_shown(path))
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field}
        for manager, fields in by_manager.items()
        for field in fields
    ]
    if len(causes) == 1:
        text = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = [
            f"conflicts with {manager}:" + "".join(f"\n- {field}" for field in fields)
            for manager, fields in by_manager.items()
        ]
        text = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", text, details={"causes": causes})


def _named(entry: dict[str, Any]) -> str:
    """A manager as conflicts name it: those that applied by their name alone, others with version and time."""
    text = json.dumps(entry["manager"])
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return text if entry["operation"] == "Apply" else f"{text} using {entry['apiVersion']} at {entry['time']}"


def _shown(path: Path) -> str:
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            inner = ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(part[2:]).items())
            text += f"[{inner}]"
        elif part.startswith("v:"):
            text += f"[={part[2:]}]"
    return text


def _value(item: Any, path: Path) -> Any:
    for part in path:
        item = _step(item, part)
        if item is None:
            return None
    return item


def _step(item: Any, part: str) -> Any:
    if part.startswith("f:") and isinstance(item, dict):
        return item.get(part[2:])
    if part.startswith("k:") and isinstance(item, list):
        key = json.loads(part[2:])
        return next((each for each in item if all(each.get(name) == value for name, value in key.items())), None)
    if part.startswith("v:") and isinstance(item, list):
        value = json.loads(part[2:])
        return value if value in item else None
    return item if part == "." else None


def _withdraw(item: dict[str, Any], gone: set[Path], kept: set[Path]) -> None:
    """Remove what is no longer applied. An item of a list goes whole, unless somebody else has a field in it."""
    whole = [path[:-1] for path in gone if path[-1] == "." and not _covers(path[:-1], kept)]
    for path in sorted(gone):
        key = next((part for part in reversed(path[:-1]) if part.startswith("k:")), "")
        inside = any(path[: len(each)] == each for each in whole)
        is_key = path[-2:-1] == (key,) and path[-1][2:] in json.loads(key[2:] or "{}")
        if path[-1] == "." or inside or is_key or path in kept or _covers(path, kept):
            continue
        _remove(item, path)
    for path in sorted(whole, key=len, reverse=True):
        _remove(item, path)


def _covers(path: Path, others: set[Path]) -> bool:
    """Whether one of *others* is below *path*."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in others)


def _remove(item: dict[str, Any], path: Path) -> None:
    parents: list[tuple[Any, str]] = []
    here: Any = item
    for part in path:
        parents.append((here, part))
        here = _step(here, part)
        if here is None:
            return
    parent, part = parents[-1]
    if part.startswith("f:"):
        parent.pop(part[2:], None)
    else:
        parent.remove(here)
    # Maps that held nothing else go with their last entry, all the way up.
    for index in range(len(parents) - 1, 0, -1):
        if parents[index][0] in ({}, []) and parents[index - 1][1].startswith("f:"):
            parents[index - 1][0].pop(parents[index - 1][1][2:], None)
        else:
            return


def _merged(live: Any, wanted: Any, plain: Path, kind: Kind) -> Any:
    if isinstance(wanted, dict) and plain not in kind.atomic:
        result = dict(live) if isinstance(live, dict) else {}
        for name, inner in wanted.items():
            result[name] = _merged(result.get(name), inner, (*plain, name), kind)
        return result
    keys = kind.list_keys.get(plain) if isinstance(wanted, list) else None
    if keys is None or not isinstance(live, list):
        return copy.deepcopy(wanted)
    if not keys:
        return [*live, *(each for each in wanted if each not in live)]
    items = list(live)
    for each in wanted:
        place = next((n for n, held in enumerate(items) if all(held.get(key) == each.get(key) for key in keys)), None)
        if place is None:
            items.append(copy.deepcopy(each))
        else:
            items[place] = _merged(items[place], each, plain, kind)
    return items


def update(
    before: dict[str, Any] | None, after: dict[str, Any], kind: Kind, *, manager: str, now: str, sub: str
) -> None:
    """Note in *after* that *manager* changed what differs from *before*."""
    entries = copy.deepcopy((before or {}).get("metadata", {}).get("managedFields") or [])
    old, new = (fields_of(before, kind) if before is not None else set()), fields_of(after, kind)
    changed = {
        path for path in new if path not in old or (path[-1] != "." and _value(before, path) != _value(after, path))
    }
    gone = old - new
    if changed or gone:
        for entry in entries:
            lost = gone if _is(entry, manager, "Update", sub) else gone | changed
            entry["fieldsV1"] = encode(decode(entry["fieldsV1"]) - lost)
        own = next((each for each in entries if _is(each, manager, "Update", sub)), None)
        if changed and own is not None:
            own |= {"fieldsV1": encode(decode(own["fieldsV1"]) | changed), "time": now, "apiVersion": kind.api_version}
        elif changed:
            entries.append(
                {
                    "manager": manager,
                    "operation": "Update",
                    "apiVersion": kind.api_version,
                    "time": now,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": encode(changed),
                    **({"subresource": sub} if sub else {}),
                }
            )
    after["metadata"]["managedFields"] = [each for each in entries if each["fieldsV1"]]
