"""Bodies that do not fit the types of a kind, in the words of the real server's decoders.

- :func:`problem` is of whole objects: of built-in kinds all fields have Go types, of custom ones the metadata alone.
- :func:`untyped` is of server-side apply, whose decoder knows the schema of every kind.
- :func:`duplicates` finds names that a body gives twice, which JSON parsers pass over.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from keystead_sandbox.kube import builtins, fieldsets
from keystead_sandbox.kube.fieldsets import part_of
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.schema import is_instant

Schema: TypeAlias = Mapping[str, Any]
_JSON = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
_GO = {"string": "string", "boolean": "bool", "integer": "int32", "number": "float64"}
_FITS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}


def problem(item: Mapping[str, Any], kind: Kind) -> str:
    """What cannot be decoded; empty when all can."""
    shown = dict(item)
    metadata = shown.pop("metadata", None)
    place = "" if kind.custom else "metadata"
    return _decoded(metadata, builtins.METADATA, "ObjectMeta", place) or (
        "" if kind.custom else _decoded(shown, kind.schema, kind.kind, "")
    )


def _decoded(value: Any, schema: Schema, struct: str, path: str) -> str:
    type_ = schema.get("type")
    if value is None or type_ is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return ""
    if schema.get("format") == "date-time" and isinstance(value, str):
        layout = (
            "2006-01-02T15:04:05Z07:00"
            if "metadata" in path or not _is_micro(path)
            else "2006-01-02T15:04:05.000000Z07:00"
        )
        text = f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
        return "" if is_instant(value) else text
    if not _fits(value, type_):
        return f"json: cannot unmarshal {_JSON[type(value)]} into Go struct field {struct}.{path} of type {_go(schema, path)}"
    if isinstance(value, dict):
        known, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if name in known:
                found = _decoded(inner, known[name], _struct(struct, name, known[name]), here)
            else:
                found = _decoded(inner, extra, struct, path) if isinstance(extra, dict) else ""
            if found:
                return found
    if isinstance(value, list):
        return next(filter(None, (_decoded(each, schema["items"], struct, path) for each in value)), "")
    return ""


def _struct(struct: str, name: str, schema: Schema) -> str:
    """The Go struct that a field's own fields belong to."""
    if schema.get("properties") and name in ("spec", "status"):
        return f"{struct}{name.capitalize()}"
    return struct


def _is_micro(path: str) -> bool:
    return path.rpartition(".")[2] in ("renewTime", "acquireTime", "eventTime", "lastObservedTime")


def _fits(value: Any, type_: str) -> bool:
    return isinstance(value, _FITS[type_]) and isinstance(value, bool) <= (type_ == "boolean")


def _go(schema: Schema, path: str) -> str:
    type_ = schema["type"]
    if type_ == "array":
        return f"[]{_go(schema['items'], path)}"
    if type_ != "object":
        return _GO[type_]
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map[string]{_go(schema['additionalProperties'], path)}"
    return f"v1.{path.rpartition('.')[2].capitalize()}"


def untyped(item: Mapping[str, Any], kind: Kind) -> str:
    """What of an applied object the schema of its kind does not declare or types otherwise; empty when all is well."""
    return _untyped(dict(item), fieldsets.root(kind), kind)


def _untyped(value: Any, place: fieldsets.Place, kind: Kind) -> str:
    schema = place.schema
    if value is None or schema is None:
        return ""
    where = fieldsets.shown(place.path)
    type_ = schema.get("type")
    if schema.get("x-kubernetes-int-or-string") or type_ is None:
        return ""
    if not _fits(value, type_) and not (type_ == "integer" and isinstance(value, float)):
        wanted = {
            "integer": "numeric (int or float)",
            "number": "numeric (int or float)",
            "object": "map",
            "array": "list",
        }
        shown = {str: "string", dict: "map", list: "list", bool: "boolean"}.get(type(value))
        got = shown if type_ in wanted and shown else f"&value.valueUnstructured{{Value:{_go_value(value)}}}"
        return f"{where}: expected {wanted.get(type_, type_)}, got {got}"
    if isinstance(value, dict):
        return _untyped_map(value, place, kind)
    if isinstance(value, list):
        return _untyped_list(value, place, kind)
    return ""


def _untyped_map(value: Mapping[str, Any], place: fieldsets.Place, kind: Kind) -> str:
    schema = place.schema or {}
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties")
    for name, inner in value.items():
        here, is_declared = place.entry(name)
        if not is_declared and not free and not (not place.path and name in ("apiVersion", "kind")):
            return f"{fieldsets.shown(here.path)}: field not declared in schema"
        found = _untyped(inner, here, kind)
        if found:
            return found
    return ""


def _untyped_list(value: list[Any], place: fieldsets.Place, kind: Kind) -> str:
    keys = kind.list_keys.get(place.plain)
    where = fieldsets.shown(place.path)
    seen: set[str] = set()
    for index, each in enumerate(value):
        part = f"i:{index}"
        if keys is not None and (not keys or isinstance(each, dict)):
            part = part_of(each, keys, place)
            if keys and part == "k:{}":
                names = json.dumps(list(keys))
                return (
                    f"{where}: element {index}: associative list with keys has an element that omits all key fields "
                    f"{names} (and doesn't have default values for any key fields)"
                )
            if part in seen:
                return f"{where}: duplicate entries for key {fieldsets.shown((part,))}"
            seen.add(part)
        found = _untyped(each, place.item(part), kind)
        if found:
            return found
    return ""


def _go_value(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


def duplicates(content: bytes) -> tuple[str, ...]:
    """Names that a JSON body gives twice in one object, with their paths, as far as objects in objects go."""
    found: list[str] = []

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in given:
            if name in made:
                found.append(name)
            made[name] = value
        return made

    try:
        json.loads(content, object_pairs_hook=pairs)
    except ValueError:
        return ()
    return tuple(f'duplicate field "{name}"' for name in dict.fromkeys(found))
