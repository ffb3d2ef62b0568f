"""Pure: what a key does with octets, by the names of RFC 7518 that Key Vault uses.

- ``ValueError`` means that key, algorithm and octets do not fit; a signature that is none is simply false.
- Signatures of elliptic curves are the two numbers one after the other, of the curve's length.
"""

from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from keystead_sandbox.keyvault.material import PrivateKey, curve_of

_Paddings: TypeAlias = padding.PKCS1v15 | padding.OAEP
_SHA2: dict[str, type[hashes.HashAlgorithm]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVE_OF = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "P-256K"}
SIGNING = (*(f"{family}{bits}" for family in ("RS", "PS") for bits in _SHA2), *_CURVE_OF)
ENCRYPTION = ("RSA1_5", "RSA-OAEP", "RSA-OAEP-256")
SYMMETRIC = (
    *(f"A{bits}{mode}" for bits in ("128", "192", "256") for mode in ("KW", "GCM", "CBC", "CBCPAD")),
    *("CKM_AES_KEY_WRAP", "CKM_AES_KEY_WRAP_PAD", "HS256", "HS384", "HS512", "RSNULL"),
)
"""Algorithms that exist, but not for the keys in a vault."""


def sign(key: PrivateKey, algorithm: str, digest: bytes) -> bytes:
    """The signature of a digest."""
    chosen = _hash(algorithm)
    _check_digest(chosen, digest)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, _signature_padding(algorithm, chosen), Prehashed(chosen))
    _check_curve(key, algorithm)
    length = (key.key_size + 7) // 8
    return b"".join(
        part.to_bytes(length, "big") for part in decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(chosen))))
    )


def verify(key: PrivateKey, algorithm: str, digest: bytes, signature: bytes) -> bool:
    """Whether *signature* is this key's, of *digest*."""
    chosen = _hash(algorithm)
    _check_digest(chosen, digest)
    try:
        if isinstance(key, rsa.RSAPrivateKey):
            padded = _signature_padding(algorithm, chosen)
            key.public_key().verify(signature, digest, padded, Prehashed(chosen))
            return True
        _check_curve(key, algorithm)
        half = (key.key_size + 7) // 8
        if len(signature) != 2 * half:
            return False
        numbers = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        key.public_key().verify(encode_dss_signature(*numbers), digest, ec.ECDSA(Prehashed(chosen)))
    except InvalidSignature:
        return False
    return True


def encrypt(key: PrivateKey, algorithm: str, plain: bytes) -> bytes:
    """Octets that only this key reads; also how another key is wrapped."""
    return _rsa(key).public_key().encrypt(plain, _encryption_padding(algorithm))


def decrypt(key: PrivateKey, algorithm: str, secret: bytes) -> bytes:
    """What *secret* was before it was encrypted or wrapped."""
    return _rsa(key).decrypt(secret, _encryption_padding(algorithm))


def _rsa(key: PrivateKey) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("a key on an elliptic curve signs, and does nothing else")  # noqa: TRY004 - as documented
    return key


def _hash(algorithm: str) -> hashes.HashAlgorithm:
    return _SHA2[algorithm.removesuffix("K")[2:]]()


def _signature_padding(algorithm: str, chosen: hashes.HashAlgorithm) -> padding.PKCS1v15 | padding.PSS:
    if algorithm.startswith("RS"):
        return padding.PKCS1v15()
    if algorithm.startswith("PS"):
        return padding.PSS(padding.MGF1(chosen), chosen.digest_size)
    raise ValueError("not an algorithm of RSA keys")


def _encryption_padding(algorithm: str) -> _Paddings:
    if algorithm == "RSA1_5":
        return padding.PKCS1v15()
    chosen = hashes.SHA256() if algorithm == "RSA-OAEP-256" else hashes.SHA1()  # noqa: S303 - RSA-OAEP is SHA-1
    return padding.OAEP(padding.MGF1(chosen), chosen, None)


def _check_digest(chosen: hashes.HashAlgorithm, digest: bytes) -> None:
    if len(digest) != chosen.digest_size:
        raise ValueError("a digest of another length than the algorithm's")


def _check_curve(key: ec.EllipticCurvePrivateKey, algorithm: str) -> None:
    if _CURVE_OF.get(algorithm) != curve_of(key):
        raise ValueError("an algorithm of another curve")
