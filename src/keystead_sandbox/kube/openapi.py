"""OpenAPI v3 of what is served: for ``kubectl explain``, and for kubectl to see that validation is the server's."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from keystead_sandbox.kube import builtins
from keystead_sandbox.kube.kinds import Kind

_HEAD = {
    "apiVersion": {"type": "string", "description": "Version of this representation."},
    "kind": {"type": "string", "description": "What this object is."},
    "metadata": builtins.METADATA,
}


def version_two() -> bytes:
    """``/openapi/v2`` as protobuf: a document that describes nothing, and by which kubectl finds nothing wrong with a List."""

    def text(number: int, value: bytes) -> bytes:
        return bytes((number << 3 | 2, len(value))) + value

    information = text(1, b"Kubernetes") + text(2, b"keystead-sandbox")
    return text(1, b"2.0") + text(2, information) + text(8, b"")


def index(kinds: Iterable[Kind]) -> dict[str, Any]:
    """``/openapi/v3``: one document for each group and version, named by its content so that clients may keep it."""
    known = list(kinds)
    paths: dict[str, Any] = {}
    for path in sorted({_prefix(kind) for kind in known}):
        mark = hashlib.sha256(msgspec.json.encode(document(known, path))).hexdigest()[:32].upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={mark}"}
    return {"paths": paths}


def document(kinds: Iterable[Kind], path: str) -> dict[str, Any] | None:
    """Schemas of the kinds below *path*."""
    found = [kind for kind in kinds if _prefix(kind) == path]
    if not found:
        return None
    schemas: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    for kind in found:
        name = f"{'.'.join(reversed((kind.group or 'core.k8s.io').split('.')))}.{kind.version}.{kind.kind}"
        model = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        schemas[name] = {**_schema(kind), "x-kubernetes-group-version-kind": [model]}
        routes |= _routes(kind, path, name, model)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": routes,
        "components": {"schemas": schemas},
    }


def _schema(kind: Kind) -> dict[str, Any]:
    """Custom kinds are published with the metadata that they have in any case."""
    return {**kind.schema, "properties": {**(kind.schema.get("properties") or {}), **_HEAD}}


def _routes(kind: Kind, path: str, name: str, model: dict[str, str]) -> dict[str, Any]:
    place = f"/{path}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"/{path}/{kind.plural}"
    reference = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    operation = {
        "x-kubernetes-group-version-kind": model,
        "responses": {"200": {"description": "OK", "content": reference}},
    }
    parameters = [
        {"name": each, "in": "query", "schema": {"type": "string"}}
        for each in ("dryRun", "fieldManager", "fieldValidation")
    ]
    writing = {**operation, "parameters": parameters, "requestBody": {"content": reference}}
    return {
        place: {
            "get": {**operation, "x-kubernetes-action": "list"},
            "post": {**writing, "x-kubernetes-action": "post"},
        },
        f"{place}/{{name}}": {
            "get": {**operation, "x-kubernetes-action": "get"},
            "patch": {**writing, "x-kubernetes-action": "patch"},
        },
    }


def _prefix(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
