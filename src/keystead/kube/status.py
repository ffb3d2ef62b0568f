"""Writes status and Events. Implements :class:`keystead.report.ports.StatusWriter`."""

import datetime
import hashlib
from typing import Any

from keystead.kube.client import Api
from keystead.kube.kinds import FEDERATION, VAULT_CLAIM, VAULT_GRANT, Kind
from keystead.kube.resources import API_VERSION
from keystead.model.clock import Clock
from keystead.model.conditions import Condition
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY
from keystead.model.records import Claim, Federation, Grant
from keystead.report.status import ClaimStatus, EventDraft, FederationStatus, GrantStatus

MANAGER = "keystead-status"
_REPORTER = "keystead.dev/operator"
_REMEMBERED = 4096  # events whose count is kept; older ones start a new object
_NOTE_LIMIT = 1024  # characters that Kubernetes allows


class StatusWriter:
    """One server-side-apply patch per status."""

    def __init__(self, api: Api, clock: Clock, *, instance: str) -> None:
        self._api = api
        self._clock = clock
        self._instance = instance
        self._events: dict[str, int] = {}

    async def claim_status(self, claim: Claim, status: ClaimStatus) -> None:
        body = {
            "conditions": _conditions(status.conditions),
            "subject": status.subject,
            "clientId": status.client_id,
            "tenantId": status.tenant_id,
            "vaultUrl": status.vault_url,
            "federationName": status.federation_name,
            "identity": status.identity,
        }
        await self._apply(VAULT_CLAIM, claim.name, claim.uid, body, claim.namespace)

    async def federation_status(self, federation: Federation, status: FederationStatus) -> None:
        body: dict[str, Any] = {"conditions": _conditions(status.conditions)}
        if status.verified_at is not None:
            body["verifiedAt"] = _precise(status.verified_at)
        if status.last_exchange_at is not None:
            body["lastExchange"] = {"code": status.last_exchange_code, "at": _precise(status.last_exchange_at)}
        await self._apply(FEDERATION, federation.name, federation.uid, body)

    async def grant_status(self, grant: Grant, status: GrantStatus) -> None:
        identities = [
            {
                "resourceId": each.resource_id,
                "clientId": each.client_id,
                "principalId": each.principal_id,
                "tenantId": each.tenant_id,
                "capacity": CREDENTIALS_PER_IDENTITY,
                "used": each.used,
                "foreign": each.foreign,
                "reserved": each.reserved,
                "room": each.room,
                "lastError": each.last_error,
            }
            for each in status.identities
        ]
        claims = {
            "total": status.total,
            "ready": status.ready,
            "awaitingReview": status.awaiting_review,
            "blocked": status.blocked,
        }
        body = {"conditions": _conditions(status.conditions), "identities": identities, "claims": claims}
        await self._apply(VAULT_GRANT, grant.name, grant.uid, body)

    async def event(self, event: EventDraft) -> None:
        """Created, or counted up when the same was said before."""
        now = self._clock.now()
        namespace = event.namespace or "default"
        said = "\n".join((event.kind, namespace, event.name, event.uid, event.reason, event.message))
        name = f"{event.name[:200]}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"
        folder = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        count = self._events.get(name, 0) + 1
        if count > 1:
            series = {"series": {"count": count, "lastObservedTime": _precise(now)}}
            if await self._api.merge(f"{folder}/{name}", series, manager=MANAGER) is not None:
                self._remember(name, count)
                return
        await self._api.apply(f"{folder}/{name}", self._event_object(event, name, now), manager=MANAGER)
        self._remember(name, 1)

    def _event_object(self, event: EventDraft, name: str, now: datetime.datetime) -> dict[str, Any]:
        namespace = event.namespace or "default"
        regarding = {"apiVersion": API_VERSION, "kind": event.kind, "name": event.name, "uid": event.uid}
        if event.namespace:
            regarding["namespace"] = event.namespace
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": _precise(now),
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "action": event.action,
            "note": event.message[:_NOTE_LIMIT],
            "regarding": regarding,
            "reportingController": _REPORTER,
            "reportingInstance": self._instance,
        }

    def _remember(self, name: str, count: int) -> None:
        if len(self._events) >= _REMEMBERED:
            self._events.pop(next(iter(self._events)))
        self._events[name] = count

    async def _apply(self, kind: Kind, name: str, uid: str, status: dict[str, Any], namespace: str = "") -> None:
        folder = f"/apis/{API_VERSION}/namespaces/{namespace}/{kind.plural}" if namespace else kind.path
        # The uid makes it an answer to this object, not to one recreated under its name.
        metadata = {"name": name, "uid": uid}
        body = {"apiVersion": API_VERSION, "kind": kind.kind, "metadata": metadata, "status": status}
        await self._api.apply(f"{folder}/{name}/status", body, manager=MANAGER)


def _conditions(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    return [
        {
            "type": each.type,
            "status": each.status.value,
            "reason": each.reason,
            "message": each.message,
            "lastTransitionTime": _precise(each.last_transition_time),
            **_generation(each),
        }
        for each in conditions
    ]


def _generation(condition: Condition) -> dict[str, Any]:
    return {} if condition.observed_generation is None else {"observedGeneration": condition.observed_generation}


def _precise(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
