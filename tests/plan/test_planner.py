"""Claims, pools, brakes and what people are told, in whole worlds."""

import datetime
from dataclasses import replace

import pytest

from keystead.model.conditions import Condition, ConditionType, Status
from keystead.model.credentials import Credential, IdentityState, room
from keystead.model.reasons import Reason
from keystead.model.records import (
    ApprovalMode,
    ClaimMode,
    Decision,
    Exchange,
    NamespaceRule,
    PoolMember,
    Revocation,
    ServiceAccount,
    Store,
)
from keystead.plan import codes
from keystead.plan.naming import credential_name
from keystead.plan.planner import make_plan
from keystead.plan.snapshot import Lane
from keystead.plan.steps import (
    AnnotateServiceAccount,
    ApplyStore,
    BeginRevocation,
    CreateClaim,
    DeleteClaim,
    DeleteCredential,
    NudgeExternalSecrets,
    NudgeStore,
    RecordFederation,
    Step,
    Verify,
    WithdrawAnnotation,
    WriteCredential,
)
from keystead.plan.verdicts import orphan_claim_verdict
from plan.worlds import (
    CLUSTER,
    NOW,
    SECOND,
    TENANT,
    VAULT,
    World,
    a_grant,
    foreign,
    identity_id,
    is_true,
    kinds,
    subject,
)

MINUTE = datetime.timedelta(minutes=1)


def _claimed(*namespaces: str, identities: tuple[str, ...] = ("one",), **grant: object) -> World:
    world = World(a_grant(identities=identities, claims=ClaimMode.ON_REQUEST, **grant))  # type: ignore[arg-type]  # the caller's fields
    world.namespace(*namespaces)
    for namespace in namespaces:
        world.claim(namespace)
        world.now += SECOND
    return world


def _served(*namespaces: str, identities: tuple[str, ...] = ("one",), **grant: object) -> World:
    world = _claimed(*namespaces, identities=identities, **grant)
    world.settle()
    return world


def _places(world: World) -> list[str]:
    return [
        each.federation.identity.name for each in world.steps(RecordFederation) if isinstance(each, RecordFederation)
    ]


# placement


@pytest.mark.parametrize(
    ("foreign_count", "reserved", "ours", "pending", "expected"),
    [
        (0, 0, 0, 0, 20),
        (3, 0, 4, 1, 12),
        (3, 5, 4, 1, 10),
        (5, 3, 4, 1, 10),
        (0, 20, 0, 0, 0),
        (20, 0, 0, 0, 0),
        (19, 0, 1, 1, 0),
    ],
)
def test_room_is_what_nobody_holds_keeps_or_is_promised(
    foreign_count: int, reserved: int, ours: int, pending: int, expected: int
) -> None:
    assert room(foreign=foreign_count, reserved=reserved, ours=ours, pending=pending) == expected


def test_ties_go_by_the_order_in_the_grant() -> None:
    assert _places(_claimed("a", "b", "c", identities=("two", "one"))) == ["id-two", "id-one", "id-two"]


def test_the_identity_that_can_write_soonest_comes_first() -> None:
    world = _claimed("a", "b", "c", identities=("one", "two"))
    world.lanes = {identity_id("one"): Lane(6 * SECOND)}

    assert _places(world) == ["id-two", "id-two", "id-one"]


def test_what_waits_in_a_lane_counts() -> None:
    world = _claimed("a", "b", identities=("one", "two"))
    world.lanes = {identity_id("one"): Lane(queued=5)}

    assert _places(world) == ["id-two", "id-two"]


def test_claims_are_placed_in_the_order_they_came() -> None:
    world = _claimed("z", "a", reserved=19)

    assert [each.unit for each in world.steps(RecordFederation)] == ["z/mine"]
    assert world.ready("a/mine").reason is Reason.POOL_EXHAUSTED


def test_an_exhausted_pool_says_how_many_slots_are_missing() -> None:
    world = _claimed("a", "b", "c", reserved=19)

    condition = world.of_grant(ConditionType.CAPACITY_AVAILABLE)

    assert (condition.status, condition.reason) == (Status.FALSE, Reason.POOL_EXHAUSTED)
    assert condition.message.startswith("2 slot(s)")


def test_who_waits_for_a_turn_that_is_far_off_has_a_slot_and_who_finds_none_is_told_so() -> None:
    world = _claimed(*"abcdefg", reserved=15)
    world.limits = replace(world.limits, horizon=SECOND)

    told = [world.ready(f"{each}/mine").reason for each in "abcdefg"]

    assert [each.unit for each in world.steps(RecordFederation)] == ["a/mine"]
    assert told == [Reason.AWAITING_WRITE] * 5 + [Reason.POOL_EXHAUSTED] * 2
    assert world.plan().look_again == world.now + 3 * SECOND, "when the second one's turn is near"


def test_credentials_of_others_take_room() -> None:
    world = _claimed("a", "b")
    world.list_identity(identity_id("one"), *(foreign(f"ci-{number}", f"repo:{number}") for number in range(19)))

    assert len(_places(world)) == 1


def test_entries_of_another_grant_on_the_identity_take_room() -> None:
    world = _claimed("a", reserved=19)
    entry = _served("x").federation("x")
    world.other_federations = (replace(entry, grant_name="old"),)

    assert _places(world) == []


def test_an_identity_that_azure_called_full_takes_nothing() -> None:
    world = _claimed("a", identities=("one", "two"))
    one = identity_id("one")
    world.identities[one] = replace(world.identities[one], full=True)

    assert _places(world) == ["id-two"]


def test_an_identity_that_was_never_listed_takes_nothing_yet() -> None:
    world = _claimed("a")
    world.identities.clear()

    assert world.steps() == []
    assert world.ready("a/mine").reason is Reason.AWAITING_LIST


def test_nothing_is_placed_before_the_whole_pool_is_in_view() -> None:
    world = _claimed("a", identities=("one", "two"))
    del world.identities[identity_id("two")]

    assert world.steps() == []
    assert world.ready("a/mine").reason is Reason.AWAITING_LIST


def test_an_identity_whose_first_list_failed_takes_nothing_yet() -> None:
    world = _claimed("a")
    one = identity_id("one")
    world.identities[one] = replace(world.identities[one], listed_at=None, problem=Reason.AZURE_UNAVAILABLE)

    assert world.steps() == []
    assert world.ready("a/mine").reason is Reason.AZURE_UNAVAILABLE


def test_an_identity_that_does_not_exist_is_named_with_its_field() -> None:
    world = _claimed("a")
    one = identity_id("one")
    world.identities[one] = replace(world.identities[one], listed_at=None, problem=Reason.IDENTITY_NOT_FOUND)

    assert world.steps() == []
    assert world.ready("a/mine").reason is Reason.IDENTITY_NOT_FOUND
    assert world.of_grant(ConditionType.POOL_READY).message.startswith("spec.identities[0].resourceId")


def test_a_passing_trouble_of_the_list_does_not_stop_placement() -> None:
    world = _claimed("a")
    one = identity_id("one")
    world.identities[one] = replace(world.identities[one], problem=Reason.AZURE_UNAVAILABLE)

    assert _places(world) == ["id-one"]


def _refused() -> World:
    """The ledger has an entry for *a*, and its write was refused by a lock; *b* has no place yet."""
    world = _claimed("a", "b")
    world.do(world.steps(RecordFederation)[0])
    world.fail("a/mine", WriteCredential, Reason.AZURE_LOCKED)
    return world


def test_an_identity_that_refused_a_write_takes_nothing_new_while_that_is_tried_again() -> None:
    world = _refused()

    for _ in range(2):
        assert _places(world) == []
        assert world.ready("b/mine").reason is Reason.AZURE_LOCKED
        world.now += 30 * SECOND  # its time has come, and it is being tried


@pytest.mark.parametrize("name", ["ours", "by-hand"])
def test_a_refusal_of_what_is_not_to_be_written_any_more_shuts_its_identity_to_nobody(name: str) -> None:
    """Others have written under its name, or its trust under a name of theirs: nobody would ever try it again."""
    world = _refused()
    given = world.federation("a").credential
    theirs = foreign(given.name, "by-hand") if name == "ours" else foreign("by-hand", given.subject, given.issuer)
    world.list_identity(identity_id("one"), theirs)

    assert _places(world) == ["id-one"]


def test_a_refusal_that_a_brake_keeps_from_being_tried_again_shuts_its_identity_to_nobody() -> None:
    world = _served(*(f"team-{number}" for number in range(6)))
    world.namespace("a", "b")
    world.claim("a")
    world.do(world.steps(RecordFederation)[0])
    world.fail("a/mine", WriteCredential, Reason.AZURE_LOCKED)
    world.edit(namespaces=NamespaceRule(names=("b",)))
    world.claim("b")
    assert world.plan().held
    assert (_places(world), world.steps(WriteCredential)) == ([], [])

    world.now += 2 * MINUTE

    assert _places(world) == ["id-one"]


def test_identities_of_two_tenants_grant_nothing_new() -> None:
    world = _claimed("a", identities=("one", "two"))
    world.list_identity(identity_id("two"), tenant="tenant-2")

    assert world.steps() == []
    assert world.of_grant(ConditionType.POOL_READY).reason is Reason.TENANTS_DISAGREE


def test_a_claim_keeps_its_identity_when_another_could_write_sooner() -> None:
    world = _claimed("a", identities=("one", "two"))
    world.do(world.steps(RecordFederation)[0])
    world.lanes = {identity_id("one"): Lane(600 * SECOND)}

    write = world.steps(WriteCredential)[0]

    assert isinstance(write, WriteCredential)
    assert write.identity == identity_id("one")


def test_a_claim_moves_when_others_took_its_slot() -> None:
    world = _claimed("a", identities=("one", "two"))
    world.do(world.steps(RecordFederation)[0])
    world.list_identity(identity_id("one"), *(foreign(f"ci-{number}", f"repo:{number}") for number in range(20)))
    begin = world.steps(BeginRevocation)[0]
    world.settle()

    assert isinstance(begin, BeginRevocation)
    assert begin.cause is Reason.IDENTITY_FULL
    assert world.federation("a").identity == identity_id("two")
    assert is_true(world.ready("a/mine"))


def test_nothing_is_written_where_others_took_the_slot_while_a_write_there_may_still_land() -> None:
    world = _claimed("a", identities=("one", "two"))
    world.do(world.steps(RecordFederation)[0])
    world.list_identity(identity_id("one"), *(foreign(f"ci-{number}", f"repo:{number}") for number in range(20)))
    world.in_flight = frozenset({world.federation("a").place})

    assert world.steps() == []
    assert world.ready("a/mine").reason is Reason.IDENTITY_FULL
    world.in_flight = frozenset()
    assert isinstance(world.steps()[0], BeginRevocation)


# drain


def test_a_drained_claim_is_served_by_its_old_identity_until_the_new_one_is_proven() -> None:
    world = _served("a", identities=("one", "two"))
    world.edit(identities=(PoolMember(identity_id("two").text),))
    done = len(world.log)
    world.settle()

    moves = kinds(world.log[done:])

    assert moves.index("AnnotateServiceAccount") < moves.index("BeginRevocation") < moves.index("DeleteCredential")
    assert "WithdrawAnnotation" not in moves
    assert [each.identity.name for each in world.federations.values()] == ["id-two"]
    assert world.accounts["a", "keystead"].client_id == "client-id-two"


def _unread(world: World, name: str, problem: Reason | None = None) -> None:
    """The operator was started anew, and has not read the identity, or may not any more."""
    world.identities[identity_id(name)] = IdentityState(identity_id(name), problem=problem)


@pytest.mark.parametrize("problem", [None, Reason.AZURE_FORBIDDEN], ids=["not read yet", "not to be read any more"])
def test_the_annotation_of_a_claim_that_moved_is_left_alone_while_its_old_identity_is_not_read(
    problem: Reason | None,
) -> None:
    world = _served("a", identities=("one", "two"))
    old = world.federation("a").name
    world.edit(identities=(PoolMember(identity_id("two").text),))
    while not world.federations[old].deleting:
        world.carry_out(world.plan())
    _unread(world, "one", problem)

    assert world.accounts["a", "keystead"].client_id == "client-id-two"
    assert world.steps(WithdrawAnnotation) == []


@pytest.mark.parametrize("manager", ["", "people"])
def test_without_its_identity_read_an_annotation_is_withdrawn_if_nobody_else_wrote_it(manager: str) -> None:
    world = _served("a")
    place = ("a", "keystead")
    world.accounts[place] = replace(world.accounts[place], annotation_managers=(manager,) if manager else ())
    world.edit(namespaces=NamespaceRule(names=("other",)))
    world.carry_out(world.plan())
    world.accounts[place] = replace(world.accounts[place], client_id="client-of-somebody")
    _unread(world, "one")

    assert len(world.steps(WithdrawAnnotation)) == (0 if manager else 1)


@pytest.mark.parametrize("moving", [False, True], ids=["served there", "on the way to another"])
def test_what_names_an_identity_that_is_gone_goes_with_the_last_entry_for_the_account(moving: bool) -> None:
    """All in one plan: nobody would remember it afterwards."""
    world = _served("a", identities=("one", "two"))
    if moving:
        world.edit(identities=(PoolMember(identity_id("two").text),))
        world.do(world.steps(RecordFederation)[0])
    _unread(world, "one", Reason.IDENTITY_NOT_FOUND)
    world.grant = None
    world.settle()

    assert world.federations == {}
    assert world.accounts["a", "keystead"].client_id is None


def test_what_names_an_identity_as_it_was_before_it_was_made_anew_goes_too() -> None:
    world = _served("a")
    state = world.list_identity(identity_id("one"))
    world.identities[state.id] = replace(state, client_id="another-client", principal_id="another")
    world.grant = None
    world.settle()

    assert world.federations == {}
    assert world.accounts["a", "keystead"].client_id is None


def test_a_drain_into_a_full_pool_leaves_everything_working() -> None:
    world = _served("a", identities=("one", "two"))
    world.list_identity(identity_id("two"), *(foreign(f"ci-{number}", f"repo:{number}") for number in range(20)))
    world.edit(identities=(PoolMember(identity_id("two").text),))

    assert world.steps() == []
    assert is_true(world.ready("a/mine"))


# revocation


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        pytest.param(lambda world: world.remove_namespace("a"), Reason.NAMESPACE_DELETED, id="namespace gone"),
        pytest.param(lambda world: world.terminate("a"), Reason.NAMESPACE_DELETED, id="namespace going"),
        pytest.param(lambda world: world.namespace("a"), Reason.NAMESPACE_RECREATED, id="namespace recreated"),
        pytest.param(lambda world: world.claims.clear(), Reason.CLAIM_DELETED, id="claim gone"),
        pytest.param(
            lambda world: world.claims.update({"a/mine": replace(world.claims["a/mine"], deleting=True)}),
            Reason.CLAIM_DELETED,
            id="claim going",
        ),
        pytest.param(
            lambda world: world.claims.update({"a/mine": replace(world.claims["a/mine"], service_account_name="two")}),
            Reason.CLAIM_CHANGED,
            id="claim names another account",
        ),
        pytest.param(
            lambda world: world.namespace("a", uid=world.namespaces["a"].uid, labels={}),
            Reason.NOT_ALLOWED,
            id="no longer allowed",
        ),
        pytest.param(lambda world: world.approve("a", decision=Decision.DENIED), Reason.DENIED, id="denied"),
        pytest.param(lambda world: world.approvals.clear(), Reason.APPROVAL_WITHDRAWN, id="approval withdrawn"),
        pytest.param(lambda world: setattr(world, "grant", None), Reason.GRANT_DELETED, id="grant deleted"),
        pytest.param(lambda world: world.edit(deleting=True), Reason.GRANT_DELETED, id="grant going"),
    ],
)
def test_why_trust_ends(change: object, cause: Reason) -> None:
    world = _claimed("a", approval=ApprovalMode.REQUIRED)
    world.approve("a")
    world.settle()
    assert callable(change)
    change(world)

    begin = world.steps(BeginRevocation)

    assert [each.cause for each in begin if isinstance(each, BeginRevocation)] == [cause]


def test_an_entry_that_somebody_deleted_is_revoked_and_rebuilt() -> None:
    world = _served("a")
    entry = world.federation("a")
    world.federations[entry.name] = replace(entry, deleting=True)
    verdict = next(each for each in world.plan().federations if each.name == entry.name)
    world.settle()

    assert verdict.conditions[-1].reason is Reason.FEDERATION_DELETED
    assert is_true(world.ready("a/mine"))
    assert len(world.credentials()) == 1


def test_a_grant_that_retains_forgets_without_deleting() -> None:
    world = _served("a", revocation=Revocation.RETAIN)
    world.remove_namespace("a")

    assert kinds(world.steps()) == ["BeginRevocation", "ForgetFederation"]


def test_an_identity_that_is_gone_trusts_nobody_and_the_ledger_says_so() -> None:
    world = _served("a")
    _unread(world, "one", Reason.IDENTITY_NOT_FOUND)

    federated = next(each for each in world.plan().federations[0].conditions if each.type is ConditionType.FEDERATED)

    assert (federated.status, federated.reason) == (Status.FALSE, Reason.IDENTITY_NOT_FOUND)


def test_an_identity_that_is_gone_leaves_nothing_to_revoke() -> None:
    world = _served("a")
    one = identity_id("one")
    world.identities[one] = replace(world.identities[one], problem=Reason.IDENTITY_NOT_FOUND)
    world.remove_namespace("a")

    assert kinds(world.steps()) == ["BeginRevocation", "ForgetFederation"]


def test_a_delete_that_failed_waits_for_its_time_and_says_why() -> None:
    world = _served("a")
    entry = world.federation("a")
    world.remove_namespace("a")
    world.federations[entry.name] = replace(entry, deleting=True)
    world.fail(entry.name, DeleteCredential, Reason.AZURE_LOCKED)

    plan = world.plan()

    assert [getattr(step, "not_before", None) for step in plan.steps] == [world.now + 30 * SECOND, None]
    assert plan.look_again == world.now + 30 * SECOND
    assert "it went wrong" in plan.federations[0].conditions[-1].message


# failures


@pytest.mark.parametrize(
    ("step", "remaining"),
    [
        pytest.param(RecordFederation, [], id="the ledger"),
        pytest.param(
            AnnotateServiceAccount,
            ["RecordFederation", "WriteCredential", "EnsureServiceAccount", "Verify"],
            id="annotation",
        ),
        pytest.param(DeleteClaim, None, id="a step that is not needed"),
    ],
)
def test_a_failed_step_holds_itself_and_what_follows(step: type[Step], remaining: list[str] | None) -> None:
    world = _claimed("a")
    whole = kinds(world.steps())
    world.fail("a/mine", step, Reason.KUBERNETES_FORBIDDEN)

    assert kinds(world.steps()) == (whole if remaining is None else remaining)


def test_a_failed_write_waits_for_its_time_and_shows_in_the_condition() -> None:
    world = _claimed("a")
    world.fail("a/mine", WriteCredential, Reason.AZURE_FORBIDDEN)

    write = world.steps(WriteCredential)[0]

    assert isinstance(write, WriteCredential)
    assert write.not_before == world.now + 30 * SECOND
    assert world.ready("a/mine").reason is Reason.AZURE_FORBIDDEN


def test_a_failure_without_a_time_waits_for_a_change() -> None:
    world = _claimed("a")
    world.fail("a/mine", WriteCredential, Reason.AZURE_POLICY, retry=None)

    assert kinds(world.steps()) == ["RecordFederation"]


def test_a_failure_whose_time_has_come_holds_nothing() -> None:
    world = _claimed("a")
    whole = world.steps()
    world.fail("a/mine", RecordFederation, Reason.KUBERNETES_CONFLICT)
    world.now += MINUTE

    assert kinds(world.steps()) == kinds(whole)


# claims


def test_an_automatic_grant_makes_a_claim_for_each_allowed_namespace() -> None:
    world = World()
    world.namespace("b", "a")
    world.namespace("other", labels={})
    world.namespace("going", terminating=True)

    assert [each.unit for each in world.steps(CreateClaim)] == ["a/shop", "b/shop"]


def test_a_grant_on_request_makes_no_claims() -> None:
    world = World(a_grant(claims=ClaimMode.ON_REQUEST))
    world.namespace("a")

    assert world.steps() == []


@pytest.mark.parametrize(("count", "minutes"), [(1, 1), (2, 2), (4, 8), (7, 60), (50, 60)])
def test_a_claim_that_is_deleted_again_and_again_comes_back_ever_later(count: int, minutes: int) -> None:
    world = World()
    world.namespace("a")
    world.deletions["a"] = (count, world.now)

    before = world.plan()
    world.now += minutes * MINUTE

    assert before.steps == ()
    assert before.look_again == world.now
    assert kinds(world.steps()) == ["CreateClaim"]


def test_an_automatic_claim_goes_once_nothing_stands_behind_it() -> None:
    world = World()
    world.namespace("a")
    world.settle()
    world.namespaces["a"] = replace(world.namespaces["a"], labels={})
    first = world.steps(DeleteClaim)
    world.settle()

    assert first == []
    assert kinds(world.log)[-2:] == ["ForgetFederation", "DeleteClaim"]


def test_a_tenants_claim_is_never_deleted() -> None:
    world = _served("a")
    world.namespaces["a"] = replace(world.namespaces["a"], labels={})
    world.settle()

    assert world.ready("a/mine").reason is Reason.NOT_ALLOWED
    assert list(world.claims) == ["a/mine"]


def test_the_claim_that_came_first_serves_the_account() -> None:
    world = _claimed("a", max_claims_per_namespace=2)
    world.claim("a", "later")

    assert world.ready("a/later").reason is Reason.SUBJECT_TAKEN
    assert "mine" in world.ready("a/later").message
    assert [each.unit for each in world.steps(RecordFederation)] == ["a/mine"]


def test_a_claim_of_another_grant_that_came_first_serves_the_account() -> None:
    world = World(a_grant(claims=ClaimMode.ON_REQUEST))
    world.namespace("a")
    world.claim("a", "theirs", grant="other", service_account_name="keystead")
    world.now += SECOND
    world.claim("a")

    assert world.ready("a/mine").reason is Reason.SUBJECT_TAKEN


def test_a_served_claim_keeps_its_account_from_one_that_claims_to_be_older() -> None:
    world = _served("a", max_claims_per_namespace=2)
    world.claim("a", "older", created_at=NOW - MINUTE)

    assert is_true(world.ready("a/mine"))
    assert world.ready("a/older").reason is Reason.SUBJECT_TAKEN


def test_the_claim_that_came_first_has_the_store() -> None:
    world = World(a_grant(claims=ClaimMode.ON_REQUEST, max_claims_per_namespace=3))
    world.limits = replace(world.limits, service_account_names=frozenset({"keystead", "two", "three"}))
    world.namespace("a")
    world.claim("a", "first", created_at=NOW)
    world.claim("a", "late", created_at=NOW + SECOND, service_account_name="two")
    world.claim("a", "elsewhere", created_at=NOW + SECOND, service_account_name="three", secret_store_name="mine")
    world.settle()

    assert is_true(world.ready("a/first"))
    assert is_true(world.ready("a/elsewhere"))
    assert world.ready("a/late").reason is Reason.STORE_CONFLICT
    assert "VaultClaim first" in world.ready("a/late").message
    assert is_true(world.condition("a/late", ConditionType.VERIFIED))


def test_claims_above_the_limit_are_refused() -> None:
    world = _claimed("a")
    world.limits = replace(world.limits, service_account_names=frozenset({"keystead", "two"}))
    world.claim("a", "second", service_account_name="two")

    assert world.ready("a/second").reason is Reason.TOO_MANY_CLAIMS


def test_an_account_name_that_the_operator_may_not_use_is_refused() -> None:
    world = World(a_grant(claims=ClaimMode.ON_REQUEST))
    world.namespace("a")
    world.claim("a", service_account_name="default")

    condition = world.ready("a/mine")

    assert condition.reason is Reason.SERVICE_ACCOUNT_NAME_NOT_ALLOWED
    assert "keystead" in condition.message


def test_a_claim_without_a_grant_says_so_in_every_condition() -> None:
    claim = World().claim("a", grant="nobody")

    verdict = orphan_claim_verdict(claim)

    assert {each.reason for each in verdict.conditions} == {Reason.GRANT_NOT_FOUND}
    assert len(verdict.conditions) == 6


def test_a_claim_that_awaits_review_holds_no_slot() -> None:
    world = _claimed("a", "b", approval=ApprovalMode.REQUIRED, reserved=19)
    world.approve("b")

    assert [each.unit for each in world.steps(RecordFederation)] == ["b/mine"]
    verdict = world.plan().grant
    assert verdict is not None
    assert (verdict.total, verdict.awaiting_review) == (2, 1)


# frozen grants and brakes


def test_an_invalid_edit_takes_nothing_from_what_works() -> None:
    world = _served("a")
    before = next(iter(world.plan().claims)).conditions
    world.edit(vault_url="nonsense", namespaces=NamespaceRule())

    plan = world.plan()

    assert plan.steps == ()
    assert plan.claims[0].conditions == before
    assert world.of_grant(ConditionType.VALID).status is Status.FALSE


def test_an_identity_in_two_grants_grants_nothing_new_and_harms_nothing() -> None:
    world = _served("a")
    world.namespace("b")
    world.claim("b")
    world.other_grants = (a_grant("other"),)

    assert world.steps() == []
    assert is_true(world.ready("a/mine"))
    assert not is_true(world.ready("b/mine"))


def test_a_frozen_grant_still_revokes_for_a_deleted_namespace_and_a_denial() -> None:
    world = _served("a", "b", "c")
    world.edit(identities=())
    world.remove_namespace("a")
    world.approve("b", decision=Decision.DENIED)

    causes = {each.cause for each in world.steps(BeginRevocation) if isinstance(each, BeginRevocation)}

    assert causes == {Reason.NAMESPACE_DELETED, Reason.DENIED}


def test_a_frozen_grant_does_not_revoke_what_an_edit_made_void() -> None:
    world = _claimed("a", approval=ApprovalMode.REQUIRED)
    world.approve("a")
    world.settle()
    world.edit(vault_url="nonsense")

    assert world.steps() == []
    assert is_true(world.ready("a/mine"))


NAMES = tuple(f"ns-{number}" for number in range(8))


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"namespaces": NamespaceRule(names=("other",))}, id="another rule"),
        pytest.param({"approval": ApprovalMode.REQUIRED}, id="review from now on"),
    ],
)
def test_an_edit_that_takes_much_away_waits_for_a_confirmation(edit: dict[str, object]) -> None:
    world = _served(*NAMES)
    world.edit(**edit)
    plan = world.plan()
    assert world.grant is not None
    wanted = world.of_grant(ConditionType.READY)
    world.edit(generation=world.grant.generation, confirmed_generation=world.grant.generation)

    assert plan.steps == ()
    assert {each.reason for each in plan.held} == {Reason.AWAITING_CONFIRMATION}
    assert wanted.reason is Reason.AWAITING_CONFIRMATION
    assert f'"{world.grant.generation}"' in wanted.message
    assert len(world.steps(BeginRevocation)) == len(NAMES)


def test_an_identity_that_is_gone_takes_no_brake_off_the_others() -> None:
    world = _served(*NAMES, identities=("one", "two"))
    world.edit(namespaces=NamespaceRule(names=("other",)))
    _unread(world, "one", Reason.IDENTITY_NOT_FOUND)

    assert world.steps(BeginRevocation) == []
    assert world.of_grant(ConditionType.READY).reason is Reason.AWAITING_CONFIRMATION


def test_another_vault_under_review_waits_for_a_confirmation() -> None:
    world = _claimed(*NAMES, approval=ApprovalMode.REQUIRED)
    for name in NAMES:
        world.approve(name)
    world.settle()
    world.edit(vault_url="https://kv-other.vault.azure.net")

    assert world.steps() == []
    assert world.of_grant(ConditionType.READY).reason is Reason.AWAITING_CONFIRMATION


def test_it_waits_too_where_the_words_stand_that_came_after_the_first() -> None:
    world = _claimed(*NAMES, approval=ApprovalMode.REQUIRED)
    for name in NAMES:
        world.approve(name)
    world.settle()
    world.approvals.clear()
    for name in NAMES:
        world.approve(name, by="rob")
    before = world.steps()
    world.edit(vault_url="https://kv-other.vault.azure.net")

    assert before == []
    assert world.steps() == []
    assert world.of_grant(ConditionType.READY).reason is Reason.AWAITING_CONFIRMATION


def test_approvals_that_were_asked_for_later_are_withdrawn_without_a_confirmation() -> None:
    world = _served(*NAMES)
    for name in NAMES:
        world.approve(name)
    world.edit(approval=ApprovalMode.REQUIRED)
    world.settle()
    world.approvals.clear()

    assert len(world.steps(BeginRevocation)) == len(NAMES)


def test_withdrawn_approvals_need_no_confirmation() -> None:
    world = _claimed(*NAMES, approval=ApprovalMode.REQUIRED)
    for name in NAMES:
        world.approve(name)
    world.settle()
    world.approvals.clear()

    assert len(world.steps(BeginRevocation)) == len(NAMES)


def test_a_confirmation_of_an_older_generation_confirms_nothing() -> None:
    world = _served(*NAMES)
    world.edit(namespaces=NamespaceRule(names=("other",)), confirmed_generation=1)

    assert world.steps() == []


@pytest.mark.parametrize("kept", [3, 8])
def test_deleted_namespaces_need_no_confirmation(kept: int) -> None:
    world = _served(*NAMES)
    for name in NAMES[:kept]:
        world.remove_namespace(name)

    assert len(world.steps(BeginRevocation)) == kept


def test_deleted_namespaces_need_no_confirmation_while_their_claims_are_still_seen() -> None:
    world = _served(*NAMES)
    world.namespaces.clear()

    causes = {each.cause for each in world.steps(BeginRevocation) if isinstance(each, BeginRevocation)}

    assert len(world.steps(BeginRevocation)) == len(NAMES)
    assert causes == {Reason.NAMESPACE_DELETED}


def test_deleted_namespaces_do_not_count_against_an_edit_that_takes_little_away() -> None:
    world = _served(*NAMES)
    *gone, last = NAMES
    for name in gone:
        world.remove_namespace(name)
    world.namespaces[last] = replace(world.namespaces[last], labels={})

    assert len(world.steps(BeginRevocation)) == len(NAMES)


def test_an_edit_that_takes_little_away_needs_no_confirmation() -> None:
    world = _served(*NAMES[:5])
    world.edit(namespaces=NamespaceRule(names=("other",)))

    assert len(world.steps(BeginRevocation)) == 5


@pytest.mark.parametrize("by", ["grant", "operator"])
def test_observing_only_plans_everything_and_does_nothing(by: str) -> None:
    world = _claimed("a")
    whole = world.plan().steps
    if by == "grant":
        world.edit(observe_only=True, generation=1)
    else:
        world.limits = replace(world.limits, observe_only=True)

    plan = world.plan()

    assert plan.steps == ()
    assert tuple(each.step for each in plan.held) == whole
    assert world.ready("a/mine").reason is Reason.OBSERVE_ONLY
    assert world.of_grant(ConditionType.READY).reason is Reason.OBSERVE_ONLY


# proof


def _entry_at(world: World, since: datetime.datetime) -> str:
    entry = world.federation("a")
    condition = Condition("Federated", Status.TRUE, "Federated", "", since)
    world.federations[entry.name] = replace(entry, conditions=(condition,), verified_at=None, last_exchange=None)
    world.exchanges.clear()
    return entry.name


def _due(world: World) -> datetime.datetime:
    verify = world.steps(Verify)[0]
    assert isinstance(verify, Verify)
    return verify.not_before


def test_the_first_try_waits_for_the_propagation() -> None:
    world = _served("a")
    _entry_at(world, NOW)

    assert _due(world) == NOW + 20 * SECOND


@pytest.mark.parametrize(
    ("code", "failing", "wait"),
    [
        ("AADSTS700213", 0, 30),
        ("AADSTS700213", 30, 30),
        ("AADSTS700213", 240, 240),
        ("AADSTS700213", 9000, 600),
        ("AADSTS7002138", 0, 120),
        ("AADSTS999999", 0, 30),
    ],
)
def test_tries_after_a_refusal_come_ever_more_slowly(code: str, failing: int, wait: int) -> None:
    world = _served("a")
    name = _entry_at(world, NOW)
    world.now = last = NOW + 20 * SECOND + failing * SECOND
    world.exchanges[name] = Exchange(code, last)

    assert _due(world) == last + wait * SECOND


@pytest.mark.parametrize("code", sorted(codes.CODES))
def test_each_code_has_a_reason_that_the_claim_shows(code: str) -> None:
    world = _served("a")
    name = _entry_at(world, NOW)
    world.exchanges[name] = Exchange(code, NOW + 20 * SECOND)

    condition = world.condition("a/mine", ConditionType.VERIFIED)

    assert (condition.status, condition.reason) == (Status.FALSE, codes.CODES[code].reason)
    assert code in condition.message


LATER = NOW + 3600 * SECOND
"""What a clock said before it was set back."""


def test_after_a_clock_was_set_back_nobody_waits_for_what_it_said() -> None:
    world = _served("a")
    world.now = NOW
    name = _entry_at(world, LATER)
    since = _due(world)
    world.exchanges[name] = Exchange("AADSTS700213", LATER)
    refused = _due(world)
    world.fail("a/mine", Verify, Reason.KUBERNETES_UNAVAILABLE)
    world.failures["a/mine"] = replace(world.failures["a/mine"], at=LATER, retry_at=LATER + 30 * SECOND)

    assert since == refused == _due(world) == NOW + 20 * SECOND


def test_after_a_clock_was_set_back_what_is_proven_now_counts() -> None:
    world = _served("a")
    world.now = NOW
    name = _entry_at(world, LATER)
    world.federations[name] = replace(world.federations[name], last_exchange=Exchange("AADSTS700213", LATER))
    world.exchanges[name] = Exchange("OK", NOW)

    assert is_true(world.condition("a/mine", ConditionType.VERIFIED))


def test_after_a_clock_was_set_back_a_proof_of_before_counts_no_more_than_it_did() -> None:
    world = _served("a")
    world.now = NOW
    name = _entry_at(world, LATER)
    world.federations[name] = replace(world.federations[name], verified_at=NOW)

    assert not is_true(world.condition("a/mine", ConditionType.VERIFIED))


def test_after_a_clock_was_set_back_a_claim_that_was_deleted_comes_back() -> None:
    world = World()
    world.namespace("a")
    world.deletions["a"] = (3, LATER)

    assert len(world.steps(CreateClaim)) == 1


def test_a_proof_is_renewed_once_a_heartbeat() -> None:
    world = _served("a")
    plan = world.plan()
    assert plan.look_again is not None
    elapsed = plan.look_again - NOW
    world.now = plan.look_again

    assert 0.89 < elapsed / world.limits.heartbeat < 1.11
    assert kinds(world.steps()) == ["Verify"]


def test_a_refused_heartbeat_shows_and_takes_nothing_away() -> None:
    world = _served("a")
    entry = world.federation("a")
    world.now += 25 * 60 * MINUTE
    world.exchanges[entry.name] = Exchange("AADSTS700213", world.now)

    assert world.condition("a/mine", ConditionType.VERIFIED).reason is Reason.SUBJECT_MISMATCH
    assert [each for each in kinds(world.steps()) if each != "Verify"] == []


def test_a_heartbeat_without_an_answer_proves_nothing() -> None:
    world = _served("a")
    entry = world.federation("a")
    world.now += 25 * 60 * MINUTE
    world.exchanges[entry.name] = Exchange(str(Reason.AZURE_UNAVAILABLE), world.now)

    assert is_true(world.condition("a/mine", ConditionType.VERIFIED))


def test_a_credential_that_was_deleted_in_azure_is_written_and_proven_again() -> None:
    world = _served("a")
    world.list_identity(identity_id("one"))
    done = len(world.log)
    lost = world.condition("a/mine", ConditionType.FEDERATED)
    world.settle()

    assert not is_true(lost)
    assert kinds(world.log[done:])[:2] == ["WriteCredential", "Verify"]
    assert is_true(world.ready("a/mine"))


def test_a_restart_flips_no_condition_before_the_lists_are_read() -> None:
    world = _served("a")
    before = world.plan().claims
    one = identity_id("one")
    world.identities[one] = replace(world.identities[one], listed_at=None, credentials=())

    plan = world.plan()

    assert plan.steps == ()
    assert [each.conditions for each in plan.claims] == [each.conditions for each in before]
    world.identities.clear()
    assert is_true(world.ready("a/mine"))


# stores and accounts

STORE = Store(
    "a",
    "azure-store",
    vault_url=VAULT,
    auth_type="WorkloadIdentity",
    service_account_name="keystead",
    provider="azurekv",
    ready=False,
    provider_managers=("kubectl-client-side-apply",),
)


def test_a_store_that_already_agrees_is_nudged_and_left_alone() -> None:
    world = _claimed("a")
    world.stores["a", "azure-store"] = STORE

    assert kinds(world.steps())[-3:] == ["AnnotateServiceAccount", "NudgeStore", "NudgeExternalSecrets"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"vault_url": "https://kv-shpo.vault.azure.net"}, "kv-shpo", id="mistyped vault"),
        pytest.param({"auth_type": "ServicePrincipal"}, "ServicePrincipal", id="a principal with a secret"),
        pytest.param({"service_account_name": "two"}, "two", id="another account"),
        pytest.param(
            {"tenant_id": TENANT, "vault_url": "https://kv-x.vault.azure.net"}, TENANT, id="a tenant and another vault"
        ),
        pytest.param({"provider": "vault"}, "vault", id="another provider"),
        pytest.param({"controller": "dev"}, "dev", id="another controller"),
    ],
)
def test_a_store_of_somebody_who_disagrees_is_a_conflict(change: dict[str, str], told: str) -> None:
    world = _served("a")
    world.stores["a", "azure-store"] = replace(STORE, **change)  # type: ignore[arg-type]  # the table's fields

    condition = world.condition("a/mine", ConditionType.STORE_READY)

    assert condition.reason is Reason.STORE_CONFLICT
    assert "kubectl-client-side-apply" in condition.message
    assert told in condition.message
    assert world.ready("a/mine").reason is Reason.STORE_CONFLICT
    assert world.steps() == []


def test_a_conflicting_store_shows_before_the_exchange_is_proven() -> None:
    world = _claimed("a")
    world.stores["a", "azure-store"] = replace(STORE, vault_url="https://kv-shpo.vault.azure.net")

    assert world.ready("a/mine").reason is Reason.STORE_CONFLICT
    assert world.steps(AnnotateServiceAccount, ApplyStore) == []


def test_a_field_that_a_store_lacks_is_added() -> None:
    world = _served("a")
    world.stores["a", "azure-store"] = replace(STORE, auth_type="", service_account_name="")

    applied = world.steps(ApplyStore)[0]

    assert isinstance(applied, ApplyStore)
    assert not applied.own


def test_a_store_of_ours_that_drifted_is_applied_again() -> None:
    world = _served("a")
    store = world.stores["a", "azure-store"]
    world.stores["a", "azure-store"] = replace(store, vault_url="https://kv-x.vault.azure.net")

    assert kinds(world.steps()) == ["ApplyStore", "NudgeExternalSecrets"]


def test_a_deleted_store_comes_back() -> None:
    world = _served("a")
    del world.stores["a", "azure-store"]

    assert kinds(world.steps()) == ["ApplyStore", "NudgeExternalSecrets"]


def test_annotations_of_another_manager_are_a_conflict() -> None:
    world = _served("a")
    world.accounts["a", "keystead"] = ServiceAccount("a", "keystead", "u", "x", TENANT, annotation_managers=("helm",))

    condition = world.ready("a/mine")

    assert condition.reason is Reason.SERVICE_ACCOUNT_CONFLICT
    assert "helm" in condition.message
    assert world.steps() == []


def test_a_failing_store_is_nudged_once_and_says_so() -> None:
    world = _served("a")
    world.stores["a", "azure-store"] = replace(world.stores["a", "azure-store"], ready=False)
    first = world.plan()
    world.report(first)

    assert kinds(first.steps) == ["NudgeStore"]
    assert world.steps(NudgeStore) == []
    assert world.ready("a/mine").reason is Reason.STORE_NOT_READY


def test_external_secrets_are_nudged_when_their_store_begins_to_work() -> None:
    world = _served("a")
    place = ("a", "azure-store")
    world.stores[place] = replace(world.stores[place], ready=False)
    world.report(world.plan())
    world.stores[place] = replace(world.stores[place], ready=True)

    assert kinds(world.steps()) == ["NudgeExternalSecrets"]
    assert world.steps(NudgeExternalSecrets) != []


def test_a_store_that_nobody_has_looked_at_yet_counts_as_applied() -> None:
    world = _served("a")
    place = ("a", "azure-store")
    world.stores[place] = replace(world.stores[place], ready=None)

    assert world.condition("a/mine", ConditionType.STORE_READY).reason is Reason.STORE_APPLIED
    assert world.steps() == []


# what people are told


def test_a_served_claim_says_where_and_how() -> None:
    world = _served("a")
    verdict = world.plan().claims[0]

    assert [each.type for each in verdict.conditions] == [
        "Accepted",
        "Approved",
        "Federated",
        "Verified",
        "StoreReady",
        "Ready",
    ]
    assert {each.status for each in verdict.conditions} == {Status.TRUE}
    assert (verdict.subject, verdict.client_id, verdict.tenant_id) == (subject("a"), "client-id-one", TENANT)
    assert (verdict.vault_url, verdict.identity) == (VAULT, "id-one")
    assert verdict.federation_name == world.federation("a").name


def test_the_grant_shows_its_pool_and_its_claims() -> None:
    world = _served("a", "b", reserved=2)
    one = identity_id("one")
    world.identities[one] = replace(
        world.identities[one], credentials=(*world.identities[one].credentials, foreign("ci"))
    )
    verdict = world.plan().grant

    assert verdict is not None
    row = verdict.identities[0]
    assert (row.used, row.foreign, row.reserved, row.room) == (2, 1, 2, 16)
    assert (verdict.total, verdict.ready, verdict.blocked) == (2, 2, 0)
    assert [each.type for each in verdict.conditions] == [
        "Ready",
        "Valid",
        "PoolReady",
        "CapacityAvailable",
        "IssuerTrusted",
        "FourEyesEnforced",
    ]
    assert is_true(verdict.conditions[0])
    assert verdict.conditions[-1].reason is Reason.GUARDS_ABSENT


def test_an_issuer_that_entra_cannot_read_shows_on_the_grant() -> None:
    world = _served("a")
    name = _entry_at(world, NOW)
    world.exchanges[name] = Exchange("AADSTS50166", world.now)

    condition = world.of_grant(ConditionType.ISSUER_TRUSTED)

    assert (condition.status, condition.reason) == (Status.FALSE, Reason.ISSUER_UNREACHABLE)
    assert "https://oidc.example.test/cluster-a/" in condition.message


def test_a_grant_that_is_gone_has_nobody_left_to_tell() -> None:
    world = _served("a")
    world.grant = None

    assert world.plan().grant is None


def test_nothing_is_said_anew_when_nothing_changed() -> None:
    world = _served("a", "b")
    first = world.plan()
    world.now += MINUTE

    assert world.plan() == first


def test_an_adopted_credential_is_revoked_under_its_own_name() -> None:
    world = _served("a")
    entry = world.federation("a")
    held = Credential("terraform-made", entry.credential.issuer, entry.credential.subject, entry.credential.audience)
    world.federations[entry.name] = replace(entry, credential=held, adopted=True)
    world.list_identity(entry.identity, held)
    kept = world.steps()
    world.remove_namespace("a")
    world.settle()

    assert kept == []
    assert world.credentials() == []


@pytest.mark.parametrize("elsewhere", [True, False], ids=["another identity has room", "there is no other"])
def test_a_claim_is_not_placed_where_its_name_is_somebody_elses(elsewhere: bool) -> None:
    world = World(grant=a_grant(identities=("one", "two") if elsewhere else ("one",)))
    world.namespace("web")
    world.claim("web")
    one = identity_id("one")
    name = credential_name(CLUSTER, world.namespaces["web"].uid, "web", "keystead", one)
    world.list_identity(one, foreign(name, "by-hand"))

    plan = make_plan(world.snapshot())

    written = [step.identity for step in plan.steps if isinstance(step, WriteCredential)]
    assert written == ([identity_id("two")] if elsewhere else [])
    assert elsewhere or plan.claims[0].conditions[-1].reason is Reason.TUPLE_TAKEN
