"""CustomResourceDefinitions: what the server fills in, what it refuses, and what it reports of them.

Source: Kubernetes docs, "Extend the Kubernetes API with CustomResourceDefinitions" (structural schemas, versions,
finalizers), and apiextensions.k8s.io/v1 in the API reference.
"""

import copy
from typing import Any, TypeAlias

from keystead_sandbox.kube.cel import unsupported

Object: TypeAlias = dict[str, Any]
Problem: TypeAlias = tuple[str, str, str]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""Holds a definition that is going until its objects are gone."""
_REQUIRED = "FieldValueRequired"
_INVALID = "FieldValueInvalid"


def complete(crd: Object) -> None:
    """Fill in what may be left out."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})


def check(crd: Object, before: Object | None = None) -> list[Problem]:
    """What is refused."""
    spec, name = crd.get("spec") or {}, crd["metadata"]["name"]
    names, versions = spec.get("names") or {}, spec.get("versions") or []
    problems: list[Problem] = []
    if name != f"{names.get('plural')}.{spec.get('group')}":
        text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        problems.append(("metadata.name", _INVALID, text))
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        shown = f'Unsupported value: "{spec.get("scope")}": supported values: "Cluster", "Namespaced"'
        problems.append(("spec.scope", "FieldValueNotSupported", shown))
    if [bool(each.get("storage")) for each in versions].count(True) != 1:
        text = "Invalid value: must have exactly one version marked as storage version"
        problems.append(("spec.versions", _INVALID, text))
        stored = "Invalid value: null: must have at least one stored version"
        problems.append(("status.storedVersions", _INVALID, stored))
    if before is not None and _is_established(before):
        changed = [each for each in ("group", "scope") if spec.get(each) != before["spec"].get(each)]
        problems += [
            (f"spec.{each}", _INVALID, f'Invalid value: "{spec.get(each)}": field is immutable') for each in changed
        ]
    if (spec.get("conversion") or {}).get("strategy", "None") != "None":
        text = 'Unsupported value: "Webhook": the sandbox converts nothing; supported values: "None"'
        problems.append(("spec.conversion.strategy", "FieldValueNotSupported", text))
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        # With one version the real server speaks of the place that schemas had when there was one for all versions.
        inner = "spec.validation.openAPIV3Schema" if len(versions) == 1 else path
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not isinstance(schema, dict):
            problems.append((path, _REQUIRED, "Required value"))
            continue
        if schema.get("type") != "object":
            problems.append((f"{inner}.type", _INVALID, "Invalid value: must be object at the root"))
        problems += _structural(schema, inner)
    return problems


def _is_established(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _structural(schema: Object, path: str) -> list[Problem]:
    """Every node has a type, unless it says that it needs none (docs: "Specifying a structural schema")."""
    problems: list[Problem] = []
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not free:
        problems.append((f"{path}.type", _REQUIRED, "Required value: must not be empty for specified object fields"))
    if schema.get("x-kubernetes-list-type") == "map":
        problems += _keyed(schema, path)
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        problems.append((f"{path}.items", _REQUIRED, "Required value: must be specified"))
    if schema.get("properties") and schema.get("additionalProperties"):
        text = "Forbidden: additionalProperties and properties are mutual exclusive"
        problems.append((f"{path}.additionalProperties", "FieldValueForbidden", text))
    for name, inner in (schema.get("properties") or {}).items():
        problems += _structural(inner, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            problems += _structural(schema[key], f"{path}.{key}")
    return problems


def _keyed(schema: Object, path: str) -> list[Problem]:
    """A list that is a map needs keys, and every item must have them."""
    keys, items = schema.get("x-kubernetes-list-map-keys") or (), schema.get("items") or {}
    if not keys:
        text = "Required value: must not be empty if x-kubernetes-list-type is map"
        return [(f"{path}.x-kubernetes-list-map-keys", _REQUIRED, text)]
    text = (
        "Required value: this property is in x-kubernetes-list-map-keys, "
        "so it must have a default or be a required property"
    )
    return [
        (f"{path}.items.properties[{key}].default", _REQUIRED, text)
        for key in keys
        if key not in (items.get("required") or ())
        and "default" not in ((items.get("properties") or {}).get(key) or {})
    ]


def observed(crd: Object, now: str, taken: Object | None) -> Object:
    """The status; *taken* is another definition that has its names already."""
    spec, before = crd["spec"], crd.get("status") or {}
    if taken is None:
        states = (
            ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
            ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    else:
        reason, name = _clash(spec["names"], (taken.get("status") or {}).get("acceptedNames") or {})
        states = (
            ("NamesAccepted", "False", reason, f'"{name}" is already in use'),
            ("Established", "False", "NotAccepted", "not all names are accepted"),
        )
    held = {each["type"]: each for each in before.get("conditions") or ()}
    conditions = []
    for type_, status, reason, message in states:
        old = held.get(type_)
        since = old["lastTransitionTime"] if old is not None and old["status"] == status else now
        conditions.append(
            {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
        )
    storage = [each["name"] for each in spec["versions"] if each.get("storage")]
    versions = list(dict.fromkeys([*(before.get("storedVersions") or ()), *storage]))
    names = copy.deepcopy(spec["names"]) if taken is None else _free(spec["names"], taken)
    return {"conditions": conditions, "acceptedNames": names, "storedVersions": versions}


_CLASHES = (
    ("listKind", "ListKindConflict"),
    ("kind", "KindConflict"),
    ("shortNames", "ShortNamesConflict"),
    ("singular", "SingularConflict"),
    ("plural", "PluralConflict"),
)
"""Names in the order in which a conflict of the last one checked hides those of the others."""


def _used(names: Object, field: str) -> set[str]:
    """Kinds share one name space, everything that is typed another."""
    if field in ("kind", "listKind"):
        return {names.get("kind") or "", names.get("listKind") or ""} - {""}
    return {names.get("plural") or "", names.get("singular") or "", *(names.get("shortNames") or ())} - {""}


def _clash(names: Object, taken: Object) -> tuple[str, str]:
    """The reason, and the name that another definition has."""
    for field, reason in _CLASHES:
        mine = names.get(field) or []
        for name in mine if isinstance(mine, list) else [mine]:
            if name in _used(taken, field):
                return reason, name
    return "NotAccepted", ""


def _free(names: Object, taken: Object) -> Object:
    """The names that nobody else has."""
    theirs = (taken.get("status") or {}).get("acceptedNames") or {}
    free: Object = {"kind": "", "plural": ""}
    for field, _ in _CLASHES:
        given = names.get(field)
        if isinstance(given, str) and given not in _used(theirs, field):
            free[field] = given
    return free


def warnings(crd: Object) -> list[str]:
    """What the server does not enforce of it."""
    schemas = [(each.get("schema") or {}).get("openAPIV3Schema") for each in crd["spec"]["versions"]]
    told = [text for schema in schemas if isinstance(schema, dict) for text in unsupported(schema)]
    return list(dict.fromkeys(told))
