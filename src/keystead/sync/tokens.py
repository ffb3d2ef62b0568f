"""One vault token for each account, kept for an hour at the most and renewed ahead of that.

Rules:
- The account's annotations say who it is in Azure; the rules and texts of a missing or doubled id are ESO's.
- Many who want the same token wait for one exchange.
- A failed exchange is told to everybody who waited, and kept by nobody: trying again is the store's business.
- Azure's tokens live for up to a day; an hour bounds how long a revoked trust still serves us.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from keystead.model.clock import Clock
from keystead.model.credentials import EXCHANGE_AUDIENCE
from keystead.model.errors import KeysteadError
from keystead.model.ids import VaultUrl
from keystead.sync.objects import AzureKeyVault
from keystead.sync.ports import Accounts, Exchanger, Principal, Ticket

CLIENT_ID = "azure.workload.identity/client-id"
TENANT_ID = "azure.workload.identity/tenant-id"
_LONGEST_USE = 3300.0
"""Seconds. Entra's shortest default life of an access token is an hour (Entra docs: access tokens, token lifetime)."""
_RENEW_AFTER = 2700.0


class SignInFailed(Exception):
    """The store's account cannot get a token; the text is fit for an Event."""


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """Whose token, and for what."""

    namespace: str
    name: str
    audiences: tuple[str, ...]
    scope: str
    tenant_id: str = ""
    """The store's own, empty when it gives none."""
    store_tenant_first: bool = False
    """``useAzureSDK``: the store's tenant wins over the annotation instead of clashing with it."""


@dataclass(slots=True)
class _Held:
    ticket: Ticket
    got_at: float


def account_of(namespace: str, azure: AzureKeyVault, vault: VaultUrl) -> Account:
    """Pure: the account of a store that has a ``serviceAccountRef``; its namespace is the store's, whatever it says."""
    if azure.service_account_ref is None:
        raise SignInFailed("spec.provider.azurekv.serviceAccountRef is missing")
    audiences = (EXCHANGE_AUDIENCE, *azure.service_account_ref.audiences)
    name, tenant = azure.service_account_ref.name, azure.tenant_id or ""
    return Account(namespace, name, audiences, vault.scope, tenant, azure.use_azure_sdk)


def principal_of(account: Account, annotations: Mapping[str, str] | None) -> Principal:
    """Pure: whom Azure knows the account as. Raises SignInFailed in ESO's words."""
    if annotations is None:
        raise SignInFailed(f'ServiceAccount "{account.name}" not found')
    client, tenant = annotations.get(CLIENT_ID, ""), annotations.get(TENANT_ID, "")
    if not client:
        raise SignInFailed(
            f"missing clientID: either serviceAccountRef or service account annotation '{CLIENT_ID}' is missing"
        )
    if tenant and account.tenant_id and not account.store_tenant_first:
        raise SignInFailed(
            "multiple tenantID found. Check secretRef, 'spec.provider.azurekv.tenantId', and serviceAccountRef"
        )
    tenant = account.tenant_id or tenant
    if not tenant:
        raise SignInFailed("missing tenantID in store config")
    return Principal(tenant, client)


class Tokens:
    """All tickets that are held."""

    def __init__(self, accounts: Accounts, exchanger: Exchanger, clock: Clock) -> None:
        self._accounts = accounts
        self._exchanger = exchanger
        self._clock = clock
        self._held: dict[Account, _Held] = {}
        self._under_way: dict[Account, asyncio.Task[Ticket]] = {}

    async def ticket(self, account: Account) -> Ticket:
        """From the shelf, or by an exchange. Raises SignInFailed."""
        held = self._held.get(account)
        age = self._clock.monotonic() - held.got_at if held is not None else _LONGEST_USE
        if held is not None and age < _LONGEST_USE:
            if age >= _RENEW_AFTER:
                # A renewal that fails is tried again by the next caller; until then the old ticket serves.
                self._start(account).add_done_callback(_look_away)
            return held.ticket
        return await asyncio.shield(self._start(account))

    async def recheck(self, account: Account) -> Ticket:
        """As :meth:`ticket`, after reading who the account is now; a changed identity costs it the old ticket."""
        held = self._held.get(account)
        if held is not None and await self._principal(account) != held.ticket.principal:
            self.forget(account)
        return await self.ticket(account)

    def forget(self, account: Account) -> None:
        """Azure does not accept this ticket any more."""
        self._held.pop(account, None)

    async def close(self) -> None:
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _start(self, account: Account) -> asyncio.Task[Ticket]:
        task = self._under_way.get(account)
        if task is None:
            task = asyncio.create_task(self._exchange(account), name=f"sign-in:{account.namespace}/{account.name}")
            self._under_way[account] = task
            task.add_done_callback(lambda _: self._under_way.pop(account, None))
        return task

    async def _exchange(self, account: Account) -> Ticket:
        principal = await self._principal(account)
        try:
            assertion = await self._accounts.mint(account.namespace, account.name, account.audiences)
            token = await self._exchanger.exchange(
                tenant_id=principal.tenant_id, client_id=principal.client_id, assertion=assertion, scope=account.scope
            )
        except KeysteadError as error:
            raise SignInFailed(str(error)) from error
        ticket = Ticket(principal, token)
        self._held[account] = _Held(ticket, self._clock.monotonic())
        return ticket

    async def _principal(self, account: Account) -> Principal:
        try:
            annotations = await self._accounts.annotations(account.namespace, account.name)
        except KeysteadError as error:
            raise SignInFailed(str(error)) from error
        return principal_of(account, annotations)


def _look_away(task: asyncio.Task[Ticket]) -> None:
    if not task.cancelled():
        task.exception()
