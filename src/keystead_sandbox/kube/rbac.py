"""RBAC: whether a user may do something, by the Roles, ClusterRoles and bindings that are stored.

- ``system:masters`` may do everything, before any role is looked at.
- Rules add up; nothing takes a permission away (Kubernetes docs: "Using RBAC Authorization").
- A binding whose role is missing grants nothing, and a refusal says so.
- A request looks at the ClusterRoleBindings, remembered by user until one of them or a ClusterRole changes, and at the
  RoleBindings of its own namespace.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from keystead_sandbox.kube.kinds import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, RBAC, ROLES
from keystead_sandbox.kube.store import Store

Object: TypeAlias = dict[str, Any]
MASTERS = "system:masters"


class Subject(Protocol):
    """Whom the question is about."""

    @property
    def name(self) -> str: ...

    @property
    def all_groups(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Attributes:
    """One question: a verb on a resource, or on a path that is none."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    sub: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""

    @property
    def whole_resource(self) -> str:
        """With the subresource, as rules write it."""
        return f"{self.resource}/{self.sub}" if self.sub else self.resource


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and why."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """Rules of one binding; *missing* names the role that is not there."""

    source: str
    rules: tuple[Object, ...]
    missing: str = ""


class Authorizer:
    """Answers for one cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: tuple[int, int] = (-1, -1)
        self._cluster: dict[tuple[str, tuple[str, ...]], list[Granted]] = {}

    def decide(self, user: Subject, asked: Attributes) -> Verdict:
        """Whether *user* may."""
        if MASTERS in user.all_groups:
            return Verdict(allowed=True)
        missing = []
        for granted in self.granted(user, asked.namespace if asked.resource else ""):
            if granted.missing:
                missing.append(granted.missing)
            elif any(covers(rule, asked) for rule in granted.rules):
                return Verdict(allowed=True, reason=f"RBAC: allowed by {granted.source}")
        told = list(dict.fromkeys(missing))
        if not told:
            return Verdict(allowed=False)
        return Verdict(allowed=False, reason=f"RBAC: {told[0] if len(told) == 1 else '[' + ', '.join(told) + ']'}")

    def granted(self, user: Subject, namespace: str) -> Iterator[Granted]:
        """What bindings grant *user*, everywhere and in *namespace*."""
        seen = (self._store.changed(CLUSTER_BINDINGS), self._store.changed(CLUSTER_ROLES))
        if seen != self._seen:
            self._seen, self._cluster = seen, {}
        key = (user.name, user.all_groups)
        if key not in self._cluster:
            self._cluster[key] = list(self._bound(CLUSTER_BINDINGS, "", user))
        yield from self._cluster[key]
        if namespace:
            yield from self._bound(BINDINGS, namespace, user)

    def rules_of(self, reference: Object, namespace: str) -> tuple[list[Object], str]:
        """The rules of the role that a binding in *namespace* names, and what is missing."""
        kind, name = reference.get("kind", ""), reference.get("name", "")
        resource, place = (ROLES, namespace) if kind == "Role" else (CLUSTER_ROLES, "")
        found = self._store.get(resource, place, name)
        if found is None:
            return [], f'{kind.lower()}.{RBAC} "{name}" not found'
        return found.get("rules") or [], ""

    def _bound(self, resource: tuple[str, str], namespace: str, user: Subject) -> Iterator[Granted]:
        for binding in self._store.all(resource, namespace):
            subject = next((each for each in binding.get("subjects") or () if _is(each, user, namespace)), None)
            if subject is None:
                continue
            reference = binding["roleRef"]
            rules, missing = self.rules_of(reference, namespace)
            yield Granted(_source(binding, subject, namespace), tuple(rules), missing)


def covers(rule: Object, asked: Attributes) -> bool:
    """Whether one rule allows what is asked."""
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and asked.verb not in verbs:
        return False
    if asked.path:
        return any(_is_path(each, asked.path) for each in rule.get("nonResourceURLs") or ())
    groups, names = rule.get("apiGroups") or (), rule.get("resourceNames") or ()
    if "*" not in groups and asked.group not in groups:
        return False
    if not any(_is_resource(each, asked) for each in rule.get("resources") or ()):
        return False
    return not names or asked.name in names


def _is_resource(given: str, asked: Attributes) -> bool:
    return given in ("*", asked.whole_resource) or (bool(asked.sub) and given == f"*/{asked.sub}")


def _is_path(given: str, path: str) -> bool:
    return given in ("*", path) or (given.endswith("*") and path.startswith(given.rstrip("*")))


def _is(subject: Object, user: Subject, namespace: str) -> bool:
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "Group":
        return name in user.all_groups
    if kind == "ServiceAccount":
        place = subject.get("namespace") or namespace
        return bool(place) and user.name == f"system:serviceaccount:{place}:{name}"
    return kind == "User" and user.name == name


def _source(binding: Object, subject: Object, namespace: str) -> str:
    """A grant as the real authoriser describes it in the reason of an access review."""
    reference, name = binding["roleRef"], binding["metadata"]["name"]
    kind, shown = ("RoleBinding", f"{name}/{namespace}") if namespace else ("ClusterRoleBinding", name)
    who = subject["name"]
    if subject["kind"] == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or namespace}"
    return f'{kind} "{shown}" of {reference["kind"]} "{reference["name"]}" to {subject["kind"]} "{who}"'
