"""Sets of fields: which an object has, how two objects differ in them, and an object without some of them.

A field is a path of parts: ``f:NAME`` for an entry of a map, ``k:{...}`` for an item of a list that is a map,
``v:VALUE`` for a member of a list that is a set. Other lists, and maps that are atomic, are one value. The rules are
those of Kubernetes' structured merge: an entry whose name the schema does not declare belongs to the set itself, besides
what is below it; a declared one only through what is below.

Source: Kubernetes docs, "Server-Side Apply" (merge strategy, field management), and FieldsV1 in the API reference.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from keystead_sandbox.kube import builtins
from keystead_sandbox.kube.kinds import Kind

Path: TypeAlias = tuple[str, ...]
Fields: TypeAlias = set[Path]
_ABSENT: Any = object()
_SYSTEM = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "clusterName")
STRIPPED = {("f:apiVersion",), ("f:kind",), ("f:metadata",)} | {
    ("f:metadata", f"f:{name}") for name in ("name", "namespace", *_SYSTEM)
}
"""Fields that nobody owns."""


class Place(NamedTuple):
    """Where a value is: its path, the path without items of lists, and its schema as far as there is one."""

    path: Path
    plain: Path
    schema: Mapping[str, Any] | None

    def entry(self, name: str) -> tuple["Place", bool]:
        """The place of a map's entry, and whether the schema declares it."""
        inner: Any = None
        declared = False
        if self.schema is not None:
            inner = (self.schema.get("properties") or {}).get(name)
            if not self.path and name == "metadata":
                inner = builtins.METADATA
            declared = inner is not None
            extra = self.schema.get("additionalProperties")
            inner = inner if declared else extra if isinstance(extra, dict) else None
        return Place((*self.path, f"f:{name}"), (*self.plain, name), inner), declared

    def item(self, part: str) -> "Place":
        """The place of an item of a list."""
        return Place((*self.path, part), self.plain, (self.schema or {}).get("items"))


def root(kind: Kind) -> Place:
    """Where an object begins."""
    return Place((), (), kind.schema)


def _keys(kind: Kind, place: Place, *values: Any) -> tuple[str, ...] | None:
    """The keys of a list that is a map or (none) a set; ``None`` for a list that is one value."""
    keys = kind.list_keys.get(place.plain)
    if keys is None or any(not isinstance(each, dict) for value in values for each in value if keys):
        return None
    return keys


def part_of(item: Any, keys: tuple[str, ...], place: Place) -> str:
    """An item of a list as a path's part."""
    if not keys:
        return "v:" + json.dumps(item, separators=(",", ":"))
    known = ((place.schema or {}).get("items") or {}).get("properties") or {}
    found = {key: item.get(key, (known.get(key) or {}).get("default")) for key in sorted(keys)}
    return "k:" + json.dumps({key: value for key, value in found.items() if value is not None}, separators=(",", ":"))


def _items(value: list[Any], keys: tuple[str, ...], place: Place) -> Iterator[tuple[str, Any]]:
    return ((part_of(each, keys, place), each) for each in value)


def shown(path: Path) -> str:
    """A field as messages have it."""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(part[2:]).items()) + "]"
        else:
            text += f"[{'=' if part.startswith('v:') else ''}{part[2:]}]"
    return text


def members(item: Any, kind: Kind) -> Fields:
    """The fields that an object has."""
    found: Fields = set()
    _members(item, root(kind), kind, found)
    return found - STRIPPED


def _members(value: Any, place: Place, kind: Kind, found: Fields) -> None:
    if isinstance(value, dict) and place.plain not in kind.atomic:
        for name, inner in value.items():
            here, declared = place.entry(name)
            _members(inner, here, kind, found)
            if inner is None or inner == {} or not declared:
                found.add(here.path)
        return
    keys = _keys(kind, place, value) if isinstance(value, list) else None
    if keys is None:
        if place.path and value is not None:
            found.add(place.path)
        return
    for part, each in _items(value, keys, place):
        _members(each, place.item(part), kind, found)
        found.add((*place.path, part))


@dataclass(slots=True)
class Difference:
    """What one object has more, less, or otherwise than another."""

    added: Fields = field(default_factory=set)
    removed: Fields = field(default_factory=set)
    modified: Fields = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified)


def compare(old: Any, new: Any, kind: Kind) -> Difference:
    """How *new* differs from *old*, without fields that nobody owns."""
    found = Difference()
    _compare(old, new, root(kind), kind, found)
    found.added -= STRIPPED
    found.removed -= STRIPPED
    found.modified -= STRIPPED
    return found


def _compare(old: Any, new: Any, place: Place, kind: Kind, found: Difference) -> None:
    shape = old if new is _ABSENT or new is None else new
    same = type(old) is type(new) or any(each is _ABSENT or each is None for each in (old, new))
    sides = [each if isinstance(each, type(shape)) else type(shape)() for each in (old, new)] if same else []
    if isinstance(shape, dict) and same and place.plain not in kind.atomic and any(sides):
        _compare_entries(sides[0], sides[1], place, kind, found)
    elif isinstance(shape, list) and same and any(sides) and (keys := _keys(kind, place, *sides)) is not None:
        one, two = (dict(_items(side, keys, place)) for side in sides)
        for part in {**one, **two}:
            _compare(one.get(part, _ABSENT), two.get(part, _ABSENT), place.item(part), kind, found)
    elif old is not _ABSENT and new is not _ABSENT:
        if old != new or type(old) is not type(new):
            found.modified.add(place.path)
        if not same:  # a map that gives way to something else takes its entries along, and one that comes brings them
            before, after = (each if isinstance(each, dict) else {} for each in (old, new))
            _compare_entries(before, after, place, kind, found)
        return
    if old is _ABSENT:
        found.added.add(place.path)
    elif new is _ABSENT:
        found.removed.add(place.path)


def _compare_entries(
    before: Mapping[str, Any], after: Mapping[str, Any], place: Place, kind: Kind, found: Difference
) -> None:
    for name in {**before, **after}:
        here, _ = place.entry(name)
        _compare(before.get(name, _ABSENT), after.get(name, _ABSENT), here, kind, found)


def with_named(fields: Fields, kind: Kind) -> Fields:
    """*fields*, and every declared field that has some of them below it."""
    whole = set(fields)
    for path in fields:
        place, declared = root(kind), False
        for index, part in enumerate(path[:-1], start=1):
            place, declared = place.entry(part[2:]) if part.startswith("f:") else (place.item(part), False)
            if declared:
                whole.add(path[:index])
    return whole


def without(item: Any, gone: Fields, kind: Kind) -> Any:
    """*item* without the fields of *gone* and all that is below them.

    A map or list that loses its last entry so is null, and no empty one: structured merge makes no difference there, and
    a custom object that has it is refused for its type.
    """
    tree: dict[str, Any] = {}
    for path in gone:
        here = tree
        for part in path:
            here = here.setdefault(part, {})
        here[""] = True
    kept = _without(item, tree, root(kind), kind)
    return {} if kept is None else kept


def _without(value: Any, tree: Mapping[str, Any], place: Place, kind: Kind) -> Any:
    if isinstance(value, dict):
        kept = {}
        for name, inner in value.items():
            below = tree.get(f"f:{name}")
            if below is None:
                kept[name] = inner
            elif "" not in below:
                kept[name] = _without(inner, below, place.entry(name)[0], kind)
        return kept or None
    if isinstance(value, list) and (keys := _keys(kind, place, value)) is not None:
        rest = []
        for part, each in _items(value, keys, place):
            below = tree.get(part)
            if below is None or "" not in below:
                rest.append(each if below is None else _without(each, below, place.item(part), kind))
        return rest or None
    return value


def merged(live: Any, wanted: Any, kind: Kind) -> Any:
    """*live* with what *wanted* has."""
    return _merged(live, wanted, root(kind), kind)


def _merged(live: Any, wanted: Any, place: Place, kind: Kind) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict) and place.plain not in kind.atomic:
        result = dict(live)
        for name, inner in wanted.items():
            here, _ = place.entry(name)
            result[name] = _merged(live.get(name, _ABSENT), inner, here, kind)
        return result
    if wanted is None and _has_owned_entries(live, place, kind):
        return live  # nothing, where each entry has owners, takes nobody's away
    if not isinstance(wanted, list) or not isinstance(live, list):
        return wanted
    keys = _keys(kind, place, live, wanted)
    return wanted if keys is None else _merged_list(live, wanted, keys, place, kind)


def _has_owned_entries(value: Any, place: Place, kind: Kind) -> bool:
    if isinstance(value, dict):
        return bool(value) and place.plain not in kind.atomic
    return isinstance(value, list) and bool(value) and _keys(kind, place, value) is not None


def _merged_list(live: list[Any], wanted: list[Any], keys: tuple[str, ...], place: Place, kind: Kind) -> list[Any]:
    """In the order of *wanted*, with those that only *live* has before the shared ones that they stood before."""
    mine, theirs = list(_items(wanted, keys, place)), list(_items(live, keys, place))
    known, held = dict(mine), dict(theirs)
    shared = [part for part, _ in mine if part in held]
    done: set[str] = set()
    result: list[Any] = []
    while mine or theirs:
        if mine and theirs and theirs[0][0] in known and shared and theirs[0][0] != shared[0]:
            theirs.pop(0)  # a shared item whose turn, in the other order, comes later or is over
            continue
        if theirs and theirs[0][0] not in known:
            result.append(theirs.pop(0)[1])
            continue
        if not mine or (theirs and theirs[0][0] in done):
            theirs.pop(0)
            continue
        part, each = mine.pop(0)
        done.add(part)
        result.append(_merged(held[part], each, place.item(part), kind) if part in held else each)
        if shared[:1] == [part]:
            shared.pop(0)
    return result


def encode(fields: Iterable[Path]) -> dict[str, Any]:
    """Fields as FieldsV1."""
    tree: dict[str, Any] = {}
    own: list[dict[str, Any]] = []
    for path in sorted(fields):
        here = tree
        for part in path:
            here = here.setdefault(part, {})
        own.append(here)
    for here in own:
        if here:
            below = dict(here)
            here.clear()
            here.update({".": {}, **below})
    return tree


def decode(tree: Mapping[str, Any]) -> Fields:
    """FieldsV1 as fields."""
    found: Fields = set()

    def walk(inner: Mapping[str, Any], path: Path) -> None:
        if not inner or "." in inner:
            found.add(path)
        for name, deeper in inner.items():
            if name != ".":
                walk(deeper, (*path, name))

    for name, inner in tree.items():
        walk(inner, (name,))
    return found
