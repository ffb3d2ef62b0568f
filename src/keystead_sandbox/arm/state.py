"""Resources as Resource Manager shows them."""

import uuid
from typing import Any

from keystead_sandbox.arm.rules import FLEXIBLE_VERSIONS, ISOLATION_VERSIONS, RESTRICTION_VERSIONS
from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.resources import Credential, Identity, ResourceGroup, Subscription, Vault
from keystead_sandbox.world import World


def operation_header(caller: Caller, identity: Identity) -> dict[str, str]:
    """What the identities' provider adds to the answers of its writes (recorded traffic)."""
    operation = f"tenantId={caller.tenant_id},objectId={caller.object_id}/{identity.location}/{uuid.uuid4()}"
    return {"x-ms-operation-identifier": operation}


def identity_body(identity: Identity, version: str) -> dict[str, Any]:
    """An identity, with the settings that *version* knows."""
    known = {"isolationScope": ISOLATION_VERSIONS, "assignmentRestrictions": RESTRICTION_VERSIONS}
    settings = {name: value for name, value in identity.properties.items() if version in known[name]}
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
            **settings,
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
    body: dict[str, Any] = {
        "id": group.id,
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "properties": {"provisioningState": "Succeeded" if group.gone_at is None else "Deleting"},
    }
    return {**body, "tags": dict(group.tags)} if group.tags else body


def resource_body(resource: Identity | Vault, group: str) -> dict[str, Any]:
    """As ``GET …/resources`` shows what there is: ids with the group as it was first spelled."""
    parts = resource.resource_id.split("/")
    return {
        "id": "/".join([*parts[:3], "resourceGroups", group, *parts[5:]]),
        "name": resource.name,
        "type": "/".join(parts[6:8]),
        "location": resource.location,
        "tags": dict(resource.tags),
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
