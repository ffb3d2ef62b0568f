"""What stands in a namespace already: traps of External Secrets Operator by their names, and a template that goes out."""

from dataclasses import replace
from typing import Any

import pytest

from keystead.model.conditions import ConditionType, Status
from keystead.model.reasons import Reason
from keystead.model.records import Store, Template
from keystead.plan.steps import ApplyStore, NudgeStore
from keystead.plan.stores import HINTS
from plan.worlds import TENANT, VAULT, World, a_grant, kinds

PLACE = ("a", "azure-store")
THEIRS = Store(
    *PLACE,
    vault_url=VAULT,
    auth_type="WorkloadIdentity",
    service_account_name="keystead",
    provider="azurekv",
    ready=True,
    provider_managers=("helm",),
)


def _served(**template: Any) -> World:
    world = World(a_grant(template=Template(**template)))
    world.namespace("a")
    world.claim("a")
    world.settle()
    return world


def _said(world: World) -> tuple[Status, Reason, str]:
    condition = world.condition("a/mine", ConditionType.STORE_READY)
    return condition.status, condition.reason, condition.message


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        ({"tenant_id": TENANT}, Reason.TENANT_TWICE, "spec.provider.azurekv.tenantId"),
        ({"secret_tenant": "s"}, Reason.TENANT_TWICE, "authSecretRef.tenantId"),
        ({"secret_client": "s"}, Reason.CLIENT_TWICE, "authSecretRef.clientId"),
        ({"secret_client": "s", "tenant_id": TENANT}, Reason.CLIENT_TWICE, "tenantId"),
        ({"auth_type": "ManagedIdentity"}, Reason.STORE_USES_NODE_IDENTITY, "node"),
        ({"tenant_id": TENANT, "vault_url": "https://kv-x.vault.azure.net"}, Reason.STORE_CONFLICT, "kv-x"),
    ],
)
def test_what_makes_eso_fail_is_told_by_its_name_and_left_to_its_owner(
    change: dict[str, str], reason: Reason, told: str
) -> None:
    world = _served()
    world.stores[PLACE] = replace(THEIRS, **change)  # type: ignore[arg-type]  # the table's fields

    status, said, message = _said(world)

    assert (status, said) == (Status.FALSE, reason)
    assert told in message
    assert "helm" in message
    assert world.steps() == []


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        ({"new_sdk": True}, Reason.STORE_UNTESTED, "Verified"),
        ({"outdated_manager": "argocd"}, Reason.STORE_MANIFEST_OUTDATED, "argocd"),
    ],
)
def test_what_is_worth_knowing_of_a_store_that_works_is_said_and_stops_nothing(
    change: dict[str, Any], reason: Reason, told: str
) -> None:
    world = _served()
    world.stores[PLACE] = replace(THEIRS, **change)
    world.report(world.plan())

    assert _said(world)[:2] == (Status.TRUE, reason)
    assert told in _said(world)[2]
    assert world.ready("a/mine").status is Status.TRUE
    assert world.steps() == []


def test_stores_that_share_an_account_are_named() -> None:
    world = _served()
    world.sharing["a", "keystead"] = ("azure-store", "other", "third")
    world.report(world.plan())

    assert _said(world)[:2] == (Status.TRUE, Reason.STORES_SHARE_ACCOUNT)
    assert "other, third" in _said(world)[2]
    assert world.steps() == []


@pytest.mark.parametrize("reason", sorted(HINTS))
def test_a_hint_is_no_reason_to_nudge_again_and_again(reason: Reason) -> None:
    world = _served()
    world.report(world.plan())
    changed = {"new_sdk": reason is Reason.STORE_UNTESTED, "outdated_manager": "x" if "Manifest" in reason else ""}
    world.stores[PLACE] = replace(THEIRS, **changed)  # type: ignore[arg-type]  # the table's fields
    world.sharing["a", "keystead"] = ("azure-store", "other")
    world.report(world.plan())

    assert _said(world)[1] is reason
    assert world.steps() == []


def test_a_store_that_fails_is_looked_into_and_says_that_eso_may_not_mint() -> None:
    world = _served()
    world.stores[PLACE] = replace(world.stores[PLACE], ready=False)
    (nudge,) = world.steps()
    assert isinstance(nudge, NudgeStore)
    assert nudge.suspect == "keystead"
    world.fail("a/mine", NudgeStore, Reason.TOKENS_FORBIDDEN)
    world.report(world.plan())

    assert _said(world)[:2] == (Status.FALSE, Reason.TOKENS_FORBIDDEN)
    assert world.steps() == []
    world.now += world.limits.propagation_wait * 10
    assert kinds(world.steps()) == ["NudgeStore"]


def test_a_store_of_another_controller_is_not_asked_of_eso() -> None:
    world = _served(store_controller="keystead")
    world.stores[PLACE] = replace(world.stores[PLACE], ready=False)

    (nudge,) = world.steps()

    assert isinstance(nudge, NudgeStore)
    assert nudge.suspect == ""


# the template


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"labels": {"tier": "gold"}}),
        ({"labels": {"tier": "gold"}}, {"labels": {"tier": "tin"}}),
        ({"labels": {"tier": "gold"}}, {}),
        ({"annotations": {"a": "1"}}, {"annotations": {"b": "1"}}),
        ({}, {"store_refresh_interval": 3600}),
        ({"store_refresh_interval": 3600}, {"store_refresh_interval": "1h"}),
        ({"store_refresh_interval": 3600}, {}),
        ({}, {"token_role": True}),
        ({"token_role": True}, {}),
    ],
)
def test_an_edit_of_the_template_reaches_stores_that_stand(before: dict[str, Any], after: dict[str, Any]) -> None:
    world = _served(**before)
    assert world.steps() == []

    world.edit(template=Template(**after))
    (applied, *_) = world.steps()
    world.settle()

    assert isinstance(applied, ApplyStore)
    store = world.stores[PLACE]
    assert {key: store.labels.get(key) for key in after.get("labels", {})} == after.get("labels", {})
    assert store.refresh_interval == after.get("store_refresh_interval")
    assert applied.token_role is after.get("token_role", False)
    assert world.steps() == []


def test_a_label_that_somebody_set_otherwise_stays_so_and_stops_nothing() -> None:
    world = _served(labels={"tier": "gold"})
    theirs = replace(world.stores[PLACE], labels={"tier": "tin"}, dressed=frozenset())
    world.stores[PLACE] = theirs
    assert world.steps() == []
    assert _said(world)[0] is Status.TRUE

    world.edit(template=Template(labels={"tier": "gold", "new": "yes"}))
    (applied, *_) = world.steps()

    assert isinstance(applied, ApplyStore)
    assert dict(applied.labels) == {"new": "yes"}


def test_an_interval_that_somebody_set_otherwise_stays_so() -> None:
    world = _served()
    world.stores[PLACE] = replace(world.stores[PLACE], refresh_interval=60)
    world.edit(template=Template(store_refresh_interval=3600, labels={"a": "b"}))

    (applied, *_) = world.steps()

    assert isinstance(applied, ApplyStore)
    assert applied.refresh_interval is None
