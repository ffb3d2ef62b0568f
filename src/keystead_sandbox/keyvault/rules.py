"""Pure: what Key Vault accepts in a request, whatever it is about.

- Limits are those of "About keys, secrets and certificates", of its pages on each, and of the REST reference.
- A body that does not fit is refused with the place that is wrong, never with what stands there.
"""

import base64
import binascii
import datetime
import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from keystead_sandbox.keyvault import errors
from keystead_sandbox.resources import Version

APPLICATION = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"  # Key Vault's own application, which a token may be for
VERSIONS = (
    *("7.0-preview", "7.0", "7.1-preview", "7.1", "7.2-preview", "7.2", "7.3-preview", "7.3", "7.4-preview.1", "7.4"),
    *("7.5-preview.1", "7.5", "7.6-preview.1", "7.6-preview.2", "7.6", "2025-06-01-preview", "2025-07-01"),
    *("2026-01-01-preview", "2026-04-01"),
)
"""From the oldest to the newest; 2015-06-01 and 2016-10-01 are older than everything that the sandbox answers."""
PAGE = 25
LONGEST_BODY = 1 << 18
_AGE = {version: age for age, version in enumerate(VERSIONS)}
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}", re.ASCII)
_VERSION = re.compile(r"[0-9a-f]{32}", re.ASCII | re.IGNORECASE)
LONGEST_VALUE = 25600
_LONGEST_TYPE = 255
_MOST_TAGS = 15
_LONGEST_TAG = 256
_END_OF_TIME = 253402300800  # the year 10000, which no datetime can print

T = TypeVar("T")


class Attributes(msgspec.Struct, frozen=True):
    """The attributes that a client may set; what is left out stays, or takes its default."""

    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None
    exportable: bool | None = None

    @property
    def not_before(self) -> datetime.datetime | None:
        return _instant(self.nbf)

    @property
    def expires(self) -> datetime.datetime | None:
        return _instant(self.exp)


class Change(msgspec.Struct, frozen=True):
    """What every update may change; null means the same as absent."""

    tags: dict[str, str] | None = None
    attributes: Attributes | None = None

    def applied(self, held: Version) -> None:
        """Put the attributes and tags of this request into *held*."""
        if self.tags is not None:
            held.tags = dict(self.tags)
        attributes = self.attributes or Attributes()
        if attributes.enabled is not None:
            held.enabled = attributes.enabled
        if attributes.nbf is not None:
            held.not_before = attributes.not_before
        if attributes.exp is not None:
            held.expires = attributes.expires


class SecretChange(Change, frozen=True, rename="camel"):
    """The body of a secret's update."""

    content_type: str | None = None


class NewSecret(SecretChange, frozen=True, rename="camel"):
    """The body of a set."""

    value: str | None = None

    def __repr__(self) -> str:
        return "NewSecret(***)"


class Backup(msgspec.Struct, frozen=True):
    """The body of a restore."""

    value: str

    def __repr__(self) -> str:
        return "Backup(***)"


def check_version(version: str) -> None:
    """Only the api-versions that Key Vault has had."""
    if version not in _AGE:
        raise errors.unsupported_version(version)


def is_since(version: str, first: str) -> bool:
    """Whether *version* is *first* or newer; both are known."""
    return _AGE[version] >= _AGE[first]


def is_name(name: str) -> bool:
    """Whether a secret, key or certificate can have this name: letters, digits and dashes, at most 127."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """A request names only what can exist."""
    if not is_name(name):
        raise errors.bad(f"The request URI contains an invalid name: {name[:127]}")


def check_object_version(version: str, method: str) -> None:
    """A version is 32 hexadecimal digits; anything else is read as the name of an operation."""
    if version and _VERSION.fullmatch(version) is None:
        raise errors.no_such_operation(method, version)


def read(body: bytes, kind: type[T]) -> T:
    """The JSON in a request's body."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        place = re.search(r"at `\$\.?(.*)`$", str(error)) or re.search("required field `(.+?)`", str(error))
        raise invalid(place[1] if place is not None else "") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise invalid("") from None


def invalid(place: str) -> errors.RefusedError:
    """A property that has no sense; the words are those of recorded refusals."""
    return errors.bad(f"Property {place} has invalid value\r\n")


def read_new(body: bytes) -> NewSecret:
    """The body of a set; it has a value."""
    new = read(body, NewSecret)
    if new.value is None:
        raise invalid("value")
    if len(new.value.encode("utf-8", "surrogatepass")) > LONGEST_VALUE:
        raise errors.bad(f"The secret's value is longer than {LONGEST_VALUE} bytes.")
    check_secret(new)
    return new


def check_secret(change: SecretChange) -> None:
    """The limits on what a secret carries besides its value."""
    if len(change.content_type or "") > _LONGEST_TYPE:
        raise errors.bad(f"The content type is longer than {_LONGEST_TYPE} characters.")
    check(change)


def check(change: Change) -> None:
    """The limits on tags and times."""
    tags = change.tags or {}
    if len(tags) > _MOST_TAGS or any(len(text) > _LONGEST_TAG for pair in tags.items() for text in pair):
        raise errors.bad(f"At most {_MOST_TAGS} tags, with names and values of at most {_LONGEST_TAG} characters.")
    attributes = change.attributes or Attributes()
    begin, end = attributes.nbf, attributes.exp
    if any(instant is not None and not 0 <= instant < _END_OF_TIME for instant in (begin, end)):
        raise errors.bad("'nbf' and 'exp' are seconds since 1970.")
    if begin is not None and end is not None and begin >= end:
        raise errors.bad("'nbf' must be before 'exp'.")


def page_size(wanted: str) -> int:
    """``maxresults``: 1 to 25, and 25 when it is left out."""
    if not wanted:
        return PAGE
    if not wanted.isascii() or not wanted.isdigit() or not 1 <= int(wanted[:9]) <= PAGE:
        raise errors.bad(f"The value of 'maxresults' must be between 1 and {PAGE}.")
    return int(wanted)


def skip_token(last: str) -> str:
    """Where the next page begins: opaque to clients."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def skipped(token: str) -> str:
    """The last key of the page before; empty for the first page."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise errors.bad("The value of '$skiptoken' is not valid.") from None


def encoded(octets: bytes) -> str:
    """As Key Vault writes octets: base64url without padding."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def decoded(text: str, place: str) -> bytes:
    """The octets in base64url, with or without padding; *place* names the property that has none."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise invalid(place) from None


def one_of(value: str, allowed: Sequence[str], place: str) -> str:
    """*value* when it is allowed there."""
    if value not in allowed:
        raise invalid(place)
    return value


def _instant(seconds: int | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
