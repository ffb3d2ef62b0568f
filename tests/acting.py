"""Who does what in the tests' clusters: programs and people with the roles that we ship, and nothing beyond them.

- An admin writes grants, a reviewer approvals, a tenant claims: each bound to the shipped role as an installation would
  bind them, so that a rule that is missing there fails whichever test comes by.
- Everything else (namespaces, definitions, what other tools write) is done by the platform, which may do everything.
- Approvals are created and deleted, never changed: their role says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keystead.kube.permissions import ADMIN, APPROVER, ENGINE, NAMESPACE, OPERATOR
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import ADMINS, User
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.rbac import Attributes

_RBAC = "rbac.authorization.k8s.io"
_OURS = "keystead.dev"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, and the group that a role is bound to."""

    name: str
    group: str
    role: str = ""
    """A ClusterRole; empty for the platform, whose group may do everything anyway."""

    @property
    def headers(self) -> dict[str, str]:
        """For a request of an admin of the cluster in this one's place."""
        return {"Impersonate-User": self.name, "Impersonate-Group": self.group}

    @property
    def user(self) -> User:
        return User(self.name, (self.group,))


PLATFORM = Person("platform", ADMINS)
_BY_PLURAL = {
    "vaultgrants": Person("admin", "grant-admins", ADMIN),
    "vaultapprovals": Person("reviewer", "reviewers", APPROVER),
    "vaultclaims": Person("tenant", "developers", "edit"),
}


def who(group: str, plural: str) -> Person:
    """Whose task it is to write objects of this kind."""
    return _BY_PLURAL.get(plural, PLATFORM) if group == _OURS else PLATFORM


def bindings() -> list[dict[str, Any]]:
    """What binds the people to their roles; ``edit`` everywhere stands for the namespaces that a tenant may edit."""
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"test-{each.name}"},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": each.role},
            "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": each.group}],
        }
        for each in _BY_PLURAL.values()
    ]


def account(name: str) -> User:
    """A program of ours, as its ServiceAccount: ``keystead-operator`` or ``keystead-engine``."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}")
    return User(f"system:serviceaccount:{NAMESPACE}:{name}", groups)


def operator() -> User:
    return account(OPERATOR)


def engine() -> User:
    return account(ENGINE)


def install(cluster: Cluster, items: Iterable[dict[str, Any]]) -> None:
    """Apply objects to the embedded server as its admin."""
    for item in items:
        group, _, version = item["apiVersion"].rpartition("/")
        kinds = cluster.rest.kinds.values()
        kind = next(each for each in kinds if (each.group, each.version, each.kind) == (group, version, item["kind"]))
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        how: dict[str, Any] = {"manager": "people", "force": True, "sub": "", "dry": False, "warnings": []}
        cluster.rest.apply(kind, namespace, name, item, **how)


def permit(cluster: Cluster, kind: Kind, verb: str, name: str, namespace: str = "") -> User:
    """Who does it, on the embedded server without a request; fails when that one may not."""
    person = who(kind.group, kind.plural)
    asked = Attributes(verb, kind.group, kind.version, kind.plural, "", name, namespace)
    verdict = cluster.authorizer.decide(person.user, asked)
    assert verdict.allowed, f"{person.name} may not {verb} {kind.plural} {namespace}/{name}: {verdict.reason}"
    return person.user
