"""A SecretStore of ours: whom it concerns, whether its account can sign in, and what its status says.

Rules:
- Only stores whose ``spec.controller`` is our class are served; all others are not touched in any way.
- Ready is proven by a token exchange, for every store (with ``useAzureSDK`` ESO proves nothing).
- Between its interval's looks a store costs nothing: the ticket is on the shelf.
"""

import datetime
from dataclasses import dataclass

import msgspec
import structlog

from keystead.model.clock import Clock
from keystead.model.ids import VaultUrl
from keystead.sync.objects import AzureKeyVault, SecretStore, go_duration
from keystead.sync.plan import UNSUPPORTED
from keystead.sync.ports import Voice
from keystead.sync.refresh import store_beyond_us
from keystead.sync.report import store_status
from keystead.sync.tokens import Account, SignInFailed, Tokens, account_of

log = structlog.get_logger("keystead.sync")
VALID, INVALID = "Valid", "InvalidProviderConfig"
_NO_CLIENT = "unable to create client"


@dataclass(frozen=True, slots=True)
class Gate:
    """The way into a vault."""

    vault: VaultUrl
    account: Account
    attributes: bool
    """Tags are shown with ``attribute.*``, as ESO does without ``useAzureSDK``."""


class StoreUnusable(Exception):
    """The store's spec leads nowhere; ``reason`` and ``message`` are for its condition, the text is for the Event."""

    def __init__(self, text: str, *, reason: str = INVALID, message: str = _NO_CLIENT) -> None:
        super().__init__(text)
        self.reason = reason
        self.message = message


def gate_of(store: SecretStore) -> Gate:
    """Pure: where the store leads. Raises StoreUnusable."""
    if not store.metadata.namespace:
        text = "ClusterSecretStore needs External Secrets Operator"
        raise StoreUnusable(text, reason=UNSUPPORTED, message=text)
    try:
        given = store.spec.provider.get("azurekv")
        azure = None if given is None else msgspec.convert(given, AzureKeyVault)
    except msgspec.ValidationError as error:
        raise StoreUnusable(f"spec.provider.azurekv: {error}") from error
    beyond = store_beyond_us(store.spec.provider, azure)
    if beyond or azure is None:
        raise StoreUnusable(beyond, reason=UNSUPPORTED, message=beyond)
    try:
        vault = VaultUrl.parse(azure.vault_url)
        account = account_of(store.metadata.namespace, azure, vault)
    except (ValueError, SignInFailed) as error:
        raise StoreUnusable(f"spec.provider.azurekv.vaultUrl {azure.vault_url!r} {error}") from error
    return Gate(vault, account, attributes=not azure.use_azure_sdk)


def look_again_after(store: SecretStore, default: datetime.timedelta) -> float:
    """Pure: seconds to the next look at a store that is well."""
    given = store.spec.refresh_interval
    try:
        wait = go_duration(given) if isinstance(given, str) else datetime.timedelta(seconds=given or 0)
    except ValueError:
        wait = datetime.timedelta()
    return (wait if wait > datetime.timedelta() else default).total_seconds()


class StoreKeeper:
    """Looks at one store at a time."""

    def __init__(self, tokens: Tokens, voice: Voice, clock: Clock, interval: datetime.timedelta) -> None:
        self._tokens = tokens
        self._voice = voice
        self._clock = clock
        self._interval = interval

    async def look(self, store: SecretStore, *, changed: bool) -> float | None:
        """Seconds until the next look; ``None`` to back off. *changed*: who the account is has to be read again."""
        try:
            gate = gate_of(store)
        except StoreUnusable as error:
            await self._say(store, ready=False, reason=error.reason, message=error.message, text=str(error))
            return look_again_after(store, self._interval)
        try:
            await (self._tokens.recheck(gate.account) if changed else self._tokens.ticket(gate.account))
        except SignInFailed as error:
            await self._say(store, ready=False, reason=INVALID, message=_NO_CLIENT, text=str(error))
            return None
        await self._say(store, ready=True, reason=VALID, message="store validated", text="store validated")
        return look_again_after(store, self._interval)

    async def _say(self, store: SecretStore, *, ready: bool, reason: str, message: str, text: str) -> None:
        status = store_status(store, ready=ready, reason=reason, message=message, now=self._clock.now())
        if status is not None:
            await self._voice.store_status(store, status)
        if status is not None or not ready:
            await self._voice.event(store, reason, text, warning=not ready)
        if not ready:
            log.info("store is not ready", namespace=store.metadata.namespace, store=store.metadata.name, why=text)
