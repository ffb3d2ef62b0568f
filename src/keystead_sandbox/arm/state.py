"""Resources as ARM shows them, and the one write that an identity takes at a time."""

from typing import Any

from keystead_sandbox.world import Credential, Identity, ResourceGroup, RoleAssignment, Subscription, Vault, World


class Holds:
    """Which identities a credential write holds now."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    def held(self, identity: Identity) -> bool:
        return identity.resource_id.lower() in self._held

    def take(self, identity: Identity) -> None:
        self._held.add(identity.resource_id.lower())

    def release(self, identity: Identity) -> None:
        self._held.discard(identity.resource_id.lower())


def identity_body(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.resource_id,
        "name": identity.name,
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "location": identity.location,
        "tags": dict(identity.tags),
        "properties": {
            "tenantId": identity.tenant_id,
            "principalId": identity.principal_id,
            "clientId": identity.client_id,
            **identity.properties,
        },
    }


def credential_body(identity: Identity, credential: Credential) -> dict[str, Any]:
    return {
        "id": f"{identity.resource_id}/federatedIdentityCredentials/{credential.name}",
        "name": credential.name,
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        "properties": {
            "issuer": credential.issuer,
            "subject": credential.subject,
            "audiences": [credential.audience],
        },
    }


def subscription_body(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{subscription.id}",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant_id,
        "displayName": subscription.name,
        "state": "Enabled",
        "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01"},
    }


def group_body(group: ResourceGroup) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "properties": {"provisioningState": "Succeeded"},
    }


def vault_body(vault: Vault) -> dict[str, Any]:
    return {
        "id": vault.resource_id,
        "name": vault.name,
        "type": "Microsoft.KeyVault/vaults",
        "location": vault.location,
        "properties": {
            "tenantId": vault.tenant_id,
            "vaultUri": f"https://{vault.name}.vault.azure.net/",
            "enableRbacAuthorization": True,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 90,
            "sku": {"family": "A", "name": "standard"},
            "provisioningState": "Succeeded",
        },
    }


def assignment_body(assignment: RoleAssignment) -> dict[str, Any]:
    return {
        "id": assignment.id,
        "name": assignment.id.rsplit("/", 1)[1],
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": assignment.role_definition_id,
            "principalId": assignment.principal_id,
            "principalType": assignment.principal_type,
            "scope": assignment.scope,
        },
    }


def summary(world: World) -> dict[str, Any]:
    """The state as the control API shows it: no secret, no token."""
    return {
        "identities": [
            {
                "id": identity.resource_id,
                "name": identity.name,
                "clientId": identity.client_id,
                "principalId": identity.principal_id,
                "credentials": [
                    {"name": each.name, "issuer": each.issuer, "subject": each.subject, "audience": each.audience}
                    for each in identity.credentials.values()
                ],
            }
            for identity in world.identities.values()
        ],
        "vaults": [{"name": vault.name, "secrets": len(vault.secrets)} for vault in world.vaults.values()],
    }
