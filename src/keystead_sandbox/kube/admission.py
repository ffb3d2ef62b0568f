"""What stands between a request and the store: names, unknown fields, defaults, validation.

Unknown fields are dropped; what is said of it is the client's choice (``fieldValidation``: Strict refuses, Warn warns).
Wrong types in a built-in kind cannot even be decoded (400); in a custom one they are invalid (422), as in the real
server.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from keystead_sandbox.kube import cel, crd, decoding, errors, events, policy_shapes, rules, schema
from keystead_sandbox.kube.auth import ADMINS, User
from keystead_sandbox.kube.builtins import METADATA
from keystead_sandbox.kube.kinds import (
    BINDINGS,
    CLUSTER_BINDINGS,
    CONFIG_MAPS,
    CRDS,
    EVENTS,
    LEASES,
    NAMESPACES,
    POLICIES,
    POLICY_BINDINGS,
    SECRETS,
    Kind,
)
from keystead_sandbox.kube.lifecycle import KUBERNETES

Object: TypeAlias = dict[str, Any]
NOBODY = User("system:apiserver", (ADMINS,))


@dataclass(frozen=True, slots=True)
class Writing:
    """How a client writes."""

    manager: str
    dry: bool = False
    validation: str = "Ignore"
    user: User = NOBODY
    """Who is asked for by the checks that depend on it; the cluster itself when nobody is."""
    warnings: list[str] = field(default_factory=list)
    """Filled for the client's eyes."""
    sub: str = ""
    patch: bool = False
    """Whether the object comes out of a patch, and not out of the body."""
    applied: bool = False
    """Whether the object comes out of server-side apply."""
    duplicates: tuple[str, ...] = ()
    """What the body says twice."""
    large: bool = False
    """Whether the request is so long that the object's size must be looked at."""


def admit(kind: Kind, item: Object, before: Object | None, how: Writing) -> Object:
    """The object as it may be stored; ApiError when it may not."""
    item["apiVersion"], item["kind"] = kind.api_version, kind.kind
    item = _known(kind, item, how)
    item = schema.default(item, kind.schema, keep_nulls=how.applied) if kind.custom else _complete(kind, item)
    problems = []
    if before is None:
        problems = rules.name_problem(kind, item["metadata"]["name"], item["metadata"].get("generateName") or "")
    how.warnings.extend(rules.same_owners(item["metadata"]))
    problems += rules.metadata(item) + (_custom(kind, item, before) if kind.custom else _builtin(kind, item, before))
    if problems:
        group = "" if kind.storage == EVENTS else kind.group  # both groups are one internally
        raise errors.invalid(group, kind.kind, item["metadata"]["name"], problems)
    return item


def declared(kind: Kind, wanted: Object) -> None:
    """Server-side apply refuses what the schema does not declare, whatever the client's fieldValidation is."""
    why = decoding.untyped(wanted, kind)
    if why:
        raise errors.not_typed(kind, wanted["metadata"], why)


def _known(kind: Kind, item: Object, how: Writing) -> Object:
    dropped: list[str] = []
    shown = events.named(kind, item)
    shown = schema.prune(shown, kind.schema, root=True, dropped=dropped)
    wrong = decoding.problem(shown, kind)
    if kind.custom:
        shown["metadata"] = schema.without_nulls(shown["metadata"], METADATA)
    else:
        shown = schema.without_nulls(shown, kind.schema)
        fields = {SECRETS: ("data",), CONFIG_MAPS: ("binaryData",)}.get(kind.key, ())
        wrong = wrong or rules.base64_problem(shown, fields)
    item = events.stored(kind, shown)
    if kind.custom:
        dropped.sort(key=lambda path: (not path.startswith("metadata."), path))
    told = [*how.duplicates, *(f'unknown field "{path}"' for path in dropped)]
    if told and how.validation == "Strict" and not wrong:
        wrong = f"strict decoding error: {', '.join(told)}"
    if wrong:
        raise errors.not_patched(wrong) if how.patch else errors.not_decoded(kind.kind, kind.version, wrong)
    if how.validation == "Warn":
        how.warnings.extend(told)
    return item


_LEFT_OUT = ("data", "binaryData", "secrets", "imagePullSecrets", "rules", "subjects")
"""Fields that a built-in object does not have, rather than have them empty."""


def _complete(kind: Kind, item: Object) -> Object:
    item = {name: value for name, value in item.items() if value or name not in _LEFT_OUT}
    if kind.key == NAMESPACES:
        item["spec"] = item.get("spec") or {"finalizers": [KUBERNETES]}
        item["status"] = item.get("status") or {"phase": "Active"}
        labels = item["metadata"].get("labels") or {}
        item["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": item["metadata"]["name"]}
    elif kind.key == LEASES:
        item.setdefault("spec", {})
    elif kind.key == SECRETS:
        rules.encode_secret(item)
    elif kind.key in (BINDINGS, CLUSTER_BINDINGS):
        rules.complete_binding(item)
    elif kind.key == CRDS:
        crd.complete(item)
    elif kind.key == POLICIES:
        policy_shapes.complete(item)
    elif kind.key == POLICY_BINDINGS:
        policy_shapes.complete_match((item.get("spec") or {}).get("matchResources"))
    return item


def _builtin(kind: Kind, item: Object, before: Object | None) -> list[schema.Problem]:
    problems = rules.check(kind, item, before)
    if kind.key == CRDS:
        problems += crd.check(item, before)
    return problems + events.check(kind, item, before)


_BLOCKING = (
    *("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany"),
    "FieldValueTypeInvalid",
)
_UNCHECKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def _custom(kind: Kind, item: Object, before: Object | None) -> list[schema.Problem]:
    # Rules may read any field, so they are asked only of what has the right shape.
    problems = schema.validate(item, kind.schema)
    if not cel.rules_of(kind.schema):
        return problems
    if any(reason in _BLOCKING for _, reason, _ in problems):
        return [*problems, ("<nil>", "FieldValueInvalid", _UNCHECKED)]
    return problems + cel.check(kind.schema, item, before)
