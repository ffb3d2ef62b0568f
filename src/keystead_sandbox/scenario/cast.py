"""Pure: who plays in the scenario, and what must have become of each at the end.

Two Rancher projects with a vault each. ``payments``: 46 namespaces, reviewed, three identities since two hold only
forty; one request is left to the reader, one namespace already holds a hand-made store that points elsewhere, one
namespace is deleted once it works. ``search``: 12 namespaces, no review, one identity of its own.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

TENANT_ID = "5f1c1b7e-0d5b-4c67-9a35-6f3a3f0c0a11"
SUBSCRIPTION_ID = "0c2f7a52-9c55-4b3b-8c5a-4a4b2b6f3d21"
OPERATOR_CLIENT_ID = "d6a4a0f4-4d52-4f0e-8a55-7e0f1a5c9b31"
RESOURCE_GROUP = "keystead-demo"
LOCATION = "westeurope"
SERVICE_ACCOUNT = "keystead"
STORE = "azure-store"
EXTERNAL_SECRET = "app"  # noqa: S105 - the name of a Kubernetes object
SECRET = "app"  # noqa: S105 - the name of a Kubernetes object
SECRET_KEY = "db-password"  # noqa: S105 - the name of a vault entry
CONFIG_KEY = "app-config"

HOME = "keystead-sandbox"
"""The namespace of the operator, the engine, and everybody's accounts."""
ADMIN, REVIEWER, OPERATOR, ENGINE, TEAM = (
    "platform-admin",
    "reviewer",
    "keystead-operator",
    "keystead-engine",
    "payments-team",
)


class Fate(StrEnum):
    """What must have become of a namespace at the end."""

    READY = "ready"
    AWAITING_REVIEW = "awaiting review"
    BLOCKED = "blocked"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Project:
    """A Rancher project: one vault, one pool."""

    name: str
    rancher_id: str
    approval: str
    identities: tuple[str, ...]
    namespaces: Mapping[str, Fate]
    values: Mapping[str, str] = field(repr=False)
    """What stands in the vault; never shown."""

    @property
    def vault(self) -> str:
        return f"{self.name}-kv"

    @property
    def vault_url(self) -> str:
        return f"https://{self.vault}.vault.azure.net"


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody, and the expectations that follow."""

    projects: tuple[Project, ...]
    operator_secret: str = field(repr=False)

    @property
    def fates(self) -> dict[str, Fate]:
        return {namespace: fate for project in self.projects for namespace, fate in project.namespaces.items()}

    def count(self, fate: Fate) -> int:
        return sum(1 for each in self.fates.values() if each is fate)

    def project_of(self, namespace: str) -> Project:
        return next(project for project in self.projects if namespace in project.namespaces)

    @property
    def identities(self) -> int:
        return sum(len(project.identities) for project in self.projects)


def make_cast() -> Cast:
    """The scenario's numbers, with fresh secret values."""
    payments = {f"payments-{number:02}": Fate.READY for number in range(1, 47)}
    payments |= {"payments-05": Fate.DELETED, "payments-23": Fate.BLOCKED, "payments-46": Fate.AWAITING_REVIEW}
    search = {f"search-{number:02}": Fate.READY for number in range(1, 13)}
    return Cast(
        projects=(
            Project(
                "payments",
                "c-m7kq2:p-paymt",
                "Required",
                tuple(f"payments-{n}" for n in (1, 2, 3)),
                payments,
                _values(),
            ),
            Project("search", "c-m7kq2:p-srch1", "Automatic", ("search-1",), search, _values()),
        ),
        operator_secret=secrets.token_urlsafe(24),
    )


def username(name: str) -> str:
    """As whom the API server knows one of the cast."""
    return f"system:serviceaccount:{HOME}:{name}"


def _values() -> dict[str, str]:
    return {SECRET_KEY: secrets.token_urlsafe(18), CONFIG_KEY: f'{{"api-key": "{secrets.token_urlsafe(18)}"}}'}


def identity_id(name: str) -> str:
    """The ARM id of one of the scenario's identities."""
    return (
        f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{RESOURCE_GROUP}"
        f"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    )


def namespace_object(name: str, project: Project) -> dict[str, Any]:
    """A namespace as Rancher makes it: the annotation names cluster and project, the label the project alone."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "annotations": {"field.cattle.io/projectId": project.rancher_id},
            "labels": {"field.cattle.io/projectId": project.rancher_id.split(":")[1]},
        },
    }


def external_secret(namespace: str) -> dict[str, Any]:
    """What a developer writes: one value by name, and one document spread over keys."""
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": EXTERNAL_SECRET, "namespace": namespace},
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"name": STORE, "kind": "SecretStore"},
            "target": {"name": SECRET},
            "data": [{"secretKey": SECRET_KEY, "remoteRef": {"key": SECRET_KEY}}],
            "dataFrom": [{"extract": {"key": CONFIG_KEY}}],
        },
    }


def hand_made_store(namespace: str) -> dict[str, Any]:
    """A store that somebody made before, with a mistyped vault."""
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": STORE, "namespace": namespace},
        "spec": {
            "provider": {
                "azurekv": {
                    "authType": "WorkloadIdentity",
                    "vaultUrl": "https://paymets-kv.vault.azure.net",
                    "serviceAccountRef": {"name": SERVICE_ACCOUNT},
                }
            }
        },
    }


def grant(project: Project) -> dict[str, Any]:
    """What the platform admin writes once for a project."""
    return {
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "VaultGrant",
        "metadata": {"name": project.name},
        "spec": {
            "namespaces": {"rancherProjects": [project.rancher_id]},
            "vault": {"url": project.vault_url},
            "identities": [{"resourceId": identity_id(name)} for name in project.identities],
            "approval": project.approval,
            "template": {"storeController": "keystead"},
        },
    }


def approval(claim: Mapping[str, Any], namespace_uid: str, vault_url: str) -> dict[str, Any]:
    """The reviewer's word, bound to what the claim says about itself."""
    namespace = claim["metadata"]["namespace"]
    return {
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "VaultApproval",
        "metadata": {"name": f"{namespace}-{namespace_uid[:8]}"},
        "spec": {
            "grantName": claim["spec"]["grantName"],
            "namespace": namespace,
            "namespaceUID": namespace_uid,
            "subject": f"system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}",
            "vaultUrl": vault_url,
            "decision": "Approved",
            "by": username(REVIEWER),
            "message": "reviewed in the sandbox",
        },
    }
