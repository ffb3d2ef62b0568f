"""CRDs from the structs of :mod:`keystead.kube.resources`: structural, documented, with rules and columns."""

from typing import Any

import msgspec
import yaml
from msgspec import inspect

from keystead.kube.kinds import KINDS, Kind
from keystead.kube.resources import GROUP, VERSION

_CONDITIONS = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
_CONSTRAINTS = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "ge": "minimum",
    "le": "maximum",
}
_ITEM_CONSTRAINTS = {"min_length": "minItems", "max_length": "maxItems"}


def crds() -> list[dict[str, Any]]:
    """One CustomResourceDefinition for each of our kinds."""
    return [_crd(kind) for kind in KINDS]


def crd_yaml() -> str:
    """All of them as YAML documents."""
    return yaml.safe_dump_all(crds(), sort_keys=False, width=120)


def _crd(kind: Kind) -> dict[str, Any]:
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(kind)},
        "additionalPrinterColumns": [
            {"name": title, "type": type_, "jsonPath": path} for title, type_, path in kind.columns
        ],
    }
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "keystead"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["keystead"],
            },
            "versions": [version],
        },
    }


def _root(kind: Kind) -> dict[str, Any]:
    spec = _schema(inspect.type_info(kind.spec))
    if kind.spec_rules:
        spec["x-kubernetes-validations"] = [{"rule": rule, "message": text} for rule, text in kind.spec_rules]
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string", "description": "Version of this schema."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},  # the API server refuses anything more to be said about it
        "spec": spec,
    }
    if kind.status is not None:
        properties["status"] = _schema(inspect.type_info(kind.status))
    root: dict[str, Any] = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": properties,
    }
    if kind.rules:
        root["x-kubernetes-validations"] = [{"rule": rule, "message": text} for rule, text in kind.rules]
    return root


def _schema(info: inspect.Type) -> dict[str, Any]:
    """The structural schema of a type; TypeError on one that has none."""
    description = ""
    while isinstance(info, inspect.Metadata):
        description = str((info.extra_json_schema or {}).get("description", description))
        info = info.type
    schema = _union(info) if isinstance(info, inspect.UnionType) else _plain(info)
    return {"description": description, **schema} if description else schema


def _union(info: inspect.UnionType) -> dict[str, Any]:
    kinds = [each for each in info.types if not isinstance(each, inspect.NoneType)]
    if {type(each) for each in kinds} == {inspect.IntType, inspect.StrType}:
        return {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    if len(kinds) != 1:
        raise TypeError(f"no structural schema for {info}")
    return _schema(kinds[0])


def _plain(info: inspect.Type) -> dict[str, Any]:
    match info:
        case inspect.StructType():
            return _struct(info)
        case inspect.ListType():
            items = _schema(info.item_type)
            schema: dict[str, Any] = {"type": "array", "items": items, **_constraints(info, _ITEM_CONSTRAINTS)}
            return schema
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _schema(info.value_type)}
        case inspect.EnumType():
            return {"type": "string", "enum": [each.value for each in info.cls]}
        case inspect.StrType():
            return {"type": "string", **_constraints(info, _CONSTRAINTS)}
        case inspect.IntType():
            return {"type": "integer", **_constraints(info, _CONSTRAINTS)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case _:
            raise TypeError(f"no structural schema for {info}")


def _constraints(info: inspect.Type, names: dict[str, str]) -> dict[str, Any]:
    given = ((there, getattr(info, here, None)) for here, there in names.items())
    return {there: value for there, value in given if value is not None}


def _struct(info: inspect.StructType) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for field in info.fields:
        schema = _schema(field.type)
        default = _default(field)
        if default is not None:
            schema["default"] = default
        if field.encode_name == "conditions":
            schema |= _CONDITIONS
        properties[field.encode_name] = schema
    required = [field.encode_name for field in info.fields if field.required]
    schema = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _default(field: inspect.Field) -> Any:
    """A default worth writing down: the API server then shows what counts."""
    value = field.default if field.default is not msgspec.NODEFAULT else None
    if field.default_factory is not msgspec.NODEFAULT:
        made = field.default_factory()
        return {} if isinstance(made, msgspec.Struct) else None
    if value is None or value == "" or isinstance(value, list | dict):
        return "" if value == "" else None
    return msgspec.to_builtins(value)
