"""Pure: what Key Vault accepts, and which data action a request needs.

Limits are those of "About Azure Key Vault secrets" and the REST reference of the secrets operations.
"""

import base64
import binascii
import datetime
import re

import msgspec

from keystead_sandbox.keyvault import errors

APPLICATION = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"  # Key Vault's own application, which a token may be for
VERSIONS = frozenset({"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6-preview.2", "7.6", "2025-07-01", "2026-04-01"})
PAGE = 25
RECOVERABLE_DAYS = 90
_SECRETS = "Microsoft.KeyVault/vaults/secrets"
READ = f"{_SECRETS}/getSecret/action"
READ_METADATA = f"{_SECRETS}/readMetadata/action"
SET = f"{_SECRETS}/setSecret/action"
UPDATE = f"{_SECRETS}/update/action"
DELETE = f"{_SECRETS}/delete"
RECOVER = f"{_SECRETS}/recover/action"
PURGE = f"{_SECRETS}/purge/action"
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}", re.ASCII)
_LONGEST_VALUE = 25600
_LONGEST_TYPE = 255
_MOST_TAGS = 15
_LONGEST_TAG = 256
_END_OF_TIME = 253402300800  # the year 10000, which no datetime can print


class Attributes(msgspec.Struct, frozen=True):
    """A secret's attributes as a client may set them; what is left out stays, or takes its default."""

    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None

    @property
    def not_before(self) -> datetime.datetime | None:
        return _instant(self.nbf)

    @property
    def expires(self) -> datetime.datetime | None:
        return _instant(self.exp)


class Change(msgspec.Struct, frozen=True, rename="camel"):
    """The body of an update; null means the same as absent."""

    content_type: str | None = None
    tags: dict[str, str] | None = None
    attributes: Attributes | None = None


class NewVersion(Change, frozen=True, rename="camel"):
    """The body of a set."""

    value: str | None = None

    def __repr__(self) -> str:
        return "NewVersion(***)"


def check_version(version: str) -> None:
    """Only the api-versions that Key Vault has had."""
    if version not in VERSIONS:
        raise errors.unsupported_version(version)


def check_name(name: str) -> None:
    """A secret's name: letters, digits and dashes, at most 127."""
    if _NAME.fullmatch(name) is None:
        raise errors.bad(f"The request URI contains an invalid name: {name[:127]}")


def read_new(body: bytes) -> NewVersion:
    """The body of a set; it has a value."""
    try:
        new = msgspec.json.decode(body, type=NewVersion)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise errors.bad("The request body is not a secret.") from None
    if new.value is None:
        raise errors.bad("Property 'value' is required.")
    if len(new.value.encode("utf-8", "surrogatepass")) > _LONGEST_VALUE:
        raise errors.bad(f"The secret's value is longer than {_LONGEST_VALUE} bytes.")
    _check(new)
    return new


def read_change(body: bytes) -> Change:
    """The body of an update."""
    try:
        change = msgspec.json.decode(body, type=Change)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise errors.bad("The request body is not a secret's attributes.") from None
    _check(change)
    return change


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


def _check(change: Change) -> None:
    if len(change.content_type or "") > _LONGEST_TYPE:
        raise errors.bad(f"The content type is longer than {_LONGEST_TYPE} characters.")
    tags = change.tags or {}
    if len(tags) > _MOST_TAGS or any(len(text) > _LONGEST_TAG for pair in tags.items() for text in pair):
        raise errors.bad(f"At most {_MOST_TAGS} tags, with names and values of at most {_LONGEST_TAG} characters.")
    attributes = change.attributes or Attributes()
    begin, end = attributes.nbf, attributes.exp
    if any(instant is not None and not 0 <= instant < _END_OF_TIME for instant in (begin, end)):
        raise errors.bad("'nbf' and 'exp' are seconds since 1970.")
    if begin is not None and end is not None and begin >= end:
        raise errors.bad("The secret's 'nbf' must be before its 'exp'.")


def _instant(seconds: int | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
