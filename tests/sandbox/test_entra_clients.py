"""Microsoft's own clients, unmodified, by the public names: over TLS and the sandbox's proxy to the whole Azure."""

import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity.aio import ClientAssertionCredential, ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient

from keystead_sandbox.azure import NAMES, AzureApp
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.proxy import Proxy
from keystead_sandbox.resources import Identity, Rules, Vault
from keystead_sandbox.server import Server
from keystead_sandbox.world import World
from sandbox.entra_keyvault_fixtures import CLIENT_SECRET, ISSUER, PLANTED, SUBJECT, Cluster

# The SDK remembers challenges for the whole process, so each test has a vault of its own.
_NUMBERS = itertools.count(1)
OFFICER = "Key Vault Secrets Officer"


@dataclasses.dataclass
class Azure:
    """The whole Azure on a port, and what a client needs to reach it."""

    world: World
    cluster: Cluster
    identity: Identity
    vault: Vault
    options: dict[str, Any]

    @property
    def tenant(self) -> str:
        return self.identity.tenant_id

    def assertion(self) -> ClientAssertionCredential:
        return ClientAssertionCredential(self.tenant, self.identity.client_id, self.cluster.token, **self.options)

    def secrets(self, credential: ClientAssertionCredential | ClientSecretCredential) -> SecretClient:
        return SecretClient(f"https://{self.vault.name}.vault.azure.net", credential, **self.options)


@pytest.fixture
async def azure(tmp_path: Path) -> AsyncIterator[Azure]:
    clock = ScaledClock()
    journal = Journal(clock, tmp_path / "journal")
    world = World(clock, journal, Rules(propagation=0))
    world.add_tenant()
    world.add_subscription()
    identity = world.add_identity("writer")
    vault = world.add_vault(f"payments-{next(_NUMBERS)}")
    world.set_secret(vault, "db-password", PLANTED)
    cluster = Cluster(clock)
    authority = Authority()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.ca_pem)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(journal.close)
        server = Server(AzureApp(world, cluster.fetch), tls=server_context(*authority.issue(NAMES)))
        proxy = Proxy(journal, await server.start())
        stack.push_async_callback(server.stop)
        port = await proxy.start()
        stack.push_async_callback(proxy.stop)
        options = {"connection_verify": str(ca), "proxies": {"https": f"http://127.0.0.1:{port}"}, "retry_total": 0}
        yield Azure(world, cluster, identity, vault, options)


async def test_an_assertion_reads_a_secret(azure: Azure, tmp_path: Path) -> None:
    azure.world.add_credential(azure.identity, "fic1", ISSUER, SUBJECT)
    azure.world.assign_role(azure.identity.principal_id, "Key Vault Secrets User", azure.vault.resource_id)

    async with azure.assertion() as credential, azure.secrets(credential) as client:
        secret = await client.get_secret("db-password")

    assert secret.value == PLANTED
    told = [
        (entry.service, entry.status, entry.caller)
        for entry in azure.world.journal.entries()
        if entry.service != "proxy"
    ]
    assert told == [("keyvault", 401, ""), ("entra", 200, "writer"), ("keyvault", 200, "writer")]
    exchange = azure.world.journal.entries(service="entra")[0]
    assert exchange.detail == {
        "client_id": azure.identity.client_id,
        "issuer": ISSUER,
        "subject": SUBJECT,
        "resource": "https://vault.azure.net",
    }
    written = (tmp_path / "journal").read_text()
    assert PLANTED not in written
    assert "eyJ" not in written  # how every token begins


async def test_a_refused_exchange_reaches_the_client_with_its_code(azure: Azure) -> None:
    azure.world.add_credential(azure.identity, "fic1", ISSUER, SUBJECT.upper())

    async with azure.assertion() as credential:
        with pytest.raises(ClientAuthenticationError) as refused:
            await credential.get_token("https://vault.azure.net/.default")

    assert refused.value.response is not None
    assert "AADSTS7002138" in str(refused.value)
    assert azure.world.journal.entries(service="entra")[-1].code == "AADSTS7002138"


async def test_a_missing_role_reaches_the_client(azure: Azure) -> None:
    azure.world.add_credential(azure.identity, "fic1", ISSUER, SUBJECT)

    async with azure.assertion() as credential, azure.secrets(credential) as client:
        with pytest.raises(HttpResponseError) as refused:
            await client.get_secret("db-password")

    assert refused.value.status_code == 403
    assert refused.value.error is not None
    assert refused.value.error.innererror == {"code": "ForbiddenByRbac"}


async def test_a_client_secret_does_everything_with_secrets(azure: Azure, tmp_path: Path) -> None:
    owner = azure.world.add_application("owner", secret=CLIENT_SECRET)
    azure.world.assign_role(owner.object_id, OFFICER, azure.vault.resource_id)
    credential = ClientSecretCredential(azure.tenant, owner.client_id, CLIENT_SECRET, **azure.options)

    async with credential, azure.secrets(credential) as client:
        written = await client.set_secret("api-key", "v1", tags={"a": "b"}, content_type="text")
        await client.set_secret("api-key", "v2")
        first = await client.get_secret("api-key", written.properties.version)
        versions = [item.version async for item in client.list_properties_of_secret_versions("api-key")]
        names = [item.name async for item in client.list_properties_of_secrets(max_page_size=1)]
        updated = await client.update_secret_properties("api-key", enabled=False)
        deleted = await client.delete_secret("api-key")
        gone = [item.name async for item in client.list_deleted_secrets()]
        with pytest.raises(ResourceNotFoundError):
            await client.get_secret("api-key")
        recovered = await client.recover_deleted_secret("api-key")
        await client.delete_secret("api-key")
        await client.purge_deleted_secret("api-key")

    assert (first.value, first.properties.tags, first.properties.content_type) == ("v1", {"a": "b"}, "text")
    assert len(versions) == 2
    assert names == ["api-key", "db-password"]
    assert updated.enabled is False
    assert deleted.recovery_id == f"https://{azure.vault.name}.vault.azure.net/deletedsecrets/api-key"
    assert (gone, recovered.name) == (["api-key"], "api-key")
    assert not azure.vault.deleted
    journal = (tmp_path / "journal").read_text()
    assert CLIENT_SECRET not in journal
    assert "eyJ" not in journal


async def test_a_wrong_client_secret_is_refused_and_not_written_down(azure: Azure, tmp_path: Path) -> None:
    owner = azure.world.add_application("owner", secret=CLIENT_SECRET)
    credential = ClientSecretCredential(azure.tenant, owner.client_id, "another-planted", **azure.options)

    async with credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            await credential.get_token("https://management.azure.com/.default")

    assert "another-planted" not in (tmp_path / "journal").read_text()
