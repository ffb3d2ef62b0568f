"""Rules between the fields of built-in kinds and of all metadata: what the real server's validation refuses.

Source: Kubernetes docs, "Object names and IDs", "Labels and selectors", "Secrets", "Leases", and the reference of each
kind. Every problem is (field, reason, message).
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from keystead_sandbox.kube.kinds import CONFIG_MAPS, LEASES, NAMESPACES, RBAC, SECRETS, Kind

Object: TypeAlias = dict[str, Any]
Problem: TypeAlias = tuple[str, str, str]

_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_PATH_SEGMENT = re.compile(r"^(?!\.{1,2}$)[^/%]+$")
_LABEL_NAME = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_LONGEST_NAME, _LONGEST_LABEL = 253, 63
_ANNOTATIONS, _SECRET_SIZE = 256 * 1024, 1024 * 1024
_IMMUTABLE = "field is immutable"


def name_problem(kind: Kind, name: str) -> Problem | None:
    """Why *name* cannot name an object of *kind*."""
    if kind.group == RBAC:
        fits, text = _PATH_SEGMENT.match(name) is not None, "may not contain '/' or '%'"
    elif kind.key == NAMESPACES:
        fits = _DNS_LABEL.match(name) is not None and len(name) <= _LONGEST_LABEL
        text = _LABEL_TEXT if len(name) <= _LONGEST_LABEL else f"must be no more than {_LONGEST_LABEL} bytes"
    else:
        fits = _SUBDOMAIN.match(name) is not None and len(name) <= _LONGEST_NAME
        text = _SUBDOMAIN_TEXT if len(name) <= _LONGEST_NAME else f"must be no more than {_LONGEST_NAME} bytes"
    return None if fits else ("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {text}')


def metadata(item: Object) -> list[Problem]:
    """Labels, annotations, finalizers and owners."""
    given = item["metadata"]
    problems: list[Problem] = []
    for field in ("labels", "annotations"):
        for key in given.get(field) or ():
            if not _qualified(key.lower() if field == "annotations" else key):
                text = "name part must consist of alphanumeric characters, '-', '_' or '.'"
                problems.append((f"metadata.{field}", "FieldValueInvalid", f'Invalid value: "{key}": {text}'))
    for value in (given.get("labels") or {}).values():
        if value and (len(value) > _LONGEST_LABEL or _LABEL_NAME.match(value) is None):
            text = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"
            if len(value) > _LONGEST_LABEL:
                text = f"must be no more than {_LONGEST_LABEL} bytes"
            problems.append(("metadata.labels", "FieldValueInvalid", f'Invalid value: "{value}": {text}'))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in (given.get("annotations") or {}).items())
    if size > _ANNOTATIONS:
        text = f"Too long: may not be more than {_ANNOTATIONS} bytes"
        problems.append(("metadata.annotations", "FieldValueTooLong", text))
    for index, each in enumerate(given.get("finalizers") or ()):
        if not _qualified(each):
            text = f'Invalid value: "{each}": name part must consist of alphanumeric characters'
            problems.append((f"metadata.finalizers[{index}]", "FieldValueInvalid", text))
    return problems + _owners(given.get("ownerReferences") or ())


def _owners(owners: Iterable[Object]) -> list[Problem]:
    owners = list(owners)
    problems: list[Problem] = [
        (f"metadata.ownerReferences[{index}].{field}", "FieldValueInvalid", 'Invalid value: "": must not be empty')
        for index, each in enumerate(owners)
        for field in ("apiVersion", "kind", "name", "uid")
        if not each.get(field)
    ]
    if sum(1 for each in owners if each.get("controller")) > 1:
        text = "Invalid value: only one reference can have Controller set to true"
        problems.append(("metadata.ownerReferences", "FieldValueInvalid", text))
    return problems


def _qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (_SUBDOMAIN.match(prefix) is None or len(prefix) > _LONGEST_NAME):
        return False
    return len(name) <= _LONGEST_LABEL and _LABEL_NAME.match(name) is not None


def check(kind: Kind, item: Object, before: Object | None) -> list[Problem]:
    """What the kind itself forbids."""
    if kind.key in (SECRETS, CONFIG_MAPS):
        return _data(kind, item) + (_data_change(kind, item, before) if before is not None else [])
    if kind.key == LEASES:
        seconds = (item.get("spec") or {}).get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            text = f"Invalid value: {seconds}: must be greater than 0"
            return [("spec.leaseDurationSeconds", "FieldValueInvalid", text)]
    if kind.key in ((RBAC, "rolebindings"), (RBAC, "clusterrolebindings")):
        return _binding(item, before)
    return []


def _binding(item: Object, before: Object | None) -> list[Problem]:
    role = item.get("roleRef") or {}
    if not role.get("name") or role.get("kind") not in ("Role", "ClusterRole"):
        return [("roleRef.name", "FieldValueRequired", "Required value")]
    if before is not None and before.get("roleRef") != role:
        return [("roleRef", "FieldValueInvalid", "Invalid value: cannot change roleRef")]
    return []


def _data(kind: Kind, item: Object) -> list[Problem]:
    problems: list[Problem] = []
    size = 0
    for field in ("data", "binaryData"):
        for key, value in (item.get(field) or {}).items():
            if len(key) > _LONGEST_NAME or _DATA_KEY.match(key) is None:
                text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                problems.append((f"{field}[{key}]", "FieldValueInvalid", f'Invalid value: "{key}": {text}'))
            size += len(value) if kind.key == CONFIG_MAPS else len(value) * 3 // 4
    if size > _SECRET_SIZE:
        problems.append(("data", "FieldValueTooLong", f"Too long: may not be more than {_SECRET_SIZE} bytes"))
    return problems


def _data_change(kind: Kind, item: Object, before: Object) -> list[Problem]:
    problems: list[Problem] = []
    if kind.key == SECRETS and item.get("type") != before.get("type"):
        text = f'Invalid value: "{item.get("type")}": {_IMMUTABLE}'
        problems.append(("type", "FieldValueInvalid", text))
    if before.get("immutable"):
        problems += [
            (field, "FieldValueForbidden", f"Forbidden: {_IMMUTABLE} when `immutable` is set")
            for field in ("immutable", "data", "binaryData")
            if (item.get(field) or None) != (before.get(field) or None)
        ]
    return problems


def encode_secret(item: Object) -> str:
    """Move ``stringData`` into ``data``; returns the key of a value that is not base64."""
    plain = item.pop("stringData", None)
    if plain:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        item["data"] = {**(item.get("data") or {}), **data}
    item["type"] = item.get("type") or "Opaque"
    for key, value in (item.get("data") or {}).items():
        try:
            base64.b64decode(value or "", validate=True)
        except (binascii.Error, ValueError):
            return str(key)
    return ""
