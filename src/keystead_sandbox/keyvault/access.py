"""Whether a caller may do what it asks: the vault's firewall, then its roles or its access policies, never both.

- Data actions and the scopes they are evaluated at are those of "Provide access with Azure RBAC"; permissions of access
  policies are those that the REST reference names for each operation.
- ``all`` in an access policy is every permission except ``purge``, which a policy must name.
- A policy with an application is for that application alone, besides the principal.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.keyvault import errors
from keystead_sandbox.resources import Vault
from keystead_sandbox.world import World

_VAULTS = "Microsoft.KeyVault/vaults"


@dataclass(frozen=True, slots=True)
class Right:
    """What one operation needs: a permission of a kind in an access policy, or a data action."""

    kind: str
    permission: str
    action: str


def secrets(permission: str, action: str) -> Right:
    """A right over secrets, its action without the long prefix."""
    return Right("secrets", permission, f"{_VAULTS}/secrets/{action}")


def keys(permission: str, action: str, resource: str = "keys") -> Right:
    """A right over keys."""
    return Right("keys", permission, f"{_VAULTS}/{resource}/{action}")


def certificates(permission: str, action: str, resource: str = "certificates") -> Right:
    """A right over certificates, their contacts or their issuers."""
    return Right("certificates", permission, f"{_VAULTS}/{resource}/{action}")


def check_network(vault: Vault, caller: Caller, address: str) -> None:
    """Whether the vault's firewall lets the client in; it has proven who it is by then, since refusals say that."""
    if vault.public_network.lower() == "disabled":
        raise errors.no_public_network(caller, vault)
    rules = vault.settings.get("networkAcls")
    if isinstance(rules, Mapping) and str(rules.get("defaultAction", "Allow")).lower() == "deny":
        ranges = rules.get("ipRules")
        if not isinstance(ranges, list) or not any(_holds(each, address) for each in ranges):
            raise errors.firewalled(caller, address, vault)


def check_right(world: World, vault: Vault, caller: Caller, right: Right, name: str) -> None:
    """Whether the caller has *right* over the thing called *name*, or over the vault when that is empty."""
    if vault.rbac:
        resource = f"{vault.resource_id}/{right.kind}/{name}" if name else vault.resource_id
        if not world.may(caller.object_id, right.action, resource, data=True):
            raise errors.forbidden(caller, right.action, resource, vault)
    elif not _has(vault, caller, right):
        raise errors.denied(caller, right.kind, right.permission, vault)


def _has(vault: Vault, caller: Caller, right: Right) -> bool:
    for policy in vault.access_policies:
        if policy.object_id.lower() != caller.object_id.lower() or policy.tenant_id.lower() != caller.tenant_id.lower():
            continue
        if policy.application_id and policy.application_id.lower() != caller.app_id.lower():
            continue
        given: tuple[str, ...] = getattr(policy, right.kind)
        if right.permission in given or ("all" in given and right.permission != "purge"):
            return True
    return False


def _holds(rule: Any, address: str) -> bool:
    """Whether one ``ipRules`` entry, an address or a range, covers *address*."""
    value = rule.get("value", "") if isinstance(rule, Mapping) else rule
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        return False
