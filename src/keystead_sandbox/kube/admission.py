"""What stands between a request and the store: names, unknown fields, defaults, validation.

Unknown fields are dropped; what is said of it is the client's choice (``fieldValidation``: Strict refuses, Warn warns).
Wrong types in a built-in kind cannot even be decoded (400); in a custom one they are invalid (422), as in the real
server.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from keystead_sandbox.kube import builtins, cel, crd, errors, events, rules, schema
from keystead_sandbox.kube.auth import ADMINS, User
from keystead_sandbox.kube.kinds import CRDS, EVENTS, NAMESPACES, SECRETS, Kind
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


def admit(kind: Kind, item: Object, before: Object | None, how: Writing) -> Object:
    """The object as it may be stored; ApiError when it may not."""
    item["apiVersion"], item["kind"] = kind.api_version, kind.kind
    item = _known(kind, item, how)
    item = _complete(kind, item) if not kind.custom else schema.default(item, kind.schema)
    problems = rules.metadata(item) + (_custom(kind, item, before) if kind.custom else _builtin(kind, item, before))
    if problems:
        raise errors.invalid(kind.group, kind.kind, item["metadata"]["name"], problems)
    return item


def declared(kind: Kind, wanted: Object) -> None:
    """Server-side apply refuses what the schema does not declare, whatever the client's fieldValidation is."""
    unknown: list[str] = []
    schema.prune(wanted, kind.schema, root=True, dropped=unknown)
    if unknown:
        place = "/".join(filter(None, (wanted["metadata"].get("namespace"), wanted["metadata"].get("name"))))
        text = (
            f"failed to create typed patch object ({place}; {kind.api_version}, Kind={kind.kind}): "
            f".{unknown[0]}: field not declared in schema"
        )
        raise errors.ApiError(500, "", text)


def _known(kind: Kind, item: Object, how: Writing) -> Object:
    dropped: list[str] = []
    shown = events.shown(kind, item) if kind.storage == EVENTS else item
    shown = schema.prune(shown, kind.schema, root=True, dropped=dropped)
    shown["metadata"] = schema.prune(item["metadata"], builtins.METADATA, dropped=dropped, path="metadata")
    wrong = schema.validate(shown["metadata"], builtins.METADATA, "metadata")
    if not kind.custom:
        shown = schema.without_nulls(shown, kind.schema)
        wrong += schema.validate(shown, kind.schema)
    item = events.stored(kind, shown) if kind.storage == EVENTS else shown
    if wrong:
        text = (
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {wrong[0][0]}: {wrong[0][2]}'
        )
        raise errors.bad_request(text)
    unknown = [f'unknown field "{path}"' for path in dropped]
    if unknown and how.validation == "Strict":
        raise errors.bad_request(f"strict decoding error: {', '.join(unknown)}")
    if how.validation == "Warn":
        how.warnings.extend(unknown)
    return item


def _complete(kind: Kind, item: Object) -> Object:
    if kind.key == NAMESPACES:
        item["spec"] = item.get("spec") or {"finalizers": [KUBERNETES]}
        item["status"] = item.get("status") or {"phase": "Active"}
        labels = item["metadata"].get("labels") or {}
        item["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": item["metadata"]["name"]}
    elif kind.key == SECRETS:
        broken = rules.encode_secret(item)
        if broken:
            text = f'Secret in version "v1" cannot be handled as a Secret: data.{broken}: illegal base64 data'
            raise errors.bad_request(text)
    elif kind.key == CRDS:
        crd.complete(item)
    return item


def _builtin(kind: Kind, item: Object, before: Object | None) -> list[schema.Problem]:
    problems = rules.check(kind, item, before)
    if kind.key == CRDS:
        problems += crd.check(item)
    if before is None:
        problems += events.check(kind, item)
    return problems


def _custom(kind: Kind, item: Object, before: Object | None) -> list[schema.Problem]:
    # Rules may read any field, so they are asked only of what has the right shape.
    return schema.validate(item, kind.schema) or cel.check(kind.schema, item, before)
