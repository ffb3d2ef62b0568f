"""Before anybody says the word, each thing that others made is listed once, with what would become of it and why."""

from dataclasses import replace

import pytest

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.records import ApprovalMode, ClaimMode, Namespace, NamespaceRule, ServiceAccount, Store
from keystead.plan.holdings import Holdings
from keystead.plan.naming import credential_name
from keystead.plan.stores import Difference
from keystead.plan.takeover import Report, Row, State, survey_takeover
from keystead.plan.validation import Validated, check
from plan.worlds import CLUSTER, TENANT, VAULT, World, a_grant, foreign, identity_id, subject

ONE, TWO = identity_id("one"), identity_id("two")


def made(name: str, of: str, account: str = "keystead", **changed: str) -> Credential:
    return replace(Credential(name, CLUSTER.issuer, subject(of, account), EXCHANGE_AUDIENCE), **changed)


def report(world: World) -> Report:
    assert world.grant is not None
    valid = check(world.grant, world.other_grants, CLUSTER)
    assert isinstance(valid, Validated)
    snapshot = world.snapshot()
    return survey_takeover(snapshot, valid, Holdings(snapshot))


def world_of(*held: Credential, adopt: str = "", on_two: tuple[Credential, ...] = ()) -> World:
    world = World(a_grant(identities=("one", "two"), adopt=adopt))
    world.namespace("shop", "mill")
    world.claim("shop")
    world.list_identity(ONE, *held)
    world.list_identity(TWO, *on_two)
    return world


def only(world: World) -> Row:
    (row,) = report(world).rows
    return row


@pytest.mark.parametrize(("adopt", "state"), [("", State.POSSIBLE), ("mill", State.POSSIBLE), ("shop", State.SAID)])
def test_what_can_be_taken_over(adopt: str, state: State) -> None:
    row = only(world_of(made("tf-shop", "shop"), adopt=adopt))

    assert row == Row("Credential", "shop", "keystead", "tf-shop", state, "", ONE)


def test_a_namespace_whose_claim_is_still_to_be_made_counts() -> None:
    row = only(world_of(made("tf-mill", "mill")))

    assert (row.namespace, row.state) == ("mill", State.POSSIBLE)


def test_what_was_taken_over_is_listed_as_such() -> None:
    world = world_of(made("tf-shop", "shop"), adopt="*")
    world.settle()

    assert [(row.name, row.state) for row in report(world).rows if row.kind == "Credential"] == [
        ("tf-shop", State.ADOPTED)
    ]


@pytest.mark.parametrize(
    ("held", "difference"),
    [
        (
            made("slash", "shop", issuer=CLUSTER.issuer.rstrip("/")),
            Difference("issuer", CLUSTER.issuer.rstrip("/"), CLUSTER.issuer),
        ),
        (
            made("caps", "shop", issuer=CLUSTER.issuer.upper()),
            Difference("issuer", CLUSTER.issuer.upper(), CLUSTER.issuer),
        ),
        (made("caps", "Shop"), Difference("subject", subject("Shop"), subject("shop"))),
        (
            made("caps", "shop", subject=subject("shop").upper()),
            Difference("subject", subject("shop").upper(), subject("shop")),
        ),
    ],
)
def test_what_differs_by_a_letter_or_a_slash_is_shown_with_both_strings(
    held: Credential, difference: Difference
) -> None:
    row = only(world_of(held))

    assert row.state is State.IMPOSSIBLE
    assert row.differences == (difference,)
    assert (row.namespace, row.account) == ("shop", "keystead")


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (made("other", "shop", audience="api://other"), "its audience is 'api://other'"),
        (made("gone", "vanished"), "there is no namespace vanished"),
        (made("other", "shop", "eso"), "the namespace's claim uses ServiceAccount keystead, not eso"),
        (made("odd", "shop", subject="repo:acme/app"), "its subject is no ServiceAccount"),
        (made("empty", "shop", subject=""), "its subject is no ServiceAccount"),
        (made("outside", "alone"), "not allow"),
    ],
)
def test_what_cannot_be_taken_over_says_why(held: Credential, reason: str) -> None:
    world = world_of(held)
    world.namespaces["alone"] = Namespace("alone", world.namespaces["shop"].uid, {})

    row = only(world)

    assert row.state is State.IMPOSSIBLE
    assert reason in row.reason


def test_a_trust_on_two_identities_is_listed_at_both_and_possible_at_none() -> None:
    world = world_of(made("tf-shop", "shop"), on_two=(made("by-hand", "shop"),), adopt="*")

    rows = report(world).rows

    assert [(row.name, row.state) for row in rows] == [("by-hand", State.IMPOSSIBLE), ("tf-shop", State.IMPOSSIBLE)]
    assert all(other in row.reason for row, other in zip(rows, ("tf-shop on", "by-hand on"), strict=True))


def test_a_second_trust_for_an_account_that_we_serve_says_where_it_is_served() -> None:
    world = world_of()
    world.settle()
    served = world.federation("shop")
    other = TWO if served.identity == ONE else ONE
    world.list_identity(other, *world.identities[other].credentials, made("late", "shop"))

    row = next(row for row in report(world).rows if row.name == "late")

    assert row.state is State.IMPOSSIBLE
    assert served.credential.name in row.reason


def test_a_claim_that_waits_for_its_review_says_so() -> None:
    world = world_of(made("tf-shop", "shop"))
    world.edit(approval=ApprovalMode.REQUIRED)

    assert "once the claim is approved" in only(world).reason


def test_without_automatic_claims_a_namespace_has_to_ask_first() -> None:
    world = world_of(made("tf-mill", "mill"))
    world.edit(claims=ClaimMode.ON_REQUEST)

    assert "no VaultClaim" in only(world).reason


def test_a_claim_that_the_grant_refuses_says_what_the_grant_says() -> None:
    world = world_of(made("tf-shop", "shop"))
    world.edit(namespaces=NamespaceRule(names=("mill",)))

    row = only(world)

    assert row.state is State.IMPOSSIBLE
    assert row.reason != ""


def test_credentials_of_other_issuers_are_only_counted() -> None:
    found = report(world_of(*(foreign(f"ci-{number}", f"repo:{number}") for number in range(3))))

    assert (found.rows, found.foreign) == ((), 3)


def test_what_bears_the_name_of_a_keystead_is_pointed_out() -> None:
    another = replace(CLUSTER, id="ffffffff")
    world = world_of()
    name = credential_name(another, world.namespaces["shop"].uid, "shop", "keystead", ONE)
    world.list_identity(ONE, made(name, "shop"))
    world.edit(adopt="*")

    row = only(world)

    assert row.state is State.POSSIBLE
    assert "another Keystead" in row.reason
    assert report(world).entries() == ()
    assert report(world).entries(["shop"]) == ("shop/keystead",)


def _store(**changed: object) -> Store:
    fields: dict[str, object] = {
        "vault_url": VAULT,
        "auth_type": "WorkloadIdentity",
        "service_account_name": "keystead",
        "provider": "azurekv",
        "provider_managers": ("helm",),
        **changed,
    }
    return Store("shop", "azure-store", **fields)  # type: ignore[arg-type]  # the caller's fields


@pytest.mark.parametrize(
    ("changed", "adopt", "state"),
    [
        ({}, "", State.AS_IT_IS),
        ({"auth_type": ""}, "", State.AS_IT_IS),
        ({"auth_type": "ServicePrincipal"}, "", State.POSSIBLE),
        ({"tenant_id": TENANT}, "shop", State.SAID),
        ({"vault_url": "https://kv-other.vault.azure.net"}, "*", State.IMPOSSIBLE),
    ],
)
def test_a_store_is_listed_with_what_becomes_of_it(changed: dict[str, object], adopt: str, state: State) -> None:
    world = world_of(adopt=adopt)
    world.stores["shop", "azure-store"] = _store(**changed)

    row = only(world)

    assert (row.kind, row.state) == ("SecretStore", state)
    assert bool(row.differences) is bool(changed)


@pytest.mark.parametrize(
    ("client", "adopt", "state"),
    [
        (f"client-{ONE.name}", "", State.AS_IT_IS),
        (None, "", State.AS_IT_IS),
        ("client-of-old", "", State.POSSIBLE),
        ("client-of-old", "*", State.SAID),
    ],
)
def test_an_account_is_compared_with_the_identity_that_would_serve_it(
    client: str | None, adopt: str, state: State
) -> None:
    world = world_of(made("tf-shop", "shop"), adopt=adopt)
    world.accounts["shop", "keystead"] = ServiceAccount(
        "shop", "keystead", "u", client, TENANT, annotation_managers=("helm",)
    )

    rows = {row.kind: row for row in report(world).rows}

    assert rows["ServiceAccount"].state is state


def test_an_account_that_nothing_serves_yet_is_not_judged() -> None:
    world = world_of()
    world.accounts["shop", "keystead"] = ServiceAccount("shop", "keystead", "u", "c", TENANT)

    assert report(world).rows == ()


def test_the_entries_of_a_word_are_what_is_possible() -> None:
    world = world_of(made("tf-shop", "shop"), made("tf-mill", "mill"), made("gone", "vanished"), adopt="mill")
    found = report(world)

    assert found.entries() == ("shop/keystead",), "mill is said already"
    assert found.entries(["shop"]) == ("shop/keystead",)
    assert found.entries(["vanished"]) == ()


def test_a_word_that_makes_no_sense_is_told() -> None:
    assert "'NO'" in report(world_of(adopt="NO")).problem


def test_the_report_is_the_same_in_whatever_order_the_world_is_seen() -> None:
    held = [made(f"c-{number}", name) for number, name in enumerate(("shop", "mill", "vanished"))]

    assert report(world_of(*held)).rows == report(world_of(*reversed(held))).rows
