"""Kubernetes as the engine uses it. Implements Secrets, Accounts and Voice of :mod:`keystead.sync.ports`.

Rules:
- Secrets are written with plain POST and PUT under ESO's field manager, as ESO does: the managed fields are what either
  of the two later reads to know which keys it owns.
- Status goes by merge patch: no ownership of fields that the other engine would have to fight for.
- A value leaves its wrapper here and nowhere else.
"""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from keystead.kube.client import Api
from keystead.kube.events import Recorder, Said
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError
from keystead.model.secret import Secret
from keystead.sync.objects import API_VERSION, ExternalSecret, SecretStore, read_external_secret
from keystead.sync.plan import DeleteSecret, ReplaceSecret
from keystead.sync.refresh import CREATED_BY_LABEL, is_intact
from keystead.sync.snapshot import LiveSecret, OwnedFields, Owner, SecretBytes, SecretMark, SecretShape

MANAGER = "keystead-sync"
SECRETS = "/api/v1/secrets"


class ClusterSecrets:
    """Implements :class:`keystead.sync.ports.Secrets`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def read(self, namespace: str, name: str, *, manager: str) -> LiveSecret | None:
        item = await self._api.get(_secret(namespace, name))
        if item is None:
            return None
        metadata = item["metadata"]
        return LiveSecret(shape_of(item), metadata["uid"], metadata["resourceVersion"], owned_fields(metadata, manager))

    async def create(self, shape: SecretShape, *, manager: str) -> None:
        path = f"/api/v1/namespaces/{shape.namespace}/secrets"
        await self._api.request("POST", path, params={"fieldManager": manager}, body=_object(shape))

    async def replace(self, step: ReplaceSecret, *, manager: str) -> None:
        body = _object(step.shape)
        body["metadata"] |= {"uid": step.uid, "resourceVersion": step.resource_version}
        path = _secret(step.shape.namespace, step.shape.name)
        await self._api.request("PUT", path, params={"fieldManager": manager}, body=body)

    async def delete(self, step: DeleteSecret) -> None:
        await self._api.delete(_secret(step.namespace, step.name), uid=step.uid)


class ClusterAccounts:
    """Implements :class:`keystead.sync.ports.Accounts`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def annotations(self, namespace: str, name: str) -> Mapping[str, str] | None:
        item = await self._api.get(_account(namespace, name))
        return None if item is None else item["metadata"].get("annotations") or {}

    async def mint(self, namespace: str, name: str, audiences: tuple[str, ...]) -> Secret:
        # No expirationSeconds, as ESO: the API server's default is an hour.
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": list(audiences)},
        }
        answer = await self._api.post(f"{_account(namespace, name)}/token", request)
        return Secret(answer["status"]["token"])


class ClusterVoice:
    """Implements :class:`keystead.sync.ports.Voice`."""

    def __init__(self, api: Api, clock: Clock, *, instance: str) -> None:
        self._api = api
        self._recorder = Recorder(api, clock, controller="keystead.dev/sync", instance=instance, manager=MANAGER)

    async def external_secret_status(self, es: ExternalSecret, status: Mapping[str, object]) -> ExternalSecret | None:
        path = f"{_eso('externalsecrets', es.namespace, es.name)}/status"
        answer = await self._api.merge(path, {"status": status}, manager=MANAGER)
        return None if answer is None else read_external_secret(answer)

    async def store_status(self, store: SecretStore, status: Mapping[str, object]) -> None:
        metadata = store.metadata
        kind = "secretstores" if metadata.namespace else "clustersecretstores"
        await self._api.merge(
            f"{_eso(kind, metadata.namespace, metadata.name)}/status", {"status": status}, manager=MANAGER
        )

    async def event(self, about: ExternalSecret | SecretStore, reason: str, text: str, *, warning: bool) -> None:
        """Created, or counted up when the same was said before."""
        metadata = about.metadata
        store = "SecretStore" if metadata.namespace else "ClusterSecretStore"
        kind = "ExternalSecret" if isinstance(about, ExternalSecret) else store
        said = Said(
            API_VERSION,
            kind,
            metadata.namespace,
            metadata.name,
            metadata.uid,
            reason,
            "Sync",
            text,
            warning=warning,
        )
        await self._recorder.say(said)

    async def release(self, es: ExternalSecret, finalizer: str) -> None:
        left = [each for each in es.metadata.finalizers if each != finalizer]
        path = _eso("externalsecrets", es.namespace, es.name)
        await self._api.merge(path, {"metadata": {"uid": es.metadata.uid, "finalizers": left}}, manager=MANAGER)


def shape_of(item: Mapping[str, Any]) -> SecretShape:
    """Pure: a Secret from the wire."""
    metadata = item["metadata"]
    return SecretShape(
        metadata["namespace"],
        metadata["name"],
        type=item.get("type") or "Opaque",
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        owners=tuple(_owner(each) for each in metadata.get("ownerReferences") or ()),
        finalizers=tuple(metadata.get("finalizers") or ()),
        data={key: SecretBytes(base64.b64decode(value or "")) for key, value in (item.get("data") or {}).items()},
        immutable=bool(item.get("immutable")),
    )


def mark_of(text: msgspec.Raw) -> SecretMark:
    """Pure: what the engine remembers of a managed Secret; the data are looked at and let go."""
    item = msgspec.json.decode(text)
    shape, metadata = shape_of(item), item["metadata"]
    return SecretMark(
        shape.namespace,
        shape.name,
        metadata["uid"],
        created_by=shape.labels.get(CREATED_BY_LABEL, ""),
        intact=is_intact(shape) and not metadata.get("deletionTimestamp"),
    )


def owned_fields(metadata: Mapping[str, Any], manager: str) -> OwnedFields:
    """Pure: what the field manager wrote, over all its entries."""
    data: set[str] = set()
    labels: set[str] = set()
    annotations: set[str] = set()
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") != manager:
            continue
        fields = entry.get("fieldsV1") or {}
        data |= _names(fields.get("f:data"))
        labels |= _names((fields.get("f:metadata") or {}).get("f:labels"))
        annotations |= _names((fields.get("f:metadata") or {}).get("f:annotations"))
    return OwnedFields(frozenset(data), frozenset(labels), frozenset(annotations))


def code_of(error: KeysteadError) -> str:
    """Pure: all that may be said of a refused write of a Secret, since the answer may quote what was written."""
    return error.code or error.reason.value


def _names(fields: Mapping[str, Any] | None) -> set[str]:
    return {name[2:] for name in fields or () if name.startswith("f:")}


def _owner(item: Mapping[str, Any]) -> Owner:
    return Owner(
        item["apiVersion"],
        item["kind"],
        item["name"],
        item["uid"],
        controller=bool(item.get("controller")),
        block_owner_deletion=bool(item.get("blockOwnerDeletion")),
    )


def _object(shape: SecretShape) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": shape.name,
        "namespace": shape.namespace,
        "labels": dict(shape.labels),
        "annotations": dict(shape.annotations),
    }
    if shape.owners:
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": owner.controller,
                "blockOwnerDeletion": owner.block_owner_deletion,
            }
            for owner in shape.owners
        ]
    if shape.finalizers:
        metadata["finalizers"] = list(shape.finalizers)
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": shape.type,
        "data": {key: base64.b64encode(value.reveal()).decode() for key, value in shape.data.items()},
    }
    return body | {"immutable": True} if shape.immutable else body


def _secret(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"


def _account(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"


def _eso(resource: str, namespace: str, name: str) -> str:
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{API_VERSION}{place}/{resource}/{name}"
