"""Pure: the table of permissions as Kubernetes objects, and as YAML."""

from collections.abc import Sequence
from typing import Any

import yaml

from keystead.kube.permissions import NAMESPACE, Role, Rule, roles
from keystead.model.growth import PROBE_ACCOUNT

_GROUP = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/part-of": "keystead"}


def manifests(
    *, namespace: str = NAMESPACE, account_names: Sequence[str] = ("keystead",), token_roles: bool = False
) -> list[dict[str, Any]]:
    """The namespace of the installation, the accounts of our two processes, all roles, and the processes' bindings.

    The probe's account has no rights at all; the operator asks tokens for it.
    """
    found = roles(account_names, token_roles=token_roles)
    accounts = [*sorted({role.name for role in found if role.account}), PROBE_ACCOUNT]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": _LABELS}},
        *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(name, namespace)} for name in accounts),
        *(part for role in found for part in _role(role, namespace)),
    ]


def rbac_yaml(
    *, namespace: str = NAMESPACE, account_names: Sequence[str] = ("keystead",), token_roles: bool = False
) -> str:
    """For ``kubectl apply``."""
    objects = manifests(namespace=namespace, account_names=account_names, token_roles=token_roles)
    return "---\n".join(plain_yaml(each) for each in objects)


def plain_yaml(data: Any) -> str:
    """YAML in which what repeats is written out: aliases make a file that people review harder to read."""
    return str(yaml.dump(data, Dumper=_Plain, sort_keys=False, width=120))


class _Plain(yaml.SafeDumper):
    """Without anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _role(role: Role, namespace: str) -> list[dict[str, Any]]:
    kind = "ClusterRole" if role.cluster else "Role"
    metadata = _metadata(role.name, "" if role.cluster else namespace)
    metadata["annotations"] = {"keystead.dev/meaning": role.meaning}
    if role.aggregate_to:
        metadata["labels"] = {**_LABELS, f"{_GROUP}/aggregate-to-{role.aggregate_to}": "true"}
    rules = [_rule(rule) for rule in role.rules]
    item = {"apiVersion": f"{_GROUP}/v1", "kind": kind, "metadata": metadata, "rules": rules}
    if not role.account:
        return [item]
    binding = {
        "apiVersion": f"{_GROUP}/v1",
        "kind": f"{kind}Binding",
        "metadata": _metadata(role.name, "" if role.cluster else namespace),
        "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": role.name},
        "subjects": [{"kind": "ServiceAccount", "name": role.name, "namespace": namespace}],
    }
    return [item, binding]


def _rule(rule: Rule) -> dict[str, Any]:
    if rule.paths:
        return {"nonResourceURLs": list(rule.paths), "verbs": list(rule.verbs)}
    written: dict[str, Any] = {
        "apiGroups": [rule.group],
        "resources": list(rule.resources),
        "verbs": list(rule.verbs),
    }
    return written | {"resourceNames": list(rule.names)} if rule.names else written


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    placed = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {**placed, "labels": _LABELS}
