"""Who a client certificate stands for, by the rules of kube-apiserver's X.509 request authenticator.

- TLS only asks for a certificate; whether it counts is decided here, at each request, so that one which does not count is
  answered 401 by the server and not by a broken handshake.
- It counts when the cluster's authority has signed it, while it is valid, and when it is for clients: an extended key
  usage, where there is one, names client authentication or any (Go's crypto/x509, which kube-apiserver verifies with).
- The common name is the user, each organisation is a group (Kubernetes docs: "Authenticating", X509 client certificates).
  A certificate without a common name stands for nobody, and leaves the caller to the token, or anonymous.
"""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystead_sandbox.kube.auth import User

_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_FOR_CLIENTS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
_UNUSABLE = (ValueError, TypeError, x509.InvalidVersion, InvalidSignature)


class Uncertified(Exception):
    """The certificate does not count."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What one authority has signed."""

    authority: x509.Certificate

    @classmethod
    def of(cls, ca_pem: str) -> "Certificates | None":
        """``None`` for a cluster without an authority, which knows nobody by a certificate."""
        return cls(x509.load_pem_x509_certificate(ca_pem.encode())) if ca_pem else None

    def user(self, presented: str, now: datetime.datetime) -> User | None:
        """The user of a certificate in PEM; ``None`` when it names nobody. Uncertified when it does not count."""
        try:
            certificate = x509.load_pem_x509_certificate(presented.encode())
            certificate.verify_directly_issued_by(self.authority)
            usable = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
            usable = usable and _is_for_clients(certificate)
        except _UNUSABLE as error:
            raise Uncertified(type(error).__name__) from error
        if not usable:
            raise Uncertified("not valid now, or not for clients")
        names = _values(certificate, NameOID.COMMON_NAME)
        if not names or not names[-1]:
            return None
        extra = ((_CREDENTIAL_ID, (f"X509SHA256={certificate.fingerprint(hashes.SHA256()).hex()}",)),)
        return User(names[-1], tuple(_values(certificate, NameOID.ORGANIZATION_NAME)), extra=extra)


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return any(each in usage for each in _FOR_CLIENTS)


def _values(certificate: x509.Certificate, name: x509.ObjectIdentifier) -> list[str]:
    return [str(each.value) for each in certificate.subject.get_attributes_for_oid(name)]
