"""The kinds that are served: those built in, and those that CRDs add."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from keystead_sandbox.kube import builtins
from keystead_sandbox.kube.builtins import Schema

Column: TypeAlias = tuple[str, str, str, int]
"""Title, type, JSON path or name of a computed cell, priority."""
Lists: TypeAlias = dict[tuple[str, ...], tuple[str, ...]]
"""Paths of lists that are maps, with their keys; an empty tuple of keys is a set."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
NAMESPACES = ("", "namespaces")
CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")
ACCOUNTS = ("", "serviceaccounts")
CONFIG_MAPS = ("", "configmaps")
SECRETS = ("", "secrets")
LEASES = ("coordination.k8s.io", "leases")
EVENTS = ("events.k8s.io", "events")
RBAC = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = (RBAC, "roles"), (RBAC, "clusterroles")
BINDINGS, CLUSTER_BINDINGS = (RBAC, "rolebindings"), (RBAC, "clusterrolebindings")
ADMISSION = "admissionregistration.k8s.io"
POLICIES = (ADMISSION, "validatingadmissionpolicies")
POLICY_BINDINGS = (ADMISSION, "validatingadmissionpolicybindings")
CREATED_ON_UPDATE = (LEASES, EVENTS, ROLES, CLUSTER_ROLES, BINDINGS, CLUSTER_BINDINGS)
"""Kinds that a PUT creates where there is none."""
_EVERY_FIELD = {"metadata.name": "metadata.name", "metadata.namespace": "metadata.namespace"}


@dataclass(frozen=True)
class Kind:
    """One resource at one version."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    schema: Schema = field(compare=False)
    custom: bool = False
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    columns: tuple[Column, ...] = field(default=(), compare=False)
    list_keys: Lists = field(default_factory=dict, compare=False)
    atomic: frozenset[tuple[str, ...]] = field(default=frozenset(), compare=False)
    """Paths of maps that server-side apply takes as one value."""
    selectable: Mapping[str, str] = field(default_factory=lambda: dict(_EVERY_FIELD), compare=False)
    """Field selectors that are answered, with the place in the stored object."""
    storage_version: str = ""
    singular_name: str = ""
    deprecated: str = ""
    """What a client of this version is warned of."""
    scale: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where the fields of the ``scale`` subresource are; empty where there is none."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.plural

    @property
    def storage(self) -> tuple[str, str]:
        """Where the store keeps it; Events of both groups are one."""
        return EVENTS if self.key == ("", "events") else self.key

    @property
    def singular(self) -> str:
        return self.singular_name or self.kind.lower()

    @property
    def verbs(self) -> tuple[str, ...]:
        """In the order in which discovery has them."""
        return _CUSTOM_VERBS if self.custom else ALL_VERBS

    @property
    def generations(self) -> bool:
        """Whether ``metadata.generation`` counts the changes of this kind's spec."""
        return self.custom or self.key in (CRDS, POLICIES, POLICY_BINDINGS)


_NAME: Column = ("Name", "string", ".metadata.name", 0)
_AGE: Column = ("Age", "string", "age:.metadata.creationTimestamp", 0)
_OWN_AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0)
_SUBJECTS: tuple[Column, ...] = (
    ("Users", "string", "subjects:User", 1),
    ("Groups", "string", "subjects:Group", 1),
    ("ServiceAccounts", "string", "subjects:ServiceAccount", 1),
)
_CREATED: Column = ("Created At", "date", "=.metadata.creationTimestamp", 0)
_ROLE: Column = ("Role", "string", "role:", 0)
_METADATA_LISTS: Lists = {("metadata", "ownerReferences"): ("uid",), ("metadata", "finalizers"): ()}
_OWNERS = ("metadata", "ownerReferences")
_CONDITIONS: Lists = {("status", "conditions"): ("type",)}
_EVENT_COLUMNS: tuple[Column, ...] = (
    ("Last Seen", "string", "event:seen", 0),
    ("Type", "string", ".type", 0),
    ("Reason", "string", ".reason", 0),
    ("Object", "string", "event:object", 0),
    ("Subobject", "string", "event:subobject", 1),
    ("Source", "string", "event:source", 1),
    ("Message", "string", "event:message", 0),
    ("First Seen", "string", "event:first", 1),
    ("Count", "string", "event:count", 1),
    ("Name", "string", ".metadata.name", 1),
)
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _builtin(kind: str, plural: str, *columns: Column, group: str = "", **more: Any) -> Kind:
    lists = {**_METADATA_LISTS, **more.pop("lists", {})}
    more["atomic"] = frozenset({_OWNERS, *more.pop("atomic", ())})
    more["selectable"] = {**_EVERY_FIELD, **more.get("selectable", {})}
    more.setdefault("namespaced", True)
    schema = builtins.SCHEMAS[kind if group != EVENTS[0] else "events.k8s.io/Event"]
    return Kind(group, "v1", kind, plural, schema=schema, columns=columns, list_keys=lists, **more)


BUILT_IN: tuple[Kind, ...] = (
    _builtin(
        "Namespace",
        "namespaces",
        _NAME,
        ("Status", "string", ".status.phase", 0),
        _AGE,
        namespaced=False,
        short_names=("ns",),
        status=True,
        selectable={"status.phase": "status.phase"},
        lists=_CONDITIONS,
    ),
    _builtin(
        "ServiceAccount",
        "serviceaccounts",
        _NAME,
        _AGE,
        short_names=("sa",),
        lists={("secrets",): ("name",)},
        atomic={("secrets",)},
    ),
    _builtin(
        "Secret",
        "secrets",
        _NAME,
        ("Type", "string", ".type", 0),
        ("Data", "string", "count:.data", 0),
        _AGE,
        selectable={"type": "type"},
    ),
    _builtin(
        "ConfigMap", "configmaps", _NAME, ("Data", "string", "count:.data,.binaryData", 0), _AGE, short_names=("cm",)
    ),
    _builtin(
        "Event",
        "events",
        *_EVENT_COLUMNS,
        atomic={("involvedObject",), ("regarding",), ("related",)},
        short_names=("ev",),
        selectable={f"involvedObject.{name}": f"involvedObject.{name}" for name in _INVOLVED}
        | {
            "reason": "reason",
            "type": "type",
            "reportingComponent": "reportingComponent",
            "source": "source.component",
        },
    ),
    _builtin(
        "Event",
        "events",
        *_EVENT_COLUMNS,
        atomic={("involvedObject",), ("regarding",), ("related",)},
        group=EVENTS[0],
        short_names=("ev",),
        selectable={f"regarding.{name}": f"involvedObject.{name}" for name in _INVOLVED}
        | {"reason": "reason", "type": "type", "reportingController": "reportingComponent"},
    ),
    _builtin("Lease", "leases", _NAME, ("Holder", "string", ".spec.holderIdentity", 0), _AGE, group=LEASES[0]),
    _builtin("Role", "roles", _NAME, _CREATED, group=RBAC),
    _builtin("RoleBinding", "rolebindings", _NAME, _ROLE, _AGE, *_SUBJECTS, group=RBAC, atomic={("roleRef",)}),
    _builtin("ClusterRole", "clusterroles", _NAME, _CREATED, group=RBAC, namespaced=False),
    _builtin(
        "ClusterRoleBinding",
        "clusterrolebindings",
        _NAME,
        _ROLE,
        _AGE,
        *_SUBJECTS,
        group=RBAC,
        namespaced=False,
        atomic={("roleRef",)},
    ),
    _builtin(
        "CustomResourceDefinition",
        "customresourcedefinitions",
        _NAME,
        _CREATED,
        group=CRDS[0],
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        status=True,
        lists=_CONDITIONS,
    ),
    _builtin(
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        _NAME,
        ("Validations", "integer", "count:.spec.validations", 0),
        ("ParamKind", "string", "param:", 0),
        _AGE,
        group=ADMISSION,
        namespaced=False,
        categories=("api-extensions",),
        status=True,
        atomic={("spec", "matchConstraints"), ("spec", "paramKind")},
        lists={("spec", "matchConditions"): ("name",), ("spec", "variables"): ("name",), **_CONDITIONS},
    ),
    _builtin(
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        _NAME,
        ("PolicyName", "string", ".spec.policyName", 0),
        ("ParamRef", "string", "ref:", 0),
        _AGE,
        group=ADMISSION,
        namespaced=False,
        categories=("api-extensions",),
        atomic={("spec", "matchResources"), ("spec", "paramRef")},
        lists={("spec", "validationActions"): ()},
    ),
)


def of_crd(crd: dict[str, Any]) -> list[Kind]:
    """The kinds that a CustomResourceDefinition serves, one for each served version."""
    spec = crd["spec"]
    names = spec["names"]
    storage = next(each["name"] for each in spec["versions"] if each.get("storage"))
    kinds = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        given = version.get("additionalPrinterColumns") or ()
        columns: list[Column] = [
            (each["name"], each["type"], each["jsonPath"], each.get("priority", 0)) for each in given
        ]
        selectable = [each["jsonPath"].lstrip(".") for each in version.get("selectableFields") or ()]
        kinds.append(
            Kind(
                spec["group"],
                version["name"],
                names["kind"],
                names["plural"],
                spec["scope"] == "Namespaced",
                schema,
                custom=True,
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                status="status" in (version.get("subresources") or {}),
                columns=(_NAME, *(columns or [_OWN_AGE])),
                list_keys={**_METADATA_LISTS, **_lists(schema, ())},
                atomic=frozenset({_OWNERS, *_atomic(schema, ())}),
                selectable=_EVERY_FIELD | {each: each for each in selectable},
                storage_version=storage,
                singular_name=names.get("singular") or "",
                deprecated=_deprecated(spec, version),
                scale=dict((version.get("subresources") or {}).get("scale") or {}),
            )
        )
    return kinds


def _deprecated(spec: dict[str, Any], version: dict[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    shown = f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
    return str(version.get("deprecationWarning") or shown)


def _below(schema: Schema, path: tuple[str, ...]) -> list[tuple[Schema, tuple[str, ...]]]:
    """Schemas right below, an item of a list standing at the path of its list."""
    found = [(inner, (*path, name)) for name, inner in (schema.get("properties") or {}).items()]
    if isinstance(schema.get("items"), dict):
        found += _below(schema["items"], path)
    return found


def _lists(schema: Schema, path: tuple[str, ...]) -> Lists:
    """Where a schema says that a list is a map or a set."""
    found: Lists = {}
    for inner, here in _below(schema, path):
        kind = inner.get("x-kubernetes-list-type")
        if kind == "map":
            found[here] = tuple(inner.get("x-kubernetes-list-map-keys") or ())
        elif kind == "set":
            found[here] = ()
        found |= _lists(inner, here)
    return found


def _atomic(schema: Schema, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for inner, here in _below(schema, path):
        if inner.get("x-kubernetes-map-type") == "atomic":
            found.append(here)
        found += _atomic(inner, here)
    return found
