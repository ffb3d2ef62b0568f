"""Roles: Azure's built-in ones that the sandbox knows, custom ones, and whether one allows an action.

- Names, ids, actions and data actions are those of the Azure RBAC built-in roles reference.
- Actions match without regard to case and ``*`` stands for any run of characters, slashes included; notActions subtract
  within one role only.
- A role may carry a condition of its own (Key Vault Data Access Administrator does), which every use must fulfil.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from keystead_sandbox import conditions


@dataclass(frozen=True, slots=True)
class Role:
    """A role definition, as far as it decides."""

    id: str
    name: str
    description: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    condition: str = ""
    #: A custom role's tenant, and the scopes at or below which it may be assigned; built-in roles have none.
    tenant_id: str = ""
    assignable_scopes: tuple[str, ...] = ("/",)

    def allows(self, action: str, *, data: bool, attributes: Mapping[str, str] | None = None) -> bool:
        """Whether this role, where it is assigned, allows *action*, with the *attributes* its condition looks at."""
        granted, withheld = (self.data_actions, self.not_data_actions) if data else (self.actions, self.not_actions)
        if not _any_matches(granted, action) or _any_matches(withheld, action):
            return False
        return not self.condition or conditions.holds(self.condition, action, attributes or {})


_IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_VAULTS = "Microsoft.KeyVault/vaults"
_ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
_COMMON = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Insights/alertRules/*",
    "Microsoft.Resources/deployments/*",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Support/*",
)
_VAULT_COMMON = (
    *_COMMON,
    "Microsoft.KeyVault/checkNameAvailability/read",
    "Microsoft.KeyVault/deletedVaults/read",
    "Microsoft.KeyVault/locations/*/read",
    f"{_VAULTS}/*/read",
    "Microsoft.KeyVault/operations/read",
)
_DELEGATED = (
    "00482a5a-887f-4fb3-b363-3b7fe8e74483",
    "a4417e6f-fecd-4de8-b567-7b0420556985",
    "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
    "e147488a-f6f5-4113-8e2d-b22465e65bf6",
    "12338af0-0e69-4776-bea7-57ae8d297424",
    "21090545-7ca7-4776-b22c-e363652d74d2",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "4633458b-17de-408a-b874-0445c86b69e6",
)
"""What Key Vault Data Access Administrator may hand out."""
_DELEGATION = " AND ".join(
    f"((!(ActionMatches{{'{_ASSIGNMENTS}/{verb}'}})) OR (@{source}[{_ASSIGNMENTS}:RoleDefinitionId] "
    f"ForAnyOfAnyValues:GuidEquals{{{', '.join(_DELEGATED)}}}))"
    for verb, source in (("write", "Request"), ("delete", "Resource"))
)

ROLES = (
    Role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", "Full access, including to role assignments.", ("*",)),
    Role(
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        "Full access, except to role assignments.",
        ("*",),
        (
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
            "Microsoft.Blueprint/blueprintAssignments/write",
            "Microsoft.Blueprint/blueprintAssignments/delete",
            "Microsoft.Compute/galleries/share/action",
            "Microsoft.Purview/consents/write",
            "Microsoft.Purview/consents/delete",
        ),
    ),
    Role(
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        "User Access Administrator",
        "Manages who has access.",
        ("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"),
    ),
    Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", "Reads everything, changes nothing.", ("*/read",)),
    Role(
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        "Role Based Access Control Administrator",
        "Manages role assignments, and nothing else.",
        (f"{_ASSIGNMENTS}/write", f"{_ASSIGNMENTS}/delete", "*/read", "Microsoft.Support/*"),
    ),
    Role(
        "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59",
        "Managed Identity Contributor",
        "Creates, reads, changes and deletes user-assigned identities.",
        (
            f"{_IDENTITIES}/read",
            f"{_IDENTITIES}/write",
            f"{_IDENTITIES}/delete",
            f"{_IDENTITIES}/federatedIdentityCredentials/read",
            f"{_IDENTITIES}/federatedIdentityCredentials/write",
            f"{_IDENTITIES}/federatedIdentityCredentials/delete",
            f"{_IDENTITIES}/revokeTokens/action",
            *_COMMON,
        ),
    ),
    Role(
        "f1a07417-d97a-45cb-824c-7a7467783830",
        "Managed Identity Operator",
        "Reads and assigns user-assigned identities.",
        (f"{_IDENTITIES}/*/read", f"{_IDENTITIES}/*/assign/action", *_COMMON),
    ),
    Role(
        "4633458b-17de-408a-b874-0445c86b69e6",
        "Key Vault Secrets User",
        "Reads secret contents.",
        data_actions=(f"{_VAULTS}/secrets/getSecret/action", f"{_VAULTS}/secrets/readMetadata/action"),
    ),
    Role(
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        "Key Vault Secrets Officer",
        "Does everything with secrets, except to manage permissions.",
        _VAULT_COMMON,
        data_actions=(f"{_VAULTS}/secrets/*",),
    ),
    Role(
        "21090545-7ca7-4776-b22c-e363652d74d2",
        "Key Vault Reader",
        "Reads metadata of vaults and of what is in them, but no secret contents.",
        _VAULT_COMMON,
        data_actions=(f"{_VAULTS}/*/read", f"{_VAULTS}/secrets/readMetadata/action"),
    ),
    Role(
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",
        "Key Vault Administrator",
        "Does everything with a vault's keys, secrets and certificates.",
        _VAULT_COMMON,
        data_actions=(f"{_VAULTS}/*",),
    ),
    Role(
        "a4417e6f-fecd-4de8-b567-7b0420556985",
        "Key Vault Certificates Officer",
        "Does everything with certificates, except to manage permissions.",
        _VAULT_COMMON,
        data_actions=(
            f"{_VAULTS}/certificatecas/*",
            f"{_VAULTS}/certificates/*",
            f"{_VAULTS}/certificatecontacts/write",
        ),
    ),
    Role(
        "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",
        "Key Vault Certificate User",
        "Reads whole certificates.",
        data_actions=(
            f"{_VAULTS}/certificates/read",
            f"{_VAULTS}/secrets/getSecret/action",
            f"{_VAULTS}/secrets/readMetadata/action",
            f"{_VAULTS}/keys/read",
        ),
    ),
    Role(
        "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
        "Key Vault Crypto Officer",
        "Does everything with keys, except to manage permissions.",
        _VAULT_COMMON,
        data_actions=(f"{_VAULTS}/keys/*", f"{_VAULTS}/keyrotationpolicies/*"),
    ),
    Role(
        "12338af0-0e69-4776-bea7-57ae8d297424",
        "Key Vault Crypto User",
        "Uses keys for cryptography.",
        data_actions=(
            f"{_VAULTS}/keys/read",
            *(
                f"{_VAULTS}/keys/{verb}/action"
                for verb in ("update", "backup", "encrypt", "decrypt", "wrap", "unwrap", "sign", "verify")
            ),
        ),
    ),
    Role(
        "e147488a-f6f5-4113-8e2d-b22465e65bf6",
        "Key Vault Crypto Service Encryption User",
        "Reads metadata of keys, wraps and unwraps with them.",
        tuple(f"Microsoft.EventGrid/eventSubscriptions/{verb}" for verb in ("write", "read", "delete")),
        data_actions=(f"{_VAULTS}/keys/read", f"{_VAULTS}/keys/wrap/action", f"{_VAULTS}/keys/unwrap/action"),
    ),
    Role(
        "08bbd89e-9f13-488c-ac41-acfcb10c90ab",
        "Key Vault Crypto Service Release User",
        "Releases keys.",
        data_actions=(f"{_VAULTS}/keys/release/action",),
    ),
    Role(
        "f25e0fa2-a7c8-4377-a976-54943a77a395",
        "Key Vault Contributor",
        "Manages vaults, without access to what is in them.",
        (*_COMMON, "Microsoft.KeyVault/*"),
        (
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/hsmPools/*",
            "Microsoft.KeyVault/managedHsms/*",
        ),
    ),
    Role(
        "a68e7c17-0ab2-4c09-9a58-125dae29748c",
        "Key Vault Purge Operator",
        "Deletes soft-deleted vaults for good.",
        (
            "Microsoft.Authorization/*/read",
            "Microsoft.Insights/alertRules/*",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.KeyVault/deletedVaults/read",
            "Microsoft.KeyVault/locations/deletedVaults/read",
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/locations/operationResults/read",
        ),
    ),
    Role(
        "8b54135c-b56d-4d72-a534-26097cfdc8d8",
        "Key Vault Data Access Administrator",
        "Gives and takes the roles of Key Vault's data, and no other.",
        (
            f"{_ASSIGNMENTS}/write",
            f"{_ASSIGNMENTS}/delete",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Management/managementGroups/read",
            "Microsoft.Support/*",
            f"{_VAULTS}/*/read",
        ),
        condition=_DELEGATION,
    ),
)
_BY_NAME = {role.name.lower(): role for role in ROLES}
_BY_ID = {role.id: role for role in ROLES}


def role_named(name_or_id: str) -> Role | None:
    """The built-in role of this name, GUID or definition id."""
    key = name_or_id.lower()
    return _BY_NAME.get(key) or _BY_ID.get(key.rpartition("/")[2])


def _any_matches(patterns: tuple[str, ...], action: str) -> bool:
    return any(_compiled(pattern).fullmatch(action) for pattern in patterns)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.IGNORECASE)
