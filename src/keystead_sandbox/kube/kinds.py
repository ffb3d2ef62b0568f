"""The kinds that are served: those built in, and those that CRDs add."""

from dataclasses import dataclass, field
from typing import Any

Column = tuple[str, str, str, int]
"""Title, type, JSON path or name of a computed cell, priority."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Kind:
    """One resource at one version."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    schema: dict[str, Any] | None = field(default=None, compare=False)
    columns: tuple[Column, ...] = field(default=(), compare=False)
    list_keys: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Paths of lists that are maps, with their keys; an empty tuple of keys is a set."""
    storage_version: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def custom(self) -> bool:
        return self.schema is not None


_NAME: Column = ("Name", "string", ".metadata.name", 0)
_AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0)
METADATA_LISTS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("metadata", "ownerReferences"): ("uid",),
    ("metadata", "finalizers"): (),
}


def _kind(
    group: str,
    version: str,
    kind: str,
    plural: str,
    *columns: Column,
    namespaced: bool = True,
    short: tuple[str, ...] = (),
    status: bool = False,
    lists: dict[tuple[str, ...], tuple[str, ...]] | None = None,
) -> Kind:
    shown = (_NAME, *columns) if columns and columns[0][0] == "!" else (_NAME, *columns, _AGE)
    return Kind(
        group,
        version,
        kind,
        plural,
        namespaced,
        short,
        (),
        status,
        None,
        tuple(each for each in shown if each[0] != "!"),
        {**METADATA_LISTS, **(lists or {})},
    )


BUILT_IN: tuple[Kind, ...] = (
    _kind(
        "",
        "v1",
        "Namespace",
        "namespaces",
        ("Status", "string", ".status.phase", 0),
        namespaced=False,
        short=("ns",),
        status=True,
    ),
    _kind(
        "",
        "v1",
        "ServiceAccount",
        "serviceaccounts",
        ("Secrets", "integer", "count:.secrets", 0),
        short=("sa",),
        lists={("secrets",): ("name",)},
    ),
    _kind("", "v1", "Secret", "secrets", ("Type", "string", ".type", 0), ("Data", "integer", "count:.data", 0)),
    _kind("", "v1", "ConfigMap", "configmaps", ("Data", "integer", "count:.data", 0), short=("cm",)),
    _kind(
        "",
        "v1",
        "Event",
        "events",
        ("!", "", "", 0),
        ("Last Seen", "date", "event:seen", 0),
        ("Type", "string", ".type", 0),
        ("Reason", "string", ".reason", 0),
        ("Object", "string", "event:object", 0),
        ("Message", "string", "event:message", 0),
        short=("ev",),
    ),
    _kind(
        "events.k8s.io",
        "v1",
        "Event",
        "events",
        ("!", "", "", 0),
        ("Last Seen", "date", "event:seen", 0),
        ("Type", "string", ".type", 0),
        ("Reason", "string", ".reason", 0),
        ("Object", "string", "event:object", 0),
        ("Message", "string", "event:message", 0),
        short=("ev",),
    ),
    _kind("coordination.k8s.io", "v1", "Lease", "leases", ("Holder", "string", ".spec.holderIdentity", 0)),
    _kind("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    _kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", ("Role", "string", ".roleRef.name", 0)),
    _kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False),
    _kind(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        ("Role", "string", ".roleRef.name", 0),
        namespaced=False,
    ),
    _kind(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        ("!", "", "", 0),
        ("Created At", "string", ".metadata.creationTimestamp", 0),
        namespaced=False,
        short=("crd", "crds"),
        status=True,
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
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {"x-kubernetes-preserve-unknown-fields": True}
        given = version.get("additionalPrinterColumns")
        columns: list[Column] = [
            (each["name"], each["type"], each["jsonPath"], each.get("priority", 0)) for each in given or ()
        ]
        kinds.append(
            Kind(
                spec["group"],
                version["name"],
                names["kind"],
                names["plural"],
                spec["scope"] == "Namespaced",
                tuple(names.get("shortNames") or ()),
                tuple(names.get("categories") or ()),
                "status" in (version.get("subresources") or {}),
                schema,
                (_NAME, *(columns if given else [_AGE])),
                {**METADATA_LISTS, **_lists(schema, ())},
                storage,
            )
        )
    return kinds


def _lists(schema: dict[str, Any], path: tuple[str, ...]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Where a schema says that a list is a map or a set."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name, inner in (schema.get("properties") or {}).items():
        here = (*path, name)
        kind = inner.get("x-kubernetes-list-type")
        if kind == "map":
            found[here] = tuple(inner.get("x-kubernetes-list-map-keys") or ())
        elif kind == "set":
            found[here] = ()
        found |= _lists(inner, here)
    return found
