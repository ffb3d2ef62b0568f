"""Structural schemas of CRDs: pruning, defaulting and validation."""

import datetime
import re
from typing import Any

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
        if name in properties and not (root and name == "metadata"):
            kept[name] = prune(inner, properties[name], dropped=dropped, path=here)
        elif isinstance(extra, dict):
            kept[name] = prune(inner, extra, dropped=dropped, path=here)
        elif (
            extra is True
            or schema.get("x-kubernetes-preserve-unknown-fields")
            or (root and name in ("apiVersion", "kind", "metadata"))
        ):
            kept[name] = inner
        elif dropped is not None:
            dropped.append(here)
    return kept


def default(value: Any, schema: dict[str, Any]) -> Any:
    """*value* with the schema's defaults where nothing is given."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [default(each, schema["items"]) for each in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, inner in (schema.get("properties") or {}).items():
        if name not in filled and "default" in inner:
            filled[name] = inner["default"]
        if name in filled:
            filled[name] = default(filled[name], inner)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        known = schema.get("properties") or {}
        filled = {name: inner if name in known else default(inner, extra) for name, inner in filled.items()}
    return filled


def validate(value: Any, schema: dict[str, Any], path: str = "") -> list[Problem]:
    """All that does not fit, each with its field."""
    if value is None:
        return [] if schema.get("nullable") or not schema.get("type") else [_wrong_type(path, schema, value)]
    if schema.get("x-kubernetes-int-or-string"):
        return (
            [] if isinstance(value, int | str) and not isinstance(value, bool) else [_wrong_type(path, schema, value)]
        )
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [_wrong_type(path, schema, value)]
    problems = _scalar(value, schema, path)
    if isinstance(value, dict):
        problems += _map(value, schema, path)
    if isinstance(value, list):
        problems += _list(value, schema, path)
    return problems + _combined(value, schema, path)


def _wrong_type(path: str, schema: dict[str, Any], value: Any) -> Problem:
    names = {
        str: "string",
        int: "integer",
        float: "number",
        bool: "boolean",
        dict: "object",
        list: "array",
        type(None): "null",
    }
    wanted = schema.get("type") or "integer or string"
    text = f'Invalid value: "{names.get(type(value), "?")}": {path} in body must be of type {wanted}: "{names.get(type(value), "?")}"'
    return path, "FieldValueTypeInvalid", text


def _scalar(value: Any, schema: dict[str, Any], path: str) -> list[Problem]:
    problems: list[Problem] = []

    def refuse(reason: str, text: str) -> None:
        problems.append((path, reason, text))

    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(f'"{each}"' for each in schema["enum"])
        refuse("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {allowed}')
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            refuse(
                "FieldValueInvalid",
                f'Invalid value: "{value}": {path} in body should be at least {schema["minLength"]} chars long',
            )
        if len(value) > schema.get("maxLength", len(value)):
            refuse("FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} bytes")
        if "pattern" in schema and re.search(schema["pattern"], value) is None:
            refuse(
                "FieldValueInvalid", f"Invalid value: \"{value}\": {path} in body should match '{schema['pattern']}'"
            )
        if schema.get("format") == "date-time" and not _is_instant(value):
            refuse(
                "FieldValueInvalid", f'Invalid value: "{value}": {path} in body must be of type date-time: "{value}"'
            )
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            refuse(
                "FieldValueInvalid",
                f"Invalid value: {value}: {path} in body should be greater than or equal to {schema['minimum']}",
            )
        if value > schema.get("maximum", value):
            refuse(
                "FieldValueInvalid",
                f"Invalid value: {value}: {path} in body should be less than or equal to {schema['maximum']}",
            )
    return problems


def _is_instant(value: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _map(value: dict[str, Any], schema: dict[str, Any], path: str) -> list[Problem]:
    problems: list[Problem] = []
    problems += [
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
        identity = [each.get(key) for key in keys] if keys and isinstance(each, dict) else each
        if (keys or schema.get("x-kubernetes-list-type") == "set") and identity in seen:
            problems.append((f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {identity}"))
        seen.append(identity)
    return problems


def _combined(value: Any, schema: dict[str, Any], path: str) -> list[Problem]:
    problems: list[Problem] = []
    for each in schema.get("allOf") or ():
        problems += validate(value, each, path)
    if schema.get("anyOf") and all(validate(value, each, path) for each in schema["anyOf"]):
        problems.append(
            (path, "FieldValueInvalid", f"Invalid value: {path} in body must validate at least one schema (anyOf)")
        )
    matching = [each for each in schema.get("oneOf") or () if not validate(value, each, path)]
    if schema.get("oneOf") and len(matching) != 1:
        problems.append(
            (path, "FieldValueInvalid", f"Invalid value: {path} in body must validate one and only one schema (oneOf)")
        )
    if "not" in schema and not validate(value, schema["not"], path):
        problems.append(
            (path, "FieldValueInvalid", f"Invalid value: {path} in body must not validate the schema (not)")
        )
    return problems
