"""Microsoft's management clients, unmodified: by the public names through the proxy, and on virtual time where they wait."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential as SyncSecret
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters
from azure.mgmt.authorization.v2022_05_01_preview.models import Permission, RoleDefinition
from azure.mgmt.keyvault import KeyVaultManagementClient as SyncVaults
from azure.mgmt.keyvault.aio import KeyVaultManagementClient
from azure.mgmt.msi import ManagedServiceIdentityClient as SyncIdentities
from azure.mgmt.msi.aio import ManagedServiceIdentityClient
from azure.mgmt.msi.models import FederatedIdentityCredential, Identity, IdentityUpdate
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from azure_transport import ASGIAzureTransport
from keystead_sandbox.azure import NAMES, AzureApp
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.proxy import Proxy
from keystead_sandbox.resources import Rules
from keystead_sandbox.server import Server
from keystead_sandbox.world import World
from sandbox import arm_fixtures
from sandbox.arm_fixtures import AUDIENCE, ISSUER, Arm

arm = arm_fixtures.arm
SECRET = "planted-client-secret"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
# Nothing here is about pace, and these tests run on the wall's time.
_PLENTY: dict[str, Any] = {
    name.format(kind): 1000.0
    for name in ("{}_capacity", "subscription_{}s", "tenant_{}s")
    for kind in ("write", "delete", "get", "list")
}
EASY = Rules(**_PLENTY, write_hold=0, role_delay=0, identity_visible=0, credential_limit=200, page_size=50)


class Proxied:
    """The whole Azure behind its proxy, and a principal who owns the subscription."""

    def __init__(self, world: World, options: dict[str, Any]) -> None:
        self.world = world
        self.options = options
        self.subscription = next(iter(world.subscriptions))
        self.owner = world.add_application("owner", secret=SECRET)
        world.assign_role(self.owner.object_id, "Owner", f"/subscriptions/{self.subscription}")
        world.add_group("pool")
        self.tenant = self.owner.tenant_id

    @contextlib.asynccontextmanager
    async def client(self, kind: Any) -> AsyncIterator[Any]:
        """One of the asynchronous clients, signed in."""
        secret = ClientSecretCredential(self.tenant, self.owner.client_id, SECRET, **self.options)
        async with secret, kind(secret, self.subscription, **self.options) as client:
            yield client

    def sync(self, kind: Any) -> Any:
        """One of the synchronous clients; its calls go into a thread."""
        secret = SyncSecret(self.tenant, self.owner.client_id, SECRET, **self.options)
        return kind(secret, self.subscription, **self.options)

    def versions(self) -> set[str]:
        queries = [each.query for each in self.world.journal.entries(service="arm")]
        return {query.partition("api-version=")[2].partition("&")[0] for query in queries}


@pytest.fixture
async def azure(tmp_path: Path) -> AsyncIterator[Proxied]:
    clock = ScaledClock()
    journal = Journal(clock)
    world = World(clock, journal, EASY)
    world.add_tenant()
    world.add_subscription()
    authority = Authority()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.ca_pem)
    async with contextlib.AsyncExitStack() as stack:
        server = Server(AzureApp(world, _nowhere), tls=server_context(*authority.issue(NAMES)))
        proxy = Proxy(journal, await server.start())
        stack.push_async_callback(server.stop)
        port = await proxy.start()
        stack.push_async_callback(proxy.stop)
        options = {"connection_verify": str(ca), "proxies": {"https": f"http://127.0.0.1:{port}"}, "retry_total": 0}
        yield Proxied(world, options)


async def _nowhere(url: str) -> tuple[int, bytes]:
    raise ConnectionRefusedError(url)


def credential(subject: str) -> FederatedIdentityCredential:
    return FederatedIdentityCredential(issuer=ISSUER, subject=subject, audiences=[AUDIENCE])


async def test_identities_and_credentials_with_the_asynchronous_client(azure: Proxied) -> None:
    async with azure.client(ManagedServiceIdentityClient) as client:
        identities, fics = client.user_assigned_identities, client.federated_identity_credentials
        made = await identities.create_or_update("pool", "writer", Identity(location="westeurope", tags={"a": "b"}))
        changed = await identities.update("pool", "WRITER", IdentityUpdate(tags={"c": "d"}))
        for number in range(110):
            azure.world.add_identity(f"other-{number}", "pool")
            await fics.create_or_update("pool", "writer", f"fic-{number}", credential(f"s{number}"))
        named = [each.name async for each in fics.list("pool", "writer")]
        few = [each.name async for each in fics.list("pool", "writer", top=40)]
        everybody = [each.name async for each in identities.list_by_subscription()]
        group = [each.name async for each in identities.list_by_resource_group("POOL")]
        with pytest.raises(ResourceExistsError) as taken:
            await fics.create_or_update("pool", "writer", "twice", credential("s0"))
        with pytest.raises(HttpResponseError) as bad:
            await fics.create_or_update("pool", "writer", "a", credential("s0"))
        await fics.delete("pool", "writer", "fic-0")
        await fics.delete("pool", "writer", "fic-0")
        with pytest.raises(ResourceNotFoundError):
            await fics.get("pool", "writer", "fic-0")
        await identities.delete("pool", "writer")

    assert (made.tags, changed.tags) == ({"a": "b"}, {"c": "d"})
    assert named == few == [f"fic-{number}" for number in range(110)]
    assert len(everybody) == len(group) == len(set(group)) == 111
    assert (taken.value.error.code, bad.value.status_code) == ("Conflict", 400)  # type: ignore[union-attr]  # it has one
    assert azure.versions() == {"2024-11-30"}


async def test_identities_and_credentials_with_the_synchronous_client(azure: Proxied) -> None:
    identity = azure.world.add_identity("writer", "pool")
    for number in range(120):
        azure.world.add_credential(identity, f"fic-{number}", ISSUER, f"s{number}")

    def work() -> tuple[list[Any], Any, list[Any]]:
        with azure.sync(SyncIdentities) as client:
            fics = client.federated_identity_credentials
            named = [each.name for each in fics.list("pool", "writer")]
            fics.delete("pool", "writer", "fic-7")
            written = fics.create_or_update("pool", "writer", "again", credential("s7"))
            return named, written, [each.name for each in client.user_assigned_identities.list_by_subscription()]

    named, written, everybody = await asyncio.to_thread(work)

    assert named == [f"fic-{number}" for number in range(120)]
    assert (written.name, everybody) == ("again", ["writer"])


async def test_roles_with_the_authorization_client(azure: Proxied) -> None:
    identity = azure.world.add_identity("writer", "pool")
    scope = f"/subscriptions/{azure.subscription}/resourceGroups/pool"
    definition = f"/subscriptions/{azure.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    custom = RoleDefinition(
        role_name="Writer of credentials",
        role_type="CustomRole",
        permissions=[Permission(actions=["Microsoft.ManagedIdentity/userAssignedIdentities/*"], data_actions=[])],
        assignable_scopes=[scope],
    )
    name, number = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
    async with azure.client(AuthorizationManagementClient) as client:
        given = RoleAssignmentCreateParameters(
            role_definition_id=f"{definition}/{READER}", principal_id=identity.principal_id
        )
        with pytest.raises(HttpResponseError) as user:  # what this client says of a principal unless it is told
            await client.role_assignments.create(scope, name, given)
        given.principal_type = "ServicePrincipal"
        made = await client.role_assignments.create(scope, name, given)
        with pytest.raises(ResourceExistsError) as again:
            await client.role_assignments.create(scope, number, given)
        listed = [each.name async for each in client.role_assignments.list_for_scope(scope, filter="atScope()")]
        theirs = client.role_assignments.list_for_subscription(filter=f"principalId eq '{identity.principal_id}'")
        read = await client.role_assignments.get_by_id(made.id)
        written = await client.role_definitions.create_or_update(scope, number, custom)
        found = [each.name async for each in client.role_definitions.list(scope, filter="type eq 'CustomRole'")]
        owners = [each.name async for each in client.role_definitions.list(scope, filter="roleName eq 'Owner'")]
        deleted = await client.role_assignments.delete(scope, name)
        gone = await client.role_assignments.delete(scope, name)
        await client.role_definitions.delete(scope, number)
        assert [each.name async for each in theirs] == []

    assert (made.principal_type, made.scope, read.id) == ("ServicePrincipal", scope, made.id)
    assert again.value.error.code == "RoleAssignmentExists"  # type: ignore[union-attr]  # it has one
    assert user.value.error.code == "UnmatchedPrincipalType"  # type: ignore[union-attr]  # it has one
    assert name in listed
    assert (written.role_name, found, len(owners)) == ("Writer of credentials", [number], 1)
    assert (deleted.name, gone) == (name, None)


def vault_parameters(tenant: str, **properties: Any) -> dict[str, Any]:
    return {
        "location": "westeurope",
        "properties": {"tenantId": tenant, "sku": {"family": "A", "name": "standard"}, **properties},
    }


async def test_vaults_with_the_key_vault_client(azure: Proxied) -> None:
    policy = {"tenantId": azure.tenant, "objectId": azure.owner.object_id, "permissions": {"secrets": ["get"]}}
    async with azure.client(KeyVaultManagementClient) as client:
        poller = await client.vaults.begin_create_or_update("pool", "team-kv", vault_parameters(azure.tenant))
        made = await poller.result()
        await client.vaults.update_access_policy("pool", "team-kv", "add", {"properties": {"accessPolicies": [policy]}})
        read = await client.vaults.get("pool", "team-kv")
        names = [each.name async for each in client.vaults.list_by_subscription()]
        every = [each.name async for each in client.vaults.list()]
        free = await client.vaults.check_name_availability({"name": "team-kv", "type": "Microsoft.KeyVault/vaults"})
        await client.vaults.delete("pool", "team-kv")
        deleted = [each.name async for each in client.vaults.list_deleted()]
        with pytest.raises(HttpResponseError) as taken:
            await client.vaults.begin_create_or_update("pool", "team-kv", vault_parameters(azure.tenant))
        await (await client.vaults.begin_purge_deleted("team-kv", "westeurope")).result()

    assert (made.properties.enable_rbac_authorization, made.properties.vault_uri) == (
        True,
        "https://team-kv.vault.azure.net/",
    )
    assert read.properties.access_policies[0].permissions.secrets == ["get"]
    assert (names, every, deleted) == (["team-kv"], ["team-kv"], ["team-kv"])
    assert (free.name_available, free.reason) == (False, "AlreadyExists")
    assert taken.value.error.code == "ConflictError"  # type: ignore[union-attr]  # it has one
    assert not azure.world.deleted_vaults
    assert "2026-05-15" in azure.versions()


async def test_a_vault_with_the_synchronous_client(azure: Proxied) -> None:
    def work() -> Any:
        with azure.sync(SyncVaults) as client:
            return client.vaults.begin_create_or_update("pool", "team-kv", vault_parameters(azure.tenant)).result()

    assert (await asyncio.to_thread(work)).name == "team-kv"


async def test_groups_and_providers_with_the_resource_client(azure: Proxied) -> None:
    async with azure.client(ResourceManagementClient) as client:
        made = await client.resource_groups.create_or_update("new", {"location": "West Europe", "tags": {"a": "b"}})
        there = await client.resource_groups.check_existence("new")
        gone = await client.resource_groups.check_existence("gone")
        changed = await client.resource_groups.update("new", {"tags": {"c": "d"}})
        names = [each.name async for each in client.resource_groups.list()]
        with pytest.raises(ResourceNotFoundError):
            await client.resource_groups.get("gone")
        provider = await client.providers.get("Microsoft.ManagedIdentity")
        listed = [each.namespace async for each in client.providers.list()]
        registered = await client.providers.register("Microsoft.KeyVault")
        azure.world.add_vault("team-kv", "new")
        resources = [
            each.name async for each in client.resources.list(filter="resourceType eq 'Microsoft.KeyVault/vaults'")
        ]

    assert (made.location, changed.tags, there, gone) == ("westeurope", {"c": "d"}, True, False)
    assert names == ["pool", "new"]
    assert (provider.registration_state, registered.registration_state) == ("Registered", "Registered")
    assert "Microsoft.Authorization" in listed
    assert resources == ["team-kv"]
    assert "2025-04-01" in azure.versions()


# Where clients wait: the same clients on virtual time ----------------------------------------------------------------


class Signed:
    """A credential that has its token already."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        # The SDK reads the machine's clock to see whether a token is fresh.
        return AccessToken(self._arm.bearer()["Authorization"].removeprefix("Bearer "), int(time.time()) + 3600)

    async def close(self) -> None:
        return


def virtual(arm: Arm, kind: Any) -> Any:
    return kind(Signed(arm), arm.subscription.id, transport=ASGIAzureTransport(arm.app))


@pytest.mark.looptime
async def test_a_client_registers_a_missing_provider_by_itself_and_asks_again(arm: Arm) -> None:
    arm.world.unregistered.add((arm.subscription.id, "microsoft.managedidentity"))
    async with virtual(arm, ManagedServiceIdentityClient) as client:
        made = await client.federated_identity_credentials.create_or_update(
            "identities", "writer", "fic-1", credential("s")
        )

    assert made.name == "fic-1"
    assert [(each.method, each.status, each.code) for each in arm.entries()] == [
        ("PUT", 409, "MissingSubscriptionRegistration"),
        ("POST", 200, ""),
        ("GET", 200, ""),
        ("PUT", 201, ""),
    ]


@pytest.mark.looptime
async def test_a_client_waits_until_a_group_is_gone(arm: Arm) -> None:
    began = arm.clock.now()
    async with virtual(arm, ResourceManagementClient) as client:
        await (await client.resource_groups.begin_delete("identities")).result()

    assert arm.clock.now() - began >= 15
    assert [(each.method, each.status) for each in arm.entries()] == [("DELETE", 202), ("GET", 202), ("GET", 200)]


@pytest.mark.looptime
async def test_a_client_honours_the_wait_that_it_is_told(arm: Arm) -> None:
    async with virtual(arm, ManagedServiceIdentityClient) as client:
        for number in range(3):
            await client.federated_identity_credentials.create_or_update(
                "identities", "writer", f"fic-{number}", credential(f"s{number}")
            )

    assert [each.status for each in arm.entries()] == [201, 201, 429, 201]
