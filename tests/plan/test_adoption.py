"""What others made is taken over when an admin says so, and then lives and ends like our own."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from keystead.model.conditions import ConditionType
from keystead.model.credentials import Credential
from keystead.model.ids import NamespaceUid
from keystead.model.reasons import Reason
from keystead.model.records import ApprovalMode, ClaimMode, NamespaceRule, Revocation, ServiceAccount, Store
from keystead.plan.adoption import read_word
from keystead.plan.naming import credential_name, is_ours
from keystead.plan.steps import (
    AnnotateServiceAccount,
    ApplyStore,
    BeginRevocation,
    DeleteCredential,
    ForgetFederation,
    RecordFederation,
    Verify,
    WithdrawAnnotation,
    WriteCredential,
)
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

ONE, TWO = identity_id("one"), identity_id("two")


def made(name: str = "terraform-shop", namespace: str = "shop", **changed: str) -> Credential:
    """By Terraform, for exactly our account."""
    return replace(foreign(name, subject(namespace), CLUSTER.issuer), **changed)


def migrating(adopt: str = "*", *held: Credential, identities: Iterable[str] = ("one",)) -> World:
    """A namespace that others serve already, and a grant that carries the word."""
    world = World(a_grant(identities=identities, adopt=adopt))
    world.namespace("shop")
    world.claim("shop")
    world.list_identity(ONE, *(held or (made(),)))
    return world


def adopted(**fields: object) -> World:
    world = migrating()
    world.list_identity(TWO)
    if fields:
        world.edit(**fields)
    world.settle()
    assert world.federation("shop").adopted
    world.log.clear()
    return world


# The word ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named", "everything"),
    [
        ("", set(), False),
        ("*", set(), True),
        ("shop", {"shop"}, False),
        ("shop,bill/eso", {"shop", "bill/eso"}, False),
        (" shop , bill/eso.reader\n  mill ", {"shop", "bill/eso.reader", "mill"}, False),
        ("shop,*", {"shop"}, True),
        (",,", set(), False),
        ("a" * 63, {"a" * 63}, False),
    ],
)
def test_a_word_is_read(text: str, named: set[str], everything: bool) -> None:
    word = read_word(text)

    assert (set(word.named), word.everything, word.problem) == (named, everything, "")


@pytest.mark.parametrize(
    "bad", ["Shop", "shop/", "/eso", "shop/eso/x", "shop*", "**", "a" * 64, "shöp", "shop/E", "-a"]
)
def test_an_entry_that_makes_no_sense_is_named_and_the_others_count(bad: str) -> None:
    word = read_word(f"shop,{bad}")

    assert word.named == {"shop"}
    assert not word.everything
    assert repr(bad[:60]) in word.problem
    assert "keystead.dev/adopt" in word.problem


def test_many_bad_entries_are_counted() -> None:
    assert read_word(",".join(f"B{number}" for number in range(9))).problem.count("'B") == 3
    assert "and 6 more" in read_word(",".join(f"B{number}" for number in range(9))).problem


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("", False),
        ("*", True),
        ("shop", True),
        ("shop/keystead", True),
        ("shop/other", False),
        ("shopping", False),
        ("sho", False),
    ],
)
def test_a_word_covers_what_it_names_and_nothing_else(text: str, covered: bool) -> None:
    assert read_word(text).covers("shop", "keystead") is covered
    assert bool(migrating(text).steps(RecordFederation)) is covered


def test_a_bad_word_is_told_on_the_grant_and_harms_nothing_else() -> None:
    world = migrating("shop,NOT-A-NAME")
    world.namespace("mill")
    world.claim("mill")
    world.settle()

    told = world.of_grant(ConditionType.ADOPTION_VALID)
    assert (told.reason, "'NOT-A-NAME'" in told.message) == (Reason.ADOPTION_INVALID, True)
    assert world.of_grant(ConditionType.READY).reason is Reason.ADOPTION_INVALID
    assert is_true(world.of_grant(ConditionType.VALID))
    assert is_true(world.ready("shop/mine"))
    assert is_true(world.ready("mill/mine"))


def test_a_grant_without_a_word_says_nothing_about_adoption() -> None:
    verdict = migrating("").plan().grant

    assert verdict is not None
    assert ConditionType.ADOPTION_VALID not in {each.type for each in verdict.conditions}


# Taking over -------------------------------------------------------------------------------------------------------


def test_what_is_taken_over_is_recorded_under_its_own_name_and_touched_by_nobody() -> None:
    world = migrating()
    world.settle()

    entry = world.federation("shop")
    assert entry.adopted
    assert entry.credential == made()
    assert entry.identity == ONE
    assert world.credentials() == [made()]
    assert not [step for step in world.log if isinstance(step, WriteCredential | DeleteCredential)]
    assert is_true(world.ready("shop/mine"))


def test_the_ledger_entry_of_an_adopted_credential_has_a_name_of_ours_and_of_no_other_credential() -> None:
    entry = adopted().federation("shop")
    place = (CLUSTER, entry.namespace_uid, "shop", "keystead", ONE)

    assert is_ours(entry.name, CLUSTER)
    names = {
        entry.name,
        credential_name(*place),
        credential_name(*place, "another"),
        credential_name(*place, "TERRAFORM-SHOP"),
    }
    assert len(names) == 3


def test_an_adopted_credential_is_proven_before_anything_is_annotated() -> None:
    world = migrating()
    world.settle()

    order = kinds(world.log, "shop/mine")
    assert order.index("RecordFederation") < order.index("Verify") < order.index("AnnotateServiceAccount")


def test_what_already_says_what_we_would_say_is_left_as_it_is() -> None:
    world = migrating()
    account = ServiceAccount("shop", "keystead", "u", f"client-{ONE.name}", TENANT, annotation_managers=("terraform",))
    store = Store(
        *("shop", "azure-store"),
        vault_url=VAULT,
        auth_type="WorkloadIdentity",
        service_account_name="keystead",
        provider="azurekv",
        ready=True,
        provider_managers=("helm",),
    )
    world.accounts["shop", "keystead"], world.stores["shop", "azure-store"] = account, store
    world.settle()

    assert not [
        step for step in world.log if isinstance(step, AnnotateServiceAccount | ApplyStore | WithdrawAnnotation)
    ]
    assert [step for step in world.log if isinstance(step, Verify)]
    assert world.accounts["shop", "keystead"] == account
    assert world.stores["shop", "azure-store"] == store
    assert is_true(world.ready("shop/mine"))


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (made(audience="api://other"), "its audience is 'api://other'"),
        (made(issuer=CLUSTER.issuer.rstrip("/")), None),
        (made(issuer=CLUSTER.issuer.upper()), None),
        (made(subject=subject("Shop")), None),
        (made(subject=subject("shop") + "/"), None),
        (made(issuer="https://other.example.test/"), None),
    ],
    ids=["audience", "slash", "case of the issuer", "case of the subject", "slash behind the subject", "issuer"],
)
def test_what_does_not_trust_exactly_our_tokens_is_never_taken_over(held: Credential, told: str | None) -> None:
    world = migrating("*", held)
    if told is None:
        world.settle()  # no obstacle either: Azure keeps them apart
        assert is_true(world.ready("shop/mine"))
    else:
        ready = world.ready("shop/mine")
        assert (ready.reason, told in ready.message) == (Reason.TUPLE_TAKEN, True)

    assert held in world.credentials()
    assert not any(each.adopted for each in world.federations.values())
    assert not [step for step in world.log if isinstance(step, DeleteCredential)]


def test_a_trust_that_two_identities_hold_is_not_taken_over() -> None:
    world = migrating(identities=("one", "two"))
    world.list_identity(TWO, made("by-hand"))

    ready = world.ready("shop/mine")

    assert world.steps() == []
    assert ready.reason is Reason.TUPLE_TAKEN
    for name in ("terraform-shop", ONE.name, "by-hand", TWO.name):
        assert name in ready.message


def test_nothing_is_taken_over_before_the_whole_pool_was_read() -> None:
    world = migrating(identities=("one", "two"))
    world.identities[TWO] = replace(world.identities[TWO], listed_at=None)

    assert world.steps() == []
    assert world.ready("shop/mine").reason is Reason.AWAITING_LIST


def test_a_credential_on_an_identity_outside_the_pool_is_not_taken_over() -> None:
    world = adopted()
    world.namespace("mill")
    world.claim("mill")
    world.list_identity(TWO)
    world.list_identity(ONE, made(), made("terraform-mill", "mill"))
    world.edit(identities=a_grant(identities=("two",)).identities)

    ready = world.ready("mill/mine")

    assert ready.reason is Reason.TUPLE_TAKEN
    assert "not in the grant's pool" in ready.message


def test_a_review_comes_before_an_adoption() -> None:
    world = migrating()
    world.edit(approval=ApprovalMode.REQUIRED)
    waits = world.steps()
    world.approve("shop")
    world.settle()

    assert waits == []
    assert world.federation("shop").adopted


def test_an_adopted_credential_takes_one_slot() -> None:
    world = migrating("*", made(), *(foreign(f"ci-{each}", f"repo:{each}") for each in range(3)))
    world.settle()

    verdict = world.plan().grant
    assert verdict is not None
    assert [(row.used, row.foreign, row.room) for row in verdict.identities] == [(1, 3, 16)]


def test_a_full_identity_gives_up_nothing_to_be_taken_over() -> None:
    world = migrating("*", made(), *(foreign(f"ci-{each}", f"repo:{each}") for each in range(19)))
    world.settle()

    assert world.federation("shop").adopted
    assert len(world.credentials()) == 20
    assert is_true(world.ready("shop/mine"))


@pytest.mark.parametrize(("word", "reached"), [("*", False), ("shop", True), ("shop/keystead", True)])
def test_what_bears_the_name_of_another_keystead_has_to_be_named(word: str, reached: bool) -> None:
    """A backup that was restored under the same issuer: the cluster it came from may live."""
    another = replace(CLUSTER, id="ffffffff")
    theirs = made(credential_name(another, world_uid(), "shop", "keystead", ONE))

    assert bool(migrating(word, theirs).steps(RecordFederation)) is reached


def test_what_we_left_behind_for_an_earlier_namespace_of_the_name_is_taken_over_like_anything() -> None:
    ours = made(credential_name(CLUSTER, NamespaceUid("an-earlier-one"), "shop", "keystead", ONE))

    assert migrating("*", ours).steps(RecordFederation)
    assert not migrating("", ours).steps(RecordFederation)


def world_uid() -> NamespaceUid:
    return migrating().namespaces["shop"].uid


def test_what_we_wrote_ourselves_is_found_again_and_not_adopted() -> None:
    world = World(a_grant(adopt="*"))
    world.namespace("shop")
    world.settle()
    world.federations.clear()
    world.settle()

    assert not world.federation("shop").adopted


# The end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["namespace", "claim", "word withdrawn first"])
def test_an_adopted_credential_ends_with_its_reason(how: str) -> None:
    world = adopted()
    if how == "word withdrawn first":
        world.edit(adopt="", generation=1)
        world.settle()
        assert world.log == []
    if how == "claim":
        world.edit(claims=ClaimMode.ON_REQUEST, generation=1)
        world.claims.clear()
    else:
        world.remove_namespace("shop")
    plan = world.plan()
    deletes = [step for step in plan.steps if isinstance(step, DeleteCredential)]
    world.settle()

    assert [(step.credential, step.adopted) for step in deletes] == [(made(), True)]
    assert world.credentials() == []
    assert not world.federations


def test_with_the_namespace_alive_the_annotation_goes_before_an_adopted_credential() -> None:
    world = adopted()
    world.edit(namespaces=NamespaceRule(names=("other",)))
    world.settle()

    order = kinds(world.log)
    assert order.index("WithdrawAnnotation") < order.index("DeleteCredential") < order.index("ForgetFederation")


def test_a_grant_that_retains_leaves_an_adopted_credential_in_azure() -> None:
    world = adopted(revocation=Revocation.RETAIN)
    world.remove_namespace("shop")
    world.settle()

    assert world.credentials() == [made()]
    assert not world.federations


@pytest.mark.parametrize("field", ["issuer", "subject", "audience"])
def test_an_adopted_credential_that_says_otherwise_by_now_is_left_alone(field: str) -> None:
    world = adopted()
    changed = made(**{field: "something-else"})
    world.list_identity(ONE, changed)
    world.remove_namespace("shop")
    world.settle()

    assert world.credentials() == [changed]
    assert not world.federations


# Drift -------------------------------------------------------------------------------------------------------------


def test_an_adopted_credential_that_was_deleted_is_followed_by_one_of_ours_on_the_same_identity() -> None:
    world = adopted(identities=a_grant(identities=("two", "one")).identities)
    world.list_identity(ONE)
    world.settle()

    (entry,) = world.federations.values()
    assert not entry.adopted
    assert entry.identity == ONE
    assert [each.name for each in world.credentials()] == [entry.name]
    assert not [step for step in world.log if isinstance(step, WithdrawAnnotation | DeleteCredential)]
    assert is_true(world.ready("shop/mine"))


def test_the_successor_is_recorded_before_the_entry_it_follows_goes() -> None:
    world = adopted()
    world.list_identity(ONE)
    first = world.plan()
    assert kinds(first.steps)[:2] == ["RecordFederation", "WriteCredential"]
    world.do(first.steps[0])
    second = world.plan()

    assert kinds(second.steps)[:3] == ["BeginRevocation", "ForgetFederation", "WriteCredential"]
    assert getattr(second.steps[0], "cause", None) is Reason.CREDENTIAL_REPLACED
    verdict = second.grant
    assert verdict is not None
    assert verdict.identities[0].room == 19, "one trust, one slot"


def test_an_adopted_credential_that_says_otherwise_is_followed_by_one_of_ours_elsewhere_in_the_pool() -> None:
    world = adopted(identities=a_grant(identities=("one", "two")).identities)
    changed = made(subject="repo:acme/app:ref")
    others = [foreign(f"ci-{each}", f"repo:{each}") for each in range(19)]
    world.list_identity(ONE, changed, *others)
    world.list_identity(TWO)
    world.settle()

    (entry,) = world.federations.values()
    assert (entry.adopted, entry.identity) == (False, TWO)
    assert changed in world.credentials()
    assert is_true(world.ready("shop/mine"))


@pytest.mark.parametrize("whose", ["ours", "adopted"])
def test_what_can_never_be_written_keeps_nobody_else_waiting(whose: str) -> None:
    """Only what can start soon is placed; a name that is somebody else's by now is no turn to wait for."""
    world = adopted(identities=a_grant().identities)
    if whose == "ours":
        world.list_identity(ONE)
        world.settle()
    (held,) = world.credentials()
    world.limits = replace(world.limits, horizon=SECOND)
    world.list_identity(ONE, replace(held, subject="repo:acme/app:ref"))
    world.namespace("mill")
    world.claim("mill")

    written = {step.namespace for step in world.steps(WriteCredential) if isinstance(step, WriteCredential)}
    assert written == ({"mill"} if whose == "ours" else {"shop"}), "the other's turn comes after the first's"


def test_a_lost_credential_without_room_for_another_says_so() -> None:
    world = adopted(identities=a_grant().identities)
    changed = made(subject="repo:acme/app:ref")
    world.list_identity(ONE, changed, *(foreign(f"ci-{each}", f"repo:{each}") for each in range(19)))

    assert world.steps() == []
    assert world.ready("shop/mine").reason is Reason.POOL_EXHAUSTED


def _others(count: int) -> list[Credential]:
    return [foreign(f"ci-{each}", f"repo:{each}") for each in range(count)]


def test_a_slot_that_others_filled_after_an_adopted_credential_was_deleted_is_not_tried() -> None:
    world = adopted(identities=a_grant().identities)
    world.list_identity(ONE, *_others(20))

    assert world.steps() == []
    assert world.ready("shop/mine").reason is Reason.POOL_EXHAUSTED

    world.list_identity(ONE, *_others(19))
    world.settle()
    (entry,) = world.federations.values()
    assert (entry.adopted, entry.identity) == (False, ONE)
    assert is_true(world.ready("shop/mine"))


def test_where_others_filled_the_slot_a_deleted_credential_is_followed_elsewhere_in_the_pool() -> None:
    world = adopted(identities=a_grant(identities=("one", "two")).identities)
    world.list_identity(ONE, *_others(20))
    world.list_identity(TWO)

    recorded = [step.federation for step in world.steps() if isinstance(step, RecordFederation)]
    assert [each.identity for each in recorded] == [TWO]

    world.settle()
    (entry,) = world.federations.values()
    assert (entry.adopted, entry.identity) == (False, TWO)
    assert is_true(world.ready("shop/mine"))


@pytest.mark.parametrize("full", [False, True], ids=["by the list", "as Azure said"])
def test_a_deleted_credential_is_followed_where_azure_called_the_identity_full_once_that_was_read_again(
    full: bool,
) -> None:
    """Another credential of ours is about to go, so the entry keeps its place; until the list is read, another identity serves."""
    world = adopted(identities=a_grant(identities=("one", "two")).identities)
    world.list_identity(TWO, *_others(20))
    world.namespace("mill")
    mill = world.claim("mill")
    world.settle()
    ours = next(each for each in world.credentials() if each.subject == subject("mill"))
    world.claims[mill.key] = replace(mill, deleting=True)
    begun = next(step for step in world.steps(BeginRevocation))
    world.do(begun)
    state = world.list_identity(ONE, ours, *_others(18))
    world.identities[ONE] = replace(state, full=full)
    world.list_identity(TWO)

    recorded = [step.federation for step in world.steps() if isinstance(step, RecordFederation)]
    assert [each.identity for each in recorded] == [TWO if full else ONE]


def test_of_two_deleted_credentials_one_follows_where_one_slot_is_left() -> None:
    world = migrating("*", made(), made("terraform-mill", "mill"))
    world.namespace("mill")
    world.claim("mill")
    world.settle()
    world.list_identity(ONE, *_others(19))

    assert len(world.steps(RecordFederation)) == len(world.steps(WriteCredential)) == 1

    world.settle()
    assert len(world.credentials()) == 20
    assert sorted(each.adopted for each in world.federations.values()) == [False, True]


@pytest.mark.parametrize("by", ["ours", "adopted"])
@pytest.mark.parametrize("word", ["*", ""])
def test_a_credential_under_another_name_is_followed_if_the_word_holds_and_told_if_not(by: str, word: str) -> None:
    world = adopted()
    if by == "ours":
        world.list_identity(ONE)
        world.settle()
    world.edit(adopt=word, generation=1)
    before = set(world.federations)
    renamed = made("terraform-shop-v2")
    world.list_identity(ONE, renamed)
    world.log.clear()
    if word:
        world.settle()
        (entry,) = world.federations.values()
        assert entry.adopted
        assert entry.credential == renamed
        assert is_true(world.ready("shop/mine"))
    else:
        ready = world.ready("shop/mine")
        assert ready.reason is Reason.TUPLE_TAKEN
        assert "terraform-shop-v2" in ready.message
        assert "`keystead adopt shop shop`" in ready.message
        assert set(world.federations) == before
        assert world.steps() == []

    assert world.credentials() == [renamed]
    harm = [step for step in world.log if isinstance(step, WithdrawAnnotation | DeleteCredential | WriteCredential)]
    assert harm == []


def test_the_entry_of_a_credential_that_goes_by_another_name_leaves_the_annotation_alone_until_it_is_gone() -> None:
    world = adopted()
    world.list_identity(ONE, made("terraform-shop-v2"))
    world.do(world.steps(RecordFederation)[0])
    world.do(world.steps(BeginRevocation)[0])

    assert world.steps(WithdrawAnnotation) == []
    assert world.steps(ForgetFederation)


def test_a_credential_that_goes_by_another_name_takes_one_slot() -> None:
    world = adopted(identities=a_grant().identities)
    world.edit(adopt="", generation=1)
    world.list_identity(ONE, made("terraform-shop-v2"))

    verdict = world.plan().grant
    assert verdict is not None
    assert [(row.used, row.foreign, row.room) for row in verdict.identities] == [(0, 1, 19)]


def test_a_credential_that_goes_by_another_name_on_a_full_identity_is_told_and_not_given_up() -> None:
    world = adopted(identities=a_grant().identities)
    world.edit(adopt="", generation=1)
    world.list_identity(ONE, made("terraform-shop-v2"), *(foreign(f"ci-{each}", f"repo:{each}") for each in range(19)))

    assert world.steps() == []
    assert world.ready("shop/mine").reason is Reason.TUPLE_TAKEN


def test_a_name_in_other_letters_is_the_same_name() -> None:
    world = adopted()
    world.list_identity(ONE, made("TERRAFORM-Shop"))

    assert world.steps() == []


@pytest.mark.parametrize("word", ["*", ""])
def test_an_adopted_credential_that_moved_to_another_identity_is_followed_if_the_word_holds(word: str) -> None:
    world = adopted(identities=a_grant(identities=("one", "two")).identities)
    world.edit(adopt=word, generation=1)
    world.list_identity(ONE)
    world.list_identity(TWO, made("moved"))
    if word:
        world.settle()
        (entry,) = world.federations.values()
        assert (entry.identity, entry.credential.name) == (TWO, "moved")
        assert world.accounts["shop", "keystead"].client_id == f"client-{TWO.name}"
    else:
        assert world.steps() == []
        assert "moved" in world.ready("shop/mine").message


def test_a_stranger_on_another_identity_does_not_trouble_a_served_account() -> None:
    world = World(a_grant(identities=("one", "two"), adopt="*"))
    world.namespace("shop")
    world.settle()
    served = world.federation("shop")
    other = TWO if served.identity == ONE else ONE
    world.list_identity(other, made("late"))

    assert world.steps() == []
    assert is_true(world.ready("shop/shop"))


def test_a_drained_identity_gives_up_its_adopted_credential_once_its_successor_works() -> None:
    world = adopted(identities=a_grant(identities=("one", "two")).identities)
    world.list_identity(TWO)
    world.edit(identities=a_grant(identities=("two",)).identities)
    world.settle()

    (entry,) = world.federations.values()
    assert (entry.identity, entry.adopted) == (TWO, False)
    order = kinds(world.log)
    assert order.index("AnnotateServiceAccount") < order.index("DeleteCredential")
    assert [each.name for each in world.credentials()] == [entry.name]


def test_an_adopted_credential_lost_on_a_drained_identity_is_never_written_there_again() -> None:
    world = adopted(identities=a_grant(identities=("one", "two")).identities)
    others = [foreign(f"ci-{each}", f"repo:{each}") for each in range(20)]
    world.list_identity(ONE)
    world.list_identity(TWO, *others)
    world.edit(identities=a_grant(identities=("two",)).identities)

    assert world.steps(WriteCredential) == []
    assert world.ready("shop/mine").reason is Reason.POOL_EXHAUSTED


def test_what_is_in_flight_on_another_identity_under_the_same_name_holds_nothing_up() -> None:
    world = adopted()
    world.remove_namespace("shop")
    world.in_flight = frozenset({(TWO, "terraform-shop")})

    assert [type(step) for step in world.steps()] == [BeginRevocation, DeleteCredential, ForgetFederation]


# A backup of one cluster, restored as another ------------------------------------------------------------------------


def test_entries_that_another_clusters_operator_recorded_are_dropped_and_azure_is_left_alone() -> None:
    world = adopted()
    entry = world.federation("shop")
    another = replace(CLUSTER, id="ffffffff")
    restored = replace(
        entry, name=credential_name(another, entry.namespace_uid, "shop", "keystead", ONE, "terraform-shop")
    )
    ours = credential_name(another, entry.namespace_uid, "mill", "keystead", ONE)
    written = replace(restored, name=ours, namespace="mill", adopted=False, credential=made(ours, "mill"))
    world.federations = {each.name: each for each in (restored, written)}
    world.edit(adopt="", generation=1)
    world.namespaces.clear()
    world.namespace("shop", "mill")
    world.list_identity(ONE, made(), made(ours, "mill"))
    world.claim("mill")
    world.settle()

    assert world.federations == {}
    assert world.credentials() == [made(), made(ours, "mill")]
    for namespace in ("shop", "mill"):
        assert world.ready(f"{namespace}/mine").reason is Reason.TUPLE_TAKEN


# Accounts and stores -----------------------------------------------------------------------------------------------


def _theirs(**changed: object) -> Store:
    fields: dict[str, object] = {
        "vault_url": VAULT,
        "auth_type": "WorkloadIdentity",
        "service_account_name": "keystead",
        "provider": "azurekv",
        "provider_managers": ("helm",),
        "ready": True,
        **changed,
    }
    return Store("shop", "azure-store", **fields)  # type: ignore[arg-type]  # the caller's fields


def _proven(adopt: str) -> World:
    world = migrating(adopt="*")
    world.settle()
    world.edit(adopt=adopt, generation=1)
    return world


@pytest.mark.parametrize(
    ("changed", "dropped"),
    [
        ({"auth_type": "ServicePrincipal"}, ()),
        ({"service_account_name": "their-account"}, ()),
        ({"tenant_id": TENANT}, ("tenantId",)),
        ({"has_secret_ref": True, "tenant_id": TENANT}, ("tenantId", "authSecretRef")),
    ],
)
def test_how_a_store_signs_in_is_taken_over_where_an_admin_said_so(
    changed: dict[str, object], dropped: tuple[str, ...]
) -> None:
    for adopt in ("", "mill", "shop"):
        world = _proven(adopt)
        world.stores["shop", "azure-store"] = _theirs(**changed)
        applied = world.steps(ApplyStore)
        if adopt == "shop":
            (step,) = applied
            assert isinstance(step, ApplyStore)
            assert (step.force, step.own, step.drop) == (True, False, dropped)
        else:
            assert applied == []
            ready = world.ready("shop/mine")
            assert ready.reason is (Reason.TENANT_TWICE if dropped == ("tenantId",) else Reason.STORE_CONFLICT)
            assert "owned by helm" in ready.message
            assert "`keystead adopt shop shop`" in ready.message


@pytest.mark.parametrize(
    "changed", [{"vault_url": "https://kv-other.vault.azure.net"}, {"provider": "aws"}, {"controller": "another"}]
)
def test_where_a_store_reads_is_never_taken_over(changed: dict[str, object]) -> None:
    world = _proven("*")
    world.stores["shop", "azure-store"] = _theirs(**changed, auth_type="ServicePrincipal")

    assert world.steps(ApplyStore) == []
    ready = world.ready("shop/mine")
    assert ready.reason is Reason.STORE_CONFLICT
    assert "keystead adopt" not in ready.message


@pytest.mark.parametrize("adopt", ["", "mill", "shop"])
def test_annotations_of_others_are_taken_over_where_an_admin_said_so(adopt: str) -> None:
    world = _proven(adopt)
    theirs = ServiceAccount("shop", "keystead", "u", "client-of-old", TENANT, annotation_managers=("helm",))
    world.accounts["shop", "keystead"] = theirs
    steps = world.steps(AnnotateServiceAccount)
    if adopt == "shop":
        (step,) = steps
        assert isinstance(step, AnnotateServiceAccount)
        assert (step.force, step.own, step.client_id) == (True, False, f"client-{ONE.name}")
    else:
        ready = world.ready("shop/mine")
        assert steps == []
        assert (ready.reason, "`keystead adopt shop shop`" in ready.message) == (Reason.SERVICE_ACCOUNT_CONFLICT, True)


def test_what_nobody_contests_is_never_forced() -> None:
    world = migrating("*")
    world.stores["shop", "azure-store"] = _theirs(auth_type="")
    world.settle()

    forced = [step for step in world.log if isinstance(step, ApplyStore | AnnotateServiceAccount) and step.force]
    assert [step for step in world.log if isinstance(step, ApplyStore)]
    assert forced == []
    assert world.now >= NOW + 20 * SECOND


def test_deleting_the_entry_of_an_adopted_credential_revokes_it_and_what_follows_is_ours() -> None:
    world = adopted()
    entry = world.federation("shop")
    world.federations[entry.name] = replace(entry, deleting=True)
    world.settle()

    assert [type(step) for step in world.log if isinstance(step, DeleteCredential | ForgetFederation)] == [
        DeleteCredential,
        ForgetFederation,
    ]
    assert not world.federation("shop").adopted
