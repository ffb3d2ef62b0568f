"""Kubernetes objects as records of the model. What is not understood is an error with its field path (msgspec's)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from keystead.kube import resources as wire
from keystead.model import records
from keystead.model.conditions import Condition, Status
from keystead.model.credentials import Credential
from keystead.model.ids import IdentityId, NamespaceUid

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "keystead"
CLIENT_ID = "azure.workload.identity/client-id"
TENANT_ID = "azure.workload.identity/tenant-id"


def _meta(item: dict[str, Any]) -> wire.ObjectMeta:
    return msgspec.convert(item["metadata"], wire.ObjectMeta, strict=False)


def _conditions(given: list[wire.ConditionStatus]) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            each.type,
            Status(each.status),
            each.reason,
            each.message,
            each.last_transition_time,
            each.observed_generation,
        )
        for each in given
    )


def namespace(item: dict[str, Any]) -> records.Namespace:
    """A Namespace."""
    meta = _meta(item)
    return records.Namespace(
        name=meta.name,
        uid=NamespaceUid(meta.uid),
        labels=meta.labels or {},
        annotations={
            key: value for key, value in (meta.annotations or {}).items() if key.startswith("field.cattle.io/")
        },
        terminating=meta.deletion_timestamp is not None,
        terminating_since=meta.deletion_timestamp,
    )


def grant(item: dict[str, Any]) -> records.Grant:
    """A VaultGrant."""
    given = msgspec.convert(item, wire.VaultGrant)
    meta, spec = given.metadata, given.spec
    confirmed = (meta.annotations or {}).get(wire.CONFIRM_ANNOTATION, "")
    return records.Grant(
        name=meta.name,
        uid=meta.uid,
        generation=meta.generation,
        namespaces=_rule(spec.namespaces),
        vault_url=spec.vault.url,
        identities=tuple(records.PoolMember(each.resource_id, each.reserved_slots) for each in spec.identities),
        claims=records.ClaimMode(spec.claims.value),
        approval=records.ApprovalMode(spec.approval.value),
        template=records.Template(
            service_account_name=spec.template.service_account_name,
            secret_store_name=spec.template.secret_store_name,
            labels=spec.template.labels,
            annotations=spec.template.annotations,
            store_refresh_interval=spec.template.store_refresh_interval,
            store_controller=spec.template.store_controller,
        ),
        max_claims_per_namespace=spec.max_claims_per_namespace,
        revocation=records.Revocation(spec.revocation.value),
        observe_only=spec.observe_only,
        confirmed_generation=int(confirmed) if confirmed.isdigit() else None,
        deleting=meta.deletion_timestamp is not None,
        created_at=meta.creation_timestamp,
        conditions=_conditions(given.status.conditions),
    )


def _rule(given: wire.Namespaces) -> records.NamespaceRule:
    selector = None
    if given.selector is not None:
        selector = records.LabelSelector(
            given.selector.match_labels,
            tuple(
                records.SelectorRequirement(each.key, each.operator, tuple(each.values))
                for each in given.selector.match_expressions
            ),
        )
    return records.NamespaceRule(selector, tuple(given.names), tuple(given.rancher_projects))


def claim(item: dict[str, Any]) -> records.Claim:
    """A VaultClaim."""
    given = msgspec.convert(item, wire.VaultClaim)
    meta, spec = given.metadata, given.spec
    return records.Claim(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        grant_name=spec.grant_name,
        service_account_name=spec.service_account_name,
        secret_store_name=spec.secret_store_name,
        requested_by=spec.requested_by,
        automatic=(meta.labels or {}).get(wire.AUTOMATIC_LABEL) == "true",
        generation=meta.generation,
        deleting=meta.deletion_timestamp is not None,
        created_at=meta.creation_timestamp,
        conditions=_conditions(given.status.conditions),
        federation_name=given.status.federation_name,
    )


def approval(item: dict[str, Any]) -> records.Approval:
    """A VaultApproval."""
    given = msgspec.convert(item, wire.VaultApproval)
    meta, spec = given.metadata, given.spec
    return records.Approval(
        name=meta.name,
        grant_name=spec.grant_name,
        namespace=spec.namespace,
        namespace_uid=NamespaceUid(spec.namespace_uid),
        subject=spec.subject,
        vault_url=spec.vault_url,
        decision=records.Decision(spec.decision.value),
        by=spec.by,
        message=spec.message,
        deleting=meta.deletion_timestamp is not None,
        created_at=meta.creation_timestamp,
    )


def federation(item: dict[str, Any]) -> records.Federation:
    """A Federation."""
    given = msgspec.convert(item, wire.Federation)
    meta, spec, status = given.metadata, given.spec, given.status
    last = status.last_exchange
    return records.Federation(
        name=meta.name,
        uid=meta.uid,
        grant_name=spec.grant_name,
        namespace=spec.namespace,
        namespace_uid=NamespaceUid(spec.namespace_uid),
        claim_name=spec.claim_name,
        service_account_name=spec.service_account_name,
        identity=IdentityId.parse(spec.identity_resource_id),
        credential=Credential(
            spec.credential.name, spec.credential.issuer, spec.credential.subject, spec.credential.audience
        ),
        requested_by=spec.requested_by,
        approval_name=spec.approval_name,
        adopted=spec.adopted,
        deleting=meta.deletion_timestamp is not None,
        created_at=meta.creation_timestamp,
        conditions=_conditions(status.conditions),
        verified_at=status.verified_at,
        last_exchange=records.Exchange(last.code, last.at) if last is not None else None,
    )


def service_account(item: dict[str, Any]) -> records.ServiceAccount:
    """A ServiceAccount, with the other managers of the two annotations that matter."""
    meta = _meta(item)
    annotations = meta.annotations or {}
    paths = [("f:metadata", "f:annotations", f"f:{name}") for name in (CLIENT_ID, TENANT_ID)]
    return records.ServiceAccount(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        client_id=annotations.get(CLIENT_ID),
        tenant_id=annotations.get(TENANT_ID),
        ours=_ours(meta),
        annotation_managers=_managers(meta, paths),
    )


def store(item: dict[str, Any]) -> records.Store:
    """A SecretStore; whatever is oddly typed inside reads as absent."""
    meta = _meta(item)
    spec = _table(item.get("spec"))
    provider = _table(spec.get("provider"))
    azure = _table(provider.get("azurekv"))
    ready = next(
        (each for each in _rows(_table(item.get("status")).get("conditions")) if each.get("type") == "Ready"), {}
    )
    return records.Store(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
        vault_url=str(azure.get("vaultUrl") or ""),
        auth_type=str(azure.get("authType") or ""),
        service_account_name=str(_table(azure.get("serviceAccountRef")).get("name") or ""),
        tenant_id=str(azure.get("tenantId") or ""),
        controller=str(spec.get("controller") or ""),
        provider=next(iter(provider), ""),
        ready={"True": True, "False": False}.get(str(ready.get("status"))),
        ready_reason=str(ready.get("reason") or ""),
        ours=_ours(meta),
        provider_managers=_managers(meta, [("f:spec", "f:provider")]),
    )


def eso_finalizers(item: dict[str, Any]) -> int:
    """How many finalizers of External Secrets Operator an object carries."""
    return sum("externalsecrets.io" in each or "external-secrets.io" in each for each in _meta(item).finalizers or ())


def _ours(meta: wire.ObjectMeta) -> bool:
    return (meta.labels or {}).get(MANAGED_BY) == OURS


def _managers(meta: wire.ObjectMeta, paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Other field managers that own anything at or below one of *paths*."""
    owners = set()
    for entry in meta.managed_fields or ():
        manager = str(entry.get("manager") or "")
        if manager != OURS and any(_reaches(entry.get("fieldsV1"), path) for path in paths):
            owners.add(manager)
    return tuple(sorted(owners))


def _reaches(fields: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(fields, dict) or part not in fields:
            return False
        fields = fields[part]
    return True


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
