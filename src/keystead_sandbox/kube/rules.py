"""Rules between the fields of built-in kinds and of all metadata: what the real server's validation refuses.

Source: Kubernetes docs, "Object names and IDs", "Labels and selectors", "Secrets", "Leases", and the reference of each
kind. Every problem is (field, reason, message).
"""

import base64
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from keystead_sandbox.kube import policy_shapes
from keystead_sandbox.kube.kinds import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    LEASES,
    NAMESPACES,
    POLICIES,
    POLICY_BINDINGS,
    RBAC,
    ROLES,
    SECRETS,
    Kind,
)

Object: TypeAlias = dict[str, Any]
Problem: TypeAlias = tuple[str, str, str]

_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_PATH_SEGMENT = re.compile(r"^(?!\.{1,2}$)[^/%]+$")
_LABEL_NAME = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_NAME_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")
_SECRET_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_NO_OWNERS = (("v1", "Event"), ("events.k8s.io/v1", "Event"))
_LONGEST_NAME, _LONGEST_LABEL = 253, 63
_ANNOTATIONS, _SECRET_SIZE = 256 * 1024, 1024 * 1024
_IMMUTABLE = "field is immutable"
_INVALID, _REQUIRED = "FieldValueInvalid", "FieldValueRequired"
_PREFIX = "metadata.generateName"
_EMPTY = 'Invalid value: "": must not be empty'


def name_problem(kind: Kind, name: str, prefix: str = "") -> list[Problem]:
    """Why *name* cannot name an object of *kind*, nor *prefix* begin its generated name."""
    begun = name_problem(kind, f"{prefix.rstrip('-')}a" if prefix.endswith("-") else prefix) if prefix else []
    shown = [(_PREFIX, reason, _quoted(prefix) + text.partition('": ')[2]) for _, reason, text in begun]
    if kind.group == RBAC:
        text = "" if _PATH_SEGMENT.match(name) else _segment(name)
    elif kind.key == NAMESPACES:
        text = "" if _DNS_LABEL.match(name) else "must not contain dots" if "." in name else _LABEL_TEXT
        if len(name) > _LONGEST_LABEL:
            text = f"must be no more than {_LONGEST_LABEL} characters"
    else:
        text = "" if _SUBDOMAIN.match(name) else _SUBDOMAIN_TEXT
        if len(name) > _LONGEST_NAME:
            text = f"must be no more than {_LONGEST_NAME} characters"
    return shown + ([("metadata.name", _INVALID, _quoted(name) + text)] if text else [])


def _quoted(value: str) -> str:
    """As Go quotes: what cannot be printed is escaped."""
    shown = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in value)
    return f'Invalid value: "{shown}": '


def _segment(name: str) -> str:
    if name in (".", ".."):
        return f"may not be '{name}'"
    return "may not contain '/'" if "/" in name else "may not contain '%'"


def metadata(item: Object) -> list[Problem]:
    """Labels, annotations, finalizers and owners."""
    given = item["metadata"]
    problems: list[Problem] = []
    for field in ("labels", "annotations"):
        for key, value in (given.get(field) or {}).items():
            texts = qualified(key.lower() if field == "annotations" else key)
            problems += [(f"metadata.{field}", _INVALID, f'Invalid value: "{key}": {text}') for text in texts]
            if field == "labels":
                texts = label_value(value)
                problems += [("metadata.labels", _INVALID, f'Invalid value: "{value}": {text}') for text in texts]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in (given.get("annotations") or {}).items())
    if size > _ANNOTATIONS:
        text = f"Too long: may not be more than {_ANNOTATIONS} bytes"
        problems.append(("metadata.annotations", "FieldValueTooLong", text))
    for index, each in enumerate(given.get("finalizers") or ()):
        problems += [("metadata.finalizers", _INVALID, f'Invalid value: "{each}": {text}') for text in qualified(each)]
        if "/" not in each and each not in _FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            problems.append((f"metadata.finalizers[{index}]", _INVALID, f'Invalid value: "{each}": {text}'))
    return problems + _owners(given.get("ownerReferences") or ())


def same_owners(metadata: Object) -> list[str]:
    """Have each owner once; what is said of those that were named twice."""
    owners = metadata.get("ownerReferences") or []
    once = {each.get("uid"): each for each in reversed(owners)}
    if len(once) == len(owners):
        return []
    uids = [each.get("uid") for each in owners]
    twice = list(dict.fromkeys(uid for uid in uids if uids.count(uid) > 1))
    metadata["ownerReferences"] = [each for each in owners if once.get(each.get("uid")) is each]
    text = ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
    text += "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
    return [text + ", ".join(twice)]


def _owners(owners: Iterable[Object]) -> list[Problem]:
    owners = list(owners)
    problems: list[Problem] = [
        (f"metadata.ownerReferences.{'version' if field == 'apiVersion' else field}", _INVALID, _EMPTY)
        for each in owners
        for field in ("apiVersion", "kind", "name", "uid")
        if not each.get(field)
    ]
    for each in owners:
        version = str(each.get("apiVersion") or "")
        shown = msgspec.json.encode(each).decode()
        if version.count("/") > 1:
            text = f'Invalid value: "{version}": version must not be empty'
            problems.append(("metadata.ownerReferences.apiVersion", _INVALID, text))
        elif (version, each.get("kind")) in _NO_OWNERS:
            group, _, version = version.rpartition("/")
            text = f"{group}/{version}, Kind={each['kind']} is disallowed from being an owner"
            problems.append(("metadata.ownerReferences", _INVALID, f"Invalid value: {shown}: {text}"))
    controllers = [each for each in owners if each.get("controller")]
    if len(controllers) > 1:
        shown = msgspec.json.encode(owners).decode()
        named = " and ".join(f"{each['kind']}/{each['name']}" for each in controllers[:2])
        text = f'Only one reference can have Controller set to true. Found "true" in references for {named}'
        problems.append(("metadata.ownerReferences", _INVALID, f"Invalid value: {shown}: {text}"))
    return problems


def qualified(key: str) -> list[str]:
    """What is wrong with a name that may have a prefix."""
    if key.count("/") > 1:
        return [
            f"a valid label key {_NAME_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    prefix, slash, name = key.rpartition("/")
    texts = []
    if slash and not prefix:
        texts.append("prefix part must be non-empty")
    elif slash and _SUBDOMAIN.match(prefix) is None:
        texts.append(f"prefix part {_SUBDOMAIN_TEXT}")
    elif len(prefix) > _LONGEST_NAME:
        texts.append(f"prefix part must be no more than {_LONGEST_NAME} bytes")
    if not name:
        texts.append("name part must be non-empty")
    elif len(name) > _LONGEST_LABEL:
        texts.append(f"name part must be no more than {_LONGEST_LABEL} bytes")
    if _LABEL_NAME.match(name) is None:
        texts.append(f"name part {_NAME_TEXT}")
    return texts


def label_value(value: str) -> list[str]:
    """What is wrong with a label's value."""
    texts = [f"must be no more than {_LONGEST_LABEL} bytes"] if len(value) > _LONGEST_LABEL else []
    return texts + ([_VALUE_TEXT] if value and _LABEL_NAME.match(value) is None else [])


def check(kind: Kind, item: Object, before: Object | None) -> list[Problem]:
    """What the kind itself forbids."""
    if kind.key in (SECRETS, CONFIG_MAPS):
        return _data(kind, item) + (_data_change(kind, item, before) if before is not None else [])
    if kind.key == LEASES:
        return _lease(item.get("spec") or {})
    if kind.key in (ROLES, CLUSTER_ROLES):
        return [each for n, rule in enumerate(item.get("rules") or ()) for each in _rule(rule, f"rules[{n}]", kind)]
    if kind.key == POLICIES:
        return policy_shapes.check(item)
    if kind.key == POLICY_BINDINGS:
        return policy_shapes.check_binding(item)
    if kind.key in ((RBAC, "rolebindings"), (RBAC, "clusterrolebindings")):
        return _binding(kind, item, before)
    return []


def _lease(spec: Object) -> list[Problem]:
    problems: list[Problem] = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        problems.append(("spec.leaseDurationSeconds", _INVALID, f"Invalid value: {seconds}: must be greater than 0"))
    if transitions is not None and transitions < 0:
        text = f"Invalid value: {transitions}: must be greater than or equal to 0"
        problems.append(("spec.leaseTransitions", _INVALID, text))
    return problems


def _rule(rule: Object, path: str, kind: Kind) -> list[Problem]:
    problems: list[Problem] = []
    if not rule.get("verbs"):
        problems.append((f"{path}.verbs", _REQUIRED, "Required value: verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls and kind.namespaced:
        shown = msgspec.json.encode(urls).decode()
        text = f"Invalid value: {shown}: namespaced rules cannot apply to non-resource URLs"
        return [*problems, (f"{path}.nonResourceURLs", _INVALID, text)]
    if urls:
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            shown = msgspec.json.encode(urls).decode()
            text = f"Invalid value: {shown}: rules cannot apply to both regular resources and non-resource URLs"
            problems.append((f"{path}.nonResourceURLs", _INVALID, text))
        return problems
    if not rule.get("apiGroups"):
        text = "Required value: resource rules must supply at least one api group"
        problems.append((f"{path}.apiGroups", _REQUIRED, text))
    if not rule.get("resources"):
        text = "Required value: resource rules must supply at least one resource"
        problems.append((f"{path}.resources", _REQUIRED, text))
    return problems


def _binding(kind: Kind, item: Object, before: Object | None) -> list[Problem]:
    role = item.get("roleRef") or {}
    problems: list[Problem] = []
    if role.get("apiGroup", RBAC) != RBAC:
        text = f'Unsupported value: "{role["apiGroup"]}": supported values: "{RBAC}"'
        problems.append(("roleRef.apiGroup", "FieldValueNotSupported", text))
    kinds = ("Role", "ClusterRole") if kind.namespaced else ("ClusterRole",)
    if role.get("kind") not in kinds:
        known = ", ".join(f'"{each}"' for each in kinds)
        text = f'Unsupported value: "{role.get("kind") or ""}": supported values: {known}'
        problems.append(("roleRef.kind", "FieldValueNotSupported", text))
    if not role.get("name"):
        problems.append(("roleRef.name", _REQUIRED, "Required value"))
    for index, subject in enumerate(item.get("subjects") or ()):
        problems += _subject(subject, f"subjects[{index}]", cluster=not kind.namespaced)
    if before is not None and before.get("roleRef") != role:
        names = (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))
        shown = msgspec.json.encode({go: role.get(name, "") for go, name in names}).decode()
        problems.append(("roleRef", _INVALID, f"Invalid value: {shown}: cannot change roleRef"))
    return problems


def _subject(subject: Object, path: str, *, cluster: bool) -> list[Problem]:
    problems: list[Problem] = []
    kind, name, group = subject.get("kind") or "", subject.get("name") or "", subject.get("apiGroup") or ""
    if not name:
        problems.append((f"{path}.name", _REQUIRED, "Required value"))
    if kind == "ServiceAccount":
        if name and _SUBDOMAIN.match(name) is None:
            problems.append((f"{path}.name", _INVALID, f'Invalid value: "{name}": {_SUBDOMAIN_TEXT}'))
        if group:
            text = f'Unsupported value: "{group}": supported values: ""'
            problems.append((f"{path}.apiGroup", "FieldValueNotSupported", text))
        if cluster and not subject.get("namespace"):
            problems.append((f"{path}.namespace", _REQUIRED, "Required value"))
    elif kind in ("User", "Group"):
        if group != RBAC:
            text = f'Unsupported value: "{group}": supported values: "{RBAC}"'
            problems.append((f"{path}.apiGroup", "FieldValueNotSupported", text))
    else:
        text = f'Unsupported value: "{kind}": supported values: "ServiceAccount", "User", "Group"'
        problems.append((f"{path}.kind", "FieldValueNotSupported", text))
    return problems


def complete_binding(item: Object) -> None:
    """Groups that need not be said."""
    role = item.get("roleRef")
    if isinstance(role, dict) and not role.get("apiGroup"):
        item["roleRef"] = {"apiGroup": RBAC, **{name: value for name, value in role.items() if name != "apiGroup"}}
    for subject in item.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = RBAC


def _data(kind: Kind, item: Object) -> list[Problem]:
    problems: list[Problem] = []
    size = 0
    for field in ("data", "binaryData"):
        for key, value in (item.get(field) or {}).items():
            if len(key) > _LONGEST_NAME or _DATA_KEY.match(key) is None:
                problems.append((f"{field}[{key}]", _INVALID, f'Invalid value: "{key}": {_KEY_TEXT}'))
            if field == "data" and key in (item.get("binaryData") or {}):
                text = f'Invalid value: "{key}": duplicate of key present in binaryData'
                problems.append((f"data[{key}]", _INVALID, text))
            size += len(value) if kind.key == CONFIG_MAPS else len(value) * 3 // 4
    if size > _SECRET_SIZE:
        place = "data" if kind.key == SECRETS else "[]"  # a ConfigMap's two maps have no name in common
        problems.append((place, "FieldValueTooLong", f"Too long: may not be more than {_SECRET_SIZE} bytes"))
    return problems + (_secret(item) if kind.key == SECRETS else [])


def _secret(item: Object) -> list[Problem]:
    """What secrets of a known type hold."""
    data, type_ = item.get("data") or {}, item.get("type") or ""
    if type_ == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        return [(f"data[{key}]", _REQUIRED, "Required value") for key in ("username", "password")]
    if type_ == "kubernetes.io/service-account-token" and not (item["metadata"].get("annotations") or {}).get(
        _ACCOUNT_NAME
    ):
        return [(f"metadata.annotations[{_ACCOUNT_NAME}]", _REQUIRED, "Required value")]
    return [(f"data[{key}]", _REQUIRED, "Required value") for key in _SECRET_KEYS.get(type_, ()) if key not in data]


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


def encode_secret(item: Object) -> None:
    """Move ``stringData`` into ``data``."""
    plain = item.pop("stringData", None)
    if plain:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        item["data"] = {**(item.get("data") or {}), **data}
    item["type"] = item.get("type") or "Opaque"


_BASE64 = re.compile(r"^[A-Za-z0-9+/]*={0,2}$")


def base64_problem(item: Object, fields: Iterable[str]) -> str:
    """What is wrong with bytes that are not base64; empty when nothing is."""
    for field in fields:
        for value in (item.get(field) or {}).values():
            text = (value or "").replace("\n", "").replace("\r", "")
            bad = next((n for n, each in enumerate(text) if _BASE64.match(each) is None), None)
            if bad is not None or len(text) % 4 or _BASE64.match(text) is None:
                return f"illegal base64 data at input byte {len(text) // 4 * 4 if bad is None else bad}"
    return ""
