"""Which grants make sense, which namespaces they allow, what reviewers have said, and how credentials are named."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.model.conditions import Status
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.reasons import Reason
from keystead.model.records import (
    Approval,
    ApprovalMode,
    Claim,
    Decision,
    LabelSelector,
    Namespace,
    NamespaceRule,
    PoolMember,
    SelectorRequirement,
    Template,
)
from keystead.plan import naming, policy
from keystead.plan.approvals import review
from keystead.plan.validation import Validated, check
from plan.worlds import CLUSTER, VAULT, World, a_grant, identity_id, subject

UID = NamespaceUid("uid-1")
ONE = identity_id("one").text


def _expression(operator: str, *values: str) -> NamespaceRule:
    return NamespaceRule(LabelSelector({}, (SelectorRequirement("team", operator, values),)))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"namespaces": NamespaceRule()}, "spec.namespaces", id="no rule"),
        pytest.param({"namespaces": NamespaceRule(names=("Shop",))}, "spec.namespaces.names[0]", id="upper case"),
        pytest.param({"namespaces": NamespaceRule(names=("shop-*",))}, "spec.namespaces.names[0]", id="a pattern"),
        pytest.param({"namespaces": NamespaceRule(names=("",))}, "spec.namespaces.names[0]", id="an empty name"),
        pytest.param({"namespaces": NamespaceRule(names=("shop\n",))}, "spec.namespaces.names[0]", id="a line end"),
        pytest.param(
            {"namespaces": NamespaceRule(rancher_projects=("p-a", "shop"))},
            "spec.namespaces.rancherProjects[1]",
            id="not a project",
        ),
        pytest.param(
            {"namespaces": _expression("Matches", "x")},
            "spec.namespaces.selector.matchExpressions[0].operator",
            id="unknown operator",
        ),
        pytest.param(
            {"namespaces": _expression("In")},
            "spec.namespaces.selector.matchExpressions[0].values",
            id="In without values",
        ),
        pytest.param(
            {"namespaces": _expression("Exists", "x")},
            "spec.namespaces.selector.matchExpressions[0].values",
            id="Exists with values",
        ),
        pytest.param({"vault_url": "http://kv-shop.vault.azure.net"}, "spec.vault.url", id="no TLS"),
        pytest.param({"vault_url": "https://kv-shop.example.com"}, "spec.vault.url", id="no vault of Azure's"),
        pytest.param({"vault_url": "https://kv-shop.vault.azure.net/secrets"}, "spec.vault.url", id="a path"),
        pytest.param({"identities": ()}, "spec.identities", id="no identity"),
        pytest.param({"identities": (PoolMember("id-one"),)}, "spec.identities[0].resourceId", id="no ARM id"),
        pytest.param(
            {"identities": (PoolMember(ONE), PoolMember(ONE.upper()))},
            "spec.identities[1].resourceId",
            id="twice in two cases",
        ),
        pytest.param({"identities": (PoolMember(ONE, 21),)}, "spec.identities[0].reservedSlots", id="reserved over 20"),
        pytest.param({"identities": (PoolMember(ONE, -1),)}, "spec.identities[0].reservedSlots", id="reserved below 0"),
        pytest.param({"max_claims_per_namespace": 0}, "spec.maxClaimsPerNamespace", id="no claim allowed"),
        pytest.param(
            {"template": Template(service_account_name="Key Stead")}, "spec.template.serviceAccountName", id="account"
        ),
        pytest.param({"template": Template(secret_store_name="")}, "spec.template.secretStoreName", id="store"),
    ],
)
def test_a_grant_that_makes_no_sense_names_its_field(change: dict[str, object], path: str) -> None:
    problems = check(a_grant(**change), (), CLUSTER)  # type: ignore[arg-type]  # the table's fields

    assert not isinstance(problems, Validated)
    assert [problem.path for problem in problems] == [path]
    assert problems[0].cure
    assert problems[0].given in str(problems[0])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"namespaces": NamespaceRule(LabelSelector())}, id="an empty selector is a rule"),
        pytest.param({"namespaces": NamespaceRule(rancher_projects=("c-m-abc:p-xyz", "local:p-1"))}, id="projects"),
        pytest.param({"vault_url": "https://kv-shop.vault.azure.cn"}, id="a sovereign cloud"),
        pytest.param({"identities": (PoolMember(ONE, 20),)}, id="all slots reserved"),
    ],
)
def test_a_grant_that_makes_sense_is_parsed(change: dict[str, object]) -> None:
    assert isinstance(check(a_grant(**change), (), CLUSTER), Validated)  # type: ignore[arg-type]  # the table's fields


def test_an_identity_in_two_grants_freezes_both_and_names_the_other() -> None:
    mine, other = a_grant("mine"), a_grant("other", identities=("two", "one"))

    first, second = check(mine, (other,), CLUSTER), check(other, (mine,), CLUSTER)

    assert not isinstance(first, Validated)
    assert not isinstance(second, Validated)
    assert [(each.path, each.reason) for each in first] == [("spec.identities[0].resourceId", Reason.IDENTITY_SHARED)]
    assert [(each.path, each.reason) for each in second] == [("spec.identities[1].resourceId", Reason.IDENTITY_SHARED)]
    assert "other" in str(first[0])


def test_all_problems_are_told_at_once() -> None:
    problems = check(a_grant(namespaces=NamespaceRule(), identities=(), vault_url="x"), (), CLUSTER)

    assert not isinstance(problems, Validated)
    assert len(problems) == 3


PROJECT = policy.RANCHER_PROJECT


def _namespace(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Namespace:
    return Namespace("cart", UID, labels or {}, annotations or {})


@pytest.mark.parametrize(
    ("rule", "namespace", "allowed"),
    [
        pytest.param(NamespaceRule(), _namespace(), False, id="no rule"),
        pytest.param(NamespaceRule(LabelSelector()), _namespace(), True, id="empty selector"),
        pytest.param(NamespaceRule(LabelSelector({"a": "1"})), _namespace({"a": "1", "b": "2"}), True, id="label"),
        pytest.param(NamespaceRule(LabelSelector({"a": "1"})), _namespace({"a": "2"}), False, id="other value"),
        pytest.param(NamespaceRule(LabelSelector({"a": "", "b": ""})), _namespace({"a": ""}), False, id="one of two"),
        pytest.param(_expression("In", "x", "y"), _namespace({"team": "y"}), True, id="In"),
        pytest.param(_expression("In", "x"), _namespace(), False, id="In, absent"),
        pytest.param(_expression("NotIn", "x"), _namespace({"team": "y"}), True, id="NotIn"),
        pytest.param(_expression("NotIn", "x"), _namespace(), True, id="NotIn, absent"),
        pytest.param(_expression("NotIn", "x"), _namespace({"team": "x"}), False, id="NotIn, listed"),
        pytest.param(_expression("Exists"), _namespace({"team": ""}), True, id="Exists"),
        pytest.param(_expression("Exists"), _namespace(), False, id="Exists, absent"),
        pytest.param(_expression("DoesNotExist"), _namespace(), True, id="DoesNotExist"),
        pytest.param(_expression("DoesNotExist"), _namespace({"team": "x"}), False, id="DoesNotExist, present"),
        pytest.param(_expression("Anything"), _namespace({"team": "x"}), False, id="unknown operator"),
        pytest.param(NamespaceRule(names=("cart",)), _namespace(), True, id="name"),
        pytest.param(NamespaceRule(names=("car",)), _namespace(), False, id="part of a name"),
        pytest.param(
            NamespaceRule(rancher_projects=("c-1:p-1",)), _namespace({}, {PROJECT: "c-1:p-1"}), True, id="project"
        ),
        pytest.param(
            NamespaceRule(rancher_projects=("p-1",)), _namespace({}, {PROJECT: "c-1:p-1"}), True, id="bare project"
        ),
        pytest.param(
            NamespaceRule(rancher_projects=("c-2:p-1",)),
            _namespace({}, {PROJECT: "c-1:p-1"}),
            False,
            id="another cluster's project",
        ),
        pytest.param(
            NamespaceRule(rancher_projects=("p-1",)),
            _namespace({PROJECT: "p-1"}),
            False,
            id="a label alone is no proof",
        ),
        pytest.param(
            NamespaceRule(rancher_projects=("p-1",)), _namespace({}, {PROJECT: ""}), False, id="empty annotation"
        ),
        pytest.param(
            NamespaceRule(rancher_projects=("p-1",)),
            _namespace({PROJECT: "p-1"}, {PROJECT: "c-1:p-1"}),
            True,
            id="label agrees",
        ),
        pytest.param(
            NamespaceRule(LabelSelector({"a": "1"}), names=("other",)), _namespace({"a": "1"}), True, id="any of them"
        ),
    ],
)
def test_what_a_grant_allows(rule: NamespaceRule, namespace: Namespace, allowed: bool) -> None:
    verdict = policy.judge(rule, namespace)

    assert verdict.allowed is allowed
    assert verdict.reason is (Reason.ACCEPTED if allowed else Reason.NOT_ALLOWED)
    assert verdict.message


def test_a_label_that_names_another_project_is_a_refusal_of_its_own() -> None:
    rule = NamespaceRule(rancher_projects=("p-1",))

    verdict = policy.judge(rule, _namespace({PROJECT: "p-2"}, {PROJECT: "c-1:p-1"}))

    assert (verdict.allowed, verdict.reason) == (False, Reason.RANCHER_PROJECT_DISAGREES)
    assert "p-2" in verdict.message


CLAIM = Claim("cart", "mine", "uid-c", "shop", requested_by="tina")
WORD = Approval("w", "shop", "cart", UID, subject("cart"), VAULT, Decision.APPROVED, "rita", "looks fine")
REQUIRED = a_grant(approval=ApprovalMode.REQUIRED)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param([], Reason.AWAITING_REVIEW, id="nobody spoke"),
        pytest.param([WORD], Reason.APPROVED, id="approved"),
        pytest.param([replace(WORD, vault_url=VAULT + "/")], Reason.APPROVED, id="trailing slash of the vault"),
        pytest.param([replace(WORD, by="tina")], Reason.APPROVER_IS_REQUESTER, id="by the requester"),
        pytest.param([replace(WORD, by="tina"), replace(WORD, name="x")], Reason.APPROVED, id="and by another"),
        pytest.param([replace(WORD, by="")], Reason.AWAITING_REVIEW, id="by nobody"),
        pytest.param([replace(WORD, deleting=True)], Reason.AWAITING_REVIEW, id="withdrawn"),
        pytest.param([replace(WORD, namespace_uid=NamespaceUid("old"))], Reason.AWAITING_REVIEW, id="another uid"),
        pytest.param([replace(WORD, subject=subject("cart", "x"))], Reason.AWAITING_REVIEW, id="another account"),
        pytest.param([replace(WORD, grant_name="other")], Reason.AWAITING_REVIEW, id="another grant"),
        pytest.param([replace(WORD, vault_url="https://kv-x.vault.azure.net")], Reason.AWAITING_REVIEW, id="vault"),
        pytest.param(
            [WORD, replace(WORD, name="z", decision=Decision.DENIED)], Reason.DENIED, id="denied after approval"
        ),
        pytest.param(
            [replace(WORD, name="a", decision=Decision.DENIED), WORD], Reason.DENIED, id="approved after denial"
        ),
    ],
)
def test_what_the_reviewers_said(words: list[Approval], reason: Reason) -> None:
    said = review(REQUIRED, CLAIM, subject("cart"), UID, words)

    assert said.condition.reason is reason
    assert said.passed is (said.condition.status is Status.TRUE) is (reason is Reason.APPROVED)
    assert said.denied is (reason is Reason.DENIED)


@pytest.mark.parametrize("automatic", [True, False])
def test_a_claim_that_names_nobody_is_not_approved_unless_the_operator_made_it(automatic: bool) -> None:
    nameless = replace(CLAIM, requested_by="", automatic=automatic)

    said = review(REQUIRED, nameless, subject("cart"), UID, [WORD])

    assert said.passed is automatic
    assert said.condition.reason is (Reason.APPROVED if automatic else Reason.REQUESTER_UNKNOWN)


def test_a_grant_without_review_still_hears_a_denial() -> None:
    denial = replace(WORD, decision=Decision.DENIED)

    assert review(a_grant(), CLAIM, subject("cart"), UID, []).passed
    assert review(a_grant(), CLAIM, subject("cart"), UID, [denial]).denied


_LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
_ACCOUNT = st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,200}[a-z0-9])?", fullmatch=True)


@given(_LABEL, _ACCOUNT, st.uuids().map(str), st.sampled_from([identity_id("one"), identity_id("two")]))
def test_every_name_suits_azure_and_kubernetes(namespace: str, account: str, uid: str, identity: IdentityId) -> None:
    name = naming.credential_name(CLUSTER, NamespaceUid(uid), namespace, account, identity)

    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{2,119}", name)
    assert naming.is_ours(name, CLUSTER)
    assert naming.fits(name, CLUSTER, namespace, account)
    assert name == naming.credential_name(CLUSTER, NamespaceUid(uid), namespace, account, identity)


def test_names_differ_by_namespace_uid_identity_cluster_and_account() -> None:
    base = (CLUSTER, UID, "cart", "keystead", identity_id("one"))
    other_cluster = replace(CLUSTER, id="ffffffff")
    names = {
        naming.credential_name(*base),
        naming.credential_name(other_cluster, *base[1:]),
        naming.credential_name(CLUSTER, NamespaceUid("uid-2"), *base[2:]),
        naming.credential_name(CLUSTER, UID, "cart-keystead", "keystead", base[4]),
        naming.credential_name(CLUSTER, UID, "cart", "other", base[4]),
        naming.credential_name(*base[:4], identity_id("two")),
    }

    assert len(names) == 6
    assert not naming.is_ours(naming.credential_name(other_cluster, *base[1:]), CLUSTER)


def test_a_name_reads_as_the_api_says() -> None:
    name = naming.credential_name(CLUSTER, UID, "cart", "keystead", identity_id("one"))

    assert re.fullmatch(r"ks-0a1b2c3d-cart-keystead-[a-z2-7]{26}", name)


def test_the_account_of_a_served_claim_outlives_an_edit_of_the_template() -> None:
    world = World()
    world.namespace("cart")
    world.settle()
    world.edit(template=Template(service_account_name="keystead-two"))

    assert world.steps() == []
