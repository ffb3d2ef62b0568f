"""A plan for programs. The keys are described in ``docs/migrate.md``; they are added to, never renamed."""

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from keystead.model.credentials import Credential
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Cluster, Federation
from keystead.plan.preview import Preview, Unit
from keystead.plan.steps import Held, Step
from keystead.plan.takeover import Row
from keystead.plan.wording import say

TOLD = {
    "namespace": "namespace",
    "name": "name",
    "store_name": "name",
    "service_account_name": "serviceAccount",
    "federation_name": "federation",
    "client_id": "clientId",
    "tenant_id": "tenantId",
    "vault_url": "vaultUrl",
    "identity": "identity",
    "credential": "credential",
    "cause": "cause",
    "not_before": "notBefore",
}
"""Fields of steps, and their keys; what else a step has is for whoever carries it out."""


def as_json(cluster: Cluster, grants: Sequence[Preview], missing: Sequence[str]) -> dict[str, Any]:
    """The whole plan."""
    return {
        "cluster": {"id": cluster.id, "issuer": cluster.issuer},
        "complete": not missing,
        "notRead": list(missing),
        "steps": sum(each.steps for each in grants),
        "held": sum(each.held for each in grants),
        "grants": [_grant(each) for each in grants],
    }


def _grant(grant: Preview) -> dict[str, Any]:
    return {
        "grant": grant.grant,
        "exists": grant.exists,
        "units": [_unit(each) for each in grant.units],
        "waiting": [{"claim": each.claim, "reason": each.reason, "message": each.message} for each in grant.waiting],
        "troubles": [
            {"condition": each.type, "reason": each.reason, "message": each.message} for each in grant.troubles
        ],
        "identities": _identities(grant),
        "others": [_other(each) for each in grant.others],
    }


def _other(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "name": row.name,
        "identity": str(row.identity) if row.identity is not None else "",
        "namespace": row.namespace,
        "serviceAccount": row.account,
        "state": row.state,
        "reason": row.reason,
        "differences": [each._asdict() for each in row.differences],
    }


def _unit(unit: Unit) -> dict[str, Any]:
    return {
        "unit": unit.name,
        "about": unit.about,
        "steps": [_step(each) for each in unit.steps],
        "held": [_held(each) for each in unit.held],
    }


def _held(held: Held) -> dict[str, Any]:
    return {**_step(held.step), "reason": held.reason, "why": CATALOGUE[held.reason].admin}


def _step(step: Step) -> dict[str, Any]:
    told: dict[str, Any] = {"step": type(step).__name__, "does": say(step)}
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        if isinstance(value, Federation):
            told |= {"federation": value.name, "identity": str(value.identity), "namespace": value.namespace}
            told |= {"serviceAccount": value.service_account_name, "credential": _plain(value.credential)}
        elif field.name in TOLD and value is not None:
            told[TOLD[field.name]] = _plain(value)
    return told


def _plain(value: Any) -> Any:
    match value:
        case Credential():
            return dataclasses.asdict(value)
        case IdentityId() | Reason():
            return str(value)
        case datetime.datetime():
            return value.isoformat()
    return value


def _identities(grant: Preview) -> list[dict[str, Any]]:
    counts = {count.identity.key: count for count in grant.counts}
    rows = []
    for each in grant.identities:
        count = counts.get(each.resource_id.lower())
        rows.append(
            {
                "resourceId": each.resource_id,
                "ours": count.ours if count else None,
                "leftBehind": count.left_behind if count else None,
                "adoptable": count.adoptable if count else None,
                "foreign": count.foreign if count else None,
                "reserved": each.reserved,
                "room": each.room,
                "error": each.last_error,
            }
        )
    return rows
