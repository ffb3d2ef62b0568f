"""A vault whose caller may do everything, on virtual time, and shorthands to ask it."""

import base64
import datetime
import json
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from sandbox.entra_keyvault_fixtures import EPOCH, KEYS, Cloud, at_the_start

BASE = "https://payments-kv.vault.azure.net"
NOW = int(EPOCH.timestamp())
ADMINISTRATOR = "Key Vault Administrator"
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
PEM_PASSWORD = "planted-pfx-password"


@pytest.fixture
async def admin(cloud: Cloud) -> Cloud:
    """The identity may do everything in the vault."""
    with at_the_start():
        cloud.world.assign_role(cloud.identity.principal_id, ADMINISTRATOR, cloud.vault.resource_id)
    return cloud


async def ask(
    cloud: Cloud,
    method: str,
    path: str,
    *,
    body: object = None,
    version: str | None = "7.4",
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
) -> httpx2.Response:
    """One request with a good token and api-version, unless told otherwise."""
    params = {**({"api-version": version} if version is not None else {}), **(query or {})}
    content = None if body is None else json.dumps(body)
    sent = cloud.bearer() if headers is None else headers
    return await cloud.keyvault.request(method, path, params=params, content=content, headers=sent)


async def told(cloud: Cloud, method: str, path: str, **more: Any) -> Any:
    """The JSON of an answer that must be good."""
    response = await ask(cloud, method, path, **more)
    assert response.status_code in (200, 201, 202), response.text
    return response.json()


def refusal(response: httpx2.Response) -> tuple[int, str, str]:
    """Status, code and inner code."""
    error = response.json()["error"]
    return response.status_code, error["code"], error.get("innererror", {}).get("code", "")


def certificate(subject: str = "imported", *, key: Any = None, days: int = 365) -> tuple[Any, x509.Certificate]:
    """A key, and a certificate that it signs itself."""
    private = key if key is not None else KEYS["k1"].private_key
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    built = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=private.public_key())
        .serial_number(11)
        .not_valid_before(EPOCH)
        .not_valid_after(EPOCH + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{subject}.example.test")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    return private, built


def pkcs12_of(private: Any, built: x509.Certificate, password: str = "") -> str:
    """A PKCS #12 file as clients send it."""
    sealed: KeySerializationEncryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return base64.b64encode(pkcs12.serialize_key_and_certificates(b"one", private, built, None, sealed)).decode()


def pem_of(private: Any, built: x509.Certificate) -> str:
    """Key and certificate in PEM."""
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (key + built.public_bytes(Encoding.PEM)).decode()
