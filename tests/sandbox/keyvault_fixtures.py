"""A vault whose caller may do everything, on virtual time, and shorthands to ask it."""

import base64
import datetime
import json
from typing import Any

import httpx2
import msgspec
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

from keystead_sandbox.resources import Vault
from keystead_sandbox.vault_seeds import VaultSeed, plant_into
from keystead_sandbox.world import World
from sandbox.entra_keyvault_fixtures import EPOCH, KEYS, Cloud, at_the_start

BASE = "https://payments-kv.vault.azure.net"
NOW = int(EPOCH.timestamp())
ADMINISTRATOR = "Key Vault Administrator"
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
PEM_PASSWORD = "planted-pfx-password"
SECRET = "/secrets/db-password"
# Method, path, data action below Microsoft.KeyVault/vaults/, permission in an access policy.
OPERATIONS = [
    ("GET", "/secrets", "secrets/readMetadata/action", "secrets list"),
    ("GET", SECRET, "secrets/getSecret/action", "secrets get"),
    ("GET", f"{SECRET}/versions", "secrets/readMetadata/action", "secrets list"),
    ("PUT", SECRET, "secrets/setSecret/action", "secrets set"),
    ("PATCH", SECRET, "secrets/update/action", "secrets set"),
    ("DELETE", SECRET, "secrets/delete", "secrets delete"),
    ("POST", f"{SECRET}/backup", "secrets/backup/action", "secrets backup"),
    ("POST", "/secrets/restore", "secrets/restore/action", "secrets restore"),
    ("GET", "/deletedsecrets", "secrets/readMetadata/action", "secrets list"),
    ("GET", "/deletedsecrets/x", "secrets/readMetadata/action", "secrets get"),
    ("POST", "/deletedsecrets/x/recover", "secrets/recover/action", "secrets recover"),
    ("DELETE", "/deletedsecrets/x", "secrets/purge/action", "secrets purge"),
    ("GET", "/keys", "keys/read", "keys list"),
    ("GET", "/keys/x", "keys/read", "keys get"),
    ("GET", "/keys/x/versions", "keys/read", "keys list"),
    ("POST", "/keys/x/create", "keys/create/action", "keys create"),
    ("PUT", "/keys/x", "keys/import/action", "keys import"),
    ("PATCH", "/keys/x", "keys/update/action", "keys update"),
    ("DELETE", "/keys/x", "keys/delete", "keys delete"),
    ("POST", "/keys/x/backup", "keys/backup/action", "keys backup"),
    ("POST", "/keys/restore", "keys/restore/action", "keys restore"),
    ("POST", "/keys/x/rotate", "keys/rotate/action", "keys rotate"),
    ("GET", "/keys/x/rotationpolicy", "keyrotationpolicies/read", "keys getrotationpolicy"),
    ("PUT", "/keys/x/rotationpolicy", "keyrotationpolicies/write", "keys setrotationpolicy"),
    ("POST", "/keys/x/sign", "keys/sign/action", "keys sign"),
    ("POST", "/keys/x/verify", "keys/verify/action", "keys verify"),
    ("POST", "/keys/x/encrypt", "keys/encrypt/action", "keys encrypt"),
    ("POST", "/keys/x/decrypt", "keys/decrypt/action", "keys decrypt"),
    ("POST", "/keys/x/wrapkey", "keys/wrap/action", "keys wrapkey"),
    ("POST", "/keys/x/unwrapkey", "keys/unwrap/action", "keys unwrapkey"),
    ("POST", "/keys/x/release", "keys/release/action", "keys release"),
    ("GET", "/deletedkeys", "keys/read", "keys list"),
    ("GET", "/deletedkeys/x", "keys/read", "keys get"),
    ("POST", "/deletedkeys/x/recover", "keys/recover/action", "keys recover"),
    ("DELETE", "/deletedkeys/x", "keys/purge/action", "keys purge"),
    ("GET", "/certificates", "certificates/read", "certificates list"),
    ("GET", "/certificates/x", "certificates/read", "certificates get"),
    ("GET", "/certificates/x/versions", "certificates/read", "certificates list"),
    ("POST", "/certificates/x/create", "certificates/create/action", "certificates create"),
    ("POST", "/certificates/x/import", "certificates/import/action", "certificates import"),
    ("PATCH", "/certificates/x", "certificates/update/action", "certificates update"),
    ("DELETE", "/certificates/x", "certificates/delete", "certificates delete"),
    ("POST", "/certificates/x/backup", "certificates/backup/action", "certificates backup"),
    ("POST", "/certificates/restore", "certificates/restore/action", "certificates restore"),
    ("GET", "/certificates/x/policy", "certificates/read", "certificates get"),
    ("PATCH", "/certificates/x/policy", "certificates/update/action", "certificates update"),
    ("GET", "/certificates/x/pending", "certificates/read", "certificates get"),
    ("DELETE", "/certificates/x/pending", "certificates/update/action", "certificates update"),
    ("POST", "/certificates/x/pending/merge", "certificates/create/action", "certificates create"),
    ("GET", "/certificates/contacts", "certificatecontacts/write", "certificates managecontacts"),
    ("GET", "/certificates/issuers", "certificatecas/read", "certificates listissuers"),
    ("GET", "/certificates/issuers/x", "certificatecas/read", "certificates getissuers"),
    ("PUT", "/certificates/issuers/x", "certificatecas/write", "certificates setissuers"),
    ("DELETE", "/certificates/issuers/x", "certificatecas/delete", "certificates deleteissuers"),
    ("GET", "/deletedcertificates", "certificates/read", "certificates list"),
    ("GET", "/deletedcertificates/x", "certificates/read", "certificates get"),
    ("POST", "/deletedcertificates/x/recover", "certificates/recover/action", "certificates recover"),
    ("DELETE", "/deletedcertificates/x", "certificates/purge/action", "certificates purge"),
]  # fmt: skip


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
    private: Any = key if key is not None else KEYS["k1"].private_key
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
    key: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (key + built.public_bytes(Encoding.PEM)).decode()


def plant_certificate(world: World, vault: Vault, name: str, **more: Any) -> x509.Certificate:
    """A certificate that was imported long ago, of the curve's key unless told otherwise."""
    private, built = certificate(name, key=more.pop("key", CURVE_KEY))
    seed = {"id": vault.resource_id, "certificates": {name: {"pem": pem_of(private, built), **more}}}
    plant_into(world, vault, msgspec.convert(seed, VaultSeed))
    return built
