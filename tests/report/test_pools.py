"""How long people waited, and how long a pool lasts: what counts, and what does not."""

import datetime
from dataclasses import replace

import pytest

from keystead.model.ids import NamespaceUid
from keystead.model.records import Approval, Claim, Decision, Federation, Namespace
from keystead.plan.snapshot import Snapshot
from keystead.report.pools import growth, lag
from plan.worlds import CLUSTER, NOW, VAULT, World, subject

SECOND, DAY = datetime.timedelta(seconds=1), datetime.timedelta(days=1)


def _entry() -> Federation:
    world = World()
    world.namespace("cart")
    world.claim("cart")
    world.settle()
    return world.federation("cart")


ENTRY = replace(_entry(), approval_name="word")


@pytest.mark.parametrize(
    ("namespace", "claim", "word", "waited"),
    [
        (0, 1, None, 100),
        (0, 599, None, 100),
        (-3600, 40, None, 60),
        (0, 1, 70, 30),
        (None, 40, None, 60),
        (0, None, None, 0),
        (200, 200, None, 0),
    ],
    ids=[
        "from the namespace",
        "and not from a claim that came late to it",
        "from the claim, where the namespace was let in later",
        "from the reviewer's word",
        "from the claim, where nothing is known of the namespace",
        "nothing is known",
        "clocks that disagree",
    ],
)
def test_waiting_counts_from_when_there_was_something_to_do(
    namespace: int | None, claim: int | None, word: int | None, waited: float
) -> None:
    def at(seconds: int | None) -> datetime.datetime | None:
        return None if seconds is None else NOW + seconds * SECOND

    places = {} if namespace is None else {"cart": Namespace("cart", NamespaceUid("u"), created_at=at(namespace))}
    asked = None if claim is None else Claim("cart", "mine", "c", "shop", created_at=at(claim))
    words = (
        ()
        if word is None
        else (
            Approval(
                "word",
                "shop",
                "cart",
                NamespaceUid("u"),
                subject("cart"),
                VAULT,
                Decision.APPROVED,
                "r",
                created_at=at(word),
            ),
        )
    )
    seen = Snapshot(NOW, CLUSTER, "shop", None, namespaces=places, approvals=words)

    assert lag(seen, ENTRY, asked, NOW + 100 * SECOND) == waited


def test_growth_is_what_came_in_the_last_week_and_stands() -> None:
    entries = [replace(ENTRY, created_at=NOW - age * DAY) for age in (0, 1, 6, 8, 100)]
    entries += [replace(ENTRY, created_at=NOW, deleting=True), replace(ENTRY, created_at=None)]

    assert growth(entries, NOW) == 3 / 7
    assert growth([], NOW) == 0
