"""What a vault's body may say: settings, access policies, and which of them are left as they are."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from keystead_sandbox.arm import rules, scopes
from keystead_sandbox.arm import vault_errors as errors
from keystead_sandbox.resources import AccessPolicy, Vault

_RBAC_BY_DEFAULT = "2026-02-01"  # the first api-version; Key Vault docs: "Prepare for Key Vault API version 2026-02-01"
_SKUS = frozenset({"standard", "premium"})
_RETENTION = range(7, 91)  # days
_MOST_POLICIES = 1024
_ECHOED = (
    "networkAcls",
    "enabledForDeployment",
    "enabledForDiskEncryption",
    "enabledForTemplateDeployment",
    "privateEndpointConnections",
)
# As in the REST reference; "all" stands for each.
_PERMISSIONS: Mapping[str, frozenset[str]] = {
    "secrets": frozenset({"all", "get", "list", "set", "delete", "backup", "restore", "recover", "purge"}),
    "keys": frozenset(
        {"all", "encrypt", "decrypt", "wrapkey", "unwrapkey", "sign", "verify", "get", "list", "create", "update"}
        | {"import", "delete", "backup", "restore", "recover", "purge", "release", "rotate"}
        | {"getrotationpolicy", "setrotationpolicy"}
    ),
    "certificates": frozenset(
        {"all", "get", "list", "delete", "create", "import", "update", "managecontacts", "getissuers", "listissuers"}
        | {"setissuers", "deleteissuers", "manageissuers", "recover", "purge", "backup", "restore"}
    ),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a body changes of a vault; None leaves as it is."""

    rbac: bool | None = None
    policies: list[AccessPolicy] | None = None
    tags: dict[str, str] | None = None
    sku: str | None = None
    retention_days: int | None = None
    purge_protection: bool | None = None
    public_network: str | None = None
    echoed: dict[str, Any] = field(default_factory=dict)
    recover: bool = False

    def apply(self, vault: Vault) -> None:
        """Make it so."""
        for name in ("rbac", "tags", "sku", "retention_days", "purge_protection", "public_network"):
            value = getattr(self, name)
            if value is not None:
                setattr(vault, name, value)
        if self.policies is not None:
            vault.access_policies = self.policies
        vault.settings.update(self.echoed)


def settings(body: Mapping[str, Any], version: str, tenant: str, standing: Vault | None) -> Settings:
    """The settings of a PUT or PATCH; a vault that is not *standing* yet needs a tenant and a sku."""
    given = body.get("properties")
    properties: dict[str, Any] = given if isinstance(given, dict) else {}
    recover = properties.get("createMode") == "recover"
    sku = _sku(properties.get("sku"))
    wanted_tenant = properties.get("tenantId")
    if wanted_tenant is not None and str(wanted_tenant).lower() != tenant:
        raise errors.bad_vault("The 'tenantId' must be that of the subscription.")
    if standing is None and not recover:
        if wanted_tenant is None or sku is None:
            raise errors.bad_vault("A vault's properties have a 'tenantId' and a 'sku'.")
        if "accessPolicies" not in properties and not _rbac(properties, version, standing):
            raise errors.bad_vault("A vault without Azure RBAC has 'accessPolicies'.")
    policies = properties.get("accessPolicies")
    return Settings(
        rbac=_rbac(properties, version, standing),
        policies=access_policies(policies, tenant) if policies is not None else None,
        tags=rules.tags_of(body),
        sku=sku,
        retention_days=_retention(properties.get("softDeleteRetentionInDays"), standing),
        purge_protection=_purge_protection(properties, standing),
        public_network=_network(properties.get("publicNetworkAccess")),
        echoed={name: properties[name] for name in _ECHOED if name in properties},
        recover=recover,
    )


def _rbac(properties: Mapping[str, Any], version: str, standing: Vault | None) -> bool | None:
    given = _flag(properties, "enableRbacAuthorization")
    if given is None and standing is None:
        return version[: len(_RBAC_BY_DEFAULT)] >= _RBAC_BY_DEFAULT
    return given


def _flag(properties: Mapping[str, Any], name: str) -> bool | None:
    value = properties.get(name)
    if value is not None and not isinstance(value, bool):
        raise errors.bad_vault(f"The value of '{name}' must be true or false.")
    return value


def _sku(given: Any) -> str | None:
    if given is None:
        return None
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str) or name.lower() not in _SKUS or given.get("family") != "A":
        raise errors.bad_vault("The 'sku' has the family 'A' and the name 'standard' or 'premium'.")
    return name.lower()


def _retention(given: Any, standing: Vault | None) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given not in _RETENTION:
        raise errors.bad_vault("The value of 'softDeleteRetentionInDays' must be between 7 and 90.")
    if standing is not None and standing.retention_days != given:
        raise errors.bad_vault(
            "The property 'softDeleteRetentionInDays' has been set already and it can't be modified."
        )
    return given


def _purge_protection(properties: Mapping[str, Any], standing: Vault | None) -> bool | None:
    given = _flag(properties, "enablePurgeProtection")
    if given is False and (standing is None or standing.purge_protection):
        text = "cannot be set to false. Enabling the purge protection for a vault is an irreversible action."
        raise errors.bad_vault(f"The property 'enablePurgeProtection' {text}")
    if _flag(properties, "enableSoftDelete") is False:
        raise errors.bad_vault("The property 'enableSoftDelete' cannot be set to false.")
    return given


def _network(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or given.lower() not in ("enabled", "disabled", "securedbyperimeter"):
        raise errors.bad_vault("The value of 'publicNetworkAccess' must be 'enabled' or 'disabled'.")
    return given[:1].upper() + given[1:]


def access_policies(given: Any, tenant: str) -> list[AccessPolicy]:
    """The access policies of a body. Refusal for those that make no sense."""
    if not isinstance(given, list) or len(given) > _MOST_POLICIES:
        raise errors.bad_vault(f"'accessPolicies' is a list of at most {_MOST_POLICIES}.")
    return [_policy(each, tenant) for each in given]


def _policy(given: Any, tenant: str) -> AccessPolicy:
    entry: dict[str, Any] = given if isinstance(given, dict) else {}
    principal, application, home = entry.get("objectId"), entry.get("applicationId"), entry.get("tenantId")
    if not isinstance(principal, str) or not scopes.is_guid(principal):
        raise errors.bad_vault("An access policy has an 'objectId', which is a GUID.")
    if not isinstance(home, str) or home.lower() != tenant:
        raise errors.bad_vault("An access policy has the 'tenantId' of its vault.")
    if application is not None and (not isinstance(application, str) or not scopes.is_guid(application)):
        raise errors.bad_vault("An access policy's 'applicationId' is a GUID.")
    permissions = entry.get("permissions")
    if not isinstance(permissions, dict):
        raise errors.bad_vault("An access policy has 'permissions'.")
    lists = {name: _permissions(permissions.get(name), name) for name in _PERMISSIONS}
    return AccessPolicy(principal.lower(), tenant, (application or "").lower(), **lists)


def _permissions(given: Any, kind: str) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise errors.bad_vault(f"The permissions of {kind} are a list of texts.")
    lower = dict.fromkeys(each.lower() for each in given)
    unknown = set(lower) - _PERMISSIONS[kind]
    if unknown:
        raise errors.bad_vault(f"{min(unknown)!r} is no permission of {kind}.")
    return tuple(lower)


def merged(standing: Sequence[AccessPolicy], given: Sequence[AccessPolicy], operation: str) -> list[AccessPolicy]:
    """*standing* with *given* added to, put in place of, or taken from what the same principals have."""
    found = {(each.object_id, each.application_id): each for each in standing}
    for policy in given:
        key = (policy.object_id, policy.application_id)
        old = found.get(key, AccessPolicy(policy.object_id, policy.tenant_id, policy.application_id))
        if operation == "replace":
            found[key] = policy
            continue
        found[key] = replace(
            old,
            secrets=_changed(old.secrets, policy.secrets, operation),
            keys=_changed(old.keys, policy.keys, operation),
            certificates=_changed(old.certificates, policy.certificates, operation),
        )
        if operation == "remove" and not (found[key].secrets or found[key].keys or found[key].certificates):
            del found[key]
    return list(found.values())


def _changed(old: tuple[str, ...], given: tuple[str, ...], operation: str) -> tuple[str, ...]:
    if operation == "add":
        return tuple(dict.fromkeys((*old, *given)))
    return tuple(each for each in old if each not in given)


def purge_date(vault: Vault) -> datetime.datetime:
    """When a deleted vault is purged by itself."""
    began = vault.deleted_on or datetime.datetime.max.replace(tzinfo=datetime.UTC) - datetime.timedelta(days=100)
    return began + datetime.timedelta(days=vault.retention_days)
