"""What holds for every growing pool, whatever people and Azure do to it."""

import math
import random
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.model.conditions import ConditionType
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY
from keystead.model.growth import Look
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason, Severity
from keystead.plan.planner import make_plan
from keystead.plan.steps import CreateIdentity
from plan.growing import HOME, SECOND, GrowingWorld, a_growing_grant, provisioning
from plan.worlds import foreign, is_true

EVENTS = (
    "claim",
    "claim",
    "many claims",
    "delete namespace",
    "lose status",
    "lose role",
    "untag",
    "delete identity",
    "recreate identity",
    "stranger",
    "others fill it",
    "fewer",
    "more",
    "headroom",
    "unread",
    "read",
    "break grant",
    "mend grant",
    "lose probe entry",
)
NAMES = tuple(f"shop-{number:03}" for number in range(24))


def _happen(world: GrowingWorld, event: str, chance: random.Random) -> None:
    grant, ours = world.grant, world.ours() if world.grant and world.grant.vault_url != "nonsense" else []
    assert grant is not None
    assert grant.provisioning is not None
    one = chance.choice(ours) if ours else None
    here = sorted(name for name in world.namespaces if name != HOME)
    match event:
        case "claim" | "many claims":
            for name in chance.sample(NAMES, 1 if event == "claim" else 12):
                if name not in world.namespaces:
                    world.namespace(name)
                    world.claim(name)
        case "delete namespace" if here:
            world.remove_namespace(chance.choice(here))
        # Without status claims that have worked are proof enough. Where the role was lost as well and is being proven
        # anew, nobody remembers that: the next claim waits for its own exchange instead of the probe's.
        case "lose status" if {each.principal_id for each in ours} <= world.shown:
            world.grant = replace(grant, proofs=())
            _carry_on(world, 1)
        case "lose role" if one is not None:
            world.take_role(one.principal_id)
        case "untag" if one is not None:
            world.untag(one.id)
        case "delete identity" if one is not None:
            world.lose(one.id)
        case "recreate identity" if one is not None:
            world.lose(one.id)
            world.add(one.id.name, tags=dict(one.tags))
        case "stranger" if ours or grant.vault_url != "nonsense":
            number = chance.randrange(1, 5)
            if world.growing.identity(number) not in {each.id for each in world.made.value}:
                world.add(world.growing.identity(number).name, tags={"owner": "somebody"})
        case "others fill it" if one is not None:
            state = world.identities[one.id]
            missing = CREDENTIALS_PER_IDENTITY - len(state.credentials)
            more = (foreign(f"late-{world.uid()}", f"late:{world.uid()}") for _ in range(chance.randrange(missing + 1)))
            world.identities[one.id] = replace(state, credentials=(*state.credentials, *more))
        case "fewer" | "more":
            most = 1 if event == "fewer" else 4
            world.edit(provisioning=replace(grant.provisioning, max_identities=most, headroom=5))
        case "headroom":
            world.edit(provisioning=replace(grant.provisioning, headroom=chance.choice([0, 1, 20])))
        case "unread":
            world.made = replace(world.made, at=None, value=world.made.value)
        case "read":
            world.made = replace(world.made, at=world.now)
        case "break grant":
            world.edit(vault_url="nonsense")
        case "mend grant":
            world.edit(vault_url=a_growing_grant().vault_url)
        case "lose probe entry":
            for probe in world.probes():
                del world.federations[probe.name]


def _carry_on(world: GrowingWorld, passes: int) -> None:
    for _ in range(passes):
        plan = world.plan()
        made = [each for each in plan.steps if isinstance(each, CreateIdentity)]
        if made:
            assert len(world.ours()) + len(made) <= world.growing.most
            assert len({each.identity for each in made}) == len(made)
        world.carry_out(plan)


def _lived(seed: int) -> GrowingWorld:
    chance = random.Random(seed)  # noqa: S311 - a repeatable world, not secrecy
    identities = chance.choice([(), ("one",), ("one", "two")])
    world = GrowingWorld(a_growing_grant(identities=identities, pool=provisioning(headroom=chance.choice([0, 5, 21]))))
    world.limits = replace(world.limits, mass_revocation_count=100)
    world.claims_in(chance.choice([0, 1, 19, 21]))
    for _ in range(chance.randrange(16)):
        _carry_on(world, chance.choice([0, 1, 3, 30]))
        _happen(world, chance.choice(EVENTS), chance)
    return world


def _calm(world: GrowingWorld) -> None:
    """Nobody does anything any more, and all can be read."""
    assert world.grant is not None
    if world.grant.vault_url == "nonsense":
        world.edit(vault_url=a_growing_grant().vault_url)
    world.made = replace(world.made, at=world.now)
    world.now += 3600 * SECOND
    # Whatever was left without an entry is found by two lists.
    for identity, state in world.identities.items():
        for held in state.credentials:
            if "keystead-probe" in held.subject:
                world.sightings[identity, held] = 2


_settings = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def test_entries_that_others_leave_no_slot_for_are_placed_anew() -> None:
    _calm(_lived(813))  # on an identity made anew, others were faster than the writes that were recorded for it


@_settings
@given(st.integers(0, 2**32).map(_lived))
def test_every_growing_pool_comes_to_rest_without_probes_and_with_all_that_can_be_served_served(
    world: GrowingWorld,
) -> None:
    _calm(world)

    plan = world.settle(3000)

    assert plan.steps == ()
    assert world.probes() == []
    # Where the ledger was tampered with, what is outside the pool by now is nobody's to sweep.
    for member in plan.grant.identities if plan.grant is not None else ():
        held = world.identities[IdentityId.parse(member.resource_id)].credentials
        assert not [each for each in held if "keystead-probe" in each.subject]
    assert plan.grant is not None
    room = sum(each.room for each in plan.grant.identities)
    waiting = [each for each in plan.claims if each.conditions[-1].reason is Reason.POOL_EXHAUSTED]
    if waiting:
        assert room == 0
        assert len(world.ours()) >= world.growing.most
    for verdict in plan.claims:
        ready = verdict.conditions[-1]
        assert is_true(ready) or CATALOGUE[ready.reason].severity is Severity.BLOCKED, (verdict.claim_key, ready)
    wanted = world.growing.headroom
    assert room >= wanted or len(world.ours()) >= world.growing.most


@_settings
@given(st.integers(0, 2**32).map(_lived), st.integers(0, 1000))
def test_the_same_pool_gives_the_same_plan_in_whatever_order_it_is_seen(world: GrowingWorld, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - shuffling, not secrecy
    seen = world.snapshot()
    made, federations = list(seen.made.value), list(seen.federations)
    chance.shuffle(made)
    chance.shuffle(federations)

    shuffled = replace(seen, made=Look(tuple(made), seen.made.at), federations=tuple(federations))

    assert make_plan(shuffled) == make_plan(seen)


@_settings
@given(st.integers(0, 90), st.integers(0, 40), st.integers(1, 4))
def test_no_more_identities_are_made_than_claims_and_headroom_need(claims: int, headroom: int, most: int) -> None:
    headroom = min(headroom, most * CREDENTIALS_PER_IDENTITY)
    world = GrowingWorld(a_growing_grant(pool=provisioning(headroom=headroom, max_identities=most)))
    world.claims_in(claims)

    world.settle(2000)

    assert world.creations == min(most, math.ceil((claims + headroom) / CREDENTIALS_PER_IDENTITY))
    assert world.of_grant(ConditionType.POOL_READY).reason is Reason.POOL_READY
