"""The sovereign clouds: the same rules under other names."""

import datetime
from typing import Any

import httpx2
import pytest

from keystead_sandbox.azure import NAMES, AzureApp
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.clouds import CHINA, CLOUDS, GOVERNMENT, PUBLIC, Cloud, cloud_at, service_at
from keystead_sandbox.journal import Journal
from keystead_sandbox.resources import Application
from keystead_sandbox.world import World

EPOCH = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
SECRET = "owner-secret"
pytestmark = pytest.mark.looptime(start=0)


class Place:
    """A world with one tenant of *cloud*, and clients of any cloud."""

    def __init__(self, cloud: str = "") -> None:
        clock = VirtualClock(EPOCH)
        self.world = World(clock, Journal(clock))
        self.tenant = self.world.add_tenant(cloud=cloud).id
        self.subscription = self.world.add_subscription().id
        self.owner: Application = self.world.add_application("owner", secret=SECRET)
        self.world.assign_role(self.owner.object_id, "Owner", f"/subscriptions/{self.subscription}")
        vault = self.world.add_vault("Payments-KV")
        self.world.set_secret(vault, "s", "v")
        self.world.assign_role(self.owner.object_id, "Key Vault Secrets User", vault.resource_id)
        self.app = AzureApp(self.world, _nowhere)

    async def ask(self, method: str, url: str, **more: Any) -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app)) as client:
            return await client.request(method, url, **more)

    async def token(self, cloud: Cloud, resource: str) -> httpx2.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.owner.client_id,
            "client_secret": SECRET,
            "scope": f"{resource}/.default",
        }
        return await self.ask("POST", f"https://{cloud.login_host}/{self.tenant}/oauth2/v2.0/token", data=form)

    async def bearer(self, cloud: Cloud, resource: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {(await self.token(cloud, resource)).json()['access_token']}"}


async def _nowhere(url: str) -> tuple[int, bytes]:
    raise ConnectionRefusedError(url)


@pytest.mark.parametrize("cloud", CLOUDS, ids=lambda cloud: cloud.name)
async def test_a_client_of_each_cloud_signs_in_lists_and_reads(cloud: Cloud) -> None:
    place = Place(cloud.name)

    configuration = await place.ask(
        "GET", f"https://{cloud.login_host}/{place.tenant}/v2.0/.well-known/openid-configuration"
    )
    listed = await place.ask(
        "GET",
        f"https://{cloud.arm_host}/subscriptions/{place.subscription}/providers/Microsoft.KeyVault/vaults"
        "?api-version=2023-07-01",
        headers=await place.bearer(cloud, cloud.arm_resource),
    )
    uri = listed.json()["value"][0]["properties"]["vaultUri"]
    challenged = await place.ask("GET", f"{uri}secrets/s?api-version=7.4")
    read = await place.ask(
        "GET", f"{uri}secrets/s?api-version=7.4", headers=await place.bearer(cloud, cloud.vault_resource)
    )

    assert configuration.json()["issuer"].startswith(f"https://{cloud.login_host}/")
    assert uri == f"https://Payments-KV{cloud.vault_suffix}/"
    assert (
        challenged.headers["WWW-Authenticate"]
        == f'Bearer authorization="https://{cloud.login_host}/{place.tenant}", resource="{cloud.vault_resource}"'
    )
    assert read.json()["value"] == "v"


async def test_a_tenant_of_one_cloud_is_unknown_in_another() -> None:
    place = Place("AzureChinaCloud")
    bearer = await place.bearer(CHINA, CHINA.arm_resource)

    refused = await place.token(PUBLIC, PUBLIC.arm_resource)
    unauthorised = await place.ask(
        "GET", f"https://{PUBLIC.arm_host}/subscriptions/{place.subscription}?api-version=2022-12-01", headers=bearer
    )
    elsewhere = await place.ask("GET", "https://payments-kv.vault.azure.net/secrets/s?api-version=7.4")

    assert refused.json()["error_codes"] == [90002]
    assert (unauthorised.status_code, unauthorised.json()["error"]["code"]) == (
        401,
        "InvalidAuthenticationTokenAudience",
    )
    assert elsewhere.status_code == 404


async def test_a_tenant_without_a_cloud_is_in_all_of_them() -> None:
    place = Place()

    for cloud in CLOUDS:
        assert (await place.token(cloud, cloud.vault_resource)).status_code == 200


async def test_a_vaults_token_of_one_cloud_is_not_for_another() -> None:
    place = Place()
    bearer = await place.bearer(PUBLIC, PUBLIC.vault_resource)

    refused = await place.ask(
        "GET", f"https://payments-kv{GOVERNMENT.vault_suffix}/secrets/s?api-version=7.4", headers=bearer
    )

    assert refused.status_code == 401
    assert f"Expected {GOVERNMENT.vault_resource}" in refused.json()["error"]["message"]


def test_hosts_lead_to_their_service_and_no_other_host_does() -> None:
    for cloud in CLOUDS:
        for host in cloud.login_hosts:
            assert (service_at(host), cloud_at(host)) == ("entra", cloud)
        assert (service_at(cloud.arm_host), cloud_at(cloud.arm_host)) == ("arm", cloud)
        vault = f"any{cloud.vault_suffix}"
        assert (service_at(vault), cloud_at(vault)) == ("keyvault", cloud)
        assert {*cloud.login_hosts, cloud.arm_host, f"*{cloud.vault_suffix}"} <= set(NAMES)
    for host in ("example.com", "login.microsoftonline.com.example.com", ".vault.azure.net", "graph.microsoft.com", ""):
        assert service_at(host) is None
