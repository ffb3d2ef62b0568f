"""Pure: Events from transitions of conditions. Nothing is said twice, and nothing while nothing changed."""

from collections.abc import Iterable

from keystead.model.conditions import Condition, ConditionType, Status
from keystead.model.reasons import CATALOGUE, Reason, Severity
from keystead.report.status import EventDraft

_TOLD = {
    ConditionType.ACCEPTED: "Admit",
    ConditionType.APPROVED: "Review",
    ConditionType.FEDERATED: "Federate",
    ConditionType.VERIFIED: "Verify",
    ConditionType.STORE_READY: "ApplyStore",
    ConditionType.READY: "Serve",
    ConditionType.VALID: "Validate",
    ConditionType.CAPACITY_AVAILABLE: "Place",
    ConditionType.REVOKING: "Revoke",
}
"""Condition types worth an Event, with the action that it reports."""


def transitions(
    before: Iterable[Condition], after: Iterable[Condition], *, kind: str, namespace: str, name: str, uid: str
) -> list[EventDraft]:
    """One Event for each condition that newly says something; trouble and blocks are warnings."""
    carried = {each.type: (each.status, each.reason) for each in before}
    drafts = []
    for each in after:
        if each.type not in set(_TOLD) or carried.get(each.type) == (each.status, each.reason):
            continue
        if not _worth_telling(each, first=each.type not in carried):
            continue
        severity = CATALOGUE[Reason(each.reason)].severity
        drafts.append(
            EventDraft(
                kind=kind,
                name=name,
                namespace=namespace,
                uid=uid,
                reason=each.reason,
                message=each.message,
                action=_TOLD[ConditionType(each.type)],
                warning=severity in (Severity.BLOCKED, Severity.TROUBLE),
            )
        )
    return _without_echo(drafts)


def _worth_telling(condition: Condition, *, first: bool) -> bool:
    """That something begins to wait is no news; that it is done, decided, blocked or failing is."""
    if condition.status is Status.UNKNOWN:
        return False
    severity = CATALOGUE[Reason(condition.reason)].severity
    if severity is Severity.WAITING:
        return (
            condition.reason in (Reason.AWAITING_REVIEW, Reason.AWAITING_CONFIRMATION)
            or condition.status is Status.TRUE
        )
    return not (first and condition.type == ConditionType.APPROVED and condition.reason == Reason.APPROVAL_NOT_REQUIRED)


def _without_echo(drafts: list[EventDraft]) -> list[EventDraft]:
    """``Ready`` repeats the reason of the condition that decides it; one Event says it once."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for each in drafts:
        if (each.reason, each.message) not in seen:
            seen.add((each.reason, each.message))
            kept.append(each)
    return kept
