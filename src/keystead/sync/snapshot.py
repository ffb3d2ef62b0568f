"""Pure: what one pass sees, as frozen values, and what it hands on.

Rules:
- A value that came out of a vault, or that sits in a Secret, is wrapped: neither ``repr`` nor an f-string shows it.
- Everything here was decoded at the edge; nothing here reads a clock or a network.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keystead.model.secret import Secret


class SecretBytes:
    """One entry of a Secret's data; shown as ``***``. Read it with :meth:`reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value: Final = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a SecretBytes is not pickled")


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner reference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


@dataclass(frozen=True, slots=True)
class OwnedFields:
    """What one field manager holds of a Secret."""

    data: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SecretShape:
    """The part of a Secret that the engine reads and writes."""

    namespace: str
    name: str
    type: str = "Opaque"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[Owner, ...] = ()
    finalizers: tuple[str, ...] = ()
    data: Mapping[str, SecretBytes] = field(default_factory=dict)
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """A Secret as the cluster holds it."""

    shape: SecretShape
    uid: str
    resource_version: str
    ours: OwnedFields = OwnedFields()
    """What the field manager of the ExternalSecret in question holds."""


@dataclass(frozen=True, slots=True)
class SecretMark:
    """What is remembered of a managed Secret between passes: no data."""

    namespace: str
    name: str
    uid: str
    created_by: str = ""
    intact: bool = True
    """Managed, not going, and its data match the hash that was written with them."""


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """One secret version that a refresh needs; an empty version is the newest."""

    store: str
    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A secret version as Key Vault gave it."""

    value: Secret
    tags: Mapping[str, str | None] = field(default_factory=dict)
    created: datetime.datetime | None = None
    updated: datetime.datetime | None = None
    expires: datetime.datetime | None = None
    not_before: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a secret version could not be had; the text carries no value."""

    text: str
    missing: bool = False
    """Key Vault has no such secret (404); anything else is a failure, never absence."""
    ticket_refused: bool = False
    """Key Vault does not accept the token (401): another one may do."""
    throttled_for: float | None = None
    """Key Vault asked to come back after so many seconds (429)."""


ReadResult = Fetched | Unread
