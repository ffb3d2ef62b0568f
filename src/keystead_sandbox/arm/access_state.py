"""Assignments, definitions, locks and policies as Resource Manager shows them."""

import datetime
from typing import Any

from keystead_sandbox.governance import Lock, PolicyAssignment, PolicyDefinition
from keystead_sandbox.resources import RoleAssignment
from keystead_sandbox.roles import Role


def assignment_body(assignment: RoleAssignment) -> dict[str, Any]:
    created, updated = assignment.created_on, assignment.updated_on or assignment.created_on
    return {
        "id": assignment.id,
        "name": assignment.id.rsplit("/", 1)[1],
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": _definition_id(assignment.role_definition_id, assignment.scope),
            "principalId": assignment.principal_id,
            "principalType": assignment.principal_type,
            "scope": assignment.scope or "/",
            "condition": assignment.condition or None,
            "conditionVersion": assignment.condition_version or None,
            "createdOn": _instant(created),
            "updatedOn": _instant(updated),
            "createdBy": assignment.created_by or None,
            "updatedBy": assignment.created_by or None,
            "delegatedManagedIdentityResourceId": assignment.delegated_identity or None,
            "description": assignment.description or None,
        },
    }


def _instant(moment: datetime.datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment is not None else None


def role_body(role: Role, scope: str) -> dict[str, Any]:
    permission: dict[str, Any] = {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": list(role.not_data_actions),
    }
    if role.condition:
        permission |= {"condition": role.condition, "conditionVersion": "2.0"}
    return {
        "id": _definition_id(role.id, scope),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "CustomRole" if role.tenant_id else "BuiltInRole",
            "description": role.description,
            "assignableScopes": list(role.assignable_scopes),
            "permissions": [permission],
        },
    }


def _definition_id(role: str, scope: str) -> str:
    """Definitions are shown below the subscription that was asked about."""
    parts = scope.split("/")
    holder = "/".join(parts[:3]) if parts[1:2] and parts[1].lower() == "subscriptions" else ""
    return f"{holder}/providers/Microsoft.Authorization/roleDefinitions/{role}"


def lock_body(lock: Lock) -> dict[str, Any]:
    properties = {"level": lock.level, "notes": lock.notes} if lock.notes else {"level": lock.level}
    return {"id": lock.id, "name": lock.name, "type": "Microsoft.Authorization/locks", "properties": properties}


def policy_body(policy: PolicyAssignment) -> dict[str, Any]:
    return {
        "id": policy.id,
        "name": policy.id.rpartition("/")[2],
        "type": "Microsoft.Authorization/policyAssignments",
        "properties": {
            **policy.properties,
            "scope": policy.scope,
            "notScopes": list(policy.not_scopes),
            "policyDefinitionId": policy.definition.id,
            "enforcementMode": "Default" if policy.enforced else "DoNotEnforce",
        },
    }


def policy_definition_body(definition: PolicyDefinition) -> dict[str, Any]:
    return {
        "id": definition.id,
        "name": definition.id.rpartition("/")[2],
        "type": "Microsoft.Authorization/policyDefinitions",
        "properties": {
            "policyType": "BuiltIn" if definition.built_in else "Custom",
            "mode": "All",
            "policyRule": dict(definition.rule),
            **definition.properties,
        },
    }
