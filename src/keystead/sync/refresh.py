"""Pure: when an ExternalSecret is refreshed, whether what was written still stands, and what the engine cannot do.

Rules:
- ``refreshPolicy``, ``refreshInterval`` and the change of spec, labels or annotations decide as in ESO (facts: its
  ``shouldRefresh``), with one difference: a periodic refresh comes up to a tenth of the interval early. ExternalSecrets
  of one store come early by the same part, so that they still read together, and those of different stores drift apart.
- A changed or deleted Secret is repaired at once, except under Orphan.
"""

import datetime
import hashlib
from collections.abc import Iterator

from keystead.sync.hashing import data_hash, synced_resource_version
from keystead.sync.objects import CLUSTER_SECRET_STORE, AzureKeyVault, ExternalSecret
from keystead.sync.snapshot import SecretShape

MANAGED_LABEL = "reconcile.external-secrets.io/managed"
CREATED_BY_LABEL = "reconcile.external-secrets.io/created-by"
DATA_HASH_ANNOTATION = "reconcile.external-secrets.io/data-hash"

_EARLY = 0.1
"""Largest part of the interval by which a refresh comes early."""
_LONGEST_SHARING = datetime.timedelta(minutes=5)


def current_version(es: ExternalSecret) -> str:
    """Pure: what ``status.syncedResourceVersion`` is once this spec, these labels and annotations are synced."""
    return synced_resource_version(es.metadata.generation, es.metadata.labels, es.metadata.annotations)


def due_at(es: ExternalSecret) -> datetime.datetime | None:
    """Pure: when the next periodic refresh falls due; ``None`` when none will."""
    if es.spec.refresh_policy != "Periodic" or es.interval <= datetime.timedelta() or es.status.refresh_time is None:
        return None
    seed = f"{es.namespace}/{es.spec.secret_store_ref.name}".encode()
    share = hashlib.sha256(seed).digest()[0] / 256
    return es.status.refresh_time + es.interval * (1 - _EARLY * share)


def should_refresh(es: ExternalSecret, now: datetime.datetime) -> bool:
    """Pure: whether the provider has to be asked, as far as time and the ExternalSecret itself say."""
    synced, refreshed = es.status.synced_resource_version, es.status.refresh_time
    never = not synced or refreshed is None
    match es.spec.refresh_policy:
        case "CreatedOnce":
            return never
        case "OnChange":
            return never or synced != current_version(es)
        case _:
            if es.interval <= datetime.timedelta() and synced:
                return False  # ESO's rule, kept: with interval 0 not even a changed spec is looked at again
            due = due_at(es)
            return synced != current_version(es) or refreshed is None or refreshed > now or due is None or due <= now


def is_periodic(es: ExternalSecret) -> bool:
    """Pure: nothing but time asks for this refresh, so that a value read a moment ago will do."""
    return es.status.refresh_time is not None and es.status.synced_resource_version == current_version(es)


def sharing_window(es: ExternalSecret) -> datetime.timedelta:
    """Pure: how old a value read for another ExternalSecret may be to serve a periodic refresh."""
    return min(es.interval * _EARLY, _LONGEST_SHARING)


def is_intact(shape: SecretShape) -> bool:
    """Pure: managed, and its data match the hash that was written with them."""
    return shape.labels.get(MANAGED_LABEL) == "true" and shape.annotations.get(DATA_HASH_ANNOTATION) == data_hash(
        shape.data
    )


def beyond_us(es: ExternalSecret) -> str:
    """Pure: the fields that need External Secrets Operator, as one sentence; empty when there are none."""
    fields = sorted(set(_fields_beyond_us(es)))
    if not fields:
        return ""
    return f"{', '.join(fields)} {'needs' if len(fields) == 1 else 'need'} External Secrets Operator"


def store_beyond_us(provider: dict[str, object], azure: AzureKeyVault | None) -> str:
    """Pure: the same for a store."""
    if azure is None:
        return f"spec.provider.{next(iter(provider), 'none')} needs External Secrets Operator"
    base = "spec.provider.azurekv"
    if azure.auth_type != "WorkloadIdentity":
        return f"{base}.authType {azure.auth_type} needs External Secrets Operator"
    if azure.service_account_ref is None:
        return f"{base} without serviceAccountRef needs External Secrets Operator"
    for name, value in (("authSecretRef", azure.auth_secret_ref), ("customCloudConfig", azure.custom_cloud_config)):
        if value is not None:
            return f"{base}.{name} needs External Secrets Operator"
    if azure.environment_type not in ("PublicCloud", "ChinaCloud", "USGovernmentCloud"):
        return f"{base}.environmentType {azure.environment_type} needs External Secrets Operator"
    return ""


def _fields_beyond_us(es: ExternalSecret) -> Iterator[str]:
    if es.spec.sync_windows is not None:
        yield "spec.syncWindows"
    for name, value in (("manifest", es.spec.target.manifest), ("template", es.spec.target.template)):
        if value is not None:
            yield f"spec.target.{name}"
    if es.spec.secret_store_ref.kind == CLUSTER_SECRET_STORE:
        yield "spec.secretStoreRef.kind ClusterSecretStore"
    for position, entry in enumerate(es.spec.data):
        path = f"spec.data[{position}]"
        if entry.remote_ref.key.startswith(("cert/", "key/")):
            yield f"{path}.remoteRef.key {entry.remote_ref.key}"
        yield from _sources_beyond_us(path, entry.source_ref)
    for position, from_entry in enumerate(es.spec.data_from):
        path = f"spec.dataFrom[{position}]"
        if from_entry.find is not None:
            yield f"{path}.find"
        if from_entry.rewrite:
            yield f"{path}.rewrite"
        yield from _sources_beyond_us(path, from_entry.source_ref)


def _sources_beyond_us(path: str, source: object) -> Iterator[str]:
    generator, store = getattr(source, "generator_ref", None), getattr(source, "store_ref", None)
    if generator is not None:
        yield f"{path}.sourceRef.generatorRef"
    if store is not None and store.kind == CLUSTER_SECRET_STORE:
        yield f"{path}.sourceRef.storeRef.kind ClusterSecretStore"
