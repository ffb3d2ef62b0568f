"""When a step that failed may be tried again."""

import datetime

from keystead.apply.board import Board
from keystead.model.errors import KeysteadError, Refused, Retryable
from keystead.model.reasons import Reason

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
PASSES = Retryable(Reason.AZURE_UNAVAILABLE, "no answer")
FORBIDDEN = Refused(Reason.AZURE_FORBIDDEN, "no role")


def _waits(board: Board, error: KeysteadError, times: int) -> list[float]:
    failures = [board.failed("shop/team", "WriteCredential", error, NOW) for _ in range(times)]
    return [(each.retry_at - NOW).total_seconds() for each in failures if each.retry_at is not None]


def test_what_passes_is_tried_soon_and_then_ever_more_rarely() -> None:
    waits = _waits(Board(), PASSES, 20)

    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == 3600.0


def test_what_needs_a_change_is_tried_ever_more_rarely() -> None:
    assert _waits(Board(), FORBIDDEN, 9) == [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]


def test_a_wait_that_was_asked_for_is_kept_to_the_second() -> None:
    asked = Retryable(Reason.AZURE_THROTTLED, "slow down", after=17.0)

    assert _waits(Board(), asked, 3) == [17.0, 17.0, 17.0]


def test_what_leads_to_another_place_is_planned_anew_at_once() -> None:
    assert _waits(Board(), Refused(Reason.IDENTITY_FULL, "21"), 2) == [0.0, 0.0]


def test_a_success_ends_the_back_off() -> None:
    board = Board()
    _waits(board, PASSES, 5)

    board.succeeded("shop/team")

    assert board.failures == {}
    assert _waits(board, PASSES, 1) == [2.0]


def test_what_is_about_nothing_that_stands_is_forgotten() -> None:
    board = Board()
    _waits(board, PASSES, 5)

    board.gone("shop/team")

    assert board.failures == {}
    assert _waits(board, PASSES, 1) == [2.0]
