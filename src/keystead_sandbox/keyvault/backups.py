"""Backups: everything of one secret, key or certificate, in a blob that only Key Vault can read.

- A blob is encrypted and authenticated with a key that lives as long as this process, so a client can neither read nor
  forge one; it is good in every vault of the same subscription, under its own name alone ("Azure Key Vault backup and
  restore"). The geography that Azure also asks about is not looked at.
"""

import os
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystead_sandbox.keyvault import errors, rules
from keystead_sandbox.keyvault.call import Call
from keystead_sandbox.keyvault.state import Shelf
from keystead_sandbox.resources import CertificateVersion, KeyVersion, SecretVersion

_SEAL = AESGCM(AESGCM.generate_key(256))
_NONCE = 12  # octets


class Contents(msgspec.Struct, kw_only=True):
    """What is in a blob."""

    kind: str
    name: str
    subscription: str
    secrets: list[SecretVersion] = []
    keys: list[KeyVersion] = []
    certificates: list[CertificateVersion] = []
    #: A certificate's policy, or a key's rotation policy.
    policy: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Contents({self.kind}/{self.name})"


def seal(contents: Contents) -> dict[str, str]:
    """The answer to a backup."""
    nonce = os.urandom(_NONCE)
    return {"value": rules.encoded(nonce + _SEAL.encrypt(nonce, msgspec.msgpack.encode(contents), None))}


async def unseal(call: Call, kind: str) -> Contents:
    """What the body of a restore holds, when it is a backup of this *kind* that may be restored here."""
    blob = rules.decoded((await call.body(rules.Backup)).value, "value")
    try:
        plain = _SEAL.decrypt(blob[:_NONCE], blob[_NONCE:], None)
    except (InvalidTag, ValueError):
        raise errors.bad("The backup blob is corrupted, or of another Key Vault.") from None
    contents = msgspec.msgpack.decode(plain, type=Contents)
    if contents.kind != kind:
        raise errors.bad(f"The backup blob is not one of {kind}.")
    if contents.subscription != subscription_of(call):
        raise errors.bad("The backup blob is from a vault of another subscription.")
    return contents


def check_restorable(shelf: Shelf[Any], name: str) -> None:
    """Whether nothing is there that a restore would overwrite, deleted or not."""
    if name.lower() in shelf.live:
        raise errors.taken(shelf.kind, shelf.spelled(name))
    shelf.check_free(name)


def subscription_of(call: Call) -> str:
    """The subscription of the vault that is asked."""
    return call.vault.resource_id.split("/")[2].lower()
