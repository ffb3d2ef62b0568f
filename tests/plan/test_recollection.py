"""A plan made with the recollection of earlier ones is the plan made without."""

import datetime
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from keystead.model.credentials import IdentityState
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.model.records import ApprovalMode, Exchange, Grant, PoolMember, Revocation, Template
from keystead.plan.planner import make_plan
from keystead.plan.recollection import Recollection
from keystead.plan.snapshot import Lane
from keystead.plan.steps import ApplyStore, Step, WriteCredential
from plan.test_plan_properties import EVENTS, NAMES, _happen, _world
from plan.worlds import SECOND, World, a_grant, foreign

DAY = datetime.timedelta(days=1)


def _at_rest(*names: str, approval: ApprovalMode = ApprovalMode.AUTOMATIC) -> tuple[World, Recollection]:
    """A world in which all is done, and what its last plan was made of."""
    world, recollection = World(a_grant(identities=("one", "two"), approval=approval)), Recollection()
    world.namespace(*(names or NAMES))
    for name in names or NAMES:
        world.approve(name)
    world.settle()
    make_plan(world.snapshot(), recollection)
    return world, recollection


def _recalled(recollection: Recollection) -> int:
    return len(recollection.rests or ())


def _first_state(world: World, **changed: object) -> None:
    identity = world.federation(NAMES[0]).identity
    state: IdentityState = world.identities[identity]
    world.identities[identity] = replace(state, **changed)  # type: ignore[arg-type]  # the caller's fields


def _store(world: World, **changed: object) -> None:
    place = (NAMES[0], "azure-store")
    world.stores[place] = replace(world.stores[place], **changed)  # type: ignore[arg-type]  # the caller's fields


def _account(world: World, **changed: object) -> None:
    place = (NAMES[0], "keystead")
    world.accounts[place] = replace(world.accounts[place], **changed)  # type: ignore[arg-type]  # the caller's fields


def _other_grant(world: World) -> None:
    world.other_grants = (replace(a_grant(identities=("one",)), name="other", uid="uid-other"),)


def _refuse(world: World) -> None:
    world.exchanges[world.federation(NAMES[0]).name] = Exchange("AADSTS70021", world.now)


CHANGES: dict[str, Callable[[World], object]] = {
    "nothing": lambda _: None,
    "a store says otherwise": lambda world: _store(world, vault_url="https://elsewhere.vault.azure.net"),
    "a store fails": lambda world: _store(world, ready=False),
    "a store is gone": lambda world: world.stores.clear(),
    "an annotation is gone": lambda world: _account(world, client_id=None),
    "an account is gone": lambda world: world.accounts.clear(),
    "an exchange was refused": _refuse,
    "the heartbeat is due": lambda world: setattr(world, "now", world.now + 2 * DAY),
    "a credential is gone": lambda world: _first_state(world, credentials=()),
    "an identity was listed again": lambda world: _first_state(world, listed_at=world.now + SECOND),
    "an identity is missing": lambda world: _first_state(world, problem=Reason.IDENTITY_NOT_FOUND),
    "an identity has another client": lambda world: _first_state(world, client_id="another"),
    "a second claim in the namespace": lambda world: world.claim(NAMES[0], "second"),
    "a claim on another grant in the namespace": lambda world: world.claim(NAMES[0], "theirs", "other"),
    "a claim is deleted": lambda world: _happen(world, "delete claim", NAMES[0]),
    "a ledger entry is deleted": lambda world: _happen(world, "delete entry", NAMES[0]),
    "a namespace is made anew": lambda world: world.namespace(NAMES[0]),
    "a namespace goes": lambda world: world.terminate(NAMES[0]),
    "a namespace loses its label": lambda world: _happen(world, "unlabel", NAMES[0]),
    "a reviewer says no": lambda world: _happen(world, "deny", NAMES[0]),
    "an approval is withdrawn": lambda world: _happen(world, "withdraw", NAMES[0]),
    "the grant makes no sense": lambda world: _happen(world, "break grant", ""),
    "the grant loses an identity": lambda world: _happen(world, "drop identity", ""),
    "the grant names another vault": lambda world: world.edit(vault_url="https://other.vault.azure.net"),
    "the grant names another store": lambda world: world.edit(template=Template(secret_store_name="new")),
    "the grant retains": lambda world: world.edit(revocation=Revocation.RETAIN),
    "the grant only observes": lambda world: world.edit(observe_only=True),
    "the grant is going": lambda world: world.edit(deleting=True),
    "the grant is gone": lambda world: setattr(world, "grant", None),
    "another grant takes an identity": _other_grant,
    "the operator only observes": lambda world: setattr(world, "limits", replace(world.limits, observe_only=True)),
    "a step failed": lambda world: world.fail(f"{NAMES[0]}/shop", WriteCredential, Reason.AZURE_UNAVAILABLE),
    "a lane is held up": lambda world: world.lanes.update(
        {world.federation(NAMES[0]).identity: Lane(90 * SECOND, queued=3)}
    ),
}


@pytest.mark.parametrize("approval", list(ApprovalMode))
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_is_seen(change: Callable[[World], object], approval: ApprovalMode) -> None:
    world, recollection = _at_rest(approval=approval)
    assert _recalled(recollection) == len(NAMES)

    change(world)

    assert make_plan(world.snapshot(), recollection) == make_plan(world.snapshot())


def test_a_claim_on_an_identity_that_left_the_pool_moves_as_soon_as_there_is_room() -> None:
    world, recollection = _at_rest()
    left, kept = (IdentityId.parse(each.resource_id) for each in (a_grant(identities=("one", "two"))).identities)
    full = tuple(foreign(f"ci-{each}", f"repo:{each}") for each in range(20 - _ours(world, kept)))
    state = world.identities[kept]
    world.identities[kept] = replace(state, credentials=(*state.credentials, *full))
    world.edit(identities=(PoolMember(kept.text),))
    assert _ours(world, left)
    assert make_plan(world.snapshot(), recollection).steps == ()

    world.identities[kept] = state

    assert make_plan(world.snapshot(), recollection) == make_plan(world.snapshot())
    assert make_plan(world.snapshot(), recollection).steps


def test_a_step_that_failed_is_taken_up_again_when_its_time_has_come() -> None:
    world, recollection = _at_rest()
    _store(world, vault_url="https://elsewhere.vault.azure.net", ours=True)
    world.fail(f"{NAMES[0]}/shop", ApplyStore, Reason.KUBERNETES_REFUSED)
    waiting = make_plan(world.snapshot(), recollection)

    world.now += 31 * SECOND

    assert waiting.steps == ()
    assert [type(each) for each in make_plan(world.snapshot(), recollection).steps][:1] == [ApplyStore]


def _ours(world: World, identity: IdentityId) -> int:
    return sum(each.identity == identity for each in world.federations.values())


def test_what_did_not_change_is_not_judged_again() -> None:
    world, recollection = _at_rest()
    before = make_plan(world.snapshot(), recollection)
    world.approve(NAMES[0], by="somebody else")

    after = make_plan(world.snapshot(), recollection)

    kept = [one is other for one, other in zip(before.claims, after.claims, strict=True)]
    assert kept.count(False) == 1


def test_a_status_that_was_written_makes_nothing_forgotten() -> None:
    world, recollection = _at_rest()
    grant: Grant | None = world.grant
    assert grant is not None
    before = make_plan(world.snapshot(), recollection)
    world.grant = replace(grant, conditions=world.federation(NAMES[0]).conditions)

    after = make_plan(world.snapshot(), recollection)

    assert all(one is other for one, other in zip(before.claims, after.claims, strict=True))


FAILURES = ("a store changes and cannot be written", "time passes")


def _fail(world: World, event: str, name: str) -> None:
    store = world.stores.get((name, "azure-store"))
    if event == "time passes":
        world.now += 40 * SECOND
    elif store is not None:
        world.stores[name, "azure-store"] = replace(store, vault_url="https://elsewhere.vault.azure.net")
        world.fail(f"{name}/shop", ApplyStore, Reason.KUBERNETES_REFUSED)


@example(3923)  # an identity leaves a full pool, and then there is room
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
@example(646)  # a drained claim finds a place when another leaves
def test_in_every_life_of_a_world_the_recollection_changes_no_plan(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a repeatable world, not secrecy
    world = _world(0, chance.choice(list(ApprovalMode)), [chance.choice([0, 1, 18]) for _ in range(3)])
    recollection, steps = Recollection(), list[Step]()
    opening = [("create", name, 0) for name in chance.sample(NAMES, 4)] + [("approve", name, 9) for name in NAMES]
    events = (*EVENTS, *FAILURES)
    rest = [(chance.choice(events), chance.choice(NAMES), chance.randrange(5)) for _ in range(chance.randrange(25))]
    for event, name, passes in opening + rest:
        if event in FAILURES:
            _fail(world, event, name)
        else:
            _happen(world, event, name)
        for _ in range(passes + 1):
            plan = make_plan(world.snapshot(), recollection)
            steps += plan.steps

            assert plan == make_plan(world.snapshot())
            world.carry_out(plan)
    assert steps
