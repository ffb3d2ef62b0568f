"""Resources as Resource Manager shows them."""

from typing import Any

from keystead_sandbox.arm.rules import FLEXIBLE_VERSIONS
from keystead_sandbox.resources import Credential, Identity, ResourceGroup, RoleAssignment, Subscription, Vault
from keystead_sandbox.roles import Role
from keystead_sandbox.world import World


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


def credential_body(identity: Identity, credential: Credential, version: str) -> dict[str, Any]:
    """A credential; a flexible one has no subject, and its expression is shown by the versions that know it."""
    properties: dict[str, Any] = {"issuer": credential.issuer, "audiences": [credential.audience]}
    if not credential.expression:
        properties["subject"] = credential.subject
    elif version in FLEXIBLE_VERSIONS:
        properties["claimsMatchingExpression"] = {"value": credential.expression, "languageVersion": 1}
    return {
        "id": f"{identity.resource_id}/federatedIdentityCredentials/{credential.name}",
        "name": credential.name,
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        "properties": properties,
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


def vault_body(vault: Vault, suffix: str) -> dict[str, Any]:
    return {
        "id": vault.resource_id,
        "name": vault.name,
        "type": "Microsoft.KeyVault/vaults",
        "location": vault.location,
        "tags": {},
        "properties": {
            "tenantId": vault.tenant_id,
            "vaultUri": f"https://{vault.name}{suffix}/",
            "accessPolicies": [],
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
            "roleDefinitionId": _definition_id(assignment.role_definition_id, assignment.scope),
            "principalId": assignment.principal_id,
            "principalType": assignment.principal_type,
            "scope": assignment.scope or "/",
        },
    }


def role_body(role: Role, scope: str) -> dict[str, Any]:
    permission = {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": list(role.not_data_actions),
    }
    return {
        "id": _definition_id(role.id, scope),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [permission],
        },
    }


def _definition_id(role: str, scope: str) -> str:
    """Built-in roles are shown below the subscription that was asked about."""
    parts = scope.split("/")
    holder = "/".join(parts[:3]) if parts[1:2] and parts[1].lower() == "subscriptions" else ""
    return f"{holder}/providers/Microsoft.Authorization/roleDefinitions/{role}"


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
