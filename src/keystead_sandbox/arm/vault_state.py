"""Vaults, deleted vaults and access policies as Resource Manager shows them."""

from typing import Any

from keystead_sandbox.arm.regions import normal
from keystead_sandbox.arm.vault_rules import purge_date
from keystead_sandbox.resources import AccessPolicy, Vault


def vault_body(vault: Vault, suffix: str) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "tenantId": vault.tenant_id,
        "vaultUri": f"https://{vault.name}{suffix}/",
        "accessPolicies": [_policy_body(each) for each in vault.access_policies],
        "enableRbacAuthorization": vault.rbac,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": vault.retention_days,
        "publicNetworkAccess": vault.public_network,
        "sku": {"family": "A", "name": vault.sku},
        "provisioningState": "Succeeded",
        **vault.settings,
    }
    if vault.purge_protection:  # shown only when it is on
        properties["enablePurgeProtection"] = True
    return {
        "id": vault.resource_id,
        "name": vault.name,
        "type": "Microsoft.KeyVault/vaults",
        "location": vault.location,
        "tags": dict(vault.tags),
        "properties": properties,
    }


def policies_body(vault: Vault) -> dict[str, Any]:
    return {
        "id": f"{vault.resource_id}/accessPolicies/",
        "type": "Microsoft.KeyVault/vaults/accessPolicies",
        "location": vault.location,
        "properties": {"accessPolicies": [_policy_body(each) for each in vault.access_policies]},
    }


def deleted_body(vault: Vault) -> dict[str, Any]:
    subscription, place = vault.resource_id.split("/")[2], normal(vault.location)
    holder = f"/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{place}"
    return {
        "id": f"{holder}/deletedVaults/{vault.name}",
        "name": vault.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": vault.resource_id,
            "location": vault.location,
            "deletionDate": vault.deleted_on.isoformat() if vault.deleted_on is not None else None,
            "scheduledPurgeDate": purge_date(vault).isoformat(),
            "tags": dict(vault.tags),
            **({"purgeProtectionEnabled": True} if vault.purge_protection else {}),
        },
    }


def _policy_body(policy: AccessPolicy) -> dict[str, Any]:
    permissions = {name: list(getattr(policy, name)) for name in ("keys", "secrets", "certificates")}
    body = {"tenantId": policy.tenant_id, "objectId": policy.object_id, "permissions": permissions}
    return {**body, "applicationId": policy.application_id} if policy.application_id else body
