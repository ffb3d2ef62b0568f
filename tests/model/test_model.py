"""Identifiers, the catalogue of reasons, errors and secrets."""

import datetime
import pickle
import re
from pathlib import Path

import pytest

from keystead.model.conditions import Condition, ConditionType, Status, draft, find
from keystead.model.errors import Bug, FieldConflict, Refused, Retryable
from keystead.model.ids import IdentityId, VaultUrl, service_account_subject
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.secret import Secret

GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
ID = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-One"


def test_identities_are_equal_when_they_differ_only_in_case() -> None:
    one, other = IdentityId.parse(ID), IdentityId.parse(ID.lower() + "/")

    assert one == other
    assert hash(one) == hash(other)
    assert (str(one), one.name, one.resource_group) == (ID, "id-One", "rg")
    assert one.subscription == "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    "text",
    ["", "id-one", GROUP, ID + "/x", ID.replace("1111", "zzzz"), ID.replace("userAssigned", "systemAssigned")],
)
def test_what_is_not_an_identity_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="userAssignedIdentities/NAME"):
        IdentityId.parse(text)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("https://kv-shop.vault.azure.net", "https://vault.azure.net/.default"),
        ("https://kv-shop.vault.azure.net/", "https://vault.azure.net/.default"),
        ("https://KV-shop.vault.azure.cn", "https://vault.azure.cn/.default"),
        ("https://kv-shop.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net/.default"),
    ],
)
def test_a_vault_is_addressed_in_its_own_cloud(text: str, scope: str) -> None:
    vault = VaultUrl.parse(text)

    assert vault.scope == scope
    assert str(vault).startswith("https://kv-shop.")
    assert not str(vault).endswith("/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kv-shop",
        "http://kv-shop.vault.azure.net",
        "https://kv-shop.vault.azure.net/secrets",
        "https://kv-shop.vault.azure.net.example.com",
        "https://x@kv-shop.vault.azure.net",
        "https://-.vault.azure.net",
    ],
)
def test_what_is_not_a_vault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"https://NAME\."):
        VaultUrl.parse(text)


def test_a_subject_is_what_kubernetes_signs() -> None:
    assert service_account_subject("cart", "keystead") == "system:serviceaccount:cart:keystead"


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_says_what_it_means_to_both_readers(reason: Reason) -> None:
    explanation = CATALOGUE[reason]

    assert explanation.tenant.endswith(".")
    assert explanation.admin.endswith((".", "`."))
    assert reason.value.isalnum()


def test_a_draft_speaks_the_tenants_sentence_unless_told_otherwise() -> None:
    plain = draft(ConditionType.READY, Status.FALSE, Reason.DENIED)

    assert plain.message == CATALOGUE[Reason.DENIED].tenant
    assert draft(ConditionType.READY, Status.FALSE, Reason.DENIED, "No.").message == "No."


def test_a_condition_is_found_by_its_type() -> None:
    carried = Condition("Ready", Status.TRUE, "Ready", "", datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC))

    assert find((carried,), ConditionType.READY) is carried
    assert find((carried,), ConditionType.VERIFIED) is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Retryable(Reason.AZURE_THROTTLED, "slow down", after=3.0), "It is retried by itself."),
        (Refused(Reason.AZURE_LOCKED, "locked", code="ScopeLocked"), "It needs a change."),
        (FieldConflict(Reason.STORE_CONFLICT, "x", managers=("helm",), fields=("spec",)), "It needs a change."),
        (Bug("oops"), "It is retried by itself."),
    ],
)
def test_an_error_tells_a_person_what_to_do(error: Refused | Retryable | Bug, says: str) -> None:
    told = error.diagnostics()

    assert told.splitlines()[0] == str(error)
    assert says in told
    assert CATALOGUE[error.reason].admin in told


def test_a_secret_cannot_be_printed_or_pickled() -> None:
    secret = Secret("hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {secret:>20} {[secret]}"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    with pytest.raises(TypeError):
        pickle.dumps(secret)


SUITES = ("plan", "operator", "kube", "cli", "report", "observe", "apply")


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_come_across_by_a_test(reason: Reason) -> None:
    """What nobody provokes, nobody needs: it is built, or taken out of the catalogue."""
    root = Path(__file__).parents[1]
    wanted = re.compile(rf"""Reason\.{reason.name}\b|["'(]{reason}["')]""")

    assert any(wanted.search(path.read_text()) for suite in SUITES for path in (root / suite).glob("test_*.py"))
