"""Pure: how Entra reads the JWT that a client proves itself with, and how its signature is verified.

- Nothing that an assertion says is proven until its signature is: over the very bytes that were sent.
- Base64 may have its padding, which RFC 7515 leaves out: azure-identity's asynchronous certificate credential sends it,
  and Entra accepts it. Any other stray byte, a newline at the end too, makes the assertion malformed.
- A federated assertion is RS256 alone, whatever its issuer publishes; an application's own may be PS256.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from keystead_sandbox.entra.errors import RefusedError

_HEADER_TYPES = ("JWT", "http://openid.net/specs/jwt/1.0")
_END_OF_TIME = 253402300800  # the year 10000, which no datetime can print
# Decoders skip what is not base64; here it must not be there.
_COMPACT = re.compile(r"([\w-]+={0,2})\.([\w-]+={0,2})\.([\w-]+={0,2})", re.ASCII)
_SHA256 = hashes.SHA256()
_PADDINGS: dict[str, AsymmetricPadding] = {
    "RS256": PKCS1v15(),
    "PS256": PSS(MGF1(hashes.SHA256()), PSS.DIGEST_LENGTH),  # RFC 7518 §3.5: a salt as long as the digest
}


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an assertion claims."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    key_id: str
    algorithm: str
    not_before: float
    expires: float
    issued: float | None
    claims: Mapping[str, Any]
    #: Of the certificate that signed it, in hexadecimal and upper case; empty unless it names one.
    thumbprint: str
    _signed: bytes
    _signature: bytes

    def is_signed_by(self, key: RSAPublicKey) -> bool:
        """Whether *key* signed it, by the algorithm that it names."""
        padding = _PADDINGS.get(self.algorithm)
        if padding is None:
            return False
        try:
            key.verify(self._signature, self._signed, padding, _SHA256)
        except InvalidSignature:
            return False
        return True


def read_assertion(text: str) -> Assertion:
    """Parse an assertion without believing it.

    Raises:
        RefusedError: 50027 when it is no JWT with the claims that matching needs, 5002727 for another kind of JWT.

    """
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise RefusedError(50027)
    header, claims = _object(parts[1]), _object(parts[2])
    if "crit" in header:  # RFC 7515 §4.1.11: what is not understood must be refused
        raise RefusedError(50027)
    if header.get("typ", "JWT") not in _HEADER_TYPES:  # the API server leaves "typ" out
        raise RefusedError(5002727)
    audiences = claims.get("aud")
    expires = _number(claims, "exp")
    if expires is None:
        raise RefusedError(50027)
    return Assertion(
        issuer=_text(claims, "iss"),
        subject=_text(claims, "sub"),
        audiences=_texts([audiences] if isinstance(audiences, str) else audiences),
        key_id=str(header.get("kid", "")),
        algorithm=str(header.get("alg", "")),
        not_before=_number(claims, "nbf") or 0.0,
        expires=expires,
        issued=_number(claims, "iat"),
        claims=claims,
        thumbprint=_thumbprint(header),
        _signed=text.rpartition(".")[0].encode(),
        _signature=_decoded(parts[3]),
    )


def _object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(part).decode())  # bytes might be taken for UTF-16
    except (ValueError, RecursionError):
        raise RefusedError(50027) from None
    if not isinstance(found, dict):
        raise RefusedError(50027)
    return found


def _decoded(part: str) -> bytes:
    bare = part.rstrip("=")
    try:
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        raise RefusedError(50027) from None


def _thumbprint(header: Mapping[str, Any]) -> str:
    given = header.get("x5t#S256") or header.get("x5t") or ""
    if not isinstance(given, str):
        raise RefusedError(50027)
    return _decoded(given).hex().upper()


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not _is_text(value) or not value:
        raise RefusedError(50027)
    return str(value)


def _is_text(value: object) -> bool:
    """Half of a surrogate pair can be written in JSON, but is no text that could be quoted."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(_is_text(item) for item in value):
        raise RefusedError(50027)
    return tuple(value)


def _number(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # A bool is an int to Python, but not to JSON.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END_OF_TIME:
        raise RefusedError(50027)
    return float(value)
