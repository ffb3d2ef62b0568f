"""What every cluster begins with: namespaces, default roles and their bindings; and the aggregation of ClusterRoles.

- The roles are data (``bootstrap_roles.yaml``); ``system:masters`` needs none.
- The issuer's documents may be read by all, as cloud providers publish them: whoever has to check tokens has none.
- A ClusterRole with an ``aggregationRule`` has the rules of all that its selectors find, in order of their names.
"""

import copy
import functools
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from keystead_sandbox.kube import selectors
from keystead_sandbox.kube.kinds import CLUSTER_BINDINGS, CLUSTER_ROLES, NAMESPACES, RBAC

if TYPE_CHECKING:
    from keystead_sandbox.kube.rest import Rest

Object: TypeAlias = dict[str, Any]
_OWN_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_LABEL = f"{RBAC}/aggregate-to-"
_ISSUER = "system:service-account-issuer-discovery"


def install(rest: "Rest") -> None:
    """Store all of it."""
    for name in _OWN_NAMESPACES:
        item = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
        rest.install(NAMESPACES, item)
    for resource, item in copy.deepcopy(_defaults()):
        rest.install(resource, item)


@functools.cache
def _defaults() -> list[tuple[tuple[str, str], Object]]:
    data = yaml.safe_load(resources.files("keystead_sandbox.kube").joinpath("bootstrap_roles.yaml").read_text())
    roles = [(CLUSTER_ROLES, _role(each)) for each in data["roles"]]
    data["bindings"].append({"name": f"{_ISSUER}-for-all", "role": _ISSUER, "groups": ["system:unauthenticated"]})
    # Those that gather come last, so that each is put together once and from finished parts.
    order = ("view", "edit", "admin")
    roles.sort(key=lambda each: (*(each[1]["metadata"]["name"] == name for name in reversed(order)),))
    return [*roles, *((CLUSTER_BINDINGS, _binding(each)) for each in data["bindings"])]


def _head(kind: str, name: str, labels: Object) -> Object:
    metadata = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **labels},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata}


def _role(given: Object) -> Object:
    joins, gathers = given.get("joins"), given.get("gathers")
    role = _head("ClusterRole", given["name"], {f"{_LABEL}{joins}": "true"} if joins else {})
    if gathers:
        role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {f"{_LABEL}{gathers}": "true"}}]}
    return {**role, "rules": given.get("rules")}


def _binding(given: Object) -> Object:
    binding = _head("ClusterRoleBinding", given["name"], {})
    subjects = [{"kind": "Group", "apiGroup": RBAC, "name": each} for each in given["groups"]]
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": given.get("role", given["name"])}
    return {**binding, "roleRef": reference, "subjects": subjects}


def gather(rest: "Rest") -> None:
    """Put every aggregated ClusterRole together anew, until nothing changes: one may gather another."""
    changed = True
    while changed:
        changed = False
        roles = list(rest.store.all(CLUSTER_ROLES))
        for role in roles:
            wanted = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
            if wanted is None:
                continue
            rules: list[Object] = []
            for selector in wanted:
                matches = selectors.of_selector(selector)
                for other in roles:
                    if other is not role and matches(other):
                        rules += [each for each in other.get("rules") or () if each not in rules]
            if rules != (role.get("rules") or []):
                rest.store.put(CLUSTER_ROLES, {**copy.deepcopy(role), "rules": copy.deepcopy(rules)})
                changed = True
