"""What carrying a plan out needs from the adapters. All raise only errors of :mod:`keystead.model.errors`."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from keystead.model.credentials import Credential
from keystead.model.growth import FoundIdentity
from keystead.model.ids import IdentityId, NamespaceUid, VaultUrl
from keystead.model.records import Federation
from keystead.model.secret import Secret
from keystead.plan.steps import (
    AnnotateServiceAccount,
    ApplyStore,
    AssignRole,
    CreateClaim,
    CreateIdentity,
    EnsureServiceAccount,
)


class Credentials(Protocol):
    """Azure, written; and listed again after a doubt."""

    async def write(self, identity: IdentityId, credential: Credential) -> None:
        """PUT.

        Raises Retryable (CONCURRENT_WRITE, AZURE_THROTTLED with ``after``, AZURE_UNAVAILABLE), Refused (IDENTITY_FULL,
        TUPLE_TAKEN, AZURE_FORBIDDEN, AZURE_LOCKED, AZURE_POLICY, ...) or Uncertain.
        """

    async def delete(self, identity: IdentityId, name: str) -> None:
        """DELETE; absent is success."""

    async def credentials(self, identity: IdentityId) -> tuple[Credential, ...]: ...


class PoolWriter(Protocol):
    """Azure, where a pool grows. Both may be repeated without harm."""

    async def create_identity(self, step: CreateIdentity) -> FoundIdentity:
        """Make the identity, or find it made already.

        Raises Refused (IDENTITY_NAME_TAKEN when it is somebody else's, GROWTH_FORBIDDEN, GROUP_NOT_FOUND, AZURE_POLICY,
        AZURE_LOCKED, AZURE_QUOTA, ...), Retryable or Uncertain.
        """

    async def assign_role(self, step: AssignRole) -> None:
        """The role is there at the end, whoever gave it. Raises as above, ROLE_FORBIDDEN, or Retryable(PRINCIPAL_UNKNOWN)."""


class Exchanger(Protocol):
    """Entra and Key Vault, for verification; every call opens a fresh connection."""

    async def exchange(self, *, tenant_id: str, client_id: str, assertion: Secret, scope: str) -> Secret:
        """An access token. Refused with ``code`` AADSTSnnn; Retryable, without one, when nothing was decided."""

    async def look(self, vault: VaultUrl, token: Secret) -> None:
        """List one name on the vault; no value is read."""


class ClusterWriter(Protocol):
    """Kubernetes, written. Server-side apply with our field manager; conflicts raise FieldConflict, never forced."""

    async def namespace_uid(self, name: str) -> NamespaceUid | None:
        """Read live; ``None`` when absent or terminating."""

    async def mint_token(self, namespace: str, service_account: str, audience: str) -> Secret: ...

    async def create_claim(self, step: CreateClaim) -> None:
        """Exists already is success."""

    async def delete_claim(self, namespace: str, name: str, uid: str) -> None: ...

    async def record_federation(self, federation: Federation) -> str:
        """Create the ledger entry and return its uid; an identical one is success, a different one Refused."""

    async def begin_revocation(self, name: str, uid: str) -> None:
        """Delete the Federation object of this uid (its finalizer keeps it); absent is success."""

    async def forget_federation(self, name: str, uid: str) -> None:
        """Drop our finalizer; absent is success."""

    async def ensure_service_account(self, step: EnsureServiceAccount) -> None: ...

    async def annotate_service_account(self, step: AnnotateServiceAccount) -> None: ...

    async def withdraw_annotation(self, namespace: str, name: str) -> None:
        """Absent is success."""

    async def apply_store(self, step: ApplyStore) -> None: ...

    async def may_mint(self, namespace: str, service_account: str) -> bool:
        """Whether External Secrets Operator may get tokens for the account; yes where nobody may ask."""

    async def nudge_store(self, namespace: str, name: str) -> None: ...

    async def nudge_external_secrets(self, namespace: str, store_name: str) -> int:
        """Annotate those ExternalSecrets on the store whose Ready is False; how many."""


WriteGate = Callable[[float], bool]
"""May an Azure write that ends within this many seconds start now? (Lease held beyond its deadline.)"""

Requeue = Callable[[str], None]
"""Put a grant's key back on the queue; returns at once."""

LiveUid = Callable[[str], Awaitable[NamespaceUid | None]]
