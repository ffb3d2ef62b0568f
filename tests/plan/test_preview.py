"""A plan as people read it: nothing of the operator's own plan is lost, added or moved, in any world."""

from dataclasses import replace

from hypothesis import given

from keystead.model.conditions import Status
from keystead.plan.census import take_census
from keystead.plan.planner import make_plan
from keystead.plan.preview import preview
from keystead.plan.steps import SweepCredential
from keystead.plan.sweep import SIGHTINGS
from keystead.plan.wording import say
from plan.test_plan_properties import _settings, _worlds
from plan.worlds import World, foreign, identity_id


@_settings
@given(_worlds)
def test_every_step_stands_under_its_unit_in_the_plans_order(world: World) -> None:
    snapshot = world.snapshot()
    plan = make_plan(replace(snapshot, orphan_sightings=dict.fromkeys(snapshot.orphan_sightings, SIGHTINGS)))

    shown = preview(snapshot)

    assert {unit.name for unit in shown.units} == {each.unit for each in (*plan.steps, *(h.step for h in plan.held))}
    for unit in shown.units:
        assert unit.steps == tuple(each for each in plan.steps if each.unit == unit.name)
        assert unit.held == tuple(each for each in plan.held if each.step.unit == unit.name)
    assert (shown.steps, shown.held) == (len(plan.steps), len(plan.held))


@_settings
@given(_worlds)
def test_every_claim_works_or_is_worked_on_or_waits_for_a_reason(world: World) -> None:
    snapshot = world.snapshot()

    shown = preview(snapshot)

    busy = {unit.name for unit in shown.units}
    waiting = {each.claim for each in shown.waiting}
    ready = {each.claim_key for each in make_plan(snapshot).claims if each.conditions[-1].status is Status.TRUE}
    assert {each.key for each in snapshot.claims} <= busy | waiting | ready
    assert not waiting & (busy | ready)
    assert all(each.message for each in shown.waiting)


@_settings
@given(_worlds)
def test_every_credential_is_counted_once(world: World) -> None:
    snapshot = world.snapshot()

    for count in preview(snapshot).counts:
        held = snapshot.identities[count.identity].credentials
        assert count.ours + count.left_behind + count.adoptable + count.foreign == len(held)
        assert min(count.ours, count.left_behind, count.adoptable, count.foreign) >= 0


@_settings
@given(_worlds)
def test_every_step_has_words_that_name_what_it_is_about(world: World) -> None:
    for unit in preview(world.snapshot()).units:
        for step in (*unit.steps, *(held.step for held in unit.held)):
            assert say(step).strip()
            if isinstance(step, SweepCredential):
                assert step.credential.name in say(step)


def test_an_identity_that_was_never_read_is_not_counted_as_empty() -> None:
    world = World()
    identity = identity_id("one")
    world.list_identity(identity, foreign("theirs"))
    unread = replace(world.identities[identity], credentials=(), listed_at=None)
    world.identities[identity] = unread

    assert identity not in [each.identity for each in take_census(world.snapshot())]
