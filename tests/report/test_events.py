"""Events tell transitions: once, to the object they are about, and only what is news."""

import datetime

import pytest

from keystead.model.conditions import Condition, ConditionType, Status
from keystead.model.reasons import Reason
from keystead.report.events import transitions
from keystead.report.status import EventDraft

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
C = ConditionType


def _condition(type_: ConditionType, status: Status, reason: Reason, message: str = "") -> Condition:
    return Condition(type_, status, reason, message or f"{type_} {reason}", NOW, 1)


def _events(before: list[Condition], after: list[Condition]) -> list[EventDraft]:
    return transitions(before, after, kind="VaultClaim", namespace="shop", name="team", uid="u")


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (_condition(C.ACCEPTED, Status.TRUE, Reason.ACCEPTED), [("Accepted", False)]),
        (_condition(C.APPROVED, Status.TRUE, Reason.APPROVED), [("Approved", False)]),
        (_condition(C.APPROVED, Status.TRUE, Reason.APPROVAL_NOT_REQUIRED), []),
        (_condition(C.APPROVED, Status.FALSE, Reason.AWAITING_REVIEW), [("AwaitingReview", False)]),
        (_condition(C.APPROVED, Status.FALSE, Reason.DENIED), [("Denied", True)]),
        (_condition(C.FEDERATED, Status.FALSE, Reason.AWAITING_WRITE), []),
        (_condition(C.FEDERATED, Status.FALSE, Reason.POOL_EXHAUSTED), [("PoolExhausted", True)]),
        (_condition(C.FEDERATED, Status.FALSE, Reason.AZURE_UNAVAILABLE), [("AzureUnavailable", True)]),
        (_condition(C.VERIFIED, Status.UNKNOWN, Reason.AWAITING_WRITE), []),
        (_condition(C.VERIFIED, Status.FALSE, Reason.VAULT_FORBIDDEN), [("VaultForbidden", True)]),
        (_condition(C.STORE_READY, Status.FALSE, Reason.STORE_CONFLICT), [("StoreConflict", True)]),
        (_condition(C.VALID, Status.FALSE, Reason.GRANT_INVALID), [("GrantInvalid", True)]),
        (_condition(C.REVOKING, Status.TRUE, Reason.NAMESPACE_DELETED), [("NamespaceDeleted", False)]),
        (_condition(C.FOUR_EYES_ENFORCED, Status.FALSE, Reason.GUARDS_ABSENT), []),
    ],
    ids=lambda value: f"{value.type} {value.reason}" if isinstance(value, Condition) else "",
)
def test_what_is_news(after: Condition, told: list[tuple[str, bool]]) -> None:
    assert [(each.reason, each.warning) for each in _events([], [after])] == told


def test_nothing_is_told_twice() -> None:
    carried = [_condition(C.STORE_READY, Status.FALSE, Reason.STORE_CONFLICT, "before")]
    again = [_condition(C.STORE_READY, Status.FALSE, Reason.STORE_CONFLICT, "other words")]

    assert _events(carried, again) == []


def test_ready_does_not_echo_the_condition_that_decides_it() -> None:
    blocked = [
        _condition(C.STORE_READY, Status.FALSE, Reason.STORE_CONFLICT, "why"),
        _condition(C.READY, Status.FALSE, Reason.STORE_CONFLICT, "why"),
    ]

    assert [(each.reason, each.action) for each in _events([], blocked)] == [("StoreConflict", "ApplyStore")]


def test_an_event_is_about_its_object() -> None:
    (event,) = _events([], [_condition(C.READY, Status.TRUE, Reason.READY)])

    assert (event.kind, event.namespace, event.name, event.uid) == ("VaultClaim", "shop", "team", "u")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_told(reason: Reason) -> None:
    events = _events([], [_condition(C.READY, Status.FALSE, reason)])

    assert [each.reason for each in events] in ([], [reason])
