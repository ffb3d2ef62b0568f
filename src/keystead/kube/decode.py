"""Kubernetes objects as records of the model. What is not understood is an error with its field path (msgspec's).

Objects come as JSON text (from informers) or as JSON decoded already. From text, only the fields that are wanted become
Python objects; texts that thousands of conditions share are kept once.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from keystead.kube import resources as wire
from keystead.model import records
from keystead.model.conditions import Condition, Status
from keystead.model.credentials import Credential
from keystead.model.growth import IdentityProof, Provisioning
from keystead.model.ids import IdentityId, NamespaceUid

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "keystead"
CLIENT_ID = "azure.workload.identity/client-id"
TENANT_ID = "azure.workload.identity/tenant-id"


S = TypeVar("S")
Given: TypeAlias = msgspec.Raw | bytes | dict[str, Any]

_REMEMBERED = 4096  # shared texts
_shared: dict[str, str] = {}


class _Shape(Generic[S]):
    """Reads one struct. Of foreign kinds *strict* is False: a number where text belongs is no reason to give up."""

    def __init__(self, type_: type[S], *, strict: bool = True) -> None:
        self._text = msgspec.json.Decoder(type_, strict=strict)

    def read(self, given: Given) -> S:
        return self._text.decode(msgspec.json.encode(given) if isinstance(given, dict) else given)


class _Plain(msgspec.Struct):
    metadata: wire.ObjectMeta


class _Owned(msgspec.Struct):
    metadata: wire.OwnedMeta


class _Foreign(msgspec.Struct):
    metadata: wire.OwnedMeta
    spec: Any = None
    status: Any = None


_PLAIN = _Shape(_Plain, strict=False)
_OWNED = _Shape(_Owned, strict=False)
_FOREIGN = _Shape(_Foreign, strict=False)
_GRANT = _Shape(wire.VaultGrant)
_CLAIM = _Shape(wire.VaultClaim)
_APPROVAL = _Shape(wire.VaultApproval)
_FEDERATION = _Shape(wire.Federation)


def _share(text: str) -> str:
    """The same text, kept once."""
    if len(_shared) >= _REMEMBERED:
        _shared.clear()
    return _shared.setdefault(text, text)


def _conditions(given: list[wire.ConditionStatus]) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            _share(each.type),
            Status(each.status),
            _share(each.reason),
            _share(each.message),
            each.last_transition_time,
            each.observed_generation,
        )
        for each in given
    )


def namespace(item: Given) -> records.Namespace:
    """A Namespace."""
    meta = _PLAIN.read(item).metadata
    return records.Namespace(
        name=meta.name,
        uid=NamespaceUid(meta.uid),
        labels=meta.labels or {},
        annotations={
            key: value for key, value in (meta.annotations or {}).items() if key.startswith("field.cattle.io/")
        },
        terminating=meta.deletion_timestamp is not None,
        terminating_since=meta.deletion_timestamp,
        created_at=meta.creation_timestamp,
    )


def grant(item: Given) -> records.Grant:
    """A VaultGrant."""
    given = _GRANT.read(item)
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
            token_role=spec.template.token_role,
        ),
        max_claims_per_namespace=spec.max_claims_per_namespace,
        revocation=records.Revocation(spec.revocation.value),
        observe_only=spec.observe_only,
        vault_resource_id=spec.vault.resource_id,
        provisioning=_provisioning(spec.provisioning),
        proofs=tuple(
            IdentityProof(each.resource_id, each.principal_id, each.proven_at)
            for each in given.status.identities
            if each.principal_id
        ),
        confirmed_generation=int(confirmed) if confirmed.isdigit() else None,
        adopt=(meta.annotations or {}).get(wire.ADOPT_ANNOTATION, ""),
        deleting=meta.deletion_timestamp is not None,
        created_at=meta.creation_timestamp,
        conditions=_conditions(given.status.conditions),
    )


def _provisioning(given: wire.ProvisioningSpec | None) -> Provisioning | None:
    if given is None:
        return None
    return Provisioning(
        resource_group_id=given.resource_group_id,
        location=given.location,
        name_prefix=given.name_prefix,
        max_identities=given.max_identities,
        headroom=given.headroom,
        role_definition_id=given.role_definition_id,
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


def claim(item: Given) -> records.Claim:
    """A VaultClaim."""
    given = _CLAIM.read(item)
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


def approval(item: Given) -> records.Approval:
    """A VaultApproval."""
    given = _APPROVAL.read(item)
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


def federation(item: Given) -> records.Federation:
    """A Federation."""
    given = _FEDERATION.read(item)
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
        verified_vault=status.verified_vault,
        last_exchange=records.Exchange(last.code, last.at, last.detail) if last is not None else None,
        abandoned=(meta.annotations or {}).get(wire.ABANDON_ANNOTATION, ""),
        abandoned_by=(meta.annotations or {}).get(wire.ABANDONED_BY_ANNOTATION, ""),
        retained=status.retained,
    )


def service_account(item: Given) -> records.ServiceAccount:
    """A ServiceAccount, with the other managers of the two annotations that matter."""
    meta = _OWNED.read(item).metadata
    annotations = meta.annotations or {}
    paths = [("f:metadata", "f:annotations", f"f:{name}") for name in (CLIENT_ID, TENANT_ID) if name in annotations]
    return records.ServiceAccount(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        client_id=annotations.get(CLIENT_ID),
        tenant_id=annotations.get(TENANT_ID),
        ours=_ours(meta),
        annotation_managers=_managers(meta, paths),
    )


def store(item: Given) -> records.Store:
    """A SecretStore; whatever is oddly typed inside reads as absent."""
    given = _FOREIGN.read(item)
    meta = given.metadata
    spec = _table(given.spec)
    provider = _table(spec.get("provider"))
    azure = _table(provider.get("azurekv"))
    secret, refresh = _table(azure.get("authSecretRef")), spec.get("refreshInterval")
    ready = next((each for each in _rows(_table(given.status).get("conditions")) if each.get("type") == "Ready"), {})
    return records.Store(
        namespace=meta.namespace,
        name=meta.name,
        resource_version=meta.resource_version,
        vault_url=str(azure.get("vaultUrl") or ""),
        auth_type=str(azure.get("authType") or ""),
        service_account_name=str(_table(azure.get("serviceAccountRef")).get("name") or ""),
        tenant_id=str(azure.get("tenantId") or ""),
        has_secret_ref=bool(azure.get("authSecretRef")),
        controller=str(spec.get("controller") or ""),
        provider=next(iter(provider), ""),
        ready={"True": True, "False": False}.get(str(ready.get("status"))),
        ready_reason=str(ready.get("reason") or ""),
        ours=_ours(meta),
        provider_managers=_managers(meta, [("f:spec", "f:provider")]),
        eso_finalizers=sum(
            "externalsecrets.io" in each or "external-secrets.io" in each for each in meta.finalizers or ()
        ),
        secret_client=str(_table(secret.get("clientId")).get("name") or ""),
        secret_tenant=str(_table(secret.get("tenantId")).get("name") or ""),
        new_sdk=azure.get("useAzureSDK") is True,
        outdated_manager=_outdated(meta),
        refresh_interval=refresh if isinstance(refresh, str | int) else None,
        labels=meta.labels or {},
        annotations=meta.annotations or {},
        dressed=_dressed(meta),
    )


def _outdated(meta: wire.OwnedMeta) -> str:
    """Who wrote it in a version of the API that is served no more; its own controller is not meant."""
    return next(
        (
            entry.manager
            for entry in meta.managed_fields or ()
            if entry.api_version.endswith("/v1beta1") and entry.manager not in (OURS, "external-secrets")
        ),
        "",
    )


def _dressed(meta: wire.OwnedMeta) -> frozenset[str]:
    """What we own of a store beyond what is needed."""
    owned: set[str] = set()
    for entry in meta.managed_fields or ():
        if entry.manager != OURS or not entry.fields_v1:
            continue
        fields = _table(msgspec.json.decode(entry.fields_v1))
        metadata = _table(fields.get("f:metadata"))
        for kind in ("label", "annotation"):
            names = (each.removeprefix("f:") for each in _table(metadata.get(f"f:{kind}s")) if each.startswith("f:"))
            owned |= {f"{kind}:{name}" for name in names if name != MANAGED_BY}
        if "f:refreshInterval" in _table(fields.get("f:spec")):
            owned.add("refreshInterval")
    return frozenset(owned)


def guard_policy(item: Given) -> records.GuardPolicy:
    """A ValidatingAdmissionPolicy."""
    given = _FOREIGN.read(item)
    spec = _table(given.spec)
    return records.GuardPolicy(
        name=given.metadata.name,
        expressions=tuple(str(each.get("expression") or "") for each in _rows(spec.get("validations"))),
        fails_open=spec.get("failurePolicy") == "Ignore",
    )


def guard_binding(item: Given) -> records.GuardBinding:
    """A ValidatingAdmissionPolicyBinding."""
    given = _FOREIGN.read(item)
    spec = _table(given.spec)
    actions, matches = spec.get("validationActions"), _table(spec.get("matchResources"))
    # The API server writes empty selectors and the usual policy of matching into what was left out.
    return records.GuardBinding(
        name=given.metadata.name,
        policy=str(spec.get("policyName") or ""),
        denies=isinstance(actions, list) and "Deny" in actions,
        narrowed=any(value for key, value in matches.items() if key != "matchPolicy"),
    )


def _ours(meta: wire.ObjectMeta) -> bool:
    return (meta.labels or {}).get(MANAGED_BY) == OURS


def _managers(meta: wire.OwnedMeta, paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Other field managers that own anything at or below one of *paths*."""
    if not paths:
        return ()
    owners = set()
    for entry in meta.managed_fields or ():
        if entry.manager != OURS and entry.fields_v1:
            fields = msgspec.json.decode(entry.fields_v1)
            if any(_reaches(fields, path) for path in paths):
                owners.add(entry.manager)
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
