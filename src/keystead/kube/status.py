"""Writes status and Events. Implements :class:`keystead.report.ports.StatusWriter`."""

from typing import Any

from keystead.kube.client import Api
from keystead.kube.events import Recorder, Said, precise
from keystead.kube.kinds import FEDERATION, VAULT_CLAIM, VAULT_GRANT, Kind
from keystead.kube.resources import API_VERSION
from keystead.model.clock import Clock
from keystead.model.conditions import Condition
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY
from keystead.model.records import Claim, Federation, Grant
from keystead.report.status import ClaimStatus, EventDraft, FederationStatus, GrantStatus

MANAGER = "keystead-status"
_REPORTER = "keystead.dev/operator"
_KNOWN = {True: "True", False: "False", None: "Unknown"}


class StatusWriter:
    """One server-side-apply patch per status."""

    def __init__(self, api: Api, clock: Clock, *, instance: str) -> None:
        self._api = api
        self._recorder = Recorder(api, clock, controller=_REPORTER, instance=instance, manager=MANAGER)

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
            body["verifiedAt"] = precise(status.verified_at)
        if status.verified_vault:
            body["verifiedVault"] = status.verified_vault
        if status.last_exchange_at is not None:
            body["lastExchange"] = {"code": status.last_exchange_code, "at": precise(status.last_exchange_at)}
            if status.last_exchange_detail:
                body["lastExchange"]["detail"] = status.last_exchange_detail
        if status.retained:
            body["retained"] = True
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
                "roleAssigned": _KNOWN[each.role_assigned],
                **({"provenAt": precise(each.proven_at)} if each.proven_at is not None else {}),
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
        await self._recorder.say(
            Said(
                API_VERSION,
                event.kind,
                event.namespace,
                event.name,
                event.uid,
                event.reason,
                event.action,
                event.message,
                warning=event.warning,
            )
        )

    async def flush(self) -> None:
        """Tell what was only counted so far."""
        await self._recorder.flush()

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
            "lastTransitionTime": precise(each.last_transition_time),
            **_generation(each),
        }
        for each in conditions
    ]


def _generation(condition: Condition) -> dict[str, Any]:
    return {} if condition.observed_generation is None else {"observedGeneration": condition.observed_generation}
