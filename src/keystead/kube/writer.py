"""Writes to the cluster: server-side apply with our field manager, by force only where an admin said adopt.

- ServiceAccounts and SecretStores that we make belong to their claim (owner reference) and carry our label; on those
  that people made we own nothing but the fields we must set.
- Status goes through the status subresource, by a manager of its own.
- Events of the same kind about the same object are counted up in one object.
"""

import datetime
from typing import Any

from keystead.kube.client import Api
from keystead.kube.decode import CLIENT_ID, MANAGED_BY, OURS, TENANT_ID
from keystead.kube.eso import Eso
from keystead.kube.kinds import FEDERATION, VAULT_CLAIM
from keystead.kube.resources import API_VERSION, AUTOMATIC_LABEL, FINALIZER, GROUP
from keystead.model.clock import Clock
from keystead.model.errors import FieldConflict, Refused, Retryable
from keystead.model.ids import NamespaceUid
from keystead.model.reasons import Reason
from keystead.model.records import Federation
from keystead.model.secret import Secret
from keystead.plan.steps import AnnotateServiceAccount, ApplyStore, CreateClaim, EnsureServiceAccount

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_TOKEN_SECONDS = 600  # the shortest that Kubernetes gives; one exchange needs seconds
NUDGE = f"{GROUP}/nudge"


def _claims(namespace: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{VAULT_CLAIM.plural}"


def _account(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"


class ClusterWriter:
    """Implements :class:`keystead.apply.ports.ClusterWriter`."""

    def __init__(self, api: Api, clock: Clock, eso: Eso | None = None) -> None:
        self._api = api
        self._clock = clock
        self._eso = eso or Eso(api)

    async def namespace_uid(self, name: str) -> NamespaceUid | None:
        found = await self._api.get(f"/api/v1/namespaces/{name}")
        if found is None or found["metadata"].get("deletionTimestamp"):
            return None
        return NamespaceUid(found["metadata"]["uid"])

    async def mint_token(self, namespace: str, service_account: str, audience: str) -> Secret:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": _TOKEN_SECONDS},
        }
        answer = await self._api.post(f"{_account(namespace, service_account)}/token", request)
        return Secret(answer["status"]["token"])

    async def create_claim(self, step: CreateClaim) -> None:
        claim = {
            "apiVersion": API_VERSION,
            "kind": VAULT_CLAIM.kind,
            "metadata": {"name": step.name, "labels": {MANAGED_BY: OURS, AUTOMATIC_LABEL: "true"}},
            "spec": {"grantName": step.grant_name},
        }
        try:
            await self._api.post(_claims(step.namespace), claim)
        except Refused as error:
            if error.code != "AlreadyExists":
                raise

    async def delete_claim(self, namespace: str, name: str, uid: str) -> None:
        await self._api.delete(f"{_claims(namespace)}/{name}", uid=uid)

    async def record_federation(self, federation: Federation) -> str:
        body = _federation_object(federation)
        try:
            created = await self._api.post(FEDERATION.path, body)
        except Refused as error:
            if error.code != "AlreadyExists":
                raise
            created = await self._api.get(f"{FEDERATION.path}/{federation.name}")
            if created is None or created["metadata"].get("deletionTimestamp") or created["spec"] != body["spec"]:
                raise Refused(
                    Reason.AWAITING_REVOCATION,
                    f"Federation {federation.name} exists and is another or going",
                    code=error.code,
                ) from error
        return str(created["metadata"]["uid"])

    async def begin_revocation(self, name: str, uid: str) -> None:
        await self._api.delete(f"{FEDERATION.path}/{name}", uid=uid)

    async def forget_federation(self, name: str, uid: str) -> None:
        path = f"{FEDERATION.path}/{name}"
        found = await self._api.get(path)
        if found is None or found["metadata"]["uid"] != uid:
            return
        kept = [each for each in found["metadata"].get("finalizers") or [] if each != FINALIZER]
        patch = {"metadata": {"finalizers": kept, "resourceVersion": found["metadata"]["resourceVersion"]}}
        await self._api.merge(path, patch, manager=OURS)

    async def ensure_service_account(self, step: EnsureServiceAccount) -> None:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": step.name, **_ownership(step.claim_name, step.claim_uid)},
        }
        try:
            await self._api.post(f"/api/v1/namespaces/{step.namespace}/serviceaccounts", account)
        except Refused as error:
            if error.code != "AlreadyExists":
                raise

    async def annotate_service_account(self, step: AnnotateServiceAccount) -> None:
        metadata: dict[str, Any] = {
            "name": step.name,
            # An apply would make what is missing: in a namespace that was recreated meanwhile, that is another's account.
            "uid": step.account_uid or await self._account_uid(step),
            "annotations": {CLIENT_ID: step.client_id, TENANT_ID: step.tenant_id},
        }
        if step.own:
            metadata |= _ownership(step.claim_name, step.claim_uid)
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        try:
            await self._api.apply(_account(step.namespace, step.name), body, manager=OURS, force=step.force)
        except FieldConflict as error:
            raise _conflict(Reason.SERVICE_ACCOUNT_CONFLICT, f"ServiceAccount {step.name}", error) from error
        except Refused as error:
            # The API server says 422 for a UID that is not the object's; whether that was it, only a look tells.
            found = await self._api.get(_account(step.namespace, step.name))
            if found is not None and found["metadata"]["uid"] == metadata["uid"]:
                raise
            text = f"ServiceAccount {step.namespace}/{step.name} is another one by now"
            raise Retryable(Reason.KUBERNETES_CONFLICT, text) from error

    async def _account_uid(self, step: AnnotateServiceAccount) -> str:
        """Of the account in exactly this namespace: read before the namespace is seen to be still the same."""
        found = await self._api.get(_account(step.namespace, step.name))
        if found is None or await self.namespace_uid(step.namespace) != step.namespace_uid:
            text = f"ServiceAccount {step.namespace}/{step.name} is gone, or its namespace is another one by now"
            raise Retryable(Reason.KUBERNETES_CONFLICT, text)
        return str(found["metadata"]["uid"])

    async def withdraw_annotation(self, namespace: str, name: str) -> None:
        patch = {"metadata": {"annotations": {CLIENT_ID: None, TENANT_ID: None}}}
        await self._api.merge(_account(namespace, name), patch, manager=OURS)

    async def apply_store(self, step: ApplyStore) -> None:
        metadata: dict[str, Any] = {"name": step.name}
        if step.own:
            metadata |= _ownership(step.claim_name, step.claim_uid)
        if step.annotations:
            metadata["annotations"] = dict(step.annotations)
        if step.labels:
            metadata["labels"] = {**dict(step.labels), **metadata.get("labels", {})}
        azure = {
            "authType": "WorkloadIdentity",
            "vaultUrl": step.vault_url,
            "serviceAccountRef": {"name": step.service_account_name},
        }
        spec: dict[str, Any] = {"provider": {"azurekv": azure}}
        if step.controller:
            spec["controller"] = step.controller
        if step.refresh_interval is not None:
            spec["refreshInterval"] = step.refresh_interval
        if step.token_role:
            await self._apply_token_role(step)
        body = {"apiVersion": self._eso.api_version, "kind": "SecretStore", "metadata": metadata, "spec": spec}
        path = f"{self._eso.folder(step.namespace)}/secretstores/{step.name}"
        if step.drop:
            # An apply takes away only what is ours; in one write, so that the store is never half of either.
            together = {**azure, **dict.fromkeys(step.drop)}
            await self._api.merge(path, {"spec": {"provider": {"azurekv": together}}}, manager=OURS)
        try:
            await self._api.apply(path, body, manager=OURS, force=step.force)
        except FieldConflict as error:
            raise _conflict(Reason.STORE_CONFLICT, f"SecretStore {step.name}", error) from error

    async def _apply_token_role(self, step: ApplyStore) -> None:
        """Both go with the claim."""
        role, binding = token_role(step, self._eso.account)
        folder, name = f"{_RBAC}/namespaces/{step.namespace}", role["metadata"]["name"]
        await self._api.apply(f"{folder}/roles/{name}", role, manager=OURS)
        try:
            await self._api.apply(f"{folder}/rolebindings/{name}", binding, manager=OURS)
        except Refused as error:
            if error.code != "NotFound":
                raise
            # Whether we may bind the role is checked against a cache of the API server's, which may not have it yet.
            raise Retryable(Reason.KUBERNETES_CONFLICT, str(error), code=error.code) from error

    async def may_mint(self, namespace: str, service_account: str) -> bool:
        attributes = {
            "namespace": namespace,
            "verb": "create",
            "resource": "serviceaccounts",
            "subresource": "token",
            "name": service_account,
        }
        place, _, _ = self._eso.account.partition("/")
        spec = {
            "user": self._eso.user,
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{place}", "system:authenticated"],
            "resourceAttributes": attributes,
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        try:
            answer = await self._api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        except Refused:
            return True  # roles of an older installation: nothing is known against it
        return bool(answer["status"]["allowed"])

    async def nudge_store(self, namespace: str, name: str) -> None:
        await self._nudge(f"{self._eso.folder(namespace)}/secretstores/{name}")

    async def nudge_external_secrets(self, namespace: str, store_name: str) -> int:
        folder = self._eso.folder(namespace)
        listed = await self._api.get(f"{folder}/externalsecrets")
        failing = [each for each in (listed or {}).get("items") or () if _fails_on(each, store_name)]
        for each in failing:
            await self._nudge(f"{folder}/externalsecrets/{each['metadata']['name']}")
        return len(failing)

    async def _nudge(self, path: str) -> None:
        patch = {"metadata": {"annotations": {NUDGE: instant(self._clock.now())}}}
        await self._api.merge(path, patch, manager=f"{OURS}-nudge")


def instant(moment: datetime.datetime) -> str:
    """As Kubernetes writes instants, to the second."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ownership(claim_name: str, claim_uid: str) -> dict[str, Any]:
    owner = {"apiVersion": API_VERSION, "kind": VAULT_CLAIM.kind, "name": claim_name, "uid": claim_uid}
    return {"labels": {MANAGED_BY: OURS}, "ownerReferences": [owner]}


def token_role(step: ApplyStore, account: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pure: a Role to mint tokens for the claim's account, and nothing else, bound to *account* alone."""
    place, _, name = account.partition("/")
    group = "rbac.authorization.k8s.io"
    metadata = {
        "name": f"keystead-token-{step.service_account_name}",
        **_ownership(step.claim_name, step.claim_uid),
    }
    rule = {
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "resourceNames": [step.service_account_name],
        "verbs": ["create"],
    }
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place}],
    }
    return role, binding


def _federation_object(federation: Federation) -> dict[str, Any]:
    credential = federation.credential
    spec = {
        "grantName": federation.grant_name,
        "namespace": federation.namespace,
        "namespaceUID": federation.namespace_uid,
        "claimName": federation.claim_name,
        "serviceAccountName": federation.service_account_name,
        "identityResourceId": str(federation.identity),
        "credential": {
            "name": credential.name,
            "issuer": credential.issuer,
            "subject": credential.subject,
            "audience": credential.audience,
        },
        "requestedBy": federation.requested_by,
        "approvalName": federation.approval_name,
        "adopted": federation.adopted,
    }
    metadata = {"name": federation.name, "finalizers": [FINALIZER], "labels": {MANAGED_BY: OURS}}
    return {"apiVersion": API_VERSION, "kind": FEDERATION.kind, "metadata": metadata, "spec": spec}


def _conflict(reason: Reason, what: str, error: FieldConflict) -> FieldConflict:
    owners, fields = ", ".join(error.managers), ", ".join(error.fields)
    text = f"{what}: {fields} is owned by {owners} and says otherwise. Correct or delete it."
    return FieldConflict(reason, text, managers=error.managers, fields=error.fields)


def _fails_on(item: dict[str, Any], store_name: str) -> bool:
    reference = (item.get("spec") or {}).get("secretStoreRef") or {}
    conditions = (item.get("status") or {}).get("conditions") or ()
    failing = any(each.get("type") == "Ready" and each.get("status") == "False" for each in conditions)
    return failing and reference.get("name") == store_name and reference.get("kind", "SecretStore") == "SecretStore"
