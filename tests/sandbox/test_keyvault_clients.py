"""Key Vault by Microsoft's own clients, unmodified, blocking and asynchronous, over TLS and the sandbox's proxy."""

import asyncio
import base64
import contextlib
import dataclasses
import datetime
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AsyncCredential
from azure.keyvault import certificates, keys, secrets
from azure.keyvault.certificates.aio import CertificateClient as AsyncCertificateClient
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient
from azure.keyvault.keys.crypto import EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient as AsyncCryptographyClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from keystead_sandbox.azure import NAMES, AzureApp
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.proxy import Proxy
from keystead_sandbox.resources import Application, Vault
from keystead_sandbox.server import Server
from keystead_sandbox.world import World
from sandbox.entra_keyvault_fixtures import CLIENT_SECRET, PLANTED, Cluster
from sandbox.keyvault_fixtures import PEM_PASSWORD, certificate, pem_of, pkcs12_of

# The SDK remembers challenges for the whole process, so each test has a vault of its own.
_NUMBERS = itertools.count(1)
DIGEST = hashlib.sha256(b"to be signed").digest()


@dataclasses.dataclass
class Azure:
    """The whole Azure on a port, and what a client needs to reach it."""

    world: World
    vault: Vault
    owner: Application
    options: dict[str, Any]

    @property
    def url(self) -> str:
        return f"https://{self.vault.name}.vault.azure.net"

    def credential(self) -> ClientSecretCredential:
        return ClientSecretCredential(self.owner.tenant_id, self.owner.client_id, CLIENT_SECRET, **self.options)

    def aio_credential(self) -> AsyncCredential:
        return AsyncCredential(self.owner.tenant_id, self.owner.client_id, CLIENT_SECRET, **self.options)


@pytest.fixture
async def azure(tmp_path: Path) -> AsyncIterator[Azure]:
    clock = ScaledClock()
    journal = Journal(clock, tmp_path / "journal")
    world = World(clock, journal)
    world.add_tenant()
    world.add_subscription()
    vault = world.add_vault(f"clients-{next(_NUMBERS)}")
    world.set_secret(vault, "db-password", PLANTED)
    owner = world.add_application("owner", secret=CLIENT_SECRET)
    world.assign_role(owner.object_id, "Key Vault Administrator", vault.resource_id)
    authority = Authority()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.ca_pem)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(journal.close)
        app = AzureApp(world, Cluster(clock).fetch)
        server = Server(app, tls=server_context(*authority.issue(NAMES)))
        proxy = Proxy(journal, await server.start())
        stack.push_async_callback(server.stop)
        port = await proxy.start()
        stack.push_async_callback(proxy.stop)
        options = {"connection_verify": str(ca), "proxies": {"https": f"http://127.0.0.1:{port}"}, "retry_total": 0}
        yield Azure(world, vault, owner, options)


# Secrets -----------------------------------------------------------------------------------------------------------


async def test_the_blocking_client_does_everything_with_secrets(azure: Azure, tmp_path: Path) -> None:
    end = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)

    def work() -> dict[str, Any]:
        with azure.credential() as credential, secrets.SecretClient(azure.url, credential, **azure.options) as client:
            client.set_secret("api-key", "v1", tags={"a": "b"}, content_type="text", expires_on=end)
            backup = client.backup_secret("api-key")
            client.begin_delete_secret("api-key", _polling_interval=0).wait()
            with pytest.raises(ResourceExistsError, match="deleted but recoverable"):
                client.set_secret("api-key", "v2")
            client.begin_recover_deleted_secret("api-key", _polling_interval=0).wait()
            client.begin_delete_secret("api-key", _polling_interval=0).wait()
            client.purge_deleted_secret("api-key")
            restored = client.restore_secret_backup(backup)
            for number in range(60):
                client.set_secret(f"many-{number:02}", str(number))
            names = [item.name for item in client.list_properties_of_secrets(max_page_size=7)]
            return {"backup": backup, "restored": restored, "names": names, "read": client.get_secret("api-key")}

    seen = await asyncio.to_thread(work)

    assert (seen["read"].value, seen["read"].properties.tags, seen["restored"].expires_on) == ("v1", {"a": "b"}, end)
    assert seen["names"] == ["api-key", "db-password", *(f"many-{number:02}" for number in range(60))]
    assert b"v1" not in seen["backup"]
    assert PLANTED not in (tmp_path / "journal").read_text()


async def test_the_challenge_of_a_write_comes_before_its_body(azure: Azure) -> None:
    async with (
        azure.aio_credential() as credential,
        AsyncSecretClient(azure.url, credential, **azure.options) as client,
    ):
        await client.set_secret("one", "x")

    entries = azure.world.journal.entries(service="keyvault")
    assert [(entry.method, entry.status) for entry in entries] == [("PUT", 401), ("PUT", 200)]


async def test_the_clients_name_an_api_version_that_is_served(azure: Azure) -> None:
    async with azure.aio_credential() as credential:
        async with AsyncSecretClient(azure.url, credential, **azure.options) as one:
            await one.get_secret("db-password")
        async with AsyncKeyClient(azure.url, credential, **azure.options) as two:
            assert [item.name async for item in two.list_properties_of_keys()] == []
        async with AsyncCertificateClient(azure.url, credential, **azure.options) as three:
            assert [item.name async for item in three.list_properties_of_certificates()] == []

    assert {entry.status for entry in azure.world.journal.entries(service="keyvault")} == {200, 401}


# Keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["7.4", "7.5", "7.6", None])
async def test_the_blocking_client_does_everything_with_keys(azure: Azure, version: str | None) -> None:
    options = {**azure.options, **({"api_version": version} if version else {})}

    def work() -> dict[str, Any]:
        with azure.credential() as credential, keys.KeyClient(azure.url, credential, **options) as client:
            first = client.create_rsa_key("signer", size=2048, tags={"a": "b"})
            curve = client.create_ec_key("curve", curve=keys.KeyCurveName.p_384)
            assert first.properties.version is not None
            before = client.get_key_rotation_policy("signer")
            policy = keys.KeyRotationPolicy(
                expires_in="P90D",
                lifetime_actions=[
                    keys.KeyRotationLifetimeAction(keys.KeyRotationPolicyAction.rotate, time_before_expiry="P30D")
                ],
            )
            kept = client.update_key_rotation_policy("signer", policy)
            second = client.rotate_key("signer")
            versions = [item.version for item in client.list_properties_of_key_versions("signer")]
            updated = client.update_key_properties("signer", first.properties.version, enabled=False)
            backup = client.backup_key("curve")
            client.begin_delete_key("curve", _polling_interval=0).wait()
            gone = [item.name for item in client.list_deleted_keys()]
            client.purge_deleted_key("curve")
            restored = client.restore_key_backup(backup)
            with pytest.raises(HttpResponseError, match="on a disabled key"):
                client.get_key("signer", first.properties.version)
            return {
                "first": first, "curve": curve, "before": before, "kept": kept, "second": second, "versions": versions,
                "updated": updated, "gone": gone, "restored": restored, "latest": client.get_key("signer"),
            }  # fmt: skip

    seen = await asyncio.to_thread(work)

    assert (seen["first"].key_type, seen["first"].key.d, seen["first"].properties.tags) == ("RSA", None, {"a": "b"})
    assert len(seen["first"].key.n) == 256
    assert (seen["curve"].key.crv, len(seen["curve"].key.x)) == ("P-384", 48)
    assert [action.action for action in seen["before"].lifetime_actions] == ["Notify"]
    assert [action.action for action in seen["kept"].lifetime_actions] == ["Rotate", "Notify"]
    assert set(seen["versions"]) == {seen["first"].properties.version, seen["second"].properties.version}
    assert seen["second"].properties.expires_on - seen["second"].properties.created_on == datetime.timedelta(days=90)
    assert seen["latest"].properties.version == seen["second"].properties.version
    assert seen["updated"].properties.enabled is False
    assert (seen["gone"], seen["restored"].key.x) == (["curve"], seen["curve"].key.x)


async def test_a_key_that_is_imported_signs_as_it_did(azure: Azure) -> None:
    private, _ = certificate()
    numbers = private.private_numbers()

    def octets(number: int) -> bytes:
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    jwk: Any = keys.JsonWebKey(
        kty="RSA",
        key_ops=["sign", "verify"],
        n=octets(numbers.public_numbers.n),
        e=octets(numbers.public_numbers.e),
        d=octets(numbers.d),
        p=octets(numbers.p),
        q=octets(numbers.q),
        dp=octets(numbers.dmp1),
        dq=octets(numbers.dmq1),
        qi=octets(numbers.iqmp),
    )
    async with azure.aio_credential() as credential, AsyncKeyClient(azure.url, credential, **azure.options) as client:
        imported: Any = await client.import_key("mine", jwk)
        crypto = client.get_cryptography_client("mine")
        async with crypto:
            signature = await crypto.sign(SignatureAlgorithm.rs256, DIGEST)

    assert (imported.key.n, imported.key.d, imported.key_operations) == (jwk.n, None, ["sign", "verify"])
    private.public_key().verify(signature.signature, DIGEST, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


CURVES = {"P-256": (SignatureAlgorithm.es256, 32), "P-384": (SignatureAlgorithm.es384, 48),
          "P-521": (SignatureAlgorithm.es512, 64), "P-256K": (SignatureAlgorithm.es256_k, 32)}  # fmt: skip


async def test_the_cryptography_client_signs_and_verifies_with_every_algorithm(azure: Azure) -> None:
    async with azure.aio_credential() as credential, AsyncKeyClient(azure.url, credential, **azure.options) as client:
        made: list[tuple[str, Any, int]] = []
        rsa = await client.create_rsa_key("rsa", size=2048)
        names = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
        made.extend((rsa.id, SignatureAlgorithm(name), int(name[2:]) // 8) for name in names)
        for curve, (algorithm, length) in CURVES.items():
            key = await client.create_ec_key(f"ec-{curve}", curve=curve)
            made.append((key.id, algorithm, length))
        for identifier, algorithm, length in made:
            digest = bytes(range(length))
            # One that has read the key verifies by itself; one that may not, asks the vault.
            async with AsyncCryptographyClient(identifier, credential, **azure.options) as crypto:
                signature = (await crypto.sign(algorithm, digest)).signature
                assert (await crypto.verify(algorithm, digest, signature)).is_valid
            assert await _verified_by_the_vault(azure, identifier, str(algorithm.value), digest, signature)
            assert not await _verified_by_the_vault(azure, identifier, str(algorithm.value), digest[::-1], signature)


async def _verified_by_the_vault(
    azure: Azure, identifier: str, algorithm: str, digest: bytes, signature: bytes
) -> bool:
    async with (
        azure.aio_credential() as credential,
        AsyncKeyClient(azure.url, credential, **azure.options) as client,
    ):
        name, version = identifier.split("/")[4:6]
        result = await client._client.verify(
            name, version, {"alg": algorithm, "digest": _text(digest), "value": _text(signature)}
        )
    return bool(result.value)


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"])
async def test_what_the_client_encrypts_and_wraps_the_vault_opens(azure: Azure, algorithm: str) -> None:
    async with azure.aio_credential() as credential, AsyncKeyClient(azure.url, credential, **azure.options) as client:
        key = await client.create_rsa_key("rsa", size=2048)
        async with AsyncCryptographyClient(key.id, credential, **azure.options) as crypto:
            sealed = await crypto.encrypt(EncryptionAlgorithm(algorithm), b"plain")
            opened = await crypto.decrypt(EncryptionAlgorithm(algorithm), sealed.ciphertext)
            wrapped = await crypto.wrap_key(KeyWrapAlgorithm(algorithm), b"another key")
            unwrapped = await crypto.unwrap_key(KeyWrapAlgorithm(algorithm), wrapped.encrypted_key)

    assert (opened.plaintext, unwrapped.key) == (b"plain", b"another key")
    used = [entry.path.rpartition("/")[2] for entry in azure.world.journal.entries(service="keyvault")]
    assert {"decrypt", "unwrapkey"} <= set(used)


# Certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [certificates.CertificateContentType.pkcs12, certificates.CertificateContentType.pem])
async def test_the_blocking_client_makes_a_certificate_that_signs_itself(azure: Azure, kind: Any) -> None:
    policy = certificates.CertificatePolicy(
        issuer_name=certificates.WellKnownIssuerNames.self,
        subject="CN=shop.example.test, O=Shop",
        san_dns_names=["shop.example.test", "www.shop.example.test"],
        content_type=kind,
        validity_in_months=24,
    )

    def work() -> dict[str, Any]:
        with (
            azure.credential() as credential,
            certificates.CertificateClient(azure.url, credential, **azure.options) as client,
            secrets.SecretClient(azure.url, credential, **azure.options) as other,
        ):
            poller = client.begin_create_certificate("shop", policy, tags={"a": "b"}, _polling_interval=0)
            made = poller.result()
            return {
                "made": made,
                "operation": client.get_certificate_operation("shop"),
                "secret": other.get_secret("shop"),
                "listed": [item.name for item in client.list_properties_of_certificates()],
            }

    seen = await asyncio.to_thread(work)

    made = x509.load_der_x509_certificate(bytes(seen["made"].cer))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["shop.example.test", "www.shop.example.test"]
    assert made.subject == made.issuer
    made.verify_directly_issued_by(made)
    assert made.not_valid_after_utc - made.not_valid_before_utc > datetime.timedelta(days=729)
    assert (seen["operation"].status, seen["listed"]) == ("completed", ["shop"])
    assert (seen["secret"].properties.content_type, seen["secret"].properties.key_id) == (
        kind.value,
        seen["made"].key_id,
    )
    assert seen["secret"].id == seen["made"].secret_id
    if kind is certificates.CertificateContentType.pem:
        assert "BEGIN PRIVATE KEY" in seen["secret"].value
    else:
        opened = pkcs12.load_pkcs12(base64.b64decode(seen["secret"].value), None)
        assert opened.cert is not None
        assert opened.cert.certificate == made


@pytest.mark.parametrize("form", ["pkcs12", "pkcs12 with a password", "pem"])
async def test_a_certificate_that_is_imported_comes_back_whole(azure: Azure, form: str) -> None:
    private, built = certificate("imported")
    pem_policy = certificates.CertificatePolicy(content_type=certificates.CertificateContentType.pem)
    given: dict[str, tuple[bytes, dict[str, Any]]] = {
        "pkcs12": (base64.b64decode(pkcs12_of(private, built)), {}),
        "pkcs12 with a password": (
            base64.b64decode(pkcs12_of(private, built, PEM_PASSWORD)),
            {"password": PEM_PASSWORD},
        ),
        "pem": (pem_of(private, built).encode(), {"policy": pem_policy}),
    }
    content, more = given[form]
    async with (
        azure.aio_credential() as credential,
        AsyncCertificateClient(azure.url, credential, **azure.options) as client,
    ):
        imported: Any = await client.import_certificate("mine", content, tags={"a": "b"}, **more)
        read: Any = await client.get_certificate("mine")
        versions = [item.version async for item in client.list_properties_of_certificate_versions("mine")]

    assert bytes(imported.cer) == built.public_bytes(Encoding.DER)
    assert read.properties.x509_thumbprint == built.fingerprint(hashes.SHA1())  # noqa: S303 - "x5t" is SHA-1
    assert (read.properties.tags, versions) == ({"a": "b"}, [imported.properties.version])
    assert read.policy is not None
    assert read.policy.issuer_name == "Unknown"


async def test_the_client_deletes_recovers_and_restores_a_certificate_with_its_key_and_secret(azure: Azure) -> None:
    policy = certificates.CertificatePolicy.get_default()
    async with (
        azure.aio_credential() as credential,
        AsyncCertificateClient(azure.url, credential, **azure.options) as client,
    ):
        made: Any = await client.create_certificate("shop", policy, _polling_interval=0)
        backup = await client.backup_certificate("shop")
        await client.delete_certificate("shop")
        assert (list(azure.vault.keys), "shop" in azure.vault.secrets) == ([], False)
        await client.recover_deleted_certificate("shop")
        assert (list(azure.vault.keys), "shop" in azure.vault.secrets) == (["shop"], True)
        await client.delete_certificate("shop")
        await client.purge_deleted_certificate("shop")
        with pytest.raises(ResourceNotFoundError):
            await client.get_certificate("shop")
        restored: Any = await client.restore_certificate_backup(backup)
        policy_kept = await client.get_certificate_policy("shop")
        updated: Any = await client.update_certificate_properties("shop", enabled=False)
        async with AsyncSecretClient(azure.url, credential, **azure.options) as other:
            with pytest.raises(HttpResponseError, match="disabled secret"):
                await other.get_secret("shop")

    assert (bytes(restored.cer), policy_kept.subject) == (bytes(made.cer), "CN=DefaultPolicy")
    assert updated.properties.enabled is False


async def test_a_request_is_signed_elsewhere_and_merged(azure: Azure) -> None:
    policy = certificates.CertificatePolicy(issuer_name="Unknown", subject="CN=merged")

    def work() -> Any:
        with (
            azure.credential() as credential,
            certificates.CertificateClient(azure.url, credential, **azure.options) as client,
        ):
            operation = client.begin_create_certificate("merged", policy, _polling_interval=3600)
            del operation
            waiting: Any = client.get_certificate_operation("merged")
            request = x509.load_der_x509_csr(waiting.csr)
            issuer, _ = certificate("issuer")
            now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
            signed = (
                x509.CertificateBuilder(request.subject, request.subject, request.public_key(), 5)
                .not_valid_before(now)
                .not_valid_after(now + datetime.timedelta(days=9))
            )
            leaf = signed.sign(issuer, hashes.SHA256()).public_bytes(Encoding.DER)
            return waiting, leaf, client.merge_certificate("merged", [leaf])

    waiting, leaf, merged = await asyncio.to_thread(work)

    assert (waiting.status, waiting.issuer_name) == ("inProgress", "Unknown")
    assert bytes(merged.cer) == leaf
    assert "merged" in azure.vault.secrets


async def test_contacts_and_issuers_are_kept(azure: Azure) -> None:
    async with (
        azure.aio_credential() as credential,
        AsyncCertificateClient(azure.url, credential, **azure.options) as client,
    ):
        with pytest.raises(ResourceNotFoundError):
            await client.get_contacts()
        set_ = await client.set_contacts([certificates.CertificateContact(email="a@example.test", name="a")])
        await client.create_issuer("mine", "DigiCert", account_id="account", password=PEM_PASSWORD)
        await client.update_issuer("mine", enabled=False)
        issuer = await client.get_issuer("mine")
        issuers = [item.name async for item in client.list_properties_of_issuers()]
        await client.delete_issuer("mine")
        await client.delete_contacts()

    assert [contact.email for contact in set_] == ["a@example.test"]
    assert (issuer.provider, issuer.account_id, issuer.enabled, issuers) == ("DigiCert", "account", False, ["mine"])
    assert PEM_PASSWORD not in repr(azure.vault)
    assert not azure.vault.issuers
