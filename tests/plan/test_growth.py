"""Growth of pools: how many identities are made, each one's way, what is never done, and what people are told."""

import datetime
from dataclasses import replace

import pytest

from keystead.model.conditions import ConditionType, Status
from keystead.model.credentials import Credential, IdentityState
from keystead.model.growth import SECRETS_USER, FoundIdentity, Look, Provisioning, RoleHolders
from keystead.model.reasons import Reason
from keystead.model.records import Cluster, PoolMember
from keystead.plan.naming import credential_name
from keystead.plan.provisioning import growing
from keystead.plan.snapshot import Failure
from keystead.plan.steps import (
    AssignRole,
    BeginRevocation,
    CreateIdentity,
    RecordFederation,
    Step,
    SweepCredential,
    Verify,
    WriteCredential,
)
from keystead.plan.validation import Validated, check
from plan.growing import GROUP, HOME, SECOND, VAULT_ID, GrowingWorld, a_growing_grant, provisioning
from plan.worlds import CLUSTER, NOW, a_grant, foreign, identity_id, is_true, kinds

MINUTE = datetime.timedelta(minutes=1)


def _created(world: GrowingWorld) -> list[str]:
    return [each.identity.name for each in world.steps(CreateIdentity) if isinstance(each, CreateIdentity)]


def _grown(claims: int = 0, **fields: int) -> GrowingWorld:
    world = GrowingWorld(a_growing_grant(pool=provisioning(**fields)))
    world.claims_in(claims)
    world.settle(400)
    return world


# how many


@pytest.mark.parametrize(
    ("claims", "headroom", "most", "wanted"),
    [
        pytest.param(0, 0, 3, 0, id="nobody asks, nothing ahead"),
        pytest.param(0, 1, 3, 1, id="one slot ahead of need"),
        pytest.param(0, 20, 3, 1, id="a whole identity ahead"),
        pytest.param(0, 21, 3, 2, id="a slot more"),
        pytest.param(1, 0, 3, 1, id="one claim, nothing ahead"),
        pytest.param(20, 0, 3, 1, id="an identity's worth of claims"),
        pytest.param(20, 1, 3, 2, id="and one ahead"),
        pytest.param(50, 5, 3, 3, id="several at a time"),
        pytest.param(100, 5, 3, 3, id="never more than allowed"),
        pytest.param(100, 5, 1, 1, id="nor than one"),
    ],
)
def test_as_many_identities_are_made_as_claims_and_headroom_need(
    claims: int, headroom: int, most: int, wanted: int
) -> None:
    world = GrowingWorld(a_growing_grant(pool=provisioning(headroom=min(headroom, 20 * most), max_identities=most)))
    world.claims_in(claims)

    assert len(_created(world)) == wanted

    world.settle(1500)
    assert world.creations == wanted
    served = sum(1 for each in world.federations.values() if not each.probe)
    assert served == min(claims, 20 * wanted)


def test_free_slots_of_the_named_identities_count_first() -> None:
    world = GrowingWorld(a_growing_grant(identities=("one",)))
    world.claims_in(15)

    world.settle()
    assert world.creations == 0

    world.claims_in(1, first=15)
    world.settle(400)
    assert world.creations == 1


def test_an_identity_under_way_counts_so_that_nothing_is_made_twice() -> None:
    world = GrowingWorld()
    world.claims_in(18)
    for _ in range(6):
        world.carry_out(world.plan())

    assert world.creations == 2
    assert [each for each in world.credentials() if "shop" in each.subject] == []
    assert _created(world) == []


def test_nothing_is_made_before_the_group_and_the_whole_pool_are_read() -> None:
    world = GrowingWorld(a_growing_grant())
    world.made = Look(())
    assert _created(world) == []
    assert world.of_grant(ConditionType.POOL_READY).reason is Reason.AWAITING_LIST
    world.made = Look((), None, Reason.AZURE_UNAVAILABLE)
    assert _created(world) == []

    world = GrowingWorld(a_growing_grant(identities=("one",), pool=provisioning(headroom=25)))
    world.identities[identity_id("one")] = replace(world.identities[identity_id("one")], listed_at=None)
    assert _created(world) == []


def test_a_group_that_may_not_be_read_stops_growth_and_harms_no_named_identity() -> None:
    world = GrowingWorld(a_growing_grant(identities=("one",)))
    world.claims_in(1)
    world.made = Look((), None, Reason.GROWTH_FORBIDDEN, "Azure answered 403 AuthorizationFailed")

    world.settle()

    assert is_true(world.ready("shop-000/mine"))
    told = world.of_grant(ConditionType.POOL_READY)
    assert (told.status, told.reason) == (Status.FALSE, Reason.GROWTH_FORBIDDEN)
    assert "spec.provisioning.resourceGroupId" in told.message


# the way of one


def test_an_identity_goes_its_way_in_this_order() -> None:
    world = _grown(1)

    name = world.ours()[0].id.name
    way = [step for step in world.log if name in getattr(step, "unit", "")]
    assert kinds(way)[:4] == ["CreateIdentity", "AssignRole", "RecordFederation", "WriteCredential"]
    assert set(kinds(way)[4:]) == {"Verify"}
    first_claim = next(i for i, s in enumerate(world.log) if isinstance(s, WriteCredential) and "shop" in s.namespace)
    last_proof = max(i for i, s in enumerate(world.log) if s in way)
    assert last_proof < first_claim


def test_proof_leaves_no_trust_behind() -> None:
    world = _grown()

    assert world.probes() == []
    assert world.credentials() == []
    assert world.grant is not None
    assert [each.resource_id for each in world.grant.proofs] == [str(each.id) for each in world.ours()]


def test_the_probe_stays_until_the_status_carries_the_proof() -> None:
    world = GrowingWorld()
    while not world.shown:
        world.carry_out(world.plan())
    assert world.grant is not None
    world.grant = replace(world.grant, proofs=())

    assert list(world.steps(BeginRevocation)) == []

    world.carry_out(world.plan())
    assert [each.cause for each in world.steps(BeginRevocation) if isinstance(each, BeginRevocation)] == [
        Reason.PROBE_ENDED
    ]


def test_a_refused_look_is_tried_again_ever_more_slowly_and_says_what_it_waits_for() -> None:
    world = GrowingWorld()
    world.claims_in(1)
    while not any(isinstance(each, Verify) for each in world.log):
        world.carry_out(world.plan())

    told = world.of_grant(ConditionType.POOL_READY)
    assert (told.status, told.reason) == (Status.UNKNOWN, Reason.POOL_GROWING)
    assert "ForbiddenByRbac" in told.message
    assert "ten minutes" in told.message
    assert world.ready("shop-000/mine").reason is Reason.POOL_GROWING
    before = len([each for each in world.log if isinstance(each, Verify)])
    start = world.now
    while not world.shown:
        world.carry_out(world.plan())
    tries = len([each for each in world.log if isinstance(each, Verify)]) - before
    assert tries <= (world.now - start) / (30 * SECOND) + 1


def test_a_proof_that_fails_for_longer_than_azure_promises_is_trouble() -> None:
    world = GrowingWorld()
    world.claims_in(1)
    late = world.now + 40 * MINUTE
    while world.now < late:
        world.carry_out(world.plan())
        world.given = dict.fromkeys(world.given, world.now)  # the role never works

    told = world.of_grant(ConditionType.POOL_READY)
    assert (told.status, told.reason) == (Status.FALSE, Reason.VAULT_FORBIDDEN)
    assert world.creations == 1
    capacity = world.of_grant(ConditionType.CAPACITY_AVAILABLE)
    assert capacity.status is Status.FALSE
    assert "1 slot" in capacity.message


def test_the_name_of_a_role_assignment_follows_from_what_it_gives() -> None:
    world = GrowingWorld()
    world.carry_out(world.plan())

    first, again = world.steps(AssignRole), world.steps(AssignRole)

    assert first == again
    (step,) = first
    assert isinstance(step, AssignRole)
    assert (step.vault.text, step.role) == (VAULT_ID, SECRETS_USER)
    world.lose(world.ours()[0].id)
    world.carry_out(world.plan())
    (other,) = world.steps(AssignRole)
    assert isinstance(other, AssignRole)
    assert other.identity == step.identity
    assert other.name != step.name, "another principal, another assignment"


# proof


def test_a_lost_status_is_made_up_for_by_what_claims_have_proven() -> None:
    world = _grown(2)
    assert world.grant is not None
    world.grant = replace(world.grant, proofs=())

    plan = world.settle()

    assert plan.steps == ()
    assert world.grant is not None
    assert len(world.grant.proofs) == 1
    assert world.probes() == []


def test_a_lost_status_without_claims_leads_to_another_proof() -> None:
    world = _grown()
    assert world.grant is not None
    world.grant = replace(world.grant, proofs=())
    world.exchanges.clear()
    proofs = len([each for each in world.log if isinstance(each, Verify)])

    world.settle(400)

    assert world.creations == 1
    assert len([each for each in world.log if isinstance(each, Verify)]) == proofs + 1
    assert len(world.grant.proofs) == 1


def test_a_proof_does_not_outlast_its_principal() -> None:
    world = _grown()
    (old,) = world.ours()
    world.lose(old.id)
    world.add(old.id.name, tags=dict(old.tags))
    world.claims_in(1)

    assert world.steps(RecordFederation) == [] or all(
        each.federation.probe for each in world.steps(RecordFederation) if isinstance(each, RecordFederation)
    )
    world.settle(400)

    assert is_true(world.ready("shop-000/mine"))


def test_a_proof_does_not_outlast_its_principal_where_roles_cannot_be_read() -> None:
    world = _grown()
    (old,) = world.ours()
    world.lose(old.id)
    world.add(old.id.name, tags=dict(old.tags))
    world.roles = Look(RoleHolders(), None, Reason.AZURE_FORBIDDEN)
    world.claims_in(1)

    recorded = [each.federation for each in world.steps(RecordFederation) if isinstance(each, RecordFederation)]
    assert [each.probe for each in recorded] == [True]


def test_a_role_that_was_taken_away_is_given_again_and_proven_again_before_anything_new_is_placed() -> None:
    world = _grown(1)
    (made,) = world.ours()
    world.take_role(made.principal_id)
    world.claims_in(1, first=1)

    assert not world.steps(AssignRole), "first the status says that the proof is void"
    world.carry_out(world.plan())
    assert world.steps(AssignRole)
    assert not [each for each in world.steps(WriteCredential) if "shop" in getattr(each, "namespace", "")]
    assert not world.steps(BeginRevocation), "what was placed stays"
    world.settle(400)

    assert is_true(world.ready("shop-001/mine"))


# what is left alone


def test_an_identity_of_the_next_name_that_is_not_ours_is_left_alone_and_the_next_number_taken() -> None:
    world = GrowingWorld()
    stranger = world.add(f"{world.growing.stem}-001", tags={"owner": "somebody"})

    world.settle(400)

    assert [each.id.name for each in world.ours()] == [f"{world.growing.stem}-002"]
    assert not [each for each in world.log if getattr(each, "identity", None) == stranger.id]
    assert f"{stranger.id.name} (IdentityNameTaken)" in world.of_grant(ConditionType.POOL_READY).message


def test_tags_of_another_cluster_or_grant_are_not_ours() -> None:
    world = GrowingWorld()
    tags = dict(world.growing.tags)
    world.add(f"{world.growing.stem}-001", tags={**tags, "keystead-cluster": "99999999"})
    world.add(f"{world.growing.stem}-002", tags={**tags, "keystead-grant": "other"})

    assert world.ours() == []
    assert _created(world) == [f"{world.growing.stem}-003"]


def test_clusters_grants_and_vaults_never_reach_for_the_same_name() -> None:
    grant = a_growing_grant()
    other_vault = a_growing_grant(vault_url="https://kv-other.vault.azure.net")
    other_vault = replace(other_vault, vault_resource_id=VAULT_ID.replace("kv-shop", "kv-other"))
    found = [
        growing(grant, CLUSTER),
        growing(grant, Cluster("ffffffff", CLUSTER.issuer)),
        growing(replace(grant, name="another"), CLUSTER),
        growing(other_vault, CLUSTER),
    ]

    stems = {each.stem for each in found if each is not None}
    assert len(stems) == 4


def test_an_identity_that_the_grant_names_itself_is_the_admins() -> None:
    world = _grown(1)
    (made,) = world.ours()
    world.edit(identities=(PoolMember(made.id.text.upper()),))

    plan = world.plan()

    assert plan.grant is not None
    assert [each.resource_id for each in plan.grant.identities].count(made.id.text.upper()) == 1
    assert len(plan.grant.identities) == 1
    assert not world.steps(BeginRevocation)


@pytest.mark.parametrize("what", ["fewer", "none more"])
def test_wanting_fewer_deletes_nothing(what: str) -> None:
    world = _grown(25)
    before = {each.id for each in world.ours()}
    trusted = set(world.credentials())
    assert world.grant is not None
    if what == "fewer":
        world.edit(provisioning=provisioning(max_identities=1))
    else:
        world.edit(provisioning=None, identities=(PoolMember(identity_id("one").text, 20),))
        world.list_identity(identity_id("one"))

    plan = world.settle(200)

    assert plan.steps == ()
    assert {each.id for each in world.made.value} >= before
    assert trusted <= set(world.credentials())


def test_an_identity_whose_tags_are_taken_away_is_drained_and_not_deleted() -> None:
    world = _grown(3)
    (old,) = world.ours()
    world.untag(old.id)

    world.settle(600)

    assert all(is_true(world.ready(f"shop-{number:03}/mine")) for number in range(3))
    assert world.identities[old.id].credentials == ()
    assert {each.identity for each in world.federations.values()} == {world.ours()[0].id}


@pytest.mark.parametrize("claims", [0, 3])
def test_while_the_group_was_not_read_again_after_a_restart_nothing_moves_and_no_proof_is_lost(claims: int) -> None:
    world = _grown(claims)
    assert world.grant is not None
    made, proofs, identities = world.made, world.grant.proofs, dict(world.identities)
    pending: Look[tuple[FoundIdentity, ...]] = Look(())
    for unread in (pending, replace(pending, problem=Reason.AZURE_UNAVAILABLE)):
        world.made = unread
        world.identities = {each: IdentityState(each) for each in identities}
        plan = world.plan()
        world.report(plan)
        assert plan.steps == ()
        assert world.grant.proofs == proofs

    world.made, world.identities = made, identities
    assert world.settle().steps == ()
    assert world.creations == 1
    assert world.grant.proofs == proofs


def test_an_identity_that_a_late_list_leaves_out_stays_while_its_own_list_shows_it() -> None:
    world = _grown(3)
    (made,) = world.ours()
    world.made = replace(world.made, value=())
    assert world.plan().steps == ()

    world.identities[made.id] = IdentityState(made.id, problem=Reason.IDENTITY_NOT_FOUND)
    world.settle(600)

    assert world.creations == 2
    assert all(is_true(world.ready(f"shop-{number:03}/mine")) for number in range(3))


# the probe


def test_a_probe_that_was_left_behind_goes_with_its_grant() -> None:
    world = GrowingWorld()
    while not world.credentials():
        world.carry_out(world.plan())
    world.grant = None

    world.settle()

    assert world.credentials() == []
    assert world.federations == {}


def test_a_probe_whose_ledger_entry_was_lost_is_swept_even_where_its_namespace_is_allowed() -> None:
    world = _grown()
    (made,) = world.ours()
    home = world.namespaces[HOME]
    world.namespaces[HOME] = replace(home, labels={"team": "shop"})
    name = credential_name(CLUSTER, home.uid, HOME, "keystead-probe", made.id)
    left = Credential(name, CLUSTER.issuer, f"system:serviceaccount:{HOME}:keystead-probe", foreign("x").audience)
    world.identities[made.id] = replace(world.identities[made.id], credentials=(left,))
    world.sightings[made.id, left] = 2

    assert kinds(world.steps(SweepCredential)) == ["SweepCredential"]


def test_a_frozen_grant_grows_nothing_ends_its_probe_and_keeps_its_proofs() -> None:
    world = _grown(1)
    assert world.grant is not None
    proofs = [(each.resource_id, each.principal_id) for each in world.grant.proofs]
    world.edit(vault_url="nonsense")
    world.settle()

    assert [(each.resource_id, each.principal_id) for each in world.grant.proofs] == proofs
    assert len(world.federations) == 1

    world = GrowingWorld()
    while not world.credentials():
        world.carry_out(world.plan())
    world.edit(vault_url="nonsense")
    world.settle()
    assert world.credentials() == []


def test_a_namespace_of_ours_that_is_missing_stops_the_proof_and_nothing_else() -> None:
    world = GrowingWorld(a_growing_grant(identities=("one",)))
    del world.namespaces[HOME]
    world.claims_in(17)
    for _ in range(60):
        world.carry_out(world.plan())

    assert is_true(world.ready("shop-000/mine"))
    assert not [each for each in world.log if isinstance(each, Verify) and each.namespace == HOME]


def test_while_only_observing_all_of_it_is_planned_and_nothing_done() -> None:
    world = GrowingWorld(a_growing_grant(observe_only=True))
    world.claims_in(30)

    plan = world.plan()

    assert plan.steps == ()
    assert kinds(each.step for each in plan.held).count("CreateIdentity") == 2


# what stops it


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (CreateIdentity, Reason.GROWTH_FORBIDDEN),
        (CreateIdentity, Reason.AZURE_POLICY),
        (CreateIdentity, Reason.AZURE_LOCKED),
        (CreateIdentity, Reason.AZURE_QUOTA),
        (CreateIdentity, Reason.GROUP_NOT_FOUND),
        (AssignRole, Reason.ROLE_FORBIDDEN),
        (AssignRole, Reason.AZURE_QUOTA),
    ],
)
def test_what_only_people_can_mend_is_told_and_waits_for_its_time(step: type[Step], reason: Reason) -> None:
    world = GrowingWorld(a_growing_grant(identities=("one",)))
    world.claims_in(16)
    while step is AssignRole and not world.ours():
        world.carry_out(world.plan())
    name = world.growing.identity(1).name
    unit = f"pool/shop/{name}"
    world.failures[unit] = Failure(unit, step.__name__, reason, "Azure answered", world.now, world.now + MINUTE)

    assert not world.steps(step)
    told = world.of_grant(ConditionType.POOL_READY)
    assert (told.status, told.reason) == (Status.FALSE, reason)
    assert name in told.message
    assert is_true(world.of_grant(ConditionType.CAPACITY_AVAILABLE))
    again = world.plan().look_again
    assert again is not None
    assert again <= world.now + MINUTE

    world.now += 2 * MINUTE
    assert world.steps(step)


def test_a_principal_that_the_directory_does_not_show_yet_is_no_trouble() -> None:
    world = GrowingWorld(a_growing_grant(identities=("one",), pool=provisioning(headroom=21)))
    world.carry_out(world.plan())
    unit = f"pool/shop/{world.growing.identity(1).name}"
    world.fail(unit, AssignRole, Reason.PRINCIPAL_UNKNOWN)

    assert is_true(world.of_grant(ConditionType.POOL_READY))
    assert "directory" in world.of_grant(ConditionType.POOL_READY).message or "principal" in str(
        world.of_grant(ConditionType.POOL_READY).message
    )


def test_at_the_limit_the_grant_says_so_and_claims_are_exhausted() -> None:
    world = _grown(70, headroom=0)

    told = world.of_grant(ConditionType.CAPACITY_AVAILABLE)

    assert (told.status, told.reason) == (Status.FALSE, Reason.POOL_EXHAUSTED)
    assert "10 slot" in told.message
    assert "maxIdentities" in told.message
    assert world.ready("shop-069/mine").reason is Reason.POOL_EXHAUSTED


def test_headroom_that_cannot_be_kept_is_said_and_is_no_trouble() -> None:
    world = _grown(58, headroom=5)

    told = world.of_grant(ConditionType.CAPACITY_AVAILABLE)

    assert is_true(told)
    assert "3 fewer" in told.message


# a grant that makes no sense


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"vault_resource_id": ""}, "spec.vault.resourceId"),
        ({"vault_resource_id": "kv-shop"}, "spec.vault.resourceId"),
        ({"vault_resource_id": VAULT_ID.replace("kv-shop", "kv-other")}, "spec.vault.resourceId"),
        ({"provisioning": provisioning(resource_group_id="rg-pool")}, "spec.provisioning.resourceGroupId"),
        ({"provisioning": provisioning(resource_group_id=f"{GROUP}/providers/x")}, "spec.provisioning.resourceGroupId"),
        ({"provisioning": provisioning(resource_group_id=f"{GROUP}.")}, "spec.provisioning.resourceGroupId"),
        ({"provisioning": provisioning(name_prefix="")}, "spec.provisioning.namePrefix"),
        ({"provisioning": provisioning(name_prefix="-ks")}, "spec.provisioning.namePrefix"),
        ({"provisioning": provisioning(name_prefix="ks pool")}, "spec.provisioning.namePrefix"),
        ({"provisioning": provisioning(name_prefix="k" * 101)}, "spec.provisioning.namePrefix"),
        ({"provisioning": provisioning(name_prefix="ks\n")}, "spec.provisioning.namePrefix"),
        ({"provisioning": provisioning(location="")}, "spec.provisioning.location"),
        ({"provisioning": provisioning(location="west/europe")}, "spec.provisioning.location"),
        ({"provisioning": provisioning(max_identities=0)}, "spec.provisioning.maxIdentities"),
        ({"provisioning": provisioning(max_identities=201)}, "spec.provisioning.maxIdentities"),
        ({"provisioning": provisioning(headroom=-1)}, "spec.provisioning.headroom"),
        ({"provisioning": provisioning(headroom=61)}, "spec.provisioning.headroom"),
        (
            {"provisioning": provisioning(role_definition_id="Key Vault Secrets User")},
            "spec.provisioning.roleDefinitionId",
        ),
    ],
)
def test_provisioning_that_makes_no_sense_names_its_field(change: dict[str, object], path: str) -> None:
    problems = check(replace(a_growing_grant(), **change), ())  # type: ignore[arg-type]  # the table's fields

    assert not isinstance(problems, Validated)
    assert [problem.path for problem in problems] == [path]
    assert problems[0].cure


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(provisioning(name_prefix="A_b-9"), id="all that a prefix may hold"),
        pytest.param(
            provisioning(resource_group_id=GROUP.upper().replace("/SUBSCRIPTIONS", "/subscriptions")), id="case"
        ),
        pytest.param(provisioning(resource_group_id=GROUP.replace("rg-pool", "rg_(a).b-c")), id="an odd group"),
        pytest.param(provisioning(location="West Europe"), id="a region's display name"),
        pytest.param(provisioning(headroom=60), id="all of it ahead"),
        pytest.param(
            provisioning(
                role_definition_id=f"/providers/Microsoft.Authorization/roleDefinitions/{SECRETS_USER.upper()}"
            ),
            id="a role's id",
        ),
    ],
)
def test_provisioning_that_makes_sense_is_parsed_and_needs_no_named_identity(given: Provisioning) -> None:
    grant = a_growing_grant(pool=given)

    assert isinstance(check(grant, ()), Validated)
    found = growing(grant, CLUSTER)
    assert found is not None
    assert found.role == SECRETS_USER
    assert found.number(found.identity(7)) == 7
    assert found.number(found.identity(1234)) == 1234
    assert len(found.identity(1234).name) <= 128


# role parity, grown or not


def _roles(**held: str) -> Look[RoleHolders]:
    return Look(RoleHolders({f"p-{who}": frozenset(roles.split()) for who, roles in held.items()}), NOW)


READER, CUSTOM = "acdd72a7-3385-48ef-bd42-f606fba81ae7", "00000000-aaaa-bbbb-cccc-000000000001"
OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"


def _fixed(*names: str) -> GrowingWorld:
    world = GrowingWorld(a_grant(identities=names, vault_resource_id=VAULT_ID))
    for name in names:
        identity = identity_id(name)
        world.identities[identity] = replace(world.identities[identity], principal_id=f"p-{name}")
    return world


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        pytest.param(Look(RoleHolders()), [None, None, None], id="never read"),
        pytest.param(_roles(), [None, None, None], id="nobody has any: perhaps access policies"),
        pytest.param(_roles(one=SECRETS_USER, two=OFFICER, three=SECRETS_USER), [True, True, True], id="all"),
        pytest.param(_roles(one=SECRETS_USER, two=SECRETS_USER), [True, True, False], id="one lacks it"),
        pytest.param(
            _roles(one=f"{SECRETS_USER} {READER}", two=SECRETS_USER, three=READER),
            [True, True, False],
            id="only Reader",
        ),
        pytest.param(
            _roles(one=SECRETS_USER, two=SECRETS_USER, three=CUSTOM), [True, True, None], id="a role of its own"
        ),
        pytest.param(_roles(one=CUSTOM, two=CUSTOM), [None, None, False], id="a custom role that most have"),
        pytest.param(
            Look(RoleHolders({"p-one": frozenset({SECRETS_USER})}, frozenset({SECRETS_USER})), NOW),
            [True, None, None],
            id="a group has it too",
        ),
        pytest.param(Look(RoleHolders(), None, Reason.ROLE_FORBIDDEN, "403"), [None, None, None], id="may not be read"),
    ],
)
def test_who_has_the_role(roles: Look[RoleHolders], said: list[bool | None]) -> None:
    world = _fixed("one", "two", "three")
    world.roles = roles

    verdict = world.plan().grant

    assert verdict is not None
    assert [each.role_assigned for each in verdict.identities] == said
    told = world.of_grant(ConditionType.POOL_READY)
    assert is_true(told) is (False not in said)
    if False in said:
        assert told.reason is Reason.ROLE_MISSING
        assert "spec.identities[2].resourceId: id-three" in told.message


def test_an_identity_that_lacks_the_role_gets_nothing_while_others_have_room() -> None:
    world = _fixed("one", "two")
    world.roles = _roles(two=SECRETS_USER)
    world.namespace("shop")
    world.settle()

    assert {each.identity.name for each in world.federations.values()} == {"id-two"}


def test_an_identity_that_is_made_for_one_grant_freezes_another_that_names_it_and_harms_neither() -> None:
    world = GrowingWorld()
    made = world.growing.identity(1)
    theirs = a_grant("other", identities=(PoolMember(made.text.upper()),))
    assert world.grant is not None

    found = check(theirs, (world.grant,), CLUSTER)
    gone = check(theirs, (replace(world.grant, deleting=True),), CLUSTER)

    assert isinstance(found, tuple)
    assert [(each.path, each.reason) for each in found] == [("spec.identities[0].resourceId", Reason.IDENTITY_SHARED)]
    assert "VaultGrant shop" in str(found[0])
    assert isinstance(check(world.grant, (theirs,), CLUSTER), Validated)
    assert isinstance(gone, Validated)
