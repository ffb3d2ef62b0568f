"""When a step that failed may be tried again."""

import datetime

from keystead.apply.board import Board
from keystead.model.credentials import Credential
from keystead.model.errors import KeysteadError, Refused, Retryable, Uncertain
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.reasons import Reason
from keystead.model.records import Federation

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
PASSES = Retryable(Reason.AZURE_UNAVAILABLE, "no answer")
FORBIDDEN = Refused(Reason.AZURE_FORBIDDEN, "no role")


def _waits(board: Board, error: KeysteadError, times: int) -> list[float]:
    failures = [board.failed("shop/team", "WriteCredential", error, NOW) for _ in range(times)]
    return [(each.retry_at - NOW).total_seconds() for each in failures if each.retry_at is not None]


def test_what_passes_is_tried_soon_and_then_ever_more_rarely() -> None:
    waits = _waits(Board(), PASSES, 20)

    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == 300.0


def test_a_write_whose_answer_never_came_may_pass_as_well() -> None:
    assert _waits(Board(), Uncertain(Reason.AZURE_UNAVAILABLE, "no answer"), 3) == [2.0, 4.0, 8.0]


def test_what_needs_a_change_is_tried_ever_more_rarely() -> None:
    assert _waits(Board(), FORBIDDEN, 9) == [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]


def test_a_wait_that_was_asked_for_is_kept_to_the_second() -> None:
    asked = Retryable(Reason.AZURE_THROTTLED, "slow down", after=17.0)

    assert _waits(Board(), asked, 3) == [17.0, 17.0, 17.0]


def test_a_wait_of_no_time_is_none_that_was_asked_for() -> None:
    at_once = Retryable(Reason.KUBERNETES_UNAVAILABLE, "busy", after=0.0)

    assert _waits(Board(), at_once, 3) == [2.0, 4.0, 8.0]


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


def test_an_entry_that_went_before_the_caches_showed_it_is_not_believed_any_more() -> None:
    board = Board()
    identity = IdentityId.parse(
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
        "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
    )
    trust = Credential("ks-one", "https://issuer", "system:serviceaccount:shop:keystead", "api://AzureADTokenExchange")
    entry = Federation("ks-one", "uid-1", "team", "shop", NamespaceUid("n"), "team", "keystead", identity, trust)

    board.recorded["ks-one"] = entry
    board.forgotten("ks-one", "an earlier one's")
    assert board.recorded == {"ks-one": entry}

    board.forgotten("ks-one", "uid-1")
    assert board.recorded == {}
