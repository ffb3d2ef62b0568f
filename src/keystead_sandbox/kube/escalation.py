"""Nobody grants what they do not hold: the checks on writes of roles and bindings.

Source: Kubernetes docs, "Privilege escalation prevention and bootstrapping". Whoever may ``escalate`` a role writes any
rule into it; whoever may ``bind`` a role binds it; anybody else must hold every single permission of it already.
"""

import itertools
import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube.errors import forbidden, not_found
from keystead_sandbox.kube.kinds import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, RBAC, ROLES, Kind
from keystead_sandbox.kube.rbac import MASTERS, Attributes, Authorizer

Object: TypeAlias = dict[str, Any]


def check(authorizer: Authorizer, user: User, kind: Kind, item: Object, before: Object | None) -> None:
    """ApiError 403 when writing *item* would give more than *user* has."""
    if MASTERS in user.all_groups or kind.key not in (ROLES, CLUSTER_ROLES, BINDINGS, CLUSTER_BINDINGS):
        return
    namespace, name = item["metadata"].get("namespace") or "", item["metadata"]["name"]
    if kind.key in (ROLES, CLUSTER_ROLES):
        same = before is not None and _without_life(before) == _without_life(item)
        may = same or _may(authorizer, user, "escalate", kind.plural, namespace, name)
        wanted = item.get("rules") or []
        if item.get("aggregationRule") and not same:
            wanted = [*wanted, _EVERYTHING, _EVERYWHERE]
    else:
        reference = item.get("roleRef") or {}
        same = before is not None and _without_life(before) == _without_life(item)
        plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
        may = same or _may(authorizer, user, "bind", plural, namespace, reference.get("name", ""))
        wanted, missing = ([], "") if may else authorizer.rules_of(reference, namespace)
        if missing:
            raise not_found(kind.group, kind.plural, reference.get("name", ""))
    lacking = [] if may else lacks(authorizer, user, namespace, wanted)
    if lacking:
        raise forbidden(kind.group, kind.plural, name, _told(user, lacking))


_EVERYTHING: Object = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_EVERYWHERE: Object = {"verbs": ["*"], "nonResourceURLs": ["*"]}


def lacks(authorizer: Authorizer, user: User, namespace: str, wanted: Iterable[Object]) -> list[Object]:
    """The single permissions of *wanted* that *user* does not hold in *namespace*."""
    held = [rule for granted in authorizer.granted(user, namespace) for rule in granted.rules]
    return [each for rule in wanted for each in _single(rule) if not any(_holds(rule, each) for rule in held)]


def _single(rule: Object) -> list[Object]:
    """A rule as rules of one verb and one resource each."""
    verbs = rule.get("verbs") or ()
    names: list[list[str]] = [[each] for each in rule.get("resourceNames") or ()] or [[]]
    found: list[Object] = [
        {"verbs": [verb], "apiGroups": [group], "resources": [resource], **({"resourceNames": name} if name else {})}
        for group, resource, name, verb in itertools.product(
            rule.get("apiGroups") or (), rule.get("resources") or (), names, verbs
        )
    ]
    return found + [
        {"verbs": [verb], "nonResourceURLs": [path]}
        for path, verb in itertools.product(rule.get("nonResourceURLs") or (), verbs)
    ]


def _holds(held: Object, wanted: Object) -> bool:
    def has(field: str) -> bool:
        given = held.get(field) or ()
        return "*" in given or wanted[field][0] in given

    if "nonResourceURLs" in wanted:
        path = wanted["nonResourceURLs"][0]
        fits = any(
            each in ("*", path) or (each.endswith("*") and path.rstrip("*").startswith(each.rstrip("*")))
            for each in held.get("nonResourceURLs") or ()
        )
        return has("verbs") and fits
    resource = wanted["resources"][0]
    resources = held.get("resources") or ()
    fits = "*" in resources or resource in resources or f"*/{resource.partition('/')[2]}" in resources
    names = held.get("resourceNames") or ()
    named = not names or (bool(wanted.get("resourceNames")) and wanted["resourceNames"][0] in names)
    return has("verbs") and has("apiGroups") and fits and named


def _may(authorizer: Authorizer, user: User, verb: str, plural: str, namespace: str, name: str) -> bool:
    asked = Attributes(verb, group=RBAC, version="v1", resource=plural, namespace=namespace, name=name)
    return authorizer.decide(user, asked).allowed


def _without_life(item: Object) -> Object:
    """An object without what the garbage collector has to change whatever its permissions are."""
    left_out = ("ownerReferences", "finalizers", "resourceVersion", "managedFields")
    metadata = {name: value for name, value in item["metadata"].items() if name not in left_out}
    return {**item, "metadata": metadata}


def _told(user: User, lacking: list[Object]) -> str:
    """What is missing, with single permissions gathered by resource as the real message has them."""
    gathered: dict[str, Object] = {}
    for rule in lacking:
        key = json.dumps({name: value for name, value in rule.items() if name != "verbs"}, sort_keys=True)
        known = gathered.setdefault(key, {**rule, "verbs": []})
        known["verbs"] += [verb for verb in rule["verbs"] if verb not in known["verbs"]]
    lines = sorted(_line(each) for each in gathered.values())
    groups = " ".join(json.dumps(each) for each in user.all_groups)
    return (
        f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
        + "\n".join(lines)
    )


def _line(rule: Object) -> str:
    names = {
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "nonResourceURLs": "NonResourceURLs",
        "verbs": "Verbs",
    }
    parts = [
        f"{shown}:[{' '.join(json.dumps(each) for each in rule[field])}]"
        for field, shown in names.items()
        if field in rule
    ]
    return "{" + ", ".join(parts) + "}"
