"""The embedded server answers as a real one: cases as data, with the answers that a real kube-apiserver gave.

On a real cluster the same cases are played, and must still be answered as they were recorded.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from conformance.cases import HERE, Case, areas, load
from conformance.compare import differences
from conformance.likeness import without
from conformance.player import Answer, Player

ROWS = HERE.parents[1] / "docs" / "fidelity" / "kube.yaml"


@functools.cache
def recorded(area: str) -> dict[str, list[Answer | None]]:
    """What the real server answered, by case."""
    lines = [json.loads(line) for line in (HERE / "recorded" / f"{area}.jsonl").read_text().splitlines()]
    return {each["case"]: each["answers"] for each in lines if "case" in each}


def agree(cluster: Player, case: Case) -> None:
    """Play a case; every answer must be the recorded one, but for what its step says."""
    answers, wanted = cluster.play(case), recorded(case.area)[case.name]
    assert len(answers) == len(wanted), "the case has changed since it was recorded"
    lines = []
    for step, got, real in zip(case.steps, answers, wanted, strict=True):
        got, real = (_without(each, step.get("varies")) for each in (got, real))  # noqa: PLW2901 - see below
        if not cluster.is_real and "unlike" in step:
            got, real = (_without(each, step.get("but") or [""]) for each in (got, real))  # noqa: PLW2901 - both sides lose the same places
        lines += [f"{_shown(step)}{line}" for line in differences(got, real)]
    assert not lines, "\n".join(["", *lines])


def _without(answer: Answer | None, places: list[str] | None) -> Any:
    """An answer without some places; without anything for an empty place."""
    if answer is None or places == [""]:
        return None
    return without(answer, places or [])


def _shown(step: Any) -> str:
    return " ".join(str(step[verb]) for verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "WATCH") if verb in step)


def _cases(area: str) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("case", load(area), ids=str)


@_cases("objects")
def test_objects_are_created_read_updated_and_deleted_as_by_the_real_server(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("patches")
def test_patches_change_what_the_real_server_changes(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("apply")
def test_applies_own_and_conflict_as_on_the_real_server(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("emptied")
def test_what_is_applied_empty_goes_and_stays_as_on_the_real_server(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("custom")
def test_custom_objects_are_defaulted_pruned_and_validated_as_by_the_real_server(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("definitions")
def test_definitions_are_completed_refused_and_removed_as_by_the_real_server(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("lists")
def test_lists_select_and_page_as_the_real_server_does(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("watches")
def test_watches_tell_what_the_real_server_tells(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("tables")
def test_tables_have_the_real_servers_columns_and_cells(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("life")
def test_objects_end_as_on_a_real_cluster(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("rbac")
def test_permissions_are_those_of_a_real_cluster(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("reviews")
def test_reviews_and_tokens_are_answered_as_by_the_real_server(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("discovery")
def test_discovery_says_what_the_real_server_says(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("policies")
def test_admission_policies_decide_as_on_a_real_cluster(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@_cases("edges")
def test_edges_are_where_they_are_on_the_real_server(cluster: Player, case: Case) -> None:
    agree(cluster, case)


@pytest.mark.parametrize("area", areas())
def test_every_difference_is_a_row_of_the_fidelity_table(area: str) -> None:
    rows = {each["id"] for each in yaml.safe_load(ROWS.read_text())}

    named = {step["unlike"] for case in load(area) for step in case.steps if "unlike" in step}

    assert named <= rows


@pytest.mark.parametrize("area", areas())
def test_every_case_is_recorded_and_no_other(area: str) -> None:
    assert [case.name for case in load(area)] == list(recorded(area))
