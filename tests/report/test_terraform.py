"""What stands as Terraform configuration: its addresses, its strings, its order. What Terraform says to it is in tests/terraform."""

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.ids import IdentityId, NamespaceUid, service_account_subject
from keystead.model.records import Federation
from keystead.report.terraform import Standing, hcl, in_order, literal, rows, tf_json

_GROUP = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/Pool"
_IDENTITIES = f"{_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
_LABEL = re.compile(r"^[a-z_][a-z0-9_-]*$")


def standing(
    namespace: str = "shop", account: str = "keystead", *, identity: str = f"{_IDENTITIES}/one", name: str = ""
) -> Standing:
    place = IdentityId.parse(identity)
    subject = service_account_subject(namespace, account)
    name = name or f"ks-0a1b2c3d-{namespace}-{place.name}".lower()
    credential = Credential(name, "https://issuer.test/", subject, EXCHANGE_AUDIENCE)
    uid = NamespaceUid("u")
    entry = Federation(name.lower(), "u", "team", namespace, uid, "team", account, place, credential)
    return Standing(entry, credential)


def test_the_fifth_major_is_told_the_identity() -> None:
    text = hcl([standing()], major=5)

    label = standing().label
    assert text == (
        "# Made by `keystead export terraform --azurerm 5`; for azurerm 5.x and Terraform 1.5 or newer.\n"
        "\n"
        "import {\n"
        f"  to = azurerm_federated_identity_credential.{label}\n"
        f'  id = "{_IDENTITIES}/one/federatedIdentityCredentials/ks-0a1b2c3d-shop-one"\n'
        "}\n"
        "\n"
        f'resource "azurerm_federated_identity_credential" "{label}" {{\n'
        '  name                      = "ks-0a1b2c3d-shop-one"\n'
        f'  user_assigned_identity_id = "{_IDENTITIES}/one"\n'
        '  audience                  = ["api://AzureADTokenExchange"]\n'
        '  issuer                    = "https://issuer.test/"\n'
        '  subject                   = "system:serviceaccount:shop:keystead"\n'
        "}\n"
    )


def test_the_fourth_major_is_told_the_parent_and_its_group() -> None:
    text = hcl([standing()], major=4)

    assert f'  parent_id           = "{_IDENTITIES}/one"\n' in text
    assert '  resource_group_name = "Pool"\n' in text
    assert "user_assigned_identity_id" not in text


def test_fixed_segments_are_spelt_as_the_provider_wants_them_and_names_as_the_grant_does() -> None:
    written = standing(
        identity="/subscriptions/22222222-2222-4222-8222-222222222222/resourcegroups/POOL"
        "/providers/microsoft.managedidentity/userassignedidentities/One"
    )

    assert written.identity_id == f"{_IDENTITIES}/One".replace("/Pool/", "/POOL/")


@pytest.mark.parametrize(
    ("namespace", "account"),
    [("1st-team", "keystead"), ("shop", "my.dotted.account"), ("a" * 63, "b" * 253), ("0", "0")],
    ids=["a digit first", "dots", "the longest names", "digits alone"],
)
def test_every_label_is_an_identifier(namespace: str, account: str) -> None:
    assert _LABEL.match(standing(namespace, account).label)


def test_no_two_credentials_share_an_address() -> None:
    places = itertools.product(("a", "a-b"), ("b-c", "c", "b.c"), ("one", "two"), ("fic", "fic_2"))
    many = [
        standing(namespace, account, identity=f"{_IDENTITIES}/{identity}", name=f"{name}-{number}")
        for number, (namespace, account, identity, name) in enumerate(places)
    ]
    on_two_identities = [standing(identity=f"{_IDENTITIES}/{each}", name="fic") for each in ("one", "two")]

    assert len({each.label for each in many}) == len(many)
    assert len({each.label for each in on_two_identities}) == 2


def test_the_order_does_not_depend_on_the_order_they_came_in() -> None:
    many = [
        standing(f"n{number}", identity=f"{_IDENTITIES}/{which}") for number in range(4) for which in ("one", "two")
    ]

    assert in_order(many) == in_order(reversed(many))
    assert [each.federation.namespace for each in in_order(reversed(many))][:2] == ["n0", "n0"]


def test_an_address_stays_when_others_come_and_go() -> None:
    assert in_order([standing("b"), standing("a")])[1].label == in_order([standing("b")])[0].label


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", '"plain"'),
        ('a "quote"', r'"a \"quote\""'),
        ("back\\slash", r'"back\\slash"'),
        ("${var.x}", '"$${var.x}"'),
        ("%{ if true }", '"%%{ if true }"'),
        ("$${x}", '"$$${x}"'),
        ("100% $5", '"100% $5"'),
        ("two\nlines\ttab", r'"two\nlines\ttab"'),
        ("\x00\x1b", r'"\u0000\u001b"'),
        ("\u2028", r'"\u2028"'),
        ("\U000e0001", r'"\U000e0001"'),
        ("Zürich ✓", '"Zürich ✓"'),
    ],
)
def test_a_string_means_itself(text: str, written: str) -> None:
    assert literal(text) == written


@given(st.text())
def test_a_literal_never_ends_early_nor_spans_lines(text: str) -> None:
    inner = literal(text)[1:-1]

    assert "\n" not in inner
    assert "\r" not in inner
    assert re.fullmatch(r'(?:[^"\\]|\\.)*', inner)


def test_terraforms_json_says_the_same_as_its_own_syntax() -> None:
    body = json.loads(tf_json([standing(name="a${b}")], major=5))

    label = standing(name="a${b}").label
    assert body["resource"]["azurerm_federated_identity_credential"][label]["name"] == "a$${b}"
    assert body["import"] == [
        {
            "to": f"azurerm_federated_identity_credential.{label}",
            "id": f"{_IDENTITIES}/one/federatedIdentityCredentials/a$${{b}}",
        }
    ]


def test_the_facts_are_not_escaped() -> None:
    (row,) = rows([standing(name="a${b}")])

    assert row["name"] == "a${b}"
    assert row["address"] == standing(name="a${b}").address
    assert (row["grant"], row["namespace"], row["serviceAccount"]) == ("team", "shop", "keystead")
