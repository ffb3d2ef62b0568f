"""From a vault's text to a Secret's bytes: property, tags, decoding, key conversion."""

import datetime

import pytest

from keystead.model.secret import Secret
from keystead.sync.property import NeedsOperator, number_text
from keystead.sync.snapshot import Fetched
from keystead.sync.values import (
    Unfit,
    check_keys,
    check_null_bytes,
    convert_keys,
    decode,
    members_of,
    property_of,
    tag_members,
    tag_value,
    tags_of,
)

DOCUMENT = (
    '{"user":"u1","pass":"p1","n":1.50,"b":true,"z":null,"obj":{ "k": "v" },"arr":[1,2],"a.b":"dot",'
    '"deep":{"list":[{"x":"\\u00e9"}]}}'
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("user", "u1"),
        ("obj", '{ "k": "v" }'),
        ("obj.k", "v"),
        ("arr", "[1,2]"),
        ("arr.1", "2"),
        ("arr.#", "2"),
        ("n", "1.5"),
        ("b", "true"),
        ("z", ""),
        ("a.b", "dot"),
        ("a\\.b", "dot"),
        ("deep.list.0.x", "é"),
        ("us?r", "u1"),
        ("pa*", "p1"),
        ("", DOCUMENT),
    ],
    ids=[
        "a string is unquoted",
        "an object keeps its white space",
        "a dot descends",
        "an array as it stands",
        "an index",
        "a length",
        "a fraction as Go prints it",
        "a boolean",
        "null is empty",
        "a name with a dot is tried last",
        "an escaped dot is literal",
        "deeper",
        "one unknown character",
        "many unknown characters",
        "no path is everything",
    ],
)
def test_a_property_is_read(path: str, value: str) -> None:
    assert property_of(DOCUMENT, path, "json") == value


@pytest.mark.parametrize(
    ("document", "path"),
    [("hello", "x"), (DOCUMENT, "nope"), (DOCUMENT, "arr.2"), (DOCUMENT, "user.x"), ('{"x":', "x"), ("NaN", "x")],
    ids=["not JSON", "no such name", "past the end", "below a string", "cut off", "NaN is not JSON"],
)
def test_an_absent_property_says_which_and_where_but_not_what(document: str, path: str) -> None:
    with pytest.raises(Unfit, match=f"^property {path} does not exist in key plain$"):
        property_of(document, path, "plain")


@pytest.mark.parametrize("path", ["@this", "a|b", 'arr.#(x=="y")', "arr.#.x", "{user,pass}", "[user]", "a.@keys"])
def test_the_rest_of_the_path_language_is_named_not_missed(path: str) -> None:
    with pytest.raises(NeedsOperator, match="needs External Secrets Operator"):
        property_of(DOCUMENT, path, "json")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("1", "1"),
        ("-7", "-7"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1e-7", "0.0000001"),
        ("2.0", "2"),
    ],
)
def test_a_number_is_printed_as_go_prints_it(raw: str, text: str) -> None:
    assert number_text(raw) == text


def test_an_object_is_spread_with_its_numbers_as_they_stand() -> None:
    assert members_of(DOCUMENT) == {
        "user": b"u1",
        "pass": b"p1",
        "n": b"1.50",
        "b": b"true",
        "z": b"",
        "obj": b'{ "k": "v" }',
        "arr": b"[1,2]",
        "a.b": b"dot",
        "deep": b'{"list":[{"x":"\\u00e9"}]}',
    }


def test_null_spreads_to_nothing() -> None:
    assert members_of(" null ") == {}


@pytest.mark.parametrize("document", ["geheim", "[1]", '"geheim"', "7", ""])
def test_what_is_not_an_object_is_not_quoted(document: str) -> None:
    with pytest.raises(Unfit) as caught:
        members_of(document)

    assert str(caught.value) == "error unmarshalling json data: the value is not a JSON object"


@pytest.mark.parametrize(
    ("strategy", "value", "decoded"),
    [
        ("", b"aGVsbG8=", b"aGVsbG8="),
        ("None", b"aGVsbG8=", b"aGVsbG8="),
        ("Base64", b"aGVsbG8=", b"hello"),
        ("Base64", b"aGVs\r\nbG8=", b"hello"),
        ("Base64", b"", b""),
        ("Base64URL", b"Zm9vJV8_YmFy", b"foo%_?bar"),
        ("Auto", b"aGVsbG8=", b"hello"),
        ("Auto", b"Zm9vJV8_YmFy", b"foo%_?bar"),
        ("Auto", b"p@ss", b"p@ss"),
        ("Auto", b"abcd", b"i\xb7\x1d"),
        ("Auto", b"hello", b"hello"),
    ],
)
def test_a_value_is_decoded(strategy: str, value: bytes, decoded: bytes) -> None:
    assert decode(value, strategy) == decoded


@pytest.mark.parametrize(
    ("value", "at"),
    [(b"hello", 4), (b"p@ss", 1), (b"aGVsbG8", 4), (b"aGVsbG8=x", 8), (b"ab=c", 2), (b"a===", 1), (b"ab=", 3)],
    ids=[
        "one letter left over",
        "a foreign character",
        "no padding",
        "text behind the padding",
        "half a padding",
        "padding too early",
        "padding cut off",
    ],
)
def test_bad_base64_names_the_byte_as_go_does(value: bytes, at: int) -> None:
    with pytest.raises(Unfit) as caught:
        decode(value, "Base64")

    assert str(caught.value) == (
        f"error applying decoding strategy Base64 to data: illegal base64 data at input byte {at}"
    )


@pytest.mark.parametrize(
    ("strategy", "key", "converted"),
    [
        ("Default", "a b", "a_b"),
        ("", "a/b", "a_b"),
        ("Unicode", "a b", "a_U0020_b"),
        ("Default", "ä.-_9", "ä.-_9"),
    ],
)
def test_keys_are_converted(strategy: str, key: str, converted: str) -> None:
    assert convert_keys({key: b""}, strategy) == {converted: b""}


def test_two_keys_that_become_one_are_an_error() -> None:
    with pytest.raises(Unfit, match=r"Default to keys: secret name collision during conversion: a_b$"):
        convert_keys({"a b": b"1", "a_b": b"2"}, "")


def test_an_empty_key_is_dropped() -> None:
    assert check_keys({"": b"x", "k": b"v"}) == {"k": b"v"}


def test_a_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(Unfit, match="key has length 254 but max is 253"):
        check_keys({"k" * 254: b""})


def test_a_key_that_no_secret_accepts_is_refused() -> None:
    with pytest.raises(Unfit, match="key has invalid character  , only alphanumeric"):
        check_keys({"a b": b""})


def test_null_bytes_fail_only_when_told_to() -> None:
    check_null_bytes({"k": b"a\0b"}, "")
    check_null_bytes({"k": b"ab"}, "Fail")

    with pytest.raises(Unfit, match='value for key "k" contains null bytes'):
        check_null_bytes({"k": b"a\0b"}, "Fail")


TAGS = {"env": "prod", "meta": '{"a":"b","n":{"x":"y"}}', "none": None, "flat": '{"p":"q"}'}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("env", "prod"),
        ("meta.n.x", "y"),
        ("none", ""),
        (
            "",
            '{"env":"prod","flat":"{\\"p\\":\\"q\\"}","meta":"{\\"a\\":\\"b\\",\\"n\\":{\\"x\\":\\"y\\"}}","none":null}',
        ),
    ],
)
def test_metadata_is_read(path: str, value: str) -> None:
    assert tag_value(TAGS, path) == value


def test_metadata_is_escaped_as_go_escapes_html() -> None:
    assert tag_value({"t": "<&>"}, "") == '{"t":"\\u003c\\u0026\\u003e"}'


def test_no_tags_are_an_empty_object() -> None:
    assert tag_value({}, "") == "{}"


@pytest.mark.parametrize("path", ["missing", "env.x", "meta.zz"])
def test_an_absent_tag_is_an_error(path: str) -> None:
    with pytest.raises(Unfit, match=f"^tag {path} does not exist$"):
        tag_value(TAGS, path)


def test_tags_spread_under_the_secrets_name() -> None:
    assert tag_members(TAGS, "db") == {
        "db_env": b"prod",
        "db_meta": b'{"a":"b","n":{"x":"y"}}',
        "db_none": b"",
        "db_flat_p": b"q",
    }


def test_dates_are_tags_unless_the_new_sdk_is_asked_for() -> None:
    created = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    fetched = Fetched(Secret("v"), {"env": "prod"}, created=created)

    assert tags_of(fetched, with_attributes=True) == {"env": "prod", "attribute.created": "2026-01-02T03:04:05Z"}
    assert tags_of(fetched, with_attributes=False) == {"env": "prod"}
