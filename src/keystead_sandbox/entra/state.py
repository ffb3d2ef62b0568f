"""What Entra remembers: issuers' keys, and which exchanges it refused or allowed a moment ago."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from keystead_sandbox.entra.errors import Refusal
from keystead_sandbox.world import World

Fetch: TypeAlias = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Reads a document of an issuer: (status, body)."""

Trust: TypeAlias = tuple[str, str, str]
"""Client id, issuer, subject."""

_JWKS_LIFE = 3600.0  # sandbox seconds; one report says Entra may keep an issuer's keys for an hour
_JWKS_AGAIN = 30.0  # sandbox seconds before an unknown key id makes it fetch again
_OK = 200


@dataclass
class _Keys:
    keys: KeySet
    fetched: float


@dataclass
class Memory:
    """Negative and positive caches by trust, keys by issuer; all times in sandbox seconds."""

    world: World
    fetch: Fetch
    refused: dict[Trust, tuple[float, int]] = field(default_factory=dict)
    used: dict[Trust, float] = field(default_factory=dict)
    _keys: dict[str, _Keys] = field(default_factory=dict)

    def remembered_refusal(self, trust: Trust) -> int | None:
        """The code with which this exchange was refused, while that is remembered; asking does not extend it."""
        entry = self.refused.get(trust)
        if entry is None:
            return None
        if self.world.clock.now() >= entry[0] + self.world.rules.negative_cache:
            del self.refused[trust]
            return None
        return entry[1]

    def refuse(self, trust: Trust, code: int) -> None:
        self.refused[trust] = (self.world.clock.now(), code)

    async def keys(self, issuer: str, key_id: str) -> KeySet:
        """The issuer's published keys; fetched anew when they are old, or lack *key_id* and were not fetched just now."""
        known, now = self._keys.get(issuer), self.world.clock.now()
        if known is not None and now < known.fetched + _JWKS_LIFE:
            has = any(key.kid == key_id for key in known.keys.keys)
            if has or now < known.fetched + _JWKS_AGAIN:
                return known.keys
        document = await self._document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        # The issuer of the document must be the issuer of the token, to the letter.
        if document.get("issuer") != issuer or not isinstance(document.get("jwks_uri"), str):
            raise Refusal(50166)
        published = await self._document(document["jwks_uri"])
        try:
            keys = KeySet.import_key_set({"keys": published["keys"]})
        except (JoseError, KeyError, ValueError, TypeError):
            raise Refusal(50166) from None
        self._keys[issuer] = _Keys(keys, now)
        return keys

    async def _document(self, url: str) -> dict[str, Any]:
        try:
            status, body = await self.fetch(url)
            document = msgspec.json.decode(body) if status == _OK else None
        except (OSError, TimeoutError, msgspec.DecodeError):
            document = None
        if not isinstance(document, dict):
            raise Refusal(50166)
        return document
