"""When a refresh is due, and what the engine leaves to External Secrets Operator."""

import datetime
from typing import Any

import pytest

from keystead.sync.objects import ExternalSecret, external_secret, go_duration
from keystead.sync.refresh import beyond_us, current_version, due_at, is_intact, should_refresh
from keystead.sync.snapshot import SecretBytes, SecretShape

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


def make(
    spec: dict[str, Any] | None = None, *, ago: datetime.timedelta | None = None, **metadata: Any
) -> ExternalSecret:
    """An ExternalSecret; *ago* it was synced, as it is now."""
    item = {
        "metadata": {"name": "es", "namespace": "t1", "uid": "u-es", "generation": 1, **metadata},
        "spec": {"secretStoreRef": {"name": "kv"}, **(spec or {})},
    }
    if ago is not None:
        version = current_version(external_secret(item))
        item["status"] = {"refreshTime": (NOW - ago).isoformat(), "syncedResourceVersion": version}
    return external_secret(item)


@pytest.mark.parametrize("policy", ["Periodic", "OnChange", "CreatedOnce"])
def test_what_was_never_synced_is_due(policy: str) -> None:
    assert should_refresh(make({"refreshPolicy": policy}), NOW)


@pytest.mark.parametrize(
    ("minutes", "due"), [(0, False), (53, False), (61, True)], ids=["just now", "not even early", "past the interval"]
)
def test_a_periodic_refresh_follows_the_interval(minutes: int, *, due: bool) -> None:
    assert should_refresh(make(ago=datetime.timedelta(minutes=minutes)), NOW) is due


def test_a_refresh_comes_at_most_a_tenth_early_and_never_late() -> None:
    dues = [due_at(make({"secretStoreRef": {"name": f"kv{number}"}}, ago=HOUR / 2)) for number in range(50)]

    waits = [due - NOW for due in dues if due is not None]
    assert len(waits) == 50
    assert min(waits) >= HOUR / 2 - HOUR / 10
    assert max(waits) <= HOUR / 2
    assert len(set(waits)) > 30


@pytest.mark.parametrize(
    ("interval", "minutes", "due"), [("5m", 4, False), ("5m", 6, True), ("24h", 120, False), ("24h", 1450, True)]
)
def test_an_external_secret_has_an_interval_of_its_own(interval: str, minutes: int, *, due: bool) -> None:
    es = make({"refreshInterval": interval}, ago=datetime.timedelta(minutes=minutes))

    assert should_refresh(es, NOW) is due


def test_those_of_one_store_are_due_together() -> None:
    assert due_at(make(ago=HOUR / 2)) == due_at(make(ago=HOUR / 2, labels={"a": "b"}))


@pytest.mark.parametrize(("policy", "due"), [("Periodic", True), ("OnChange", True), ("CreatedOnce", False)])
def test_an_edit_is_followed_unless_created_once(policy: str, *, due: bool) -> None:
    es = make({"refreshPolicy": policy}, ago=datetime.timedelta())
    edited = make({"refreshPolicy": policy}, generation=2)

    assert should_refresh(_with_status(edited, es), NOW) is due


def test_an_annotation_forces_a_refresh() -> None:
    es = make(ago=datetime.timedelta())

    assert should_refresh(_with_status(make(annotations={"force-sync": "1"}), es), NOW)


def test_interval_zero_syncs_once_and_ignores_edits() -> None:
    es = make({"refreshInterval": "0"}, ago=HOUR * 100)

    assert not should_refresh(es, NOW)
    assert not should_refresh(_with_status(make({"refreshInterval": "0"}, generation=2), es), NOW)
    assert due_at(es) is None


def test_a_refresh_time_in_the_future_is_not_believed() -> None:
    assert should_refresh(make(ago=-HOUR), NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h0m0s", 3600), ("90s", 90), ("1.5m", 90), ("300ms", 0.3), ("0", 0), ("-1m", -60), ("1h30m", 5400)],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert go_duration(text).total_seconds() == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "h", "1d", "1h 2m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        go_duration(text)


def test_a_changed_secret_is_not_intact() -> None:
    data = {"foo": SecretBytes(b"value1"), "bar": SecretBytes(b"value2")}
    marks = {"reconcile.external-secrets.io/data-hash": "1bed8bcbcb4547ffe19a19cd47d9078e84aa6598266d86b99f992d64"}
    label = {"reconcile.external-secrets.io/managed": "true"}
    intact = SecretShape("t1", "es", labels=label, annotations=marks, data=data)

    assert is_intact(intact)
    assert not is_intact(SecretShape("t1", "es", labels=label, annotations=marks, data={}))
    assert not is_intact(SecretShape("t1", "es", annotations=marks, data=data))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"syncWindows": {"kind": "allow"}}, "spec.syncWindows needs"),
        ({"target": {"template": {}}}, "spec.target.template needs"),
        ({"target": {"manifest": {"kind": "ConfigMap"}}}, "spec.target.manifest needs"),
        (
            {"secretStoreRef": {"name": "c", "kind": "ClusterSecretStore"}},
            "spec.secretStoreRef.kind ClusterSecretStore",
        ),
        ({"dataFrom": [{"find": {"name": {"regexp": "x"}}}]}, "spec.dataFrom[0].find needs"),
        ({"dataFrom": [{"extract": {"key": "k"}, "rewrite": [{"regexp": {}}]}]}, "spec.dataFrom[0].rewrite needs"),
        ({"dataFrom": [{"sourceRef": {"generatorRef": {"kind": "UUID"}}}]}, "spec.dataFrom[0].sourceRef.generatorRef"),
        ({"data": [{"secretKey": "c", "remoteRef": {"key": "cert/c1"}}]}, "spec.data[0].remoteRef.key cert/c1 needs"),
        ({"data": [{"secretKey": "c", "remoteRef": {"key": "key/k1"}}]}, "spec.data[0].remoteRef.key key/k1 needs"),
    ],
)
def test_what_is_not_done_names_the_field(spec: dict[str, Any], sentence: str) -> None:
    said = beyond_us(make(spec))

    assert said.startswith(sentence)
    assert said.endswith("External Secrets Operator")


def test_what_is_done_needs_nobody() -> None:
    spec = {
        "data": [{"secretKey": "c", "remoteRef": {"key": "secret/db", "metadataPolicy": "Fetch", "version": "v1"}}],
        "dataFrom": [{"extract": {"key": "json"}}],
    }

    assert beyond_us(make(spec)) == ""


def _with_status(es: ExternalSecret, other: ExternalSecret) -> ExternalSecret:
    return ExternalSecret(metadata=es.metadata, spec=es.spec, status=other.status)
