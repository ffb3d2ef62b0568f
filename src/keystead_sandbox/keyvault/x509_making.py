"""Pure: certificates read from files, requests for them and self-signed ones made by a policy, and the secret's text.

``ValueError`` means that what was given makes no certificate.
"""

import base64
import datetime
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from keystead_sandbox.keyvault import material
from keystead_sandbox.keyvault.certificate_policies import ATTRIBUTE_OF, PEM
from keystead_sandbox.keyvault.key_bodies import after_months

_SKEW = datetime.timedelta(minutes=10)
_PART = re.compile(r'\s*([A-Za-z0-9.]+)\s*=\s*("(?:[^"]|"")*"|(?:\\.|[^,;+"\\])*)\s*(?:[,;]|\Z)')
_ATTRIBUTES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "L": NameOID.LOCALITY_NAME,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "E": NameOID.EMAIL_ADDRESS,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "DC": NameOID.DOMAIN_COMPONENT,
    "T": NameOID.TITLE,
}
_PEM_BLOCK = re.compile(r"-----BEGIN ((?:[A-Z0-9 ]+ )?PRIVATE KEY|CERTIFICATE)-----.+?-----END \1-----", re.DOTALL)


def read_pkcs12(octets: bytes, password: str | None) -> tuple[bytes, tuple[bytes, ...]]:
    """Private key and chain of a PKCS #12 file; LookupError when it has no certificate with a key."""
    # A file without a password and one with an empty one differ, and clients take one for the other.
    for candidate in [password.encode()] if password else [None, b""]:
        try:
            content = pkcs12.load_pkcs12(octets, candidate)
        except (ValueError, UnsupportedAlgorithm):
            continue
        own = content.cert.certificate if content.cert is not None else None
        return _checked(content.key, own, [other.certificate for other in content.additional_certs])
    raise ValueError("neither a PKCS #12 file nor its password")


def read_pem(text: str, password: str | None) -> tuple[bytes, tuple[bytes, ...]]:
    """Private key and chain in PEM, in whatever order; LookupError when there is no certificate with a key."""
    key: object = None
    found: list[x509.Certificate] = []
    for block in _PEM_BLOCK.finditer(text):
        octets = block[0].encode()
        if block[1] == "CERTIFICATE":
            found.append(x509.load_pem_x509_certificate(octets))
            continue
        try:
            key = load_pem_private_key(octets, password.encode() if password and "ENCRYPTED" in block[0] else None)
        except (TypeError, UnsupportedAlgorithm) as error:
            raise ValueError("a private key that cannot be read") from error
    if not found:
        raise ValueError("no certificate in PEM")
    if key is None:
        raise LookupError("a certificate without its key")
    public = _public(key)
    own = next((each for each in found if _public(each) == public), None)
    return _checked(key, own, [each for each in found if each is not own])


def request(private: bytes, policy: Mapping[str, Any]) -> bytes:
    """A request for a certificate, in DER."""
    key = material.loaded(private)
    builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name(policy["x509_props"]["subject"]))
    for extension, critical in _extensions(policy["x509_props"]):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, _hash(key)).public_bytes(Encoding.DER)


def self_signed(private: bytes, policy: Mapping[str, Any], now: datetime.datetime) -> bytes:
    """A certificate that its own key signs, in DER; it is valid from ten minutes ago."""
    key, properties = material.loaded(private), policy["x509_props"]
    name = distinguished_name(properties["subject"])
    moment = now.replace(microsecond=0)
    builder = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _SKEW)
        .not_valid_after(after_months(moment, properties["validity_months"]))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for extension, critical in _extensions(properties):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, _hash(key)).public_bytes(Encoding.DER)


def belongs(private: bytes, chain: Sequence[bytes]) -> bool:
    """Whether the first certificate of a chain is for this key."""
    return _public(x509.load_der_x509_certificate(chain[0])) == _public(material.loaded(private))


def secret_text(private: bytes, chain: Sequence[bytes], policy: Mapping[str, Any]) -> str:
    """The value of a certificate's secret; without the key when that is not exportable."""
    key = material.loaded(private) if policy["key_props"]["exportable"] else None
    own, *others = [x509.load_der_x509_certificate(each) for each in chain]
    if policy["secret_props"]["contentType"] == PEM:
        parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())] if key is not None else []
        return b"".join([*parts, *(each.public_bytes(Encoding.PEM) for each in (own, *others))]).decode()
    packed = pkcs12.serialize_key_and_certificates(None, key, own, others or None, NoEncryption())
    return base64.b64encode(packed).decode()


def _checked(
    key: object, own: x509.Certificate | None, others: Sequence[x509.Certificate]
) -> tuple[bytes, tuple[bytes, ...]]:
    if key is None or own is None:
        raise LookupError("a certificate without its key")
    if _public(own) != _public(key):
        raise LookupError("a certificate and the key of another")
    return material.checked(key), tuple(each.public_bytes(Encoding.DER) for each in (own, *others))


def _public(holder: Any) -> bytes:
    octets: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return octets


def _hash(key: material.PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:  # noqa: PLR2004 - bits
        return hashes.SHA384() if key.key_size == 384 else hashes.SHA512()  # noqa: PLR2004 - bits
    return hashes.SHA256()


def distinguished_name(subject: str) -> x509.Name:
    """A distinguished name as Windows and OpenSSL write it, the most specific part first."""
    parts: list[x509.NameAttribute[str]] = []
    position = 0
    while position < len(subject):
        match = _PART.match(subject, position)
        if match is None:
            raise ValueError("not a distinguished name")
        oid = _ATTRIBUTES.get(match[1].upper()) or x509.ObjectIdentifier(match[1])
        text = match[2].strip()
        text = text[1:-1].replace('""', '"') if text.startswith('"') else re.sub(r"\\(.)", r"\1", text)
        parts.append(x509.NameAttribute(oid, text))
        position = match.end()
    return x509.Name(parts[::-1])


def _extensions(properties: Mapping[str, Any]) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if properties["key_usage"]:
        usages = {ATTRIBUTE_OF[usage] for usage in properties["key_usage"]}
        found.append((x509.KeyUsage(**{name: name in usages for name in ATTRIBUTE_OF.values()}), True))
    if properties["ekus"]:
        usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier(each) for each in properties["ekus"]])
        found.append((usage, False))
    names = properties["sans"]
    alternatives: list[x509.GeneralName] = [
        *(x509.DNSName(each) for each in names.get("dns_names", ())),
        *(x509.RFC822Name(each) for each in names.get("emails", ())),
        *(x509.UniformResourceIdentifier(each) for each in names.get("uris", ())),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in names.get("ipAddresses", ())),
        *(x509.OtherName(_PRINCIPAL, _utf8(each)) for each in names.get("upns", ())),
    ]
    if alternatives:
        found.append((x509.SubjectAlternativeName(alternatives), False))
    ca = bool(properties["basic_constraints"]["ca"])
    found.append((x509.BasicConstraints(ca=ca, path_length=None), ca))
    return found


_PRINCIPAL = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # a user principal name


def _utf8(text: str) -> bytes:
    """An ASN.1 UTF8String."""
    octets = text.encode()
    if len(octets) > 127:  # noqa: PLR2004 - the longest length that one octet says
        raise ValueError("a user principal name longer than 127 octets")
    return bytes([0x0C, len(octets)]) + octets
