"""Just enough of Kubernetes' protobuf to read what kubectl sends: a few kinds it writes so, and takes JSON back."""

import base64
from typing import Any

from keystead_sandbox.kube.errors import ApiError

MAGIC = b"k8s\x00"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

_META = {
    1: ("name", "s"),
    2: ("generateName", "s"),
    3: ("namespace", "s"),
    5: ("uid", "s"),
    11: ("labels", "m"),
    12: ("annotations", "m"),
}
_RULE = {
    1: ("verbs", "l"),
    2: ("apiGroups", "l"),
    3: ("resources", "l"),
    4: ("resourceNames", "l"),
    5: ("nonResourceURLs", "l"),
}
_SUBJECT = {1: ("kind", "s"), 2: ("apiGroup", "s"), 3: ("name", "s"), 4: ("namespace", "s")}
_ROLE = {1: ("apiGroup", "s"), 2: ("kind", "s"), 3: ("name", "s")}
_BOUND = {1: ("kind", "s"), 2: ("apiVersion", "s"), 3: ("name", "s"), 4: ("uid", "s")}
_SCHEMAS: dict[str, dict[int, tuple[str, Any]]] = {
    "Namespace": {1: ("metadata", _META)},
    "ServiceAccount": {1: ("metadata", _META)},
    "ConfigMap": {1: ("metadata", _META), 2: ("data", "m"), 4: ("immutable", "b")},
    "Secret": {
        1: ("metadata", _META),
        2: ("data", "mb"),
        3: ("type", "s"),
        4: ("stringData", "m"),
        5: ("immutable", "b"),
    },
    "TokenRequest": {
        1: ("metadata", _META),
        2: ("spec", {1: ("audiences", "l"), 3: ("boundObjectRef", _BOUND), 4: ("expirationSeconds", "i")}),
    },
    "SelfSubjectReview": {1: ("metadata", _META)},
    "SelfSubjectAccessReview": {
        1: ("metadata", _META),
        2: (
            "spec",
            {
                1: (
                    "resourceAttributes",
                    {
                        1: ("namespace", "s"),
                        2: ("verb", "s"),
                        3: ("group", "s"),
                        4: ("version", "s"),
                        5: ("resource", "s"),
                        6: ("subresource", "s"),
                        7: ("name", "s"),
                    },
                )
            },
        ),
    },
    "SelfSubjectRulesReview": {1: ("metadata", _META), 2: ("spec", {1: ("namespace", "s")})},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "i"),
        2: ("preconditions", {1: ("uid", "s"), 2: ("resourceVersion", "s")}),
        4: ("propagationPolicy", "s"),
        5: ("dryRun", "l"),
    },
    "Role": {1: ("metadata", _META), 2: ("rules", [_RULE])},
    "ClusterRole": {1: ("metadata", _META), 2: ("rules", [_RULE])},
    "RoleBinding": {1: ("metadata", _META), 2: ("subjects", [_SUBJECT]), 3: ("roleRef", _ROLE)},
    "ClusterRoleBinding": {1: ("metadata", _META), 2: ("subjects", [_SUBJECT]), 3: ("roleRef", _ROLE)},
}


def decode(body: bytes) -> dict[str, Any]:
    """A JSON object. ApiError 415 for a kind that this does not know."""
    if not body.startswith(MAGIC):
        raise ApiError(415, "UnsupportedMediaType", "the body of the request is not Kubernetes protobuf")
    envelope = _message(body[len(MAGIC) :])
    type_meta = _message(envelope.get(1, [b""])[0])
    api_version, kind = (type_meta.get(number, [b""])[0].decode() for number in (1, 2))
    schema = _SCHEMAS.get(kind)
    if schema is None:
        raise ApiError(415, "UnsupportedMediaType", f"the sandbox does not read {kind} as protobuf")
    return {"apiVersion": api_version, "kind": kind, **_object(envelope.get(2, [b""])[0], schema)}


def _object(data: bytes, schema: dict[int, tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, values in _message(data).items():
        if number in schema:
            name, kind = schema[number]
            found[name] = _field(values, kind)
    return {name: value for name, value in found.items() if value not in ("", {}, [])}


def _field(values: list[Any], kind: Any) -> Any:
    if isinstance(kind, dict):
        return _object(values[0], kind)
    if isinstance(kind, list):
        return [_object(each, kind[0]) for each in values]
    if kind in ("m", "mb"):
        pairs = [_message(each) for each in values]
        return {pair.get(1, [b""])[0].decode(): _entry(pair.get(2, [b""])[0], kind) for pair in pairs}
    if kind == "l":
        return [each.decode() for each in values]
    if kind == "i":
        return int(values[0])
    if kind == "b":
        return bool(values[0])
    return values[0].decode()


def _entry(value: bytes, kind: str) -> str:
    return base64.b64encode(value).decode() if kind == "mb" else value.decode()


def _message(data: bytes) -> dict[int, list[Any]]:
    """Field numbers with their raw values."""
    fields: dict[int, list[Any]] = {}
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 0:
            value, place = _varint(data, place)
        elif wire == 2:  # noqa: PLR2004 - protobuf's length-delimited
            size, place = _varint(data, place)
            value, place = data[place : place + size], place + size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, place = data[place : place + size], place + size
        else:
            raise ApiError(400, "BadRequest", "the protobuf body is malformed")
        fields.setdefault(number, []).append(value)
    return fields


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, place
        shift += 7
    raise ApiError(400, "BadRequest", "the protobuf body ends in the middle of a number")
