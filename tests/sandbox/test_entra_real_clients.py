"""azure-identity and msal, unmodified, sync and aio, with every way to sign in, against the sandbox as a process."""

import base64
import dataclasses
import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msal  # type: ignore[import-untyped]  # it ships no types
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
    aio,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.command_fixtures import CERTIFIED, DOMAIN, TENANT, WRITER, Sandbox, sandbox
from sandbox.entra_keyvault_fixtures import KEYS, certificate_of, pem_of

pytestmark = pytest.mark.process
VAULT = "https://vault.azure.net"
MANAGEMENT = "https://management.azure.com"
CERTIFICATE = certificate_of("k2", datetime.datetime.now(datetime.UTC))  # noqa: TID251 - real clients take the wall's time


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("azure"), pem_of(CERTIFICATE)) as made:
        yield made


@pytest.fixture(autouse=True)
def imds(azure: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients of the metadata service read from the environment."""
    name = "AZURE_POD_IDENTITY_AUTHORITY_HOST"
    monkeypatch.setenv(name, azure.exports[name])


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "client.pem"
    path.write_bytes(private_key() + CERTIFICATE.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def token_file(azure: Sandbox, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(azure.issuer.token())
    return path


def private_key() -> bytes:
    key = KEYS["k2"].private_key
    assert key is not None
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


@dataclasses.dataclass
class Means:
    """What a credential is made from: *kind* is the module of either sort."""

    kind: Any
    azure: Sandbox
    key_file: Path
    token_file: Path

    def secret(self, tenant: str) -> Any:
        exports = self.azure.exports
        return self.kind.ClientSecretCredential(
            tenant, exports["AZURE_CLIENT_ID"], exports["AZURE_CLIENT_SECRET"], **self.azure.options
        )

    def certificate(self, **more: Any) -> Any:
        return self.kind.CertificateCredential(TENANT, CERTIFIED, str(self.key_file), **more, **self.azure.options)

    def token_in_file(self) -> Any:
        return self.kind.WorkloadIdentityCredential(
            tenant_id=TENANT, client_id=WRITER, token_file_path=str(self.token_file), **self.azure.options
        )

    def assertion(self) -> Any:
        return self.kind.ClientAssertionCredential(TENANT, WRITER, self.azure.issuer.token, **self.azure.options)


WAYS: dict[str, tuple[str, Callable[[Means], Any]]] = {
    "a client secret": ("", lambda means: means.secret(TENANT)),
    "a tenant by its domain": ("", lambda means: means.secret(DOMAIN)),
    "a certificate": (CERTIFIED, lambda means: means.certificate()),
    "a certificate with its chain": (CERTIFIED, lambda means: means.certificate(send_certificate_chain=True)),
    "a token in a file": (WRITER, lambda means: means.token_in_file()),
    "an assertion": (WRITER, lambda means: means.assertion()),
    "the machine's only identity": (WRITER, lambda means: means.kind.ManagedIdentityCredential()),
    "the machine's identity by its id": (WRITER, lambda means: means.kind.ManagedIdentityCredential(client_id=WRITER)),
}
SYNC: Any = type(
    "Sync",
    (),
    {
        each.__name__: each
        for each in (
            CertificateCredential,
            ClientAssertionCredential,
            ClientSecretCredential,
            ManagedIdentityCredential,
            WorkloadIdentityCredential,
        )
    },
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resource", [VAULT, MANAGEMENT])
def test_azure_identity_signs_in(azure: Sandbox, key_file: Path, token_file: Path, way: str, resource: str) -> None:
    client_id, make = WAYS[way]

    with make(Means(SYNC, azure, key_file, token_file)) as credential:
        token = credential.get_token(f"{resource}/.default")

    claims = claims_of(token.token)
    assert (claims["aud"], claims["tid"]) == (resource, TENANT)
    assert claims["appid"] == (client_id or azure.exports["AZURE_CLIENT_ID"])


@pytest.mark.parametrize("way", WAYS)
async def test_azure_identity_signs_in_asynchronously(
    azure: Sandbox, key_file: Path, token_file: Path, way: str
) -> None:
    client_id, make = WAYS[way]

    async with make(Means(aio, azure, key_file, token_file)) as credential:
        token = await credential.get_token(f"{VAULT}/.default", enable_cae=True)

    claims = claims_of(token.token)
    assert claims["appid"] == (client_id or azure.exports["AZURE_CLIENT_ID"])
    # Managed identities ask for no capabilities.
    assert claims.get("xms_cc", []) == ([] if "machine" in way else ["CP1"])


def test_azure_identity_reads_a_refusal(azure: Sandbox) -> None:
    wrong: dict[str, ClientSecretCredential | ClientAssertionCredential] = {
        "AADSTS7000215": ClientSecretCredential(TENANT, azure.exports["AZURE_CLIENT_ID"], "guess", **azure.options),
        "AADSTS700016": ClientSecretCredential(TENANT, TENANT, "guess", **azure.options),
        "AADSTS700213": ClientAssertionCredential(
            TENANT, WRITER, lambda: azure.issuer.token("nobody"), **azure.options
        ),
    }

    for code, credential in wrong.items():
        with credential, pytest.raises(ClientAuthenticationError, match=code):
            credential.get_token(f"{VAULT}/.default")
    with ManagedIdentityCredential(client_id=TENANT) as stranger, pytest.raises(CredentialUnavailableError):
        stranger.get_token(f"{VAULT}/.default")


def session(azure: Sandbox) -> requests.Session:
    made = requests.Session()
    made.trust_env = False  # or a bundle that this machine's environment names would win
    made.verify = azure.exports["SSL_CERT_FILE"]
    made.proxies = {"https": azure.exports["HTTPS_PROXY"]}
    return made


@pytest.mark.parametrize("host", ["login.microsoftonline.com", "login.windows.net"])
@pytest.mark.parametrize("way", ["secret", "thumbprint", "SHA-256", "assertion"])
def test_msal_signs_in(azure: Sandbox, way: str, host: str) -> None:
    key, digest = private_key().decode(), CERTIFICATE.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - msal's thumbprint
    credentials: dict[str, tuple[str, Any]] = {
        "secret": (azure.exports["AZURE_CLIENT_ID"], azure.exports["AZURE_CLIENT_SECRET"]),
        "thumbprint": (CERTIFIED, {"private_key": key, "thumbprint": digest}),
        "SHA-256": (CERTIFIED, {"private_key": key, "public_certificate": pem_of(CERTIFICATE)}),
        "assertion": (WRITER, {"client_assertion": azure.issuer.token}),
    }
    client_id, proof = credentials[way]
    with session(azure) as http:
        application = msal.ConfidentialClientApplication(
            client_id,
            client_credential=proof,
            authority=f"https://{host}/{TENANT}",
            http_client=http,
            client_capabilities=["CP1"],
        )
        granted = application.acquire_token_for_client(["https://graph.microsoft.com/.default"])
        refused = application.acquire_token_for_client(["https://nowhere.example.test/.default"])

    claims = claims_of(granted["access_token"])
    assert (claims["appid"], claims["aud"], claims["xms_cc"]) == (client_id, "https://graph.microsoft.com", ["CP1"])
    assert refused["error_codes"] == [500011]


@pytest.mark.parametrize(
    "identity", [msal.UserAssignedManagedIdentity(client_id=WRITER), msal.SystemAssignedManagedIdentity()]
)
def test_msal_asks_the_machine(identity: Any) -> None:
    with requests.Session() as http:
        http.trust_env = False
        granted = msal.ManagedIdentityClient(identity, http_client=http).acquire_token_for_client(resource=VAULT)

    assert claims_of(granted["access_token"])["appid"] == WRITER


DEFAULT = """
import asyncio, base64, json, sys
from azure.identity import DefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential as Asynchronous

def appid(token):
    payload = token.token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=="))["appid"]

async def asynchronous():
    async with Asynchronous() as credential:
        return appid(await credential.get_token("https://management.azure.com/.default"))

with DefaultAzureCredential() as credential:
    print(appid(credential.get_token("https://vault.azure.net/.default")))
print(asyncio.run(asynchronous()))
"""


def test_after_sourcing_the_file_the_default_credential_is_the_owner(azure: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "default.py").write_text(DEFAULT)

    ran = azure.shell("python default.py", folder=tmp_path)

    assert ran.stderr == ""
    assert ran.stdout.split() == [azure.exports["AZURE_CLIENT_ID"]] * 2


def test_with_a_federated_token_it_is_the_workload(azure: Sandbox, tmp_path: Path, token_file: Path) -> None:
    (tmp_path / "default.py").write_text(DEFAULT)

    ran = azure.shell(
        f"unset AZURE_CLIENT_SECRET; export AZURE_CLIENT_ID={WRITER} AZURE_FEDERATED_TOKEN_FILE={token_file}\n"
        "python default.py",
        folder=tmp_path,
    )

    assert ran.stderr == ""
    assert ran.stdout.split() == [WRITER] * 2


def test_without_either_it_is_the_machines_identity(azure: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "default.py").write_text(DEFAULT)

    ran = azure.shell(f"unset AZURE_CLIENT_SECRET; export AZURE_CLIENT_ID={WRITER}\npython default.py", folder=tmp_path)

    assert ran.stderr == ""
    assert ran.stdout.split() == [WRITER] * 2
