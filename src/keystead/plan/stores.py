"""Pure: what External Secrets Operator needs in a namespace, and whether what stands there already agrees.

Facts (External Secrets Operator, provider azurekv): client and tenant id belong on the ServiceAccount's annotations,
and nowhere else: a tenant in the store as well makes its default SDK fail ("multiple tenantID found"), and so does a
client id in authSecretRef ("multiple clientID found"). Without authType a store means a service principal with a secret.

Rules:
- A field that is missing may be added to anybody's store; a field that says otherwise is its owner's to change.
- A store of ours that people edited is theirs in those fields: server-side apply is not forced, but where an admin said
  adopt.
- Adopting changes how a store signs in, never where it reads: another vault, provider or engine stays a conflict.
"""

from typing import NamedTuple

from keystead.model.reasons import Reason
from keystead.model.records import ServiceAccount, Store

AUTH_TYPE = "WorkloadIdentity"
PROVIDER = "azurekv"
_AZURE = f"spec.provider.{PROVIDER}"
_AUTH_TYPE, _ACCOUNT = f"{_AZURE}.authType", f"{_AZURE}.serviceAccountRef.name"
_TENANT, _SECRET = f"{_AZURE}.tenantId", f"{_AZURE}.authSecretRef"
_SIGN_IN = (_AUTH_TYPE, _ACCOUNT, _TENANT, _SECRET)


class Standing(NamedTuple):
    """What has to be done to a store or an account; a conflict is somebody else's to resolve."""

    apply: bool
    own: bool
    """It is ours, or will be: labels and owner reference belong on it."""
    conflict: Reason | None = None
    message: str = ""
    force: bool = False
    """Fields of others are taken over."""
    drop: tuple[str, ...] = ()
    """Fields of ``spec.provider.azurekv`` that have no place beside ours."""


class Difference(NamedTuple):
    """One field; empty is absent, or has no place."""

    field: str
    given: str
    wanted: str


class Claimant(NamedTuple):
    """For whom an object is judged, and whether an admin said that it may be taken over."""

    command: str
    """What an admin has to say for that."""
    adopting: bool = False


_MISSING = Standing(apply=True, own=True)
_OURS, _THEIRS = Standing(apply=False, own=True), Standing(apply=False, own=False)


def judge_store(store: Store | None, vault: str, service_account: str, controller: str, claimant: Claimant) -> Standing:
    """A store that says otherwise and has another owner is a conflict, unless an admin said adopt."""
    if store is None:
        return _MISSING
    differs = differences(store, vault, service_account, controller)
    if not differs:
        return _OURS if store.ours else _THEIRS
    contradicts = [(field, given, wanted) for field, given, wanted in differs if given]
    if not contradicts or not store.provider_managers:
        return Standing(apply=True, own=store.ours)
    lasting = [field for field, _, _ in contradicts if field not in _SIGN_IN]
    if claimant.adopting and not lasting:
        drop = tuple(field.removeprefix(f"{_AZURE}.") for field, _, want in contradicts if not want)
        return Standing(apply=True, own=store.ours, force=True, drop=drop)
    owners = ", ".join(store.provider_managers)
    told = "; ".join(
        f"{field} is {given}, {f'not {want}' if want else 'but has no place'}" for field, given, want in contradicts
    )
    cure = "Correct it, or delete it." if lasting else f"Take it over with `{claimant.command}`, or correct it."
    text = f"SecretStore {store.name} is owned by {owners} and says otherwise: {told}. {cure}"
    return Standing(apply=False, own=False, conflict=Reason.STORE_CONFLICT, message=text)


def differences(store: Store, vault: str, service_account: str, controller: str) -> tuple[Difference, ...]:
    """Where a store says otherwise than it should."""
    told = (store.provider, store.auth_type, store.service_account_name, store.tenant_id, store.controller)
    as_it_should = told == (PROVIDER, AUTH_TYPE, service_account, "", controller) and store.vault_url == vault
    if as_it_should and not store.has_secret_ref:
        return ()  # as nearly all do, at once
    compared = (
        ("spec.provider", store.provider, PROVIDER),
        (f"{_AZURE}.vaultUrl", store.vault_url.rstrip("/").lower(), vault),
        (_AUTH_TYPE, store.auth_type, AUTH_TYPE),
        (_ACCOUNT, store.service_account_name, service_account),
        (_TENANT, store.tenant_id, ""),
        (_SECRET, "given" if store.has_secret_ref else "", ""),
        ("spec.controller", store.controller, controller),
    )
    return tuple(Difference(field, given, wanted) for field, given, wanted in compared if given != wanted)


def account_differences(account: ServiceAccount, client_id: str, tenant_id: str) -> tuple[Difference, ...]:
    """Where the annotations say otherwise than they should."""
    compared = (
        ("azure.workload.identity/client-id", account.client_id or "", client_id),
        ("azure.workload.identity/tenant-id", account.tenant_id or "", tenant_id),
    )
    return tuple(Difference(field, given, wanted) for field, given, wanted in compared if given != wanted)


def judge_account(account: ServiceAccount | None, client_id: str, tenant_id: str, claimant: Claimant) -> Standing:
    """Whether the account carries the two annotations."""
    if account is None:
        return _MISSING
    if account.client_id == client_id and account.tenant_id == tenant_id:
        return _OURS if account.ours else _THEIRS
    contradicts = account.client_id not in (None, "", client_id) or account.tenant_id not in (None, "", tenant_id)
    if contradicts and account.annotation_managers and claimant.adopting:
        return Standing(apply=True, own=account.ours, force=True)
    if contradicts and account.annotation_managers:
        owners = ", ".join(account.annotation_managers)
        text = (
            f"ServiceAccount {account.name} carries workload identity annotations of {owners}: client id "
            f"{account.client_id or 'absent'}, tenant {account.tenant_id or 'absent'}. Take them over with `{claimant.command}`, or remove them."
        )
        return Standing(apply=False, own=False, conflict=Reason.SERVICE_ACCOUNT_CONFLICT, message=text)
    return Standing(apply=True, own=account.ours)
