"""What observing needs from the adapters."""

from collections.abc import Collection, Mapping
from typing import Protocol

from keystead.model.credentials import Credential, IdentityState
from keystead.model.growth import FoundIdentity, RoleHolders
from keystead.model.ids import GroupId, IdentityId, VaultId
from keystead.model.records import Approval, Claim, Federation, Grant, Guards, Namespace, ServiceAccount, Store


class IdentityReader(Protocol):
    """Azure, read. Every method raises only errors of :mod:`keystead.model.errors`."""

    async def identity(self, identity: IdentityId) -> IdentityState:
        """Client id, principal id and tenant; credentials left empty. Refused(IDENTITY_NOT_FOUND) when absent."""

    async def credentials(self, identity: IdentityId) -> tuple[Credential, ...]:
        """All federated credentials on the identity, over all pages."""


class PoolReader(Protocol):
    """What growing pools look at in Azure; as above."""

    async def identities(self, group: GroupId) -> tuple[FoundIdentity, ...]:
        """All identities of a resource group. Refused(GROUP_NOT_FOUND, GROWTH_FORBIDDEN)."""

    async def role_holders(self, vault: VaultId) -> RoleHolders:
        """Who has which roles on the vault, there or above. Refused(ROLE_FORBIDDEN) where that may not be read."""


class Caches(Protocol):
    """The informers' caches, decoded; each call is a cheap read of memory."""

    def grants(self) -> tuple[Grant, ...]: ...

    def claims(self) -> tuple[Claim, ...]: ...

    def approvals(self) -> tuple[Approval, ...]: ...

    def federations(self) -> tuple[Federation, ...]: ...

    def guards(self) -> Guards:
        """How the admission guards stand."""

    def claims_of(self, grant: str) -> Collection[Claim]: ...

    def claims_in(self, namespace: str) -> Collection[Claim]: ...

    def federations_in(self, namespace: str) -> Collection[Federation]: ...

    def federations_of(self, grant: str) -> Collection[Federation]: ...

    def federations_on(self, identity: IdentityId) -> Collection[Federation]: ...

    def namespaces(self) -> Mapping[str, Namespace]:
        """By name, in order; the same object as long as nothing changed."""

    def service_account(self, namespace: str, name: str) -> ServiceAccount | None: ...

    def store(self, namespace: str, name: str) -> Store | None: ...

    def stores_in(self, namespace: str) -> Collection[Store]: ...

    def stores_with_finalizers(self, namespace: str) -> int:
        """How many SecretStores of this namespace still carry a finalizer of ESO's."""
