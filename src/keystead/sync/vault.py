"""Key Vault through the official SDK: one client for each vault and principal on one shared transport.

Rules:
- The SDK's own retries are off: a 429 stops all reads of that vault for as long as it says, and nobody else's.
- At most sixteen reads of one vault at a time; Key Vault allows 4,000 in ten seconds (Azure docs: Key Vault limits).
- Only 404 means absent. Texts name the secret and Key Vault's code, never an answer's body: some quote the caller.
- Implements :class:`keystead.sync.ports.Vaults`.
"""

import asyncio
import datetime
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.keyvault.secrets import KeyVaultSecret
from azure.keyvault.secrets.aio import SecretClient

from keystead.azure.errors import retry_after
from keystead.azure.transport import MakeTransport
from keystead.model.clock import Clock
from keystead.model.ids import VaultUrl
from keystead.model.secret import Secret
from keystead.sync.ports import Principal, Ticket
from keystead.sync.snapshot import Fetched, ReadResult, Unread

MISSING = "Secret does not exist"
_AT_ONCE = 16
_THROTTLED, _NOT_FOUND, _UNAUTHORIZED = 429, 404, 401
_UNSAID_WAIT = 10.0
"""Seconds to wait after a 429 without Retry-After: the length of Key Vault's counting window."""


class _Handed:
    """A credential that hands out the ticket it was given; asked again for each request, since it says it ends now."""

    def __init__(self) -> None:
        self.token = Secret("")

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self.token.reveal(), 0)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.close()


class _Door:
    """One vault: how many are inside, and until when it is closed."""

    def __init__(self) -> None:
        self.inside = asyncio.Semaphore(_AT_ONCE)
        self.closed_until = 0.0


class KeyVaults:
    """All vaults."""

    def __init__(self, make_transport: MakeTransport, clock: Clock) -> None:
        self._transport = make_transport()
        self._clock = clock
        self._clients: dict[tuple[VaultUrl, Principal], tuple[SecretClient, _Handed]] = {}
        self._doors: dict[VaultUrl, _Door] = {}

    async def close(self) -> None:
        for client, _ in self._clients.values():
            await client.close()
        self._clients.clear()
        await self._transport.close()

    async def get(self, vault: VaultUrl, name: str, version: str, ticket: Ticket) -> ReadResult:
        door = self._doors.setdefault(vault, _Door())
        client, handed = self._client(vault, ticket.principal)
        async with door.inside:
            wait = door.closed_until - self._clock.monotonic()
            if wait > 0:
                return Unread(f"{vault}: throttled", throttled_for=wait)
            handed.token = ticket.token
            try:
                return _fetched(await client.get_secret(name, version or None))
            except (AzureError, OSError, TimeoutError, ValueError) as error:
                return self._unread(error, vault, name, door)

    def _client(self, vault: VaultUrl, principal: Principal) -> tuple[SecretClient, _Handed]:
        found = self._clients.get((vault, principal))
        if found is None:
            handed = _Handed()
            client = SecretClient(str(vault), handed, transport=self._transport, retry_total=0)
            found = self._clients[vault, principal] = (client, handed)
        return found

    def _unread(self, error: Exception, vault: VaultUrl, name: str, door: _Door) -> Unread:
        if not isinstance(error, HttpResponseError) or error.status_code is None:
            if isinstance(error, ClientAuthenticationError | ValueError):
                return Unread(f"{vault}: the vault's challenge cannot be answered: {type(error).__name__}")
            return Unread(f"{vault}: no answer: {type(error).__name__}")
        if error.status_code == _NOT_FOUND:
            return Unread(MISSING, missing=True)
        if error.status_code == _THROTTLED:
            wait = retry_after(error.response, self._clock.now())
            wait = _UNSAID_WAIT if wait is None else wait
            door.closed_until = max(door.closed_until, self._clock.monotonic() + wait)
            return Unread(f"{vault}: 429 {_code(error)}", throttled_for=wait)
        text = f"{vault}/secrets/{name}: {error.status_code} {_code(error)}".strip()
        return Unread(text, ticket_refused=error.status_code == _UNAUTHORIZED)


def _code(error: HttpResponseError) -> str:
    """The innermost code of an answer (``ForbiddenByRbac``, ``SecretDisabled``), else the outer one."""
    outer = error.error
    inner = getattr(outer, "innererror", None)
    return str((inner.get("code") if isinstance(inner, dict) else None) or getattr(outer, "code", "") or "")


def _fetched(found: KeyVaultSecret) -> Fetched:
    about = found.properties
    return Fetched(
        Secret(found.value or ""),
        tags=dict(about.tags or {}),
        created=_utc(about.created_on),
        updated=_utc(about.updated_on),
        expires=_utc(about.expires_on),
        not_before=_utc(about.not_before),
    )


def _utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    return None if moment is None else moment.astimezone(datetime.UTC)
