"""The judge believes only what all witnesses say."""

import json

import pytest

from keystead_sandbox.scenario import cast as roles
from keystead_sandbox.scenario.cast import Fate, make_cast
from keystead_sandbox.scenario.judge import Sighting, report, schedule, settled, unmet


def _conditions(**statuses: tuple[str, str]) -> dict[str, dict[str, str]]:
    return {type_: {"status": status, "reason": reason} for type_, (status, reason) in statuses.items()}


def _come_true() -> Sighting:
    """A sighting in which every namespace is what the scenario expects."""
    cast, sighting = make_cast(), Sighting()
    for project in cast.projects:
        for name in project.identities:
            sighting.credentials[name] = ()
        turn = 0
        for namespace, fate in project.namespaces.items():
            if fate is Fate.DELETED:
                continue
            sighting.namespaces.add(namespace)
            if fate is Fate.AWAITING_REVIEW:
                sighting.claims[namespace] = _conditions(Approved=("False", "AwaitingReview"))
                continue
            identity = project.identities[turn % len(project.identities)]
            turn += 1
            sighting.credentials[identity] += (f"system:serviceaccount:{namespace}:{roles.SERVICE_ACCOUNT}",)
            if fate is Fate.BLOCKED:
                sighting.claims[namespace] = _conditions(StoreReady=("False", "StoreConflict"))
            else:
                sighting.claims[namespace] = _conditions(Ready=("True", "Ready"))
                sighting.secrets[namespace] = True
    return sighting


def test_the_scenario_has_its_numbers() -> None:
    cast = make_cast()

    assert (len(cast.fates), cast.count(Fate.READY), cast.identities) == (58, 55, 4)


def test_all_that_is_expected_settles_and_reports_its_numbers() -> None:
    cast, sighting = make_cast(), _come_true()

    written = report(
        cast, sighting, subscription="s", total_seconds=9.5, peak_rss_bytes=1, cpu_seconds=2.0, clock_rate=10
    )

    assert settled(cast, sighting)
    assert unmet(cast, sighting) == []
    assert written["namespaces"] == {"expected": 57, "ready": 55, "awaitingReview": 1, "blocked": 1}
    assert written["secrets"] == {"expected": 55, "correct": 55}
    assert (written["identities"], written["credentials"]) == (4, 56)
    assert written["revoked"] == {"expected": 1, "gone": 1}
    json.dumps(written)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda seen: seen.secrets.update({"payments-01": False}),
        lambda seen: seen.secrets.pop("payments-01"),
        lambda seen: seen.claims["payments-01"].update(Ready={"status": "False", "reason": "AwaitingWrite"}),
        lambda seen: seen.credentials.update({"payments-1": ()}),
        lambda seen: seen.secrets.update({"payments-46": True}),
        lambda seen: seen.secrets.update({"payments-23": False}),
        lambda seen: seen.namespaces.add("payments-05"),
        lambda seen: seen.credentials.update(
            {"payments-1": (*seen.credentials["payments-1"], "system:serviceaccount:payments-05:keystead")}
        ),
    ],
    ids=[
        "a wrong Secret",
        "no Secret",
        "a claim that is not ready",
        "a credential that Azure does not hold",
        "a Secret before the review",
        "a Secret although blocked",
        "a namespace that should be gone",
        "trust that outlives its namespace",
    ],
)
def test_one_witness_who_disagrees_is_enough(spoil) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - a lambda of the table
    cast, sighting = make_cast(), _come_true()

    spoil(sighting)

    assert not settled(cast, sighting)
    assert unmet(cast, sighting)


def test_the_slowest_pool_is_measured_from_first_to_last_start() -> None:
    sighting = _come_true()
    sighting.writes = {"payments-1": [10.0, 14.0, 18.5], "payments-2": [10.5], "search-1": [10.0, 14.0]}

    slowest = schedule(make_cast(), sighting, "s")

    assert (slowest.pool, slowest.measured, slowest.optimum) == ("payments", 8.5, 4.0)
