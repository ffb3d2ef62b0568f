"""The marks agree with External Secrets Operator's, byte for byte."""

import hashlib

import pytest

from keystead.sync.hashing import created_by, data_hash, field_manager, synced_resource_version, text_hash
from keystead.sync.snapshot import SecretBytes


def test_the_published_vector_of_data() -> None:
    # ESO, runtime/esutils/utils_test.go
    data = {"foo": SecretBytes(b"value1"), "bar": SecretBytes(b"value2")}

    assert data_hash(data) == "1bed8bcbcb4547ffe19a19cd47d9078e84aa6598266d86b99f992d64"


@pytest.mark.parametrize(("text", "start"), [("hello there", "f78681ec"), ("<nil>", "c461202a")])
def test_the_published_vectors_of_strings(text: str, start: str) -> None:
    assert text_hash(text).startswith(start)


def test_no_data_is_an_empty_map() -> None:
    assert data_hash({}) == hashlib.sha3_224(b"map[]").hexdigest()


def test_an_empty_value_is_an_empty_list() -> None:
    assert data_hash({"k": SecretBytes(b"")}) == hashlib.sha3_224(b"map[k:[]]").hexdigest()


def test_the_version_is_the_generation_and_the_metadata() -> None:
    bare = hashlib.sha3_224(b"{annotations:map[] labels:map[]}").hexdigest()
    full = hashlib.sha3_224(b"{annotations:map[a:b c:d] labels:map[x:y]}").hexdigest()

    assert synced_resource_version(1, {}, {}) == f"1-{bare}"
    assert synced_resource_version(3, {"x": "y"}, {"c": "d", "a": "b"}) == f"3-{full}"


def test_the_owner_is_namespace_and_name() -> None:
    assert created_by("t1", "es") == hashlib.sha3_224(b"t1/es").hexdigest()


@pytest.mark.parametrize("length", [27, 28], ids=["still plain", "one too long"])
def test_a_long_name_makes_a_hashed_field_manager(length: int) -> None:
    name = "n" * length
    hashed = f"externalsecrets.external-secrets.io/sha3/{text_hash(name)}"

    assert field_manager(name) == (f"externalsecrets.external-secrets.io/{name}" if length == 27 else hashed)


def test_a_wrapped_value_cannot_be_printed() -> None:
    value = SecretBytes(b"planted")

    assert {repr(value), str(value), f"{value}"} == {"***"}
