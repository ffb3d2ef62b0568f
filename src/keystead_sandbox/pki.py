"""A throwaway certificate authority that lives as long as one sandbox.

- Keys are EC P-256 and exist in memory; only :func:`server_context` puts one on disk, for the moment that Python's
  ssl module needs to read it.
- Nothing is added to the machine's own trust: clients are handed ``ca_pem``.
- A server that asks for certificates takes any in the handshake, as Go's ``RequestClientCert`` does: whom to believe is
  for the application to say, in an answer that a client can read.
"""

import contextlib
import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystead_sandbox.clock import Clock, ScaledClock

_CERTIFICATE = 11  # TLS handshake message (RFC 8446 §4)
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL
_MOST_TRUSTED = 10_000  # certificates that one server takes in its life; each costs memory
_VALID = datetime.timedelta(days=30)
_SKEW = datetime.timedelta(hours=1)


class Authority:
    """Issues certificates that only the sandbox's own servers and clients trust."""

    def __init__(self, name: str = "Keystead sandbox", clock: Clock | None = None) -> None:
        self._clock = clock or ScaledClock()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def ca_pem(self) -> bytes:
        """The root, for clients to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Certificate chain and key, both PEM, for DNS *names* (wildcards too) and IP addresses."""
        if not names:
            raise ValueError("a server certificate needs at least one name")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        return self._leaf(subject, key, ExtendedKeyUsageOID.SERVER_AUTH, names)

    def issue_client(
        self, user: str, groups: Sequence[str] = (), *, valid: datetime.timedelta = _VALID
    ) -> tuple[bytes, bytes]:
        """Certificate and key, both PEM, by which Kubernetes knows *user* and *groups* (common name, organisations).

        It is valid for *valid* from now on; what is negative, but less than an hour, has run out already.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        named = [x509.NameAttribute(NameOID.COMMON_NAME, user)] if user else []
        return self._leaf(x509.Name([*organisations, *named]), key, ExtendedKeyUsageOID.CLIENT_AUTH, valid=valid)

    def _leaf(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        usage: x509.ObjectIdentifier,
        names: Sequence[str] = (),
        valid: datetime.timedelta = _VALID,
    ) -> tuple[bytes, bytes]:
        builder = (
            self._builder(subject, key.public_key(), valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            # Python 3.13 verifies strictly by default and refuses a leaf without it (RFC 5280 §4.2.1.1).
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, valid: datetime.timedelta = _VALID
    ) -> x509.CertificateBuilder:
        now = self._clock.wall()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + valid)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def server_context(certificate: bytes, key: bytes, *, asks_clients: bool = False) -> ssl.SSLContext:
    """A server's TLS context from PEM; the key's file is gone when this returns.

    Args:
        certificate: The server's chain.
        key: Of the chain's first certificate.
        asks_clients: Ask clients for a certificate; whoever has none is served too.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # created with mode 0700
        chain, private = Path(folder, "tls.crt"), Path(folder, "tls.key")
        chain.write_bytes(certificate)
        private.write_bytes(key)
        context.load_cert_chain(chain, private)
    if asks_clients:
        _take_any_certificate(context)
    return context


def _take_any_certificate(context: ssl.SSLContext) -> None:
    """Ask for certificates, and let the handshake pass with any that a client can prove to own.

    Python's ssl has no word for that: it breaks the handshake for a certificate that it does not trust. So what is
    presented is trusted, by itself and whatever its dates, the moment before it is looked at. The key is still proven. One
    whose key or usage OpenSSL itself will not have still breaks the handshake.
    """
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    trusted: set[bytes] = set()

    def notice(_connection: Any, direction: str, version: Any, _content: Any, kind: Any, message: bytes) -> None:
        if direction != "read" or kind != _CERTIFICATE:
            return
        shown = _first_certificate(message, within_context=version >= ssl.TLSVersion.TLSv1_3)
        if shown and shown not in trusted and len(trusted) < _MOST_TRUSTED:
            with contextlib.suppress(ssl.SSLError):  # no certificate at all: the handshake fails by itself
                context.load_verify_locations(cadata=shown)
                trusted.add(shown)

    context._msg_callback = notice  # type: ignore[attr-defined]  # noqa: SLF001 - since Python 3.8; there is no public way


def _first_certificate(message: bytes, *, within_context: bool) -> bytes:
    """DER of the first entry of a TLS Certificate message (RFC 8446 §4.4.2, RFC 5246 §7.4.6); empty when it has none."""
    at = 4  # type and length of the message
    if within_context:  # TLS 1.3 begins with a context, which is empty in a handshake
        at += 1 + message[at]
    at += 3  # length of the list
    length = int.from_bytes(message[at : at + 3], "big")
    return message[at + 3 : at + 3 + length]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
