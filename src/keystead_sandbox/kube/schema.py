"""Structural schemas of CRDs: pruning, defaulting and validation."""

import copy
import datetime
import re
from typing import Any

import msgspec

from keystead_sandbox.kube.builtins import METADATA

Problem = tuple[str, str, str]
"""Field, reason, message."""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def prune(
    value: Any, schema: dict[str, Any], *, root: bool = False, dropped: list[str] | None = None, path: str = ""
) -> Any:
    """*value* without what the schema does not know; the paths of what went are added to *dropped*."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [prune(each, schema["items"], dropped=dropped, path=f"{path}[{n}]") for n, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        if root and name == "metadata":
            kept[name] = prune(inner, METADATA, dropped=dropped, path=name)
        elif name in properties:
            kept[name] = prune(inner, properties[name], dropped=dropped, path=here)
        elif isinstance(extra, dict):
            kept[name] = prune(inner, extra, dropped=dropped, path=here)
        elif (
            extra is True
            or schema.get("x-kubernetes-preserve-unknown-fields")
            or (root and name in ("apiVersion", "kind"))
        ):
            kept[name] = inner
        elif dropped is not None:
            dropped.append(here)
    return kept


def without_nulls(value: Any, schema: dict[str, Any]) -> Any:
    """*value* as a typed server decodes it: a field that is null was not given, an entry of a map of texts is empty."""
    if isinstance(value, list):
        return [without_nulls(each, schema.get("items") or {}) for each in value]
    if not isinstance(value, dict):
        return value
    known, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    if isinstance(extra, dict) and extra.get("type") == "string":
        return {name: "" if inner is None else inner for name, inner in value.items()}
    return {
        name: without_nulls(inner, known.get(name, {}))
        for name, inner in value.items()
        if inner is not None or name not in known
    }


def default(value: Any, schema: dict[str, Any], *, keep_nulls: bool = False) -> Any:
    """*value* with the schema's defaults where nothing is given; a null that may not be one is nothing.

    With *keep_nulls* such a null stays where the schema has no default for it: so much is left of what server-side apply
    made, while what a client sent has lost it before (apiextensions-apiserver, ``pkg/apiserver/schema/defaulting``).
    """
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [default(each, schema["items"], keep_nulls=keep_nulls) for each in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, inner in (schema.get("properties") or {}).items():
        is_kept = inner.get("nullable") or (keep_nulls and "default" not in inner)
        if name in filled and filled[name] is None and not is_kept:
            del filled[name]
        if name not in filled and "default" in inner:
            filled[name] = copy.deepcopy(inner["default"])
        if name in filled:
            filled[name] = default(filled[name], inner, keep_nulls=keep_nulls)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        known = schema.get("properties") or {}
        filled = {
            name: inner if name in known else default(inner, extra, keep_nulls=keep_nulls)
            for name, inner in filled.items()
            if name in known or inner is not None or extra.get("nullable") or keep_nulls
        }
    return filled


def validate(value: Any, schema: dict[str, Any], path: str = "") -> list[Problem]:
    """All that does not fit, each with its field."""
    if value is None:
        typed = schema.get("type") or schema.get("x-kubernetes-int-or-string")
        return [_wrong_type(path, schema, value)] if typed and not schema.get("nullable") else []
    if schema.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, int | str) and not isinstance(value, bool)
    else:
        kind = schema.get("type")
        fits = not kind or (isinstance(value, _TYPES[kind]) and isinstance(value, bool) <= (kind == "boolean"))
    if not fits and isinstance(value, float) and schema.get("type") == "integer":
        text = f'Invalid value: "": Checked value must be of type integer (default format) in {path}'
        return [_wrong_type(path, schema, value), ("<nil>", "FieldValueInvalid", text)]
    if not fits:
        return [_wrong_type(path, schema, value), *_enumerated(value, schema, path)]
    problems = _enumerated(value, schema, path)
    if isinstance(value, str):
        problems += _text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        problems += _number(value, schema, path)
    elif isinstance(value, dict):
        problems += _map(value, schema, path)
    elif isinstance(value, list):
        problems += _list(value, schema, path)
    return problems + _combined(value, schema, path)


def _wrong_type(path: str, schema: dict[str, Any], value: Any) -> Problem:
    shown = next((name for name, types in _TYPES.items() if type(value) in types), "null")
    wanted = schema.get("type") or "integer,string"
    text = f'Invalid value: "{shown}": {path} in body must be of type {wanted}: "{shown}"'
    return path, "FieldValueTypeInvalid", text


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _enumerated(value: Any, schema: dict[str, Any], path: str) -> list[Problem]:
    if "enum" not in schema or value in schema["enum"]:
        return []
    allowed = ", ".join(f'"{each}"' for each in schema["enum"])
    return [(path, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {allowed}")]


def _text(value: str, schema: dict[str, Any], path: str) -> list[Problem]:
    problems: list[Problem] = []
    if len(value) < schema.get("minLength", 0):
        text = f'Invalid value: "{value}": {path} in body should be at least {schema["minLength"]} chars long'
        problems.append((path, "FieldValueInvalid", text))
    if len(value) > schema.get("maxLength", len(value)):
        problems.append((path, "FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} bytes"))
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        text = f"Invalid value: \"{value}\": {path} in body should match '{schema['pattern']}'"
        problems.append((path, "FieldValueInvalid", text))
    if schema.get("format") == "date-time" and not is_instant(value):
        text = f'Invalid value: "{value}": {path} in body must be of type date-time: "{value}"'
        problems.append((path, "FieldValueTypeInvalid", text))
    return problems


def _number(value: float, schema: dict[str, Any], path: str) -> list[Problem]:
    told: list[str] = []
    least, most = schema.get("minimum", value), schema.get("maximum", value)
    if value < least or (value == least and schema.get("exclusiveMinimum")):
        told.append(f"should be greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{least}")
    if value > most or (value == most and schema.get("exclusiveMaximum")):
        told.append(f"should be less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{most}")
    if schema.get("multipleOf") and value % schema["multipleOf"]:
        told.append(f"should be a multiple of {schema['multipleOf']}")
    return [(path, "FieldValueInvalid", f"Invalid value: {value}: {path} in body {each}") for each in told]


def is_instant(value: str) -> bool:
    """Whether a text is an instant with its zone (RFC 3339)."""
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _map(value: dict[str, Any], schema: dict[str, Any], path: str) -> list[Problem]:
    problems: list[Problem] = [
        (f"{path}.{name}" if path else name, "FieldValueRequired", "Required value")
        for name in schema.get("required") or ()
        if name not in value
    ]
    size = len(value)
    if size < schema.get("minProperties", 0):
        problems.append(
            (
                path,
                "FieldValueInvalid",
                f"Invalid value: {size}: {path} in body should have at least {schema['minProperties']} properties",
            )
        )
    if size > schema.get("maxProperties", size):
        problems.append(
            (path, "FieldValueTooMany", f"Too many: {size}: must have at most {schema['maxProperties']} items")
        )
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, inner in value.items():
        here = properties.get(name) or (extra if isinstance(extra, dict) else None)
        if here is not None and not (path == "" and name == "metadata"):
            problems += validate(inner, here, f"{path}.{name}" if path else name)
    return problems


def _list(value: list[Any], schema: dict[str, Any], path: str) -> list[Problem]:
    problems: list[Problem] = []
    size = len(value)
    if size < schema.get("minItems", 0):
        problems.append(
            (
                path,
                "FieldValueInvalid",
                f"Invalid value: {size}: {path} in body should have at least {schema['minItems']} items",
            )
        )
    if size > schema.get("maxItems", size):
        problems.append((path, "FieldValueTooMany", f"Too many: {size}: must have at most {schema['maxItems']} items"))
    keys = schema.get("x-kubernetes-list-map-keys")
    seen: list[Any] = []
    for index, each in enumerate(value):
        if isinstance(schema.get("items"), dict):
            problems += validate(each, schema["items"], f"{path}[{index}]")
        identity = {key: each.get(key) for key in keys} if keys and isinstance(each, dict) else each
        if (keys or schema.get("x-kubernetes-list-type") == "set") and identity in seen:
            problems.append((f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {_shown(identity)}"))
        seen.append(identity)
    return problems


def _combined(value: Any, schema: dict[str, Any], path: str) -> list[Problem]:
    problems: list[Problem] = []
    for each in schema.get("allOf") or ():
        problems += validate(value, each, path)
    if schema.get("anyOf") and all(validate(value, each, path) for each in schema["anyOf"]):
        text = f'Invalid value: "": "{path}" must validate at least one schema (anyOf)'
        problems.append(("<nil>", "FieldValueInvalid", text))
    failing = [validate(value, each, path) for each in schema.get("oneOf") or ()]
    matching = failing.count([])
    if failing and matching != 1:
        found = f"Found {matching} valid alternatives" if matching else "Found none valid"
        text = f'Invalid value: "": "{path}" must validate one and only one schema (oneOf). {found}'
        problems.append(("<nil>", "FieldValueInvalid", text))
        problems += failing[0] if not matching else []
    if "not" in schema and not validate(value, schema["not"], path):
        text = f'Invalid value: "": "{path}" must not validate the schema (not)'
        problems.append(("<nil>", "FieldValueInvalid", text))
    return problems
