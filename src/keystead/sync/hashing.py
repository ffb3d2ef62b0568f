"""Pure: the marks by which External Secrets Operator recognises what it wrote, computed byte for byte as it does.

Rules:
- A hash is the lower-case hex SHA3-224 of Go's ``fmt.Sprintf("%+v", value)`` (ESO, ``runtime/esutils.ObjectHash``):
  map keys sorted by their bytes, entries separated by one space, byte slices as decimal lists, an absent map as
  ``map[]``.
- Equal marks are what makes a hand-over between ESO and the engine rewrite nothing, so they are never "improved".
"""

import hashlib
from collections.abc import Mapping

from keystead.sync.snapshot import SecretBytes

_MANAGER_PREFIX = "externalsecrets.external-secrets.io/"
_MANAGER_LIMIT = 63
"""Above this length of the whole name ESO hashes the ExternalSecret's name."""


def text_hash(text: str) -> str:
    """Pure: ESO's hash of a plain string."""
    return hashlib.sha3_224(text.encode()).hexdigest()


def data_hash(data: Mapping[str, SecretBytes]) -> str:
    """Pure: annotation ``reconcile.external-secrets.io/data-hash`` of a Secret with this data."""
    digest = hashlib.sha3_224(b"map[")
    for position, key in enumerate(_in_go_order(data)):
        decimals = " ".join(map(str, data[key].reveal()))
        digest.update(f"{' ' if position else ''}{key}:[{decimals}]".encode())
    digest.update(b"]")
    return digest.hexdigest()


def synced_resource_version(generation: int, labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """Pure: ``status.syncedResourceVersion``; changes with the spec, and with any label or annotation."""
    return f"{generation}-{text_hash(f'{{annotations:{_go_map(annotations)} labels:{_go_map(labels)}}}')}"


def created_by(namespace: str, name: str) -> str:
    """Pure: label ``reconcile.external-secrets.io/created-by`` of what this ExternalSecret owns."""
    return text_hash(f"{namespace}/{name}")


def field_manager(name: str) -> str:
    """Pure: the field manager under which the Secret of the ExternalSecret *name* is written."""
    plain = _MANAGER_PREFIX + name
    return plain if len(plain) <= _MANAGER_LIMIT else f"{_MANAGER_PREFIX}sha3/{text_hash(name)}"


def _go_map(values: Mapping[str, str]) -> str:
    return f"map[{' '.join(f'{key}:{values[key]}' for key in _in_go_order(values))}]"


def _in_go_order(keys: Mapping[str, object]) -> list[str]:
    # Go compares strings by byte; Python by code point, which orders UTF-8 alike except for surrogates.
    return sorted(keys, key=str.encode)
