"""Where pools grow: identities of a resource group, and the roles on a vault, on the official SDK with its retries off.

Implements :class:`keystead.observe.ports.PoolReader` and :class:`keystead.apply.ports.PoolWriter`.

- An identity is looked for before it is made, since Azure's PUT would write over the tags of one that exists.
- A role assignment names the principal's type, so that a principal that the directory shows only later can be assigned
  at once ("Add role assignments using the REST API").
- The client for role assignments is loaded when the first grant names its vault's ARM id: it costs megabytes.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from azure.mgmt.msi.v2024_11_30.aio import ManagedServiceIdentityClient

from keystead.azure.clouds import Cloud
from keystead.azure.errors import FOREIGN, IDENTITIES, ROLES, Table, from_arm
from keystead.azure.transport import MakeTransport
from keystead.model.clock import Clock
from keystead.model.errors import Bug, KeysteadError, Refused
from keystead.model.growth import FoundIdentity, RoleHolders
from keystead.model.ids import GroupId, IdentityId, VaultId
from keystead.model.reasons import Reason
from keystead.plan.steps import AssignRole, CreateIdentity

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_EXISTS = "RoleAssignmentExists"
_NOT_FOUND = 404


class PoolClient:
    """One SDK client for each subscription and service, all on one kind of transport."""

    def __init__(
        self, credential: "AsyncTokenCredential", cloud: Cloud, make_transport: MakeTransport, clock: Clock
    ) -> None:
        self._credential = credential
        self._cloud = cloud
        self._make_transport = make_transport
        self._clock = clock
        self._clients: dict[tuple[str, str], Any] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def identities(self, group: GroupId) -> tuple[FoundIdentity, ...]:
        operations = self._identities(group.subscription)
        try:
            found = [_found(each) async for each in operations.list_by_resource_group(group.name)]
        except FOREIGN as error:
            raise self._error(error, IDENTITIES) from error
        return tuple(sorted((each for each in found if each is not None), key=lambda each: each.id.key))

    async def role_holders(self, vault: VaultId) -> RoleHolders:
        held: dict[str, set[str]] = defaultdict(set)
        through_groups = set()
        try:
            # At the vault and above it: what is given below, on one secret, reads no vault.
            async for each in self._assignments(vault).list_for_scope(vault.text, filter="atScope()"):
                role = str(each.role_definition_id or "").rpartition("/")[2].lower()
                held[str(each.principal_id or "").lower()].add(role)
                if str(each.principal_type or "").lower() in ("group", "foreigngroup"):
                    through_groups.add(role)
        except FOREIGN as error:
            raise self._error(error, ROLES) from error
        return RoleHolders({who: frozenset(roles) for who, roles in held.items()}, frozenset(through_groups))

    async def create_identity(self, step: CreateIdentity) -> FoundIdentity:
        identity, tags = step.identity, dict(step.tags)
        operations = self._identities(identity.subscription)
        standing = await self._standing(identity)
        if standing is not None:
            if any(standing.tags.get(name) != value for name, value in tags.items()):
                text = f"identity {identity.name} exists and is not of this grant"
                raise Refused(Reason.IDENTITY_NAME_TAKEN, text)
            return standing
        body: Any = {"location": step.location, "tags": tags}
        try:
            made = _found(await operations.create_or_update(identity.resource_group, identity.name, body))
        except FOREIGN as error:
            raise self._error(error, IDENTITIES, write=True) from error
        if made is None:
            raise Bug(f"Azure answered another id than that of {identity}")
        return made

    async def assign_role(self, step: AssignRole) -> None:
        role = f"/subscriptions/{step.vault.subscription}/providers/Microsoft.Authorization/roleDefinitions/{step.role}"
        body: Any = {
            "properties": {
                "roleDefinitionId": role,
                "principalId": step.principal_id,
                "principalType": "ServicePrincipal",
            }
        }
        try:
            await self._assignments(step.vault).create(step.vault.text, step.name, body)
        except FOREIGN as error:
            told = self._error(error, ROLES, write=True)
            if told.code != _EXISTS:
                raise told from error

    async def _standing(self, identity: IdentityId) -> FoundIdentity | None:
        try:
            return _found(await self._identities(identity.subscription).get(identity.resource_group, identity.name))
        except FOREIGN as error:
            if getattr(error, "status_code", None) == _NOT_FOUND:
                return None
            raise self._error(error, IDENTITIES) from error

    def _identities(self, subscription: str) -> Any:
        key = ("identities", subscription)
        if key not in self._clients:
            self._clients[key] = ManagedServiceIdentityClient(self._credential, subscription, **self._how())
        return self._clients[key].user_assigned_identities

    def _assignments(self, vault: VaultId) -> Any:
        key = ("roles", vault.subscription)
        if key not in self._clients:
            from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient  # noqa: PLC0415 - see above

            self._clients[key] = AuthorizationManagementClient(self._credential, vault.subscription, **self._how())
        return self._clients[key].role_assignments

    def _how(self) -> dict[str, Any]:
        return {
            "base_url": self._cloud.resource_manager,
            "credential_scopes": [self._cloud.resource_manager_scope],
            "transport": self._make_transport(),
            "retry_total": 0,
        }

    def _error(self, error: Exception, table: Table, *, write: bool = False) -> KeysteadError:
        return from_arm(error, write=write, now=self._clock.now(), table=table)


def _found(given: Any) -> FoundIdentity | None:
    """``None`` for one whose id is none that we know; it is certainly not ours."""
    try:
        identity = IdentityId.parse(given.id or "")
    except ValueError:
        return None
    return FoundIdentity(
        identity,
        client_id=given.client_id or "",
        principal_id=given.principal_id or "",
        tenant_id=given.tenant_id or "",
        tags=dict(given.tags or {}),
    )
