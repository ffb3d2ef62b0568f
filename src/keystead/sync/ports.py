"""What the engine needs from Kubernetes and Azure. All raise only errors of :mod:`keystead.model.errors`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from keystead.model.ids import VaultUrl
from keystead.model.secret import Secret
from keystead.sync.objects import ExternalSecret, SecretStore
from keystead.sync.plan import DeleteSecret, ReplaceSecret
from keystead.sync.snapshot import LiveSecret, ReadResult, SecretShape


@dataclass(frozen=True, slots=True, order=True)
class Principal:
    """Whom Entra knows: what it may read does not depend on which ServiceAccount signed in."""

    tenant_id: str
    client_id: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """A vault token and whose it is."""

    principal: Principal
    token: Secret


class Secrets(Protocol):
    """Secrets of the cluster, written under ESO's name for the field manager."""

    async def read(self, namespace: str, name: str, *, manager: str) -> LiveSecret | None:
        """Live; ``ours`` is what *manager* holds."""

    async def create(self, shape: SecretShape, *, manager: str) -> None: ...

    async def replace(self, step: ReplaceSecret, *, manager: str) -> None:
        """Retryable with code ``Conflict`` when it changed meanwhile."""

    async def delete(self, step: DeleteSecret) -> None:
        """Absent, or another object by now, is success."""


class Accounts(Protocol):
    """ServiceAccounts and their tokens."""

    async def annotations(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Live; ``None`` when there is no such account."""

    async def mint(self, namespace: str, name: str, audiences: tuple[str, ...]) -> Secret: ...


class Voice(Protocol):
    """Status and Events."""

    async def external_secret_status(self, es: ExternalSecret, status: Mapping[str, object]) -> ExternalSecret | None:
        """The object as it is now, ``None`` when it is gone."""

    async def store_status(self, store: SecretStore, status: Mapping[str, object]) -> None: ...

    async def event(self, about: ExternalSecret | SecretStore, reason: str, text: str, *, warning: bool) -> None: ...

    async def release(self, es: ExternalSecret, finalizer: str) -> None:
        """Take the finalizer off."""


class Exchanger(Protocol):
    """Entra's token endpoint."""

    async def exchange(self, *, tenant_id: str, client_id: str, assertion: Secret, scope: str) -> Secret:
        """An access token. Refused or Retryable with ``code`` AADSTSnnn."""


class Vaults(Protocol):
    """Key Vault."""

    async def get(self, vault: VaultUrl, name: str, version: str, ticket: Ticket) -> ReadResult:
        """One secret version; a failure is a value here, since it belongs to one entry of one ExternalSecret."""
