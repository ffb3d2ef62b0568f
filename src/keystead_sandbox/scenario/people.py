"""Gives everybody of the cast an account of their own, with the roles that Keystead ships, and nothing beyond them.

- The operator and the engine are the ServiceAccounts of ``keystead rbac``; the people are bound to its roles.
- A team's pipeline makes namespaces and what External Secrets reads, for which no role of Keystead's exists, and may use
  the grants that its namespaces are made into: the guard on namespaces asks for that.
- The same on every cluster, so that a missing rule shows wherever rules are looked at.
"""

from typing import Any

from keystead_sandbox import kubeconfig
from keystead_sandbox.kube_api import KubeApi
from keystead_sandbox.scenario import cast as roles
from keystead_sandbox.scenario.cast import HOME, Cast

TEAM_ROLE = "keystead-sandbox-team"
_LIFE = 24 * 3600  # seconds; the longest that managed clusters give
_RBAC = "rbac.authorization.k8s.io"
_PEOPLE = {roles.ADMIN: "keystead-admin", roles.REVIEWER: "keystead-approver", roles.TEAM: TEAM_ROLE}


def objects(cast: Cast) -> list[dict[str, Any]]:
    """Pure: the people's accounts, the team's role, and who is bound to what."""
    return [
        _team_role(cast),
        *(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": HOME}}
            for name in _PEOPLE
        ),
        *(_binding(name, role) for name, role in _PEOPLE.items()),
    ]


async def sections(admin: KubeApi) -> dict[str, dict[str, Any]]:
    """By name: how each of the cast signs in."""
    everybody = (roles.OPERATOR, roles.ENGINE, *_PEOPLE)
    return {name: kubeconfig.token_section(await admin.token(HOME, name, seconds=_LIFE)) for name in everybody}


def _team_role(cast: Cast) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["delete"], "resourceNames": sorted(cast.fates)},
        {
            "apiGroups": ["keystead.dev"],
            "resources": ["vaultgrants"],
            "verbs": ["use"],
            "resourceNames": [project.name for project in cast.projects],
        },
        {
            "apiGroups": ["external-secrets.io"],
            "resources": ["secretstores", "externalsecrets"],
            "verbs": ["create", "patch"],
        },
    ]
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": TEAM_ROLE},
        "rules": rules,
    }


def _binding(name: str, role: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"keystead-sandbox-{name}"},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": HOME}],
    }
