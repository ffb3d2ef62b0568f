"""Resource Manager in-process on virtual time, with an owner who may do everything on the subscription."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from joserfc.jwk import RSAKey

from keystead_sandbox.azure import AzureApp
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.clouds import PUBLIC
from keystead_sandbox.journal import Entry, Journal
from keystead_sandbox.resources import Application, Identity, Rules
from keystead_sandbox.world import World
from sandbox.entra_keyvault_fixtures import at_the_start

EPOCH = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)
ISSUER = "https://oidc.example.test/cluster-a/"
VERSION = "2024-11-30"
AUDIENCE = "api://AzureADTokenExchange"
_KEY = RSAKey.generate_key(2048)


def body_of(subject: Any = "system:serviceaccount:shop:payments", **changed: Any) -> dict[str, Any]:
    """A credential's body; a property of None is left out."""
    properties = {"issuer": ISSUER, "subject": subject, "audiences": [AUDIENCE], **changed}
    return {"properties": {name: value for name, value in properties.items() if value is not None}}


class Arm:
    """The service, and shorthands to call it."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.clock = VirtualClock(EPOCH)
        self.journal = Journal(self.clock)
        self.world = World(self.clock, self.journal, rules)
        self.world.add_tenant()
        self.subscription = self.world.add_subscription()
        self.owner = self.world.add_application("owner", secret="unused")
        self.world.assign_role(self.owner.object_id, "Owner", f"/subscriptions/{self.subscription.id}")
        self.app = AzureApp(self.world, _nowhere)
        self.client = client_of(self.app)
        self.identity = self.world.add_identity("writer")

    def url(self, name: str = "", identity: Identity | None = None) -> str:
        base = f"{(identity or self.identity).resource_id}/federatedIdentityCredentials"
        return f"{base}/{name}" if name else base

    def bearer(self, who: Application | Identity | None = None) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.app.authority.issue(who or self.owner, 'https://management.azure.com')}"
        }

    async def ask(
        self,
        method: str,
        path: str,
        *,
        who: Application | Identity | None = None,
        version: str | None = VERSION,
        body: Any = None,
    ) -> httpx2.Response:
        separator = "&" if "?" in path else "?"
        url = path if version is None else f"{path}{separator}api-version={version}"
        return await self.client.request(method, url, headers=self.bearer(who), json=body)

    async def put(self, name: str, body: Any = None, identity: Identity | None = None) -> httpx2.Response:
        wanted = body_of(f"system:serviceaccount:shop:{name}") if body is None else body
        return await self.ask("PUT", self.url(name, identity), body=wanted)

    def stand(self, *names: str, identity: Identity | None = None) -> None:
        """Credentials that have been there for long."""
        for name in names:
            self.world.add_credential(identity or self.identity, name, ISSUER, f"system:serviceaccount:shop:{name}")

    def entries(self, service: str = "arm") -> list[Entry]:
        return [entry for entry in self.journal.entries() if entry.service == service]


def client_of(app: AzureApp) -> httpx2.AsyncClient:
    """Somebody who asks the public Resource Manager."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=f"https://{PUBLIC.arm_host}")


def code_of(response: httpx2.Response) -> tuple[int, str]:
    """Status and error code; the shape is checked on the way."""
    if response.status_code < 400:
        return response.status_code, ""
    error = response.json()["error"]
    assert error["message"]
    return response.status_code, error["code"]


async def _nowhere(url: str) -> tuple[int, bytes]:
    raise ConnectionRefusedError(url)


@pytest.fixture
async def arm() -> AsyncIterator[Arm]:
    with at_the_start():
        made = Arm()
    async with made.client:
        yield made


async def rested() -> None:
    """Long enough for every bucket to be full again."""
    await asyncio.sleep(60)
