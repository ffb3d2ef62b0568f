"""The state of the emulated Azure, which its services share and tests look at.

- Names that Azure compares without regard to case (resource ids, vault names, GUIDs) are keys in lower case; an
  issuer, a subject and an audience are kept byte for byte, since Entra matches them so.
- All durations are sandbox seconds (``Clock.now``) and all instants that a client sees are wall time.
- :meth:`World.may` is the only authorisation there is; a role takes effect, and stops to, ``role_delay`` later.
- Ids are derived from a counter, so that a seed gives the same ids each time and a re-created identity new ones. The
  counter outlasts a restored snapshot: what was made in a state that was left never shares an id with what comes.
"""

import copy
import itertools
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from keystead_sandbox.buckets import Buckets
from keystead_sandbox.clock import Clock, WorldClock
from keystead_sandbox.clouds import Cloud, cloud_named
from keystead_sandbox.conditions import holds
from keystead_sandbox.faults import Faults
from keystead_sandbox.governance import Lock, PolicyAssignment, PolicyDefinition
from keystead_sandbox.journal import Journal
from keystead_sandbox.resources import (
    AUDIENCE,
    Application,
    Credential,
    Directory,
    Identity,
    ResourceGroup,
    RoleAssignment,
    Rules,
    SecretVersion,
    Subscription,
    Tenant,
    Vault,
)
from keystead_sandbox.roles import Role, role_named

_IDS = uuid.UUID("5b0a3c1e-6f6e-4f0e-9a63-8f2d8a1f7c11")  # any fixed namespace
#: What outlasts a restored snapshot.
_LASTING = frozenset({"clock", "journal", "_snapshots", "_numbers", "_taken"})


class World:
    """Everything that exists, by the keys that requests name it with."""

    def __init__(self, clock: Clock, journal: Journal, rules: Rules | None = None) -> None:
        self.clock = WorldClock(clock)
        self.journal = journal
        self.rules = rules or Rules()
        self.buckets = Buckets(self.clock)
        self.faults = Faults(self.clock)
        self.directory = Directory()
        self.tenants: dict[str, Tenant] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.groups: dict[str, ResourceGroup] = {}
        self.identities: dict[str, Identity] = {}
        self.identities_by_client: dict[str, Identity] = {}
        self.applications: dict[str, Application] = {}
        self.vaults: dict[str, Vault] = {}
        self.deleted_vaults: dict[str, Vault] = {}
        self.assignments: dict[str, RoleAssignment] = {}
        self.custom_roles: dict[str, Role] = {}
        self.locks: dict[str, Lock] = {}
        self.policies: dict[str, PolicyAssignment] = {}
        self.policy_definitions: dict[str, PolicyDefinition] = {}
        #: Subscriptions and, in lower case, the provider namespaces that they are not registered for.
        self.unregistered: set[tuple[str, str]] = set()
        #: Long operations that clients poll, by their token: subscription, and when each is through.
        self.operations: dict[str, tuple[str, float]] = {}
        self._retired: list[RoleAssignment] = []
        self._numbers = 0
        self._taken = 0
        self._snapshots: dict[int, tuple[float, dict[str, Any]]] = {}

    def new_id(self, kind: str) -> str:
        """A GUID that no other call of this world returns."""
        self._numbers += 1
        return str(uuid.uuid5(_IDS, f"{kind}/{self._numbers}"))

    # Remembering -------------------------------------------------------------------------------------------------

    def take_snapshot(self) -> int:
        """Remember everything as it is now, in memory; the number to restore it by."""
        state = {name: value for name, value in vars(self).items() if name not in _LASTING}
        self._taken += 1
        number = self._taken
        self._snapshots[number] = (self.clock.now(), copy.deepcopy(state, {id(self.clock): self.clock}))
        return number

    def forget_snapshot(self, number: int) -> bool:
        """Drop a remembered state; whether it was there."""
        return self._snapshots.pop(number, None) is not None

    def snapshots(self) -> list[int]:
        """The snapshots there are."""
        return list(self._snapshots)

    def restore(self, number: int) -> None:
        """Make everything as it was, the time too; the journal goes on. KeyError when there is no such snapshot.

        A write that is under way when this happens is carried out in the state that was left.
        """
        now, state = self._snapshots[number]
        left = self.faults
        vars(self).update(copy.deepcopy(state, {id(self.clock): self.clock}))
        self.faults.number_after(left)
        self.clock.set_back(now)

    # Looking -----------------------------------------------------------------------------------------------------

    def identity(self, resource_id: str) -> Identity | None:
        """The identity of this resource id, in any case."""
        return self.identities.get(resource_id.lower())

    def vault(self, name: str) -> Vault | None:
        """The vault of this name, in any case."""
        return self.vaults.get(name.lower())

    def vault_of_host(self, host: str) -> Vault | None:
        """The vault behind a host name such as ``NAME.vault.azure.net``."""
        return self.vault(host.partition(".")[0])

    def cloud_of(self, tenant_id: str) -> Cloud:
        """The cloud that a tenant's tokens and links are of."""
        return cloud_named(self.tenants[tenant_id].cloud)

    def principal_known(self, principal_id: str) -> bool:
        """Whether the directory already shows this principal."""
        wanted, now = principal_id.lower(), self.clock.now()
        return any(app.object_id == wanted for app in self.applications.values()) or any(
            identity.principal_id == wanted and identity.created_at + self.rules.identity_visible <= now
            for identity in self.identities.values()
        )

    def role(self, name_or_id: str, tenant_id: str = "") -> Role | None:
        """The role of this name, GUID or definition id: built in, or made (in *tenant_id*, when that matters)."""
        wanted = name_or_id.lower()
        custom = self.custom_roles.get(wanted.rpartition("/")[2]) or next(
            (role for role in self.custom_roles.values() if role.name.lower() == wanted), None
        )
        if custom is not None and tenant_id in ("", custom.tenant_id):
            return custom
        return role_named(name_or_id)

    def may(
        self,
        principal_id: str,
        action: str,
        scope: str,
        *,
        data: bool = False,
        attributes: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether a role of *principal_id*, at *scope* or above, in effect now, allows *action*.

        *attributes* are what the conditions of roles and assignments look at (:mod:`keystead_sandbox.conditions`).
        """
        now, delay, wanted = self.clock.now(), self.rules.role_delay, _path(scope)
        for assignment in itertools.chain(self.assignments.values(), self._retired):
            if assignment.principal_id != principal_id.lower():
                continue
            ended = assignment.deleted_at is not None and assignment.deleted_at + delay <= now
            if ended or assignment.created_at + delay > now or not _covers(_path(assignment.scope), wanted):
                continue
            role = self.role(assignment.role_definition_id)
            if role is None or not role.allows(action, data=data, attributes=attributes):
                continue
            if not assignment.condition or holds(assignment.condition, action, attributes or {}):
                return True
        return False

    # Changing ----------------------------------------------------------------------------------------------------

    def add_tenant(self, tenant_id: str = "", name: str = "Keystead sandbox", cloud: str = "") -> Tenant:
        tenant = Tenant((tenant_id or self.new_id("tenant")).lower(), name, cloud)
        self.tenants[tenant.id] = tenant
        return tenant

    def add_subscription(self, subscription_id: str = "", tenant_id: str = "") -> Subscription:
        """A subscription; of the first tenant when none is named."""
        subscription = Subscription(
            (subscription_id or self.new_id("subscription")).lower(), tenant_id.lower() or self._first_tenant()
        )
        self.subscriptions[subscription.id] = subscription
        return subscription

    def add_group(self, name: str, location: str = "westeurope", subscription_id: str = "") -> ResourceGroup:
        group = ResourceGroup(subscription_id.lower() or self._first_subscription(), name, location)
        return self.groups.setdefault(group.id.lower(), group)

    def add_application(
        self, name: str, *, secret: str, client_id: str = "", object_id: str = "", tenant_id: str = ""
    ) -> Application:
        application = Application(
            client_id=(client_id or self.new_id("client")).lower(),
            object_id=(object_id or self.new_id("principal")).lower(),
            tenant_id=tenant_id.lower() or self._first_tenant(),
            secret=secret,
            name=name,
        )
        self.applications[application.client_id] = application
        return application

    def add_identity(
        self,
        name: str,
        group: str = "identities",
        *,
        location: str = "westeurope",
        subscription_id: str = "",
        client_id: str = "",
        tags: Mapping[str, str] | None = None,
        new: bool = False,
    ) -> Identity:
        """A user-assigned identity, which the directory knows already unless it is *new*; its group is made if missing."""
        subscription = subscription_id.lower() or self._first_subscription()
        self.add_group(group, location, subscription)
        # ARM answers these ids with ``resourcegroups`` in lower case (recorded traffic in azure-service-operator).
        identity = Identity(
            resource_id=f"/subscriptions/{subscription}/resourcegroups/{group}"
            f"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
            name=name,
            location=location,
            client_id=(client_id or self.new_id("client")).lower(),
            principal_id=self.new_id("principal"),
            tenant_id=self.subscriptions[subscription].tenant_id,
            created_at=self.clock.now() - (0.0 if new else self.rules.identity_visible),
            tags=dict(tags or {}),
        )
        self.identities[identity.resource_id.lower()] = identity
        self.identities_by_client[identity.client_id] = identity
        return identity

    def remove_identity(self, identity: Identity) -> None:
        """Delete an identity; its role assignments stay behind, as in Azure."""
        self.identities.pop(identity.resource_id.lower(), None)
        self.identities_by_client.pop(identity.client_id, None)

    def add_credential(self, identity: Identity, name: str, issuer: str, subject: str) -> Credential:
        """A credential written long ago, past every limit and delay; for seeds and tests."""
        credential = Credential(name, issuer, subject, AUDIENCE, self.clock.now() - self.rules.propagation)
        identity.credentials[name.lower()] = credential
        return credential

    def add_vault(
        self, name: str, group: str = "vaults", *, location: str = "westeurope", subscription_id: str = ""
    ) -> Vault:
        subscription = subscription_id.lower() or self._first_subscription()
        holder = self.add_group(group, location, subscription)
        vault = Vault(
            name=name,
            resource_id=f"{holder.id}/providers/Microsoft.KeyVault/vaults/{name}",
            tenant_id=self.subscriptions[subscription].tenant_id,
            location=location,
        )
        self.vaults[name.lower()] = vault
        return vault

    def set_secret(self, vault: Vault, name: str, value: str) -> SecretVersion:
        """A new version of a secret, enabled and without limits of time."""
        now = self.clock.wall()
        version = SecretVersion(version=uuid.UUID(self.new_id("secret")).hex, value=value, created=now, updated=now)
        vault.spelling.setdefault(("secrets", name.lower()), name)
        vault.secrets.setdefault(name.lower(), []).append(version)
        return version

    def assign_role(
        self, principal_id: str, role_name: str, scope: str, *, assignment: str = "", new: bool = False
    ) -> RoleAssignment:
        """Give a role, by name, GUID or definition id; in effect at once unless it is *new*."""
        role = self.role(role_name)
        if role is None:
            raise ValueError(f"{role_name!r} is not a role that the sandbox knows")
        made = RoleAssignment(
            id=f"{_trimmed(scope)}/providers/Microsoft.Authorization/roleAssignments/"
            f"{assignment or self.new_id('assignment')}",
            scope=_trimmed(scope),
            role_definition_id=role.id,
            principal_id=principal_id.lower(),
            created_at=self.clock.now() - (0.0 if new else self.rules.role_delay),
            created_on=self.clock.wall(),
        )
        self.assignments[made.id.lower()] = made
        return made

    def remove_assignment(self, assignment: RoleAssignment, *, at_once: bool = True) -> None:
        """Take a role away; unless *at_once* it stays in effect for ``role_delay``."""
        if self.assignments.pop(assignment.id.lower(), None) is not None and not at_once:
            assignment.deleted_at = self.clock.now()
            self._retired.append(assignment)

    def _first_tenant(self) -> str:
        return _first(self.tenants, "tenant")

    def _first_subscription(self) -> str:
        return _first(self.subscriptions, "subscription")


def _first(keys: Iterable[str], kind: str) -> str:
    first = next(iter(keys), None)
    if first is None:
        raise ValueError(f"this world has no {kind} yet: add one first")
    return first


def _trimmed(scope: str) -> str:
    return "/" + scope.strip("/") if scope.strip("/") else ""


def _path(scope: str) -> tuple[str, ...]:
    return tuple(part for part in scope.lower().split("/") if part)


def _covers(assigned: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return wanted[: len(assigned)] == assigned
