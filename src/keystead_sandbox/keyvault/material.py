"""Pure: private keys as bytes, as JSON Web Keys and as PEM, and the making of new ones.

- Kinds, curves and sizes are those that vaults take ("About keys"); symmetric keys live in managed HSMs alone.
- Private keys are kept as PKCS #8 in DER; what leaves as a JSON Web Key has the public half only.
- ``ValueError`` means that the material is no key that a vault takes.
"""

from functools import lru_cache
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from keystead_sandbox.keyvault import rules

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
SIZES = (2048, 3072, 4096)
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
    "P-256K": ec.SECP256K1,
}
KINDS = ("RSA", "RSA-HSM", "EC", "EC-HSM")
_CURVE_NAMES = {curve().name: name for name, curve in CURVES.items()}
_EXPONENT = 65537
_LONGEST_NUMBER = 4096 // 8


def make(kty: str, *, size: int = 2048, curve: str = "P-256", exponent: int = _EXPONENT) -> bytes:
    """A new private key."""
    if kty.startswith("EC"):
        return stored(ec.generate_private_key(CURVES[curve]()))
    return stored(rsa.generate_private_key(exponent, size))


def stored(key: PrivateKey) -> bytes:
    """A key as versions hold it."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@lru_cache(maxsize=256)
def loaded(private: bytes) -> PrivateKey:
    """The key in a version."""
    key = load_der_private_key(private, None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError("neither an RSA nor an elliptic curve key")  # noqa: TRY004 - the bytes are wrong, not their type
    return key


def from_pem(pem: bytes) -> bytes:
    """The private key in PEM, when a vault takes it."""
    try:
        return checked(load_pem_private_key(pem, None))
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("no readable private key without a password") from error


def checked(key: object) -> bytes:
    """A private key of whatever origin, when a vault takes it."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size in SIZES:
        return stored(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVE_NAMES:
        return stored(key)
    raise ValueError("not an RSA key of 2048, 3072 or 4096 bits, nor one on a curve that vaults know")


def curve_of(key: PrivateKey) -> str:
    """The curve's name in a JSON Web Key; empty for RSA."""
    return _CURVE_NAMES[key.curve.name] if isinstance(key, ec.EllipticCurvePrivateKey) else ""


def kty_of(key: PrivateKey) -> str:
    """The kind of a key that is not in an HSM."""
    return "RSA" if isinstance(key, rsa.RSAPrivateKey) else "EC"


def public_jwk(private: bytes) -> dict[str, str]:
    """The public half."""
    key = loaded(private)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"n": _number(numbers.n), "e": _number(numbers.e)}
    point, length = key.public_key().public_numbers(), (key.key_size + 7) // 8
    return {"crv": curve_of(key), "x": _number(point.x, length), "y": _number(point.y, length)}


def from_jwk(jwk: dict[str, str]) -> bytes:
    """The private key in a JSON Web Key, when a vault takes it."""
    if jwk["kty"].startswith("RSA"):
        n, e, d = (_read(jwk, name) for name in ("n", "e", "d"))
        if n.bit_length() not in SIZES or not 3 <= e < (1 << 32) or not 1 < d < n:  # noqa: PLR2004 - the least exponent
            raise ValueError("numbers that make no RSA key of a size that vaults take")
        p, q = (_read(jwk, "p"), _read(jwk, "q")) if jwk.get("p") else rsa.rsa_recover_prime_factors(n, e, d)
        public = rsa.RSAPublicNumbers(e, n)
        exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
        return checked(rsa.RSAPrivateNumbers(p, q, d, *exponents, public).private_key())
    curve = CURVES[jwk["crv"]]()
    point = ec.EllipticCurvePublicNumbers(_read(jwk, "x"), _read(jwk, "y"), curve)
    return checked(ec.EllipticCurvePrivateNumbers(_read(jwk, "d"), point).private_key())


def _read(jwk: dict[str, str], name: str) -> int:
    octets = rules.decoded(jwk.get(name) or "", f"key.{name}")
    if not 0 < len(octets) <= _LONGEST_NUMBER + 1:
        raise ValueError(f"{name} is no number of a key")
    return int.from_bytes(octets, "big")


def _number(number: int, length: int = 0) -> str:
    return rules.encoded(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))
