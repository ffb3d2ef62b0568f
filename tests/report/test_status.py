"""What a condition carries on from the one before."""

import datetime

from keystead.model.conditions import ConditionDraft, ConditionType, Status, draft
from keystead.model.reasons import Reason
from keystead.report.status import merge

THEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NOW = THEN + datetime.timedelta(hours=1)
WAITING = draft(ConditionType.VERIFIED, Status.FALSE, Reason.AWAITING_PROPAGATION)
REFUSED = draft(ConditionType.VERIFIED, Status.FALSE, Reason.SUBJECT_MISMATCH)
VERIFIED = draft(ConditionType.VERIFIED, Status.TRUE, Reason.VERIFIED)


def _since(before: ConditionDraft, after: ConditionDraft) -> datetime.datetime:
    carried = merge((), [before], generation=1, now=THEN)
    return merge(carried, [after], generation=2, now=NOW)[0].last_transition_time


def test_the_transition_time_moves_when_the_status_does() -> None:
    assert _since(WAITING, VERIFIED) == NOW


def test_another_reason_is_no_transition() -> None:
    assert _since(WAITING, REFUSED) == THEN


def test_what_stays_the_same_keeps_its_time() -> None:
    assert _since(VERIFIED, VERIFIED) == THEN


def test_a_condition_says_which_generation_it_judged() -> None:
    assert [each.observed_generation for each in merge((), [VERIFIED], generation=7, now=NOW)] == [7]
