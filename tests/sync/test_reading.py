"""What an ExternalSecret reads, and the data that come of it."""

from typing import Any

import pytest

from keystead.model.secret import Secret
from keystead.sync.objects import external_secret
from keystead.sync.reading import Assembled, NotAssembled, assemble, reads
from keystead.sync.snapshot import Fetched, Read, ReadResult, Unread

MISSING = Unread("Secret does not exist", missing=True)
VAULT: dict[tuple[str, str], ReadResult] = {
    ("db", ""): Fetched(Secret("s3cr3t"), {"env": "prod"}),
    ("db", "v1"): Fetched(Secret("old")),
    ("json", ""): Fetched(Secret('{"user":"u1","obj":{"k":"v"},"a b":"x"}')),
    ("clash", ""): Fetched(Secret('{"a b":"1","a_b":"2"}')),
    ("b64", ""): Fetched(Secret("aGVsbG8=")),
    ("plain", ""): Fetched(Secret("hello")),
    ("nul", ""): Fetched(Secret("a\0b")),
    ("off", ""): Unread("https://v.vault.azure.net/secrets/off: 403 SecretDisabled"),
}


def run(policy: str = "Retain", **spec: Any) -> Assembled:
    item = {
        "metadata": {"name": "es", "namespace": "t1"},
        "spec": {"secretStoreRef": {"name": "kv"}, "target": {"deletionPolicy": policy}, **spec},
    }
    es = external_secret(item)
    return assemble(es, {read: VAULT.get((read.name, read.version), MISSING) for read in reads(es)})


def values(assembled: Assembled) -> dict[str, bytes]:
    return {key: value.reveal() for key, value in assembled.data.items()}


def entry(key: str, into: str = "k", **ref: Any) -> dict[str, Any]:
    return {"secretKey": into, "remoteRef": {"key": key, **ref}}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (entry("db"), b"s3cr3t"),
        (entry("secret/db"), b"s3cr3t"),
        (entry("db", version="v1"), b"old"),
        (entry("json", property="obj.k"), b"v"),
        (entry("b64", decodingStrategy="Base64"), b"hello"),
        (entry("db", metadataPolicy="Fetch", property="env"), b"prod"),
        (entry("nul"), b"a\0b"),
    ],
    ids=["plain", "with its type", "a version", "a property", "decoded", "a tag", "null bytes are fine unasked"],
)
def test_one_key(given: dict[str, Any], value: bytes) -> None:
    assert values(run(data=[given])) == {"k": value}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (entry("nope"), "error processing spec.data[0] (key: nope), err: Secret does not exist"),
        (
            entry("example/name"),
            "error processing spec.data[0] (key: example/name), err: unknown Azure Keyvault object Type for name",
        ),
        (
            entry("plain", property="x"),
            "error processing spec.data[0] (key: plain), err: property x does not exist in key plain",
        ),
        (
            entry("plain", decodingStrategy="Base64"),
            (
                "error processing spec.data[0] (key: plain), err: error applying decoding strategy Base64 to data: "
                "illegal base64 data at input byte 4"
            ),
        ),
        (
            entry("off"),
            "error processing spec.data[0] (key: off), err: https://v.vault.azure.net/secrets/off: 403 SecretDisabled",
        ),
    ],
    ids=["missing", "unknown type", "no property", "not base64", "disabled"],
)
def test_a_failing_key_says_where(given: dict[str, Any], text: str) -> None:
    with pytest.raises(NotAssembled) as caught:
        run(data=[given])

    assert str(caught.value) == text


def test_a_null_byte_fails_when_the_policy_says_so() -> None:
    with pytest.raises(NotAssembled, match="contains null bytes"):
        run(data=[entry("nul", nullBytePolicy="Fail")])


def test_an_object_is_extracted() -> None:
    found = run(dataFrom=[{"extract": {"key": "json"}}])

    assert values(found) == {"user": b"u1", "obj": b'{"k":"v"}', "a_b": b"x"}


def test_a_part_of_an_object_is_extracted() -> None:
    assert values(run(dataFrom=[{"extract": {"key": "json", "property": "obj"}}])) == {"k": b"v"}


def test_tags_are_extracted() -> None:
    assert values(run(dataFrom=[{"extract": {"key": "db", "metadataPolicy": "Fetch"}}])) == {"db_env": b"prod"}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("clash", "secret name collision during conversion: a_b"),
        ("cert/c1", "cannot get use dataFrom to get certificate secret"),
        ("key/k1", "cannot get use dataFrom to get key secret"),
        ("plain", "error unmarshalling json data: the value is not a JSON object"),
    ],
)
def test_a_failing_extract_says_why(key: str, text: str) -> None:
    VAULT.setdefault(("c1", ""), Fetched(Secret("x")))
    VAULT.setdefault(("k1", ""), Fetched(Secret("x")))
    with pytest.raises(NotAssembled) as caught:
        run(dataFrom=[{"extract": {"key": key}}])

    assert str(caught.value).startswith("error processing spec.dataFrom[0].extract, err: ")
    assert str(caught.value).endswith(text)
    assert "hello" not in str(caught.value)


def test_the_later_entry_wins_and_data_win_over_data_from() -> None:
    found = run(
        policy="Delete",
        data=[entry("plain", "user"), entry("db", "user")],
        dataFrom=[{"extract": {"key": "json"}}],
    )

    assert values(found)["user"] == b"s3cr3t"


@pytest.mark.parametrize("policy", ["Delete", "Merge"])
def test_a_missing_secret_leaves_its_entry_out(policy: str) -> None:
    found = run(policy=policy, data=[entry("db", "a"), entry("nope", "b")])

    assert values(found) == {"a": b"s3cr3t"}
    assert found.missing == ("secret does not exist at provider using spec.dataFrom[1] (key=nope)",)


def test_a_disabled_secret_is_never_taken_for_missing() -> None:
    with pytest.raises(NotAssembled):
        run(policy="Delete", data=[entry("off")])


def test_the_same_version_is_read_once() -> None:
    item = {
        "metadata": {"name": "es", "namespace": "t1"},
        "spec": {
            "secretStoreRef": {"name": "kv"},
            "data": [entry("db", "a"), entry("secret/db", "b"), entry("db", "c", version="v1")],
            "dataFrom": [{"extract": {"key": "db"}}],
        },
    }

    assert reads(external_secret(item)) == (Read("kv", "db"), Read("kv", "db", "v1"))


def test_an_entrys_own_store_is_read() -> None:
    own = {**entry("db"), "sourceRef": {"storeRef": {"name": "other"}}}
    item = {
        "metadata": {"name": "es", "namespace": "t1"},
        "spec": {"secretStoreRef": {"name": "kv"}, "data": [own]},
    }

    assert reads(external_secret(item)) == (Read("other", "db"),)
