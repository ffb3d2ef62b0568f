"""What becomes of the Secret under each policy, and what the condition says."""

from dataclasses import replace
from typing import Any

import pytest

from keystead.sync.hashing import created_by, data_hash
from keystead.sync.objects import ExternalSecret, external_secret
from keystead.sync.plan import CreateSecret, DeleteSecret, ReplaceSecret, SecretPlan, make_plan
from keystead.sync.reading import Assembled
from keystead.sync.snapshot import LiveSecret, OwnedFields, Owner, SecretBytes, SecretMark, SecretShape

PASSWORD = {"password": SecretBytes(b"s3cr3t")}
OTHER = {"other": SecretBytes(b"x")}
LABEL = "reconcile.external-secrets.io/managed"
CREATED_BY = "reconcile.external-secrets.io/created-by"
HASH = "reconcile.external-secrets.io/data-hash"


def es(creation: str = "Owner", deletion: str = "Retain", **given: Any) -> ExternalSecret:
    metadata = given.pop("metadata", {})
    target = {"creationPolicy": creation, "deletionPolicy": deletion, **given}
    return external_secret(
        {
            "metadata": {"name": "es", "namespace": "t1", "uid": "u-es", **metadata},
            "spec": {"secretStoreRef": {"name": "kv"}, "target": target},
        }
    )


def live(data: dict[str, SecretBytes], *, ours: OwnedFields | None = None, **shape: Any) -> LiveSecret:
    return LiveSecret(SecretShape("t1", "es", data=data, **shape), "u-secret", "7", ours or OwnedFields())


def plan(wanted: ExternalSecret, before: LiveSecret | None, data: Any = None, ours: Any = ()) -> SecretPlan:
    return make_plan(wanted, before, Assembled(PASSWORD if data is None else data), ours)


def after(wanted: ExternalSecret, before: LiveSecret | None = None) -> LiveSecret:
    """The Secret once *wanted* was carried out."""
    (step,) = plan(wanted, before).steps
    assert isinstance(step, CreateSecret | ReplaceSecret)
    manager = OwnedFields(frozenset(PASSWORD), frozenset(), frozenset())
    return LiveSecret(step.shape, "u-secret", "8", manager)


def test_a_new_secret_carries_all_marks() -> None:
    made = plan(es(metadata={"labels": {"a": "1"}, "annotations": {"b": "2"}}), None)

    (step,) = made.steps
    assert step == CreateSecret(
        SecretShape(
            "t1",
            "es",
            labels={"a": "1", LABEL: "true", CREATED_BY: created_by("t1", "es")},
            annotations={"b": "2", HASH: data_hash(PASSWORD)},
            owners=(
                Owner(
                    "external-secrets.io/v1", "ExternalSecret", "es", "u-es", controller=True, block_owner_deletion=True
                ),
            ),
            data=PASSWORD,
        )
    )
    assert (made.verdict.ready, made.verdict.reason, made.verdict.message) == (True, "SecretSynced", "secret synced")
    assert made.verdict.bound


@pytest.mark.parametrize("policy", ["Owner", "Orphan", "CreateOrMerge"])
def test_carrying_out_a_plan_leaves_nothing_to_do(policy: str) -> None:
    wanted = es(policy)

    assert plan(wanted, after(wanted)).steps == ()


def test_merge_leaves_nothing_to_do_the_second_time() -> None:
    wanted = es("Merge")

    assert plan(wanted, after(wanted, live(OTHER))).steps == ()


@pytest.mark.parametrize("policy", ["Orphan", "CreateOrMerge"])
def test_without_ownership_there_is_no_owner_mark(policy: str) -> None:
    made = after(es(policy)).shape

    assert made.owners == ()
    assert CREATED_BY not in made.labels
    assert made.labels[LABEL] == "true"


def test_owner_takes_a_free_secret_and_clears_foreign_keys() -> None:
    made = after(es(), live(OTHER)).shape

    assert dict(made.data) == PASSWORD


@pytest.mark.parametrize("policy", ["Merge", "CreateOrMerge"])
def test_merging_keeps_foreign_keys_and_hashes_all(policy: str) -> None:
    made = after(es(policy), live(OTHER)).shape

    assert dict(made.data) == OTHER | PASSWORD
    assert made.annotations[HASH] == data_hash(OTHER | PASSWORD)
    assert made.owners == ()


def test_merging_drops_a_key_that_was_ours() -> None:
    before = live(OTHER | {"gone": SecretBytes(b"1")}, ours=OwnedFields(frozenset({"gone"})))

    assert dict(after(es("Merge"), before).shape.data) == OTHER | PASSWORD


def test_merging_waits_for_a_secret() -> None:
    made = plan(es("Merge"), None)

    assert made.steps == ()
    assert (made.verdict.ready, made.verdict.reason) == (True, "SecretMissing")
    assert made.verdict.message == "secret will not be created due to CreationPolicy=Merge"


def test_none_writes_nothing_and_binds_nothing() -> None:
    made = plan(es("None"), live(OTHER))

    assert made.steps == ()
    assert (made.verdict.reason, made.verdict.bound) == ("SecretSynced", False)


def test_labels_of_others_stay_and_our_old_ones_go() -> None:
    ours = OwnedFields(labels=frozenset({"old"}), annotations=frozenset({"stale"}))
    before = live(PASSWORD, ours=ours, labels={"x": "y", "old": "1"}, annotations={"stale": "1", "theirs": "2"})

    made = after(es(metadata={"labels": {"new": "1"}}), before).shape

    assert {key: made.labels.get(key) for key in ("x", "old", "new")} == {"x": "y", "old": None, "new": "1"}
    assert "stale" not in made.annotations
    assert made.annotations["theirs"] == "2"


@pytest.mark.parametrize("policy", ["Owner", "Merge", "Orphan", "CreateOrMerge"])
def test_another_external_secrets_secret_is_left_alone(policy: str) -> None:
    other = Owner("external-secrets.io/v1", "ExternalSecret", "rival", "u-rival", controller=True)

    made = plan(es(policy), live(OTHER, owners=(other,)))

    assert made.steps == ()
    assert (made.verdict.ready, made.verdict.reason) == (False, "SecretSyncedError")
    assert made.verdict.message == "target is owned by another ExternalSecret"
    assert made.verdict.failure == "secret is owned by another ExternalSecret: rival"
    assert not made.verdict.retry


def test_another_controllers_secret_cannot_be_owned() -> None:
    other = Owner("apps/v1", "Deployment", "web", "u-web", controller=True)

    made = plan(es(), live(OTHER, owners=(other,)))

    assert made.steps == ()
    assert made.verdict.message == "failed to take ownership of target secret"


def test_another_controllers_secret_can_be_merged_into() -> None:
    other = Owner("apps/v1", "Deployment", "web", "u-web", controller=True)

    made = after(es("Merge"), live(OTHER, owners=(other,)))

    assert made.shape.owners == (other,)


def test_giving_up_ownership_takes_our_reference_and_label_away() -> None:
    owned = after(es())

    made = after(es("Orphan"), owned).shape

    assert made.owners == ()
    assert CREATED_BY not in made.labels


def test_a_renamed_target_leaves_no_orphan() -> None:
    orphan = SecretMark("t1", "before", "u-before", created_by("t1", "es"))
    current = SecretMark("t1", "es", "u-secret", created_by("t1", "es"))

    made = plan(es(), None, ours=[orphan, current])

    assert made.steps[0] == DeleteSecret("t1", "before", "u-before", "secret deleted because it was orphaned")
    assert isinstance(made.steps[1], CreateSecret)


def test_immutable_is_set_on_a_new_secret() -> None:
    assert after(es(immutable=True)).shape.immutable


def test_an_immutable_target_keeps_the_data_it_has() -> None:
    frozen = after(es(immutable=True))

    made = plan(es(immutable=True), frozen, {"password": SecretBytes(b"changed")})

    assert made.steps == ()
    assert made.verdict.message == "secret synced"


def test_somebody_elses_immutable_secret_is_said_to_be_so() -> None:
    frozen = replace(after(es()), shape=replace(after(es()).shape, immutable=True))

    made = plan(es(), frozen, {"password": SecretBytes(b"changed")})

    assert made.steps == ()
    assert made.verdict.message == "could not update secret, target is immutable"
    assert made.verdict.failure == "unable to update secret es: secret is immutable"


def test_nothing_at_the_provider_retains_the_secret() -> None:
    made = plan(es(), live(OTHER), {})

    assert made.steps == ()
    assert made.verdict.message == "secret retained due to DeletionPolicy=Retain"


def test_nothing_at_the_provider_deletes_an_owned_secret() -> None:
    made = plan(es(deletion="Delete"), after(es(deletion="Delete")), {})

    assert made.steps == (DeleteSecret("t1", "es", "u-secret", "secret deleted due to DeletionPolicy=Delete"),)
    assert (made.verdict.ready, made.verdict.reason) == (True, "SecretDeleted")


def test_nothing_at_the_provider_deletes_nobody_elses_secret() -> None:
    other = Owner("apps/v1", "Deployment", "web", "u-web", controller=True)

    assert plan(es(deletion="Delete"), live(OTHER, owners=(other,)), {}).steps == ()


def test_nothing_at_the_provider_deletes_nobodys_secret() -> None:
    made = plan(es(deletion="Delete"), live(OTHER), {})

    assert made.steps == ()
    assert made.verdict.message == "could not delete secret"


@pytest.mark.parametrize("policy", ["Orphan", "Merge", "CreateOrMerge", "None"])
def test_only_an_owner_deletes(policy: str) -> None:
    made = plan(es(policy, "Delete"), live(OTHER), {})

    assert made.steps == ()
    assert made.verdict.message == "could not delete secret"
    assert made.verdict.failure == f"unable to delete secret es: creationPolicy={policy} is not Owner"


def test_nothing_at_the_provider_empties_a_merged_secret() -> None:
    made = plan(es(deletion="Merge"), after(es(deletion="Merge")), {})

    (step,) = made.steps
    assert isinstance(step, ReplaceSecret)
    assert step.shape.data == {}
    assert made.verdict.message == "secret synced"
