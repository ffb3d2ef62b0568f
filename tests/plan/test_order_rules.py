"""The order rules of the architecture, as far as plans alone can keep them. Each test names its rule."""

import datetime
from dataclasses import replace

import pytest

from keystead.model.conditions import ConditionType, Status
from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.ids import NamespaceUid
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import ApprovalMode, Exchange, NamespaceRule, Revocation
from keystead.plan.steps import (
    ApplyStore,
    BeginRevocation,
    CreateClaim,
    DeleteCredential,
    ForgetFederation,
    RecordFederation,
    SweepCredential,
    Verify,
    WithdrawAnnotation,
    WriteCredential,
)
from plan.worlds import (
    CLUSTER,
    SECOND,
    VAULT,
    World,
    a_grant,
    foreign,
    identity_id,
    is_true,
    kinds,
    subject,
)

FULL_WAY = [
    "RecordFederation",
    "WriteCredential",
    "EnsureServiceAccount",
    "Verify",
    "AnnotateServiceAccount",
    "ApplyStore",
    "NudgeExternalSecrets",
]


def served(*namespaces: str, **grant: object) -> World:
    """A world in which these namespaces have all they need."""
    world = World(a_grant(**grant))  # type: ignore[arg-type]  # the caller's fields
    world.namespace(*namespaces)
    world.settle()
    return world


def test_rule_1_the_ledger_entry_comes_before_the_credential() -> None:
    world = World()
    world.namespace("cart")
    world.claim("cart")

    assert kinds(world.steps(), "cart/mine") == FULL_WAY


def test_rule_1_a_crash_after_the_ledger_entry_is_repaired_with_the_same_credential() -> None:
    world = World()
    world.namespace("cart")
    world.claim("cart")
    first = world.steps(RecordFederation, WriteCredential)
    world.do(first[0])

    assert world.steps(RecordFederation, WriteCredential) == first[1:]


def test_rule_2_revocations_come_before_grants() -> None:
    world = served("cart", "pay")
    world.remove_namespace("pay")
    world.namespace("ship")

    steps = kinds(world.steps())

    assert steps == ["BeginRevocation", "DeleteCredential", "ForgetFederation", "CreateClaim"]


def test_rule_2_revocations_come_before_the_way_of_a_claim_that_is_older() -> None:
    world = served("cart", "pay")
    world.namespace("ship")
    world.claim("ship", created_at=world.now - 9999 * SECOND)
    world.remove_namespace("pay")

    assert kinds(world.steps()) == ["BeginRevocation", "DeleteCredential", "ForgetFederation", *FULL_WAY]


def test_rule_2_a_freed_slot_is_used_only_after_the_delete_is_confirmed() -> None:
    world = World(a_grant(reserved=19))
    world.namespace("cart")
    world.settle()
    world.namespace("pay")
    world.remove_namespace("cart")
    world.do(world.steps(CreateClaim)[0])
    while any(each.namespace == "cart" for each in world.federations.values()):
        assert world.steps(RecordFederation, WriteCredential) == []
        world.carry_out(world.plan())

    assert len(world.steps(RecordFederation, WriteCredential)) == 2


def test_rule_3_nothing_is_verified_before_the_credential_has_propagated() -> None:
    world = World()
    world.namespace("cart")
    world.claim("cart")
    world.carry_out(world.plan())
    confirmed = world.now
    world.report(world.plan())

    verify = world.steps(Verify)[0]

    assert isinstance(verify, Verify)
    assert verify.not_before == confirmed + datetime.timedelta(seconds=20)


def test_rule_3_annotation_and_store_come_after_the_proof() -> None:
    world = served("cart")
    done = kinds(world.log, "cart/shop")

    assert [each for each in done if each != "NudgeExternalSecrets"] == ["CreateClaim", *FULL_WAY[:-1]]
    assert done[-1] == "NudgeExternalSecrets"


def test_rule_3_a_store_moves_to_another_vault_after_the_proof_with_that_alone() -> None:
    world = served("cart")
    world.edit(vault_url="https://kv-other.vault.azure.net")
    planned = world.steps(Verify, ApplyStore)
    entry = world.federation("cart")
    world.exchanges[entry.name] = Exchange("ForbiddenByRbac", world.now, vault="https://kv-other.vault.azure.net")
    refused = world.condition("cart/shop", ConditionType.VERIFIED)
    world.carry_out(world.plan())

    assert kinds(planned) == ["Verify", "ApplyStore"]
    assert refused.status is Status.FALSE
    assert world.stores["cart", "azure-store"].vault_url == VAULT
    world.settle()
    assert world.stores["cart", "azure-store"].vault_url == "https://kv-other.vault.azure.net"
    assert is_true(world.ready("cart/shop"))


@pytest.mark.parametrize(
    ("remembered", "counts"),
    [(VAULT, True), ("", True), ("https://kv-other.vault.azure.net", False)],
    ids=["this vault", "from before it was remembered", "another vault"],
)
def test_rule_3_a_proof_counts_for_the_vault_that_was_looked_at(remembered: str, counts: bool) -> None:
    world = served("cart")
    entry = world.federation("cart")
    world.exchanges.clear()
    world.federations[entry.name] = replace(entry, verified_vault=remembered)

    assert entry.verified_vault == VAULT
    assert is_true(world.condition("cart/shop", ConditionType.VERIFIED)) is counts


def test_rule_4_with_the_namespace_alive_annotation_then_credential_then_ledger() -> None:
    world = served("cart")
    world.edit(namespaces=NamespaceRule(names=("other",)))

    name = world.federation("cart").name

    assert kinds(world.steps(), name) == [
        "BeginRevocation",
        "WithdrawAnnotation",
        "DeleteCredential",
        "ForgetFederation",
    ]


def test_rule_4_a_terminating_namespace_waits_for_finalizers_of_eso() -> None:
    world = served("cart")
    world.terminate("cart")
    world.finalizers["cart"] = 1

    plan = world.plan()

    assert kinds(plan.steps) == ["BeginRevocation"]
    assert plan.look_again == world.now + world.limits.finalizer_wait


def test_rule_4_what_is_waited_for_is_said_at_the_ledger_entry() -> None:
    world = served("cart")
    world.terminate("cart")
    world.finalizers["cart"] = 1

    (verdict,) = world.plan().federations
    (revoking,) = [each for each in verdict.conditions if each.type is ConditionType.REVOKING]

    assert revoking.reason is Reason.NAMESPACE_DELETED
    assert CATALOGUE[Reason.AWAITING_FINALIZERS].tenant in revoking.message


def test_rule_4_finalizers_are_not_waited_for_longer_than_the_limit() -> None:
    world = served("cart")
    world.terminate("cart")
    world.finalizers["cart"] = 1
    world.now += world.limits.finalizer_wait

    assert kinds(world.steps()) == ["BeginRevocation", "DeleteCredential", "ForgetFederation"]


@pytest.mark.parametrize(("ahead", "waits"), [(20, True), (40, False), (3600, False)])
def test_rule_4_an_api_server_whose_clock_is_ahead_of_ours_delays_no_revocation_by_as_much(
    ahead: int, waits: bool
) -> None:
    world = served("cart")
    world.terminate("cart")
    world.finalizers["cart"] = 1
    world.now -= ahead * SECOND

    assert ("DeleteCredential" not in kinds(world.steps())) == waits


def test_rule_4_a_terminating_namespace_without_finalizers_is_cleaned_at_once() -> None:
    world = served("cart")
    world.terminate("cart")

    assert kinds(world.steps()) == ["BeginRevocation", "DeleteCredential", "ForgetFederation"]


def test_rule_4_a_namespace_that_is_gone_is_cleaned_at_once() -> None:
    world = served("cart")
    world.remove_namespace("cart")
    world.finalizers["cart"] = 1

    assert kinds(world.steps()) == ["BeginRevocation", "DeleteCredential", "ForgetFederation"]


def test_rule_4_the_ledger_entry_stays_while_azure_still_shows_the_credential() -> None:
    world = served("cart")
    world.remove_namespace("cart")
    for step in world.steps(BeginRevocation):
        world.do(step)

    first = world.steps()[0]

    assert isinstance(first, DeleteCredential)


def test_rule_4_the_ledger_entry_goes_once_the_list_lacks_the_credential() -> None:
    world = served("cart")
    world.remove_namespace("cart")
    for step in world.steps(BeginRevocation, DeleteCredential):
        world.do(step)

    assert kinds(world.steps()) == ["ForgetFederation"]


def test_rule_4_nothing_is_forgotten_while_the_identity_was_never_listed() -> None:
    world = served("cart")
    world.remove_namespace("cart")
    identity = identity_id("one")
    world.identities[identity] = replace(world.identities[identity], listed_at=None, credentials=())

    assert kinds(world.steps()) == ["BeginRevocation"]


def test_rule_4_nothing_is_forgotten_while_a_write_of_it_is_in_flight() -> None:
    world = served("cart")
    entry = world.federation("cart")
    world.list_identity(entry.identity)
    world.remove_namespace("cart")
    world.in_flight = frozenset({entry.place})

    assert world.steps(ForgetFederation, DeleteCredential) == []


def test_rule_4_nothing_is_forgotten_before_a_list_answers_for_a_doubtful_write() -> None:
    world = served("cart")
    entry = world.federation("cart")
    world.list_identity(entry.identity)
    world.now += SECOND
    world.fail("cart/shop", WriteCredential, Reason.AZURE_UNAVAILABLE)
    world.remove_namespace("cart")
    doubtful = world.steps(ForgetFederation)
    world.now += SECOND
    world.list_identity(entry.identity)

    assert doubtful == []
    assert len(world.steps(ForgetFederation)) == 1


def test_rule_4_an_account_that_cannot_be_changed_does_not_keep_the_trust_alive() -> None:
    world = served("cart")
    world.edit(namespaces=NamespaceRule(names=("other",)))
    entry = world.federation("cart")
    world.fail(entry.name, WithdrawAnnotation, Reason.KUBERNETES_FORBIDDEN)

    assert kinds(world.steps()) == ["BeginRevocation", "DeleteCredential", "ForgetFederation"]


def test_rule_6_a_recreated_namespace_is_a_new_request() -> None:
    world = served("cart")
    world.remove_namespace("cart")
    world.namespace("cart")

    plan = world.plan()

    begin = next(step for step in plan.steps if isinstance(step, BeginRevocation))
    assert begin.cause is Reason.NAMESPACE_RECREATED
    assert not any(isinstance(step, WriteCredential) for step in plan.steps)


def test_rule_6_a_subject_is_written_nowhere_while_an_entry_of_another_uid_stands() -> None:
    world = served("cart", identities=("one", "two"))
    world.remove_namespace("cart")
    world.namespace("cart")
    world.claim("cart")

    condition = world.ready("cart/mine")

    assert condition.reason is Reason.AWAITING_REVOCATION
    assert world.steps(RecordFederation, WriteCredential) == []


def test_rule_6_a_subject_is_written_nowhere_while_another_grants_entry_for_it_stands() -> None:
    world = World()
    world.namespace("cart")
    world.claim("cart")
    other = served("cart").federation("cart")
    world.other_federations = (replace(other, grant_name="old", identity=identity_id("nine"), deleting=True),)

    assert world.ready("cart/mine").reason is Reason.AWAITING_REVOCATION


def test_rule_6_after_the_revocation_the_new_namespace_is_served_under_a_new_name() -> None:
    world = served("cart")
    before = world.federation("cart")
    world.remove_namespace("cart")
    world.namespace("cart")
    world.settle()

    after = world.federation("cart")

    assert after.name != before.name
    assert [each.name for each in world.credentials()] == [after.name]


def test_rule_6_an_approval_of_the_old_namespace_says_nothing_about_the_new_one() -> None:
    world = World(a_grant(approval=ApprovalMode.REQUIRED))
    world.namespace("cart")
    world.approve("cart")
    world.settle()
    world.remove_namespace("cart")
    world.namespace("cart")
    world.settle()

    assert world.ready("cart/shop").reason is Reason.AWAITING_REVIEW
    assert world.credentials() == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"namespaces": NamespaceRule()}, id="no namespace rule"),
        pytest.param({"namespaces": NamespaceRule(names=())}, id="no names"),
        pytest.param({"namespaces": NamespaceRule(rancher_projects=())}, id="no projects"),
        pytest.param({"identities": ()}, id="no identities"),
        pytest.param({"vault_url": ""}, id="no vault"),
    ],
)
def test_rule_8_empty_is_never_permission(change: dict[str, object]) -> None:
    world = World()
    world.edit(**change)
    world.namespace("cart")
    world.claim("cart")

    plan = world.plan()

    assert plan.steps == ()
    assert world.of_grant(ConditionType.VALID).reason is Reason.GRANT_INVALID
    assert not is_true(world.ready("cart/mine"))


def test_rule_8_without_a_result_of_the_exchange_nothing_is_annotated() -> None:
    world = World()
    world.namespace("cart")
    world.claim("cart")
    for _ in range(4):
        world.carry_out(replace(world.plan(), steps=tuple(world.steps(RecordFederation, WriteCredential))))

    first = world.steps()[0:2]

    assert kinds(first) == ["EnsureServiceAccount", "Verify"]


def _orphan(namespace: str = "gone") -> tuple[World, Credential]:
    """A credential of ours in Azure without any ledger entry."""
    old = served(namespace)
    return World(), old.credentials()[0]


def _seen(world: World, *credentials: Credential, times: int = 2) -> World:
    identity = identity_id("one")
    world.list_identity(identity, *credentials)
    world.sightings = {(identity, each): times for each in credentials}
    return world


def test_rule_9_a_sweep_takes_an_orphan_that_two_lists_have_shown() -> None:
    world, orphan = _orphan()

    assert world.steps() == []
    assert _seen(world, orphan, times=1).steps() == []
    assert kinds(_seen(world, orphan).steps()) == ["SweepCredential"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"issuer": "https://oidc.example.test/cluster-b/"}, id="another issuer"),
        pytest.param({"name": "ks-ffffffff-gone-keystead-" + "a" * 26}, id="another cluster's id"),
        pytest.param({"name": f"ks-{CLUSTER.id}-other-keystead-" + "a" * 26}, id="a name for another account"),
        pytest.param({"name": f"ks-{CLUSTER.id}-gone-keystead-made-by-hand"}, id="no digest in the name"),
        pytest.param({"name": "gone-keystead"}, id="no prefix"),
        pytest.param({"subject": "repo:acme/app:ref:main"}, id="no subject of a ServiceAccount"),
        pytest.param({"subject": ""}, id="no subject"),
    ],
)
def test_rule_9_a_sweep_takes_nothing_that_is_not_provably_ours(change: dict[str, str]) -> None:
    world, orphan = _orphan()

    assert _seen(world, replace(orphan, **change)).steps() == []


def test_rule_9_a_sweep_never_takes_a_credential_whose_namespace_is_allowed() -> None:
    world, orphan = _orphan()
    _seen(world, orphan)
    world.namespace("gone")

    assert world.steps(SweepCredential) == []


def test_rule_9_a_sweep_never_takes_a_credential_whose_namespace_another_grant_allows() -> None:
    world, orphan = _orphan()
    _seen(world, orphan)
    world.namespace("gone", labels={"team": "other"})
    swept = world.steps(SweepCredential)
    world.other_grants = (a_grant("other", identities=("nine",), namespaces=NamespaceRule(names=("gone",))),)

    assert len(swept) == 1
    assert world.steps(SweepCredential) == []


def test_rule_9_a_sweep_never_takes_what_another_grants_ledger_records() -> None:
    world, orphan = _orphan()
    _seen(world, orphan)
    entry = served("gone").federation("gone")
    world.other_federations = (replace(entry, grant_name="old"),)

    assert world.steps(SweepCredential) == []


def test_rule_9_a_sweep_stops_above_five_orphans_until_confirmed() -> None:
    names = [f"gone-{number}" for number in range(6)]
    orphans = served(*names).credentials()
    world = _seen(World(), *orphans)

    plan = world.plan()
    world.edit(generation=1, confirmed_generation=1)

    assert plan.steps == ()
    assert {each.reason for each in plan.held} == {Reason.AWAITING_CONFIRMATION}
    assert len(world.steps(SweepCredential)) == 6


def test_rule_9_a_grant_that_retains_sweeps_nothing() -> None:
    world, orphan = _orphan()
    world.edit(revocation=Revocation.RETAIN)

    assert _seen(world, orphan).steps() == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"subject": "system:serviceaccount:cart:other"}, id="another account"),
        pytest.param({"subject": "system:serviceaccount:cart:Keystead"}, id="another case"),
        pytest.param({"issuer": CLUSTER.issuer.rstrip("/")}, id="without the slash"),
        pytest.param({"audience": "api://elsewhere"}, id="another audience"),
    ],
)
def test_rule_9_a_credential_whose_tuple_differs_from_the_ledger_is_not_deleted(changed: dict[str, str]) -> None:
    world = served("cart")
    entry = world.federation("cart")
    world.list_identity(entry.identity, replace(entry.credential, **changed))
    world.remove_namespace("cart")

    assert kinds(world.steps()) == ["BeginRevocation", "ForgetFederation"]


def test_rule_10_a_name_that_holds_another_tuple_is_never_written_over() -> None:
    world = World()
    world.namespace("cart")
    world.claim("cart")
    world.do(world.steps(RecordFederation)[0])
    entry = world.federation("cart")
    world.list_identity(entry.identity, replace(entry.credential, issuer="https://elsewhere.example.test"))

    assert world.steps(WriteCredential) == []
    assert world.ready("cart/mine").reason is Reason.TUPLE_TAKEN


def test_rule_10_another_persons_credential_for_the_same_account_blocks_and_is_named() -> None:
    world = World(a_grant(identities=("one", "two")))
    world.namespace("cart")
    world.claim("cart")
    world.list_identity(identity_id("one"), foreign("terraform", subject("cart"), CLUSTER.issuer))

    condition = world.ready("cart/mine")

    assert condition.reason is Reason.TUPLE_TAKEN
    assert "terraform" in condition.message
    assert world.steps() == []


def test_what_we_wrote_before_the_ledger_was_lost_is_recorded_where_it_is() -> None:
    world = served("cart")
    entry = world.federation("cart")
    world.federations.clear()
    world.accounts.clear()
    world.exchanges.clear()

    recorded = world.steps(RecordFederation, WriteCredential)

    assert len(recorded) == 1
    assert isinstance(recorded[0], RecordFederation)
    assert recorded[0].federation.credential == entry.credential


def test_a_credential_of_an_unrelated_cluster_with_the_same_subject_is_no_obstacle() -> None:
    world = World()
    world.namespace("cart")
    world.list_identity(
        identity_id("one"),
        Credential("ks-ffffffff-x", "https://oidc.example.test/b/", subject("cart"), EXCHANGE_AUDIENCE),
    )
    world.settle()

    assert is_true(world.ready("cart/shop"))
    assert len(world.credentials()) == 2


def test_the_uid_that_a_write_is_bound_to_is_the_namespaces() -> None:
    world = World()
    world.namespace("cart", uid=NamespaceUid("the-uid"))
    world.claim("cart")

    write = world.steps(WriteCredential)[0]

    assert isinstance(write, WriteCredential)
    assert write.namespace_uid == "the-uid"
    assert write.credential == Credential(
        write.federation_name, CLUSTER.issuer, subject("cart"), "api://AzureADTokenExchange"
    )
    verify = world.steps(Verify)[0]
    assert isinstance(verify, Verify)
    assert verify.vault_url == VAULT
