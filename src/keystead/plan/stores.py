"""Pure: what External Secrets Operator needs in a namespace, and whether what stands there already agrees.

Facts (External Secrets Operator, provider azurekv): client and tenant id belong on the ServiceAccount's annotations,
and nowhere else: a tenant in the store as well makes its default SDK fail ("multiple tenantID found"), and so does a
client ("multiple clientID found"). Without authType a store means a service principal with a secret; ManagedIdentity is
the node's. With useAzureSDK a store is Ready before anything was tried. Since 0.17 nothing of v1beta1 is served.

Rules:
- A field that is missing may be added to anybody's store; a field that says otherwise is its owner's to change.
- A store of ours that people edited is theirs in those fields: server-side apply is not forced, but where an admin said
  adopt. A label or annotation of the template that somebody has set otherwise stays so, and stops nothing.
- Adopting changes how a store signs in, never where it reads: another vault, provider or engine stays a conflict.
- What makes External Secrets Operator fail is told by its name rather than as a mere difference.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import ServiceAccount, Store

AUTH_TYPE = "WorkloadIdentity"
NODE_IDENTITY = "ManagedIdentity"
PROVIDER = "azurekv"
HINTS = frozenset({Reason.STORE_UNTESTED, Reason.STORES_SHARE_ACCOUNT, Reason.STORE_MANIFEST_OUTDATED})
"""Reasons of a store that works, with something to know about it."""
_AZURE = f"spec.provider.{PROVIDER}"
_AUTH_TYPE, _ACCOUNT = f"{_AZURE}.authType", f"{_AZURE}.serviceAccountRef.name"
_SECRET = f"{_AZURE}.authSecretRef"
_TENANT, _CLIENT = (f"{_AZURE}.tenantId", f"{_SECRET}.tenantId"), (f"{_SECRET}.clientId",)
_SIGN_IN = (_AUTH_TYPE, _ACCOUNT, _SECRET, *_TENANT, *_CLIENT)


class Wanted(NamedTuple):
    """What a store should say."""

    vault: str
    service_account: str
    controller: str = ""
    refresh_interval: int | str | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


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


def judge_store(store: Store | None, wanted: Wanted, claimant: Claimant) -> Standing:
    """A store that says otherwise and has another owner is a conflict, unless an admin said adopt."""
    if store is None:
        return _MISSING
    differs = differences(store, wanted)
    if not differs:
        if _is_dressed(store, wanted):
            return _OURS if store.ours else _THEIRS
        return Standing(apply=True, own=store.ours)
    contradicts = [(field, given, want) for field, given, want in differs if given]
    if not contradicts or not store.provider_managers:
        return Standing(apply=True, own=store.ours)
    lasting = [field for field, _, _ in contradicts if field not in _SIGN_IN]
    if claimant.adopting and not lasting:
        dropped = (field.removeprefix(f"{_AZURE}.") for field, _, want in contradicts if not want)
        drop = tuple(dict.fromkeys(each.partition(".")[0] for each in dropped))
        return Standing(apply=True, own=store.ours, force=True, drop=drop)
    owners = ", ".join(store.provider_managers)
    told = "; ".join(
        f"{field} is {given}, {f'not {want}' if want else 'but has no place'}" for field, given, want in contradicts
    )
    reason = _trap(contradicts)
    cure = "Correct it, or delete it." if lasting else f"Take it over with `{claimant.command}`, or correct it."
    text = f"SecretStore {store.name} is owned by {owners} and says otherwise: {told}. {cure}"
    if reason is not Reason.STORE_CONFLICT:
        text = f"{text} {CATALOGUE[reason].tenant}"
    return Standing(apply=False, own=False, conflict=reason, message=text)


def taken_store(name: str, holder: str) -> Standing:
    """The store is another claim's, which has another account."""
    text = f"SecretStore {name} is of VaultClaim {holder}, which came first; give another spec.secretStoreName."
    return Standing(apply=False, own=False, conflict=Reason.STORE_CONFLICT, message=text)


def _trap(contradicts: Collection[tuple[str, str, str]]) -> Reason:
    """The name of a mistake that is known to make External Secrets Operator fail, if all that differs is that."""
    if all(given == NODE_IDENTITY for _, given, _ in contradicts):
        return Reason.STORE_USES_NODE_IDENTITY
    fields = {field for field, _, _ in contradicts}
    if fields <= set(_TENANT):
        return Reason.TENANT_TWICE
    if fields <= {*_CLIENT, *_TENANT}:
        return Reason.CLIENT_TWICE
    return Reason.STORE_CONFLICT


def differences(store: Store, wanted: Wanted) -> tuple[Difference, ...]:
    """Where a store says otherwise than it should."""
    told = (store.provider, store.auth_type, store.service_account_name, store.tenant_id, store.controller)
    named = store.secret_client or store.secret_tenant
    plain = not store.has_secret_ref and not named and store.vault_url == wanted.vault
    if plain and told == (PROVIDER, AUTH_TYPE, wanted.service_account, "", wanted.controller):
        return ()  # as nearly all do, at once
    compared = (
        ("spec.provider", store.provider, PROVIDER),
        (f"{_AZURE}.vaultUrl", store.vault_url.rstrip("/").lower(), wanted.vault),
        (_AUTH_TYPE, store.auth_type, AUTH_TYPE),
        (_ACCOUNT, store.service_account_name, wanted.service_account),
        (_TENANT[0], store.tenant_id, ""),
        (_TENANT[1], store.secret_tenant, ""),
        (_CLIENT[0], store.secret_client, ""),
        (_SECRET, "given" if store.has_secret_ref and not named else "", ""),
        ("spec.controller", store.controller, wanted.controller),
    )
    return tuple(Difference(field, given, want) for field, given, want in compared if given != want)


def _is_dressed(store: Store, wanted: Wanted) -> bool:
    """What the template says beyond what is needed is there, and nothing of ours that it says no more."""
    if not wanted.labels and not wanted.annotations and wanted.refresh_interval is None and not store.dressed:
        return True  # as nearly all are
    fits = all(
        _dressed(wished, there, store.dressed, prefix)
        for wished, there, prefix in (
            (wanted.labels, store.labels, "label:"),
            (wanted.annotations, store.annotations, "annotation:"),
        )
    )
    ours = "refreshInterval" in store.dressed
    if wanted.refresh_interval is None:
        return fits and not ours
    return fits and (store.refresh_interval == wanted.refresh_interval or not (ours or store.refresh_interval is None))


def _dressed(wished: Mapping[str, str], there: Mapping[str, str], ours: Collection[str], prefix: str) -> bool:
    stale = any(each.startswith(prefix) and each.removeprefix(prefix) not in wished for each in ours)
    return not stale and all(
        key in there and (there[key] == value or prefix + key not in ours) for key, value in wished.items()
    )


def dress(store: Store | None, wanted: Wanted) -> Wanted:
    """As much of the template as may be applied: what somebody else has set otherwise is left out."""
    if store is None:
        return wanted

    def free(wished: Mapping[str, str], there: Mapping[str, str], prefix: str) -> dict[str, str]:
        return {
            key: value
            for key, value in wished.items()
            if there.get(key) in (None, value) or prefix + key in store.dressed
        }

    refresh = wanted.refresh_interval
    if store.refresh_interval not in (None, refresh) and "refreshInterval" not in store.dressed:
        refresh = None
    labels = free(wanted.labels, store.labels, "label:")
    annotations = free(wanted.annotations, store.annotations, "annotation:")
    return wanted._replace(refresh_interval=refresh, labels=labels, annotations=annotations)


def hint(store: Store | None, sharing: Collection[str]) -> tuple[Reason, str] | None:
    """Something to know about a store that works; *sharing* are the stores that use the same account."""
    if store is None:
        return None
    if store.new_sdk:
        return Reason.STORE_UNTESTED, CATALOGUE[Reason.STORE_UNTESTED].tenant
    if store.outdated_manager:
        text = f"{CATALOGUE[Reason.STORE_MANIFEST_OUTDATED].tenant} It was written by {store.outdated_manager}."
        return Reason.STORE_MANIFEST_OUTDATED, text
    others = sorted(each for each in sharing if each != store.name) if sharing else ()
    if others:
        text = f"{CATALOGUE[Reason.STORES_SHARE_ACCOUNT].tenant} Besides {store.name}: {', '.join(others)}."
        return Reason.STORES_SHARE_ACCOUNT, text
    return None


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
