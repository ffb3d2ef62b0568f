"""Pure: what becomes of a value between the vault and the Secret: property, tags, decoding, key conversion, checks.

Rules:
- Texts of errors are External Secrets Operator's where users know them, but no text ever contains a value or a piece
  of one (ESO quotes the first offending character of a document that is not JSON; that is left out here).
- Nothing is guessed: a value that does not fit is Unfit, with what was asked for.
"""

import datetime
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from keystead.sync.gobase64 import Malformed, decode_base64
from keystead.sync.property import Node, parse, select
from keystead.sync.snapshot import Fetched, SecretBytes

_KEY_LIMIT = 253


class Unfit(Exception):
    """A value or key cannot become what was asked for. The text is safe to show."""


def property_of(document: str, path: str, key: str) -> str:
    """Pure: the value at *path*, or the whole document when the path is empty."""
    if not path:
        return document
    found = select(document, path)
    if found is None:
        raise Unfit(f"property {path} does not exist in key {key}")
    return found.text() if isinstance(found, Node) else found


def members_of(document: str) -> dict[str, bytes]:
    """Pure: a JSON object's members: strings unquoted, ``null`` empty, the rest as they stand."""
    root = parse(document)
    if root is not None and root.raw == "null":
        return {}
    if root is None or not root.is_object:
        raise Unfit("error unmarshalling json data: the value is not a JSON object")
    return {name: (value.text() if value.raw[0] in '"n' else value.raw).encode() for name, value in root.members()}


def tags_of(fetched: Fetched, *, with_attributes: bool) -> dict[str, str | None]:
    """Pure: the tags, and the dates as ``attribute.*`` tags, as ESO shows them without ``useAzureSDK``."""
    tags = dict(fetched.tags)
    if with_attributes:
        dates = {
            "expires": fetched.expires,
            "created": fetched.created,
            "updated": fetched.updated,
            "notBefore": fetched.not_before,
        }
        tags |= {f"attribute.{name}": _rfc3339(date) for name, date in dates.items() if date is not None}
    return tags


def tag_value(tags: Mapping[str, str | None], path: str) -> str:
    """Pure: metadata as one value: all tags as JSON, the tag of that exact name, or a path into a tag that is JSON."""
    if not path:
        return _go_json({name: tags[name] for name in sorted(tags, key=str.encode)})
    if path in tags:
        return tags[path] or ""
    name, dot, rest = path.partition(".")
    document = tags.get(name)
    if dot and document:
        found = select(document, rest)
        if found is not None:
            return found.text() if isinstance(found, Node) else found
    raise Unfit(f"tag {path} does not exist")


def tag_members(tags: Mapping[str, str | None], name: str) -> dict[str, bytes]:
    """Pure: metadata as a map: ``NAME_TAG``, or ``NAME_TAG_MEMBER`` for a tag that is a JSON object of strings."""
    members: dict[str, bytes] = {}
    for tag, value in tags.items():
        inner = _object_of_strings(value or "")
        if inner is None:
            members[f"{name}_{tag}"] = (value or "").encode()
        else:
            members |= {f"{name}_{tag}_{key}": text.encode() for key, text in inner.items()}
    return members


def decode(value: bytes, strategy: str) -> bytes:
    """Pure: *value* under a decoding strategy. ``Auto`` never fails; the others say where the value is malformed."""
    match strategy:
        case "" | "None":
            return value
        case "Base64" | "Base64URL":
            try:
                return decode_base64(value, url=strategy == "Base64URL")
            except Malformed as error:
                raise Unfit(f"error applying decoding strategy {strategy} to data: {error}") from None
        case "Auto":
            for url in (False, True):
                try:
                    return decode_base64(value, url=url)
                except Malformed:
                    continue
            return value
        case _:
            raise Unfit(f"error applying decoding strategy {strategy} to data: decoding strategy is not supported")


def decode_members(members: Mapping[str, bytes], strategy: str) -> dict[str, bytes]:
    """Pure: every member decoded; the error names the key."""
    decoded: dict[str, bytes] = {}
    for key in sorted(members, key=str.encode):
        try:
            decoded[key] = decode(members[key], strategy)
        except Unfit as error:
            inner = str(error).rsplit("data: ", 1)[-1]
            raise Unfit(
                f"error applying decoding strategy {strategy} to data: failure decoding key {key}: {inner}"
            ) from None
    return decoded


def convert_keys(members: Mapping[str, bytes], strategy: str) -> dict[str, bytes]:
    """Pure: keys that a Secret accepts; two that become one are an error."""
    replace: Callable[[str], str] = _as_code if strategy == "Unicode" else _as_underscore
    converted: dict[str, bytes] = {}
    for key in sorted(members, key=str.encode):
        name = "".join(character if _allowed(character) else replace(character) for character in key)
        if name in converted:
            raise Unfit(
                f"error applying conversion strategy {strategy or 'Default'} to keys: "
                f"secret name collision during conversion: {name}"
            )
        converted[name] = members[key]
    return converted


def check_keys(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Pure: the members without an empty key; Unfit when a Secret could not hold one."""
    advice = "invalid secret keys (TIP: use rewrite or conversionStrategy to change keys): "
    for key in sorted(members, key=str.encode):
        if len(key) > _KEY_LIMIT:
            raise Unfit(
                f"{advice}key has length {len(key)} but max is {_KEY_LIMIT}: "
                f"(following is truncated): {key[:_KEY_LIMIT]}"
            )
        for character in key:
            if not _allowed(character):
                raise Unfit(
                    f"{advice}key has invalid character {character}, "
                    f"only alphanumeric, '-', '.' and '_' are allowed: {key}"
                )
    return {key: value for key, value in members.items() if key}


def check_null_bytes(members: Mapping[str, bytes], policy: str) -> None:
    """Pure: Unfit under ``nullBytePolicy: Fail`` when a value contains a null byte."""
    if policy != "Fail":
        return
    for key in sorted(members, key=str.encode):
        if b"\0" in members[key]:
            raise Unfit(
                f'fetched secret value for key "{key}" contains null bytes; use a text-safe format such as PEM/base64 '
                "or leave nullBytePolicy unset for intentional binary data"
            )


def wrapped(members: Mapping[str, bytes]) -> dict[str, SecretBytes]:
    """Pure: the members, unprintable."""
    return {key: SecretBytes(value) for key, value in members.items()}


def _allowed(character: str) -> bool:
    # Go's unicode.IsLetter and unicode.IsNumber: general categories L* and N*.
    return character in "-._" or unicodedata.category(character)[0] in "LN"


def _as_underscore(_: str) -> str:
    return "_"


def _as_code(character: str) -> str:
    return f"_U{ord(character):04x}_"


def _rfc3339(date: datetime.datetime) -> str:
    return date.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _go_json(value: Mapping[str, str | None]) -> str:
    """JSON as Go's ``json.Marshal`` writes it: compact, UTF-8, with HTML characters and line separators escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _escaped(text, "<>&\u2028\u2029")


def _escaped(text: str, characters: Iterable[str]) -> str:
    for character in characters:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _object_of_strings(text: str) -> dict[str, str] | None:
    root = parse(text)
    if root is None or not root.is_object:
        return None
    members = dict(root.members())
    if any(value.raw[0] != '"' for value in members.values()):
        return None
    return {name: value.text() for name, value in members.items()}
