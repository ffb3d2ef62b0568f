"""Pure: what External Secrets Operator needs in a namespace, and whether what stands there already agrees.

Facts (External Secrets Operator, provider azurekv): client and tenant id belong on the ServiceAccount's annotations,
and nowhere else: a tenant in the store as well makes its default SDK fail ("multiple tenantID found"). Without authType
a store means a service principal with a secret.

Rules:
- A field that is missing may be added to anybody's store; a field that says otherwise is its owner's to change.
- A store of ours that people edited is theirs in those fields: server-side apply is never forced.
"""

from typing import NamedTuple

from keystead.model.reasons import Reason
from keystead.model.records import ServiceAccount, Store

AUTH_TYPE = "WorkloadIdentity"
PROVIDER = "azurekv"


class Standing(NamedTuple):
    """What has to be done to a store or an account; a conflict is somebody else's to resolve."""

    apply: bool
    own: bool
    """It is ours, or will be: labels and owner reference belong on it."""
    conflict: Reason | None = None
    message: str = ""


_MISSING = Standing(apply=True, own=True)
_OURS, _THEIRS = Standing(apply=False, own=True), Standing(apply=False, own=False)


def judge_store(store: Store | None, vault: str, service_account: str, controller: str) -> Standing:
    """A store that says otherwise and has another owner is a conflict, never taken over."""
    if store is None:
        return _MISSING
    differs = _differences(store, vault, service_account, controller)
    if not differs:
        return _OURS if store.ours else _THEIRS
    contradicts = [(field, given, wanted) for field, given, wanted in differs if given]
    if not contradicts or not store.provider_managers:
        return Standing(apply=True, own=store.ours)
    owners = ", ".join(store.provider_managers)
    told = "; ".join(
        f"{field} is {given}, {f'not {want}' if want else 'but has no place'}" for field, given, want in contradicts
    )
    text = f"SecretStore {store.name} is owned by {owners} and says otherwise: {told}. Correct it, or delete it."
    return Standing(apply=False, own=False, conflict=Reason.STORE_CONFLICT, message=text)


def _differences(store: Store, vault: str, service_account: str, controller: str) -> list[tuple[str, str, str]]:
    """Field, what it says, what it should say."""
    told = (store.provider, store.auth_type, store.service_account_name, store.tenant_id, store.controller)
    if told == (PROVIDER, AUTH_TYPE, service_account, "", controller) and store.vault_url == vault:
        return []  # as nearly all do, at once
    azure = "spec.provider.azurekv"
    compared = (
        ("spec.provider", store.provider, PROVIDER),
        (f"{azure}.vaultUrl", store.vault_url.rstrip("/").lower(), vault),
        (f"{azure}.authType", store.auth_type, AUTH_TYPE),
        (f"{azure}.serviceAccountRef.name", store.service_account_name, service_account),
        (f"{azure}.tenantId", store.tenant_id, ""),
        ("spec.controller", store.controller, controller),
    )
    return [(field, given, wanted) for field, given, wanted in compared if given != wanted]


def judge_account(account: ServiceAccount | None, client_id: str, tenant_id: str) -> Standing:
    """Whether the account carries the two annotations."""
    if account is None:
        return _MISSING
    if account.client_id == client_id and account.tenant_id == tenant_id:
        return _OURS if account.ours else _THEIRS
    contradicts = account.client_id not in (None, "", client_id) or account.tenant_id not in (None, "", tenant_id)
    if contradicts and account.annotation_managers:
        owners = ", ".join(account.annotation_managers)
        text = (
            f"ServiceAccount {account.name} carries workload identity annotations of {owners}: client id "
            f"{account.client_id or 'absent'}, tenant {account.tenant_id or 'absent'}. Remove them."
        )
        return Standing(apply=False, own=False, conflict=Reason.SERVICE_ACCOUNT_CONFLICT, message=text)
    return Standing(apply=True, own=account.ours)
