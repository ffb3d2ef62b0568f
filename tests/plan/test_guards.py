"""Four eyes: a grant says whether anything holds people to their roles, and may refuse to grant without."""

import dataclasses

import pytest

from keystead.model.conditions import ConditionType, Status
from keystead.model.reasons import Reason
from keystead.model.records import ApprovalMode, Guards, LabelSelector, NamespaceRule
from keystead.plan.planner import make_plan
from keystead.plan.steps import RecordFederation
from plan.worlds import TEAM, World, a_grant

NAMED = NamespaceRule(names=("shop",))
SELECTED = NamespaceRule(selector=LabelSelector(TEAM))
IN_PROJECT = NamespaceRule(rancher_projects=("p-shop",))
IN_FORCE = Guards(known=True)
NO_DECISIONS = Guards(decisions="no policy on approvals", known=True)
NO_ENTRIES = Guards(entries="no policy on namespaces", known=True)


@pytest.mark.parametrize(
    ("rule", "approval", "guards", "status", "told"),
    [
        (SELECTED, ApprovalMode.REQUIRED, IN_FORCE, Status.TRUE, ""),
        (SELECTED, ApprovalMode.REQUIRED, NO_DECISIONS, Status.FALSE, "no policy on approvals"),
        (SELECTED, ApprovalMode.REQUIRED, NO_ENTRIES, Status.FALSE, "no policy on namespaces"),
        (SELECTED, ApprovalMode.AUTOMATIC, NO_DECISIONS, Status.TRUE, ""),
        (SELECTED, ApprovalMode.AUTOMATIC, NO_ENTRIES, Status.FALSE, "no policy on namespaces"),
        (IN_PROJECT, ApprovalMode.AUTOMATIC, NO_ENTRIES, Status.FALSE, "no policy on namespaces"),
        (NAMED, ApprovalMode.AUTOMATIC, NO_ENTRIES, Status.TRUE, ""),
        (NAMED, ApprovalMode.REQUIRED, NO_ENTRIES, Status.TRUE, ""),
        (SELECTED, ApprovalMode.REQUIRED, Guards(), Status.UNKNOWN, "not known yet"),
        (NAMED, ApprovalMode.AUTOMATIC, Guards(), Status.TRUE, ""),
    ],
)
def test_a_grant_says_what_its_four_eyes_lack(
    rule: NamespaceRule, approval: ApprovalMode, guards: Guards, status: Status, told: str
) -> None:
    world = World(a_grant(namespaces=rule, approval=approval))

    verdict = make_plan(dataclasses.replace(world.snapshot(), guards=guards)).grant

    assert verdict is not None
    (eyes,) = [each for each in verdict.conditions if each.type is ConditionType.FOUR_EYES_ENFORCED]
    assert eyes.status is status
    assert told in eyes.message


@pytest.mark.parametrize("required", [True, False])
def test_where_guards_are_required_nothing_new_is_granted_without_them(required: bool) -> None:
    world = World()
    world.limits = dataclasses.replace(world.limits, require_guards=required)
    world.namespace("shop")
    world.claim("shop")

    plan = make_plan(dataclasses.replace(world.snapshot(), guards=NO_ENTRIES))

    assert any(isinstance(each, RecordFederation) for each in plan.steps) is not required
    assert plan.grant is not None
    assert (plan.grant.conditions[0].reason is Reason.GUARDS_ABSENT) is required
    assert (plan.claims[0].conditions[-1].reason is Reason.GUARDS_ABSENT) is required


def test_what_is_served_stays_served_when_guards_go() -> None:
    world = World()
    world.limits = dataclasses.replace(world.limits, require_guards=True)
    world.namespace("shop")
    world.claim("shop")
    world.guards = IN_FORCE
    world.settle()

    world.guards = NO_ENTRIES
    plan = make_plan(world.snapshot())

    assert plan.steps == ()
    assert plan.claims[0].conditions[-1].status is Status.TRUE
