"""The whole emulated Azure on virtual time, driven step by step from code that is not asynchronous (hypothesis)."""

import asyncio
import datetime
import json
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import httpx2
import looptime
from joserfc import jwt
from joserfc.jwk import RSAKey

from keystead_sandbox.azure import AzureApp
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.entra.rules import ASSERTION_TYPE
from keystead_sandbox.journal import Journal
from keystead_sandbox.resources import AUDIENCE, Application, Identity, Rules
from keystead_sandbox.world import World

EPOCH = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)
LOGIN, ARM, KEYVAULT = "login.microsoftonline.com", "management.azure.com", "team-kv.vault.azure.net"
IMDS = "169.254.169.254"
ARM_RESOURCE = f"https://{ARM}/"
# One key of each kind for the whole run: generating them is the slow part, and nothing depends on their freshness.
SANDBOX_KEY, ISSUER_KEY = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
T = TypeVar("T")


class Azure:
    """A tenant, a subscription, an owner; every service behind one client that names hosts in its URLs."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.loop: Any = looptime.new_event_loop(start=0)
        self.journal = Journal(VirtualClock(EPOCH))
        self.run(self._make(rules))

    async def _make(self, rules: Rules | None) -> None:
        self.world = World(VirtualClock(EPOCH), self.journal, rules)
        self.tenant = self.world.add_tenant().id
        self.subscription = self.world.add_subscription().id
        self.group = self.world.add_group("pool")
        self.owner = self.world.add_application("owner", secret="planted-client-secret")
        self.world.assign_role(self.owner.object_id, "Owner", f"/subscriptions/{self.subscription}")
        self.app = AzureApp(self.world, _published, SANDBOX_KEY)
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app))
        self.machine = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app.imds))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Until *work* is done; waiting costs no time of ours."""
        done: T = self.loop.run_until_complete(work)
        return done

    @property
    def now(self) -> float:
        return self.run(_now())

    def close(self) -> None:
        """End what is still under way, and the loop."""
        self.run(self._close())
        self.loop.close()

    async def _close(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.client.aclose()
        await self.machine.aclose()

    def bearer(self, who: Application | Identity, resource: str = ARM_RESOURCE) -> dict[str, str]:
        async def issue() -> str:
            return self.app.authority.issue(who, resource)

        return {"Authorization": f"Bearer {self.run(issue())}"}

    def path(self, identity: str) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/pool"
            f"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}"
        )

    async def arm(
        self, method: str, path: str, headers: Mapping[str, str], body: Any = None, version: str = "2024-11-30"
    ) -> httpx2.Response:
        url = f"https://{ARM}{path}?api-version={version}"
        return await self.client.request(method, url, headers=dict(headers), json=body)

    async def exchange(
        self, client_id: str, issuer: str, subject: str, resource: str = ARM_RESOURCE
    ) -> httpx2.Response:
        """Exchange a token of *issuer* that is good in itself."""
        now = int(self.world.clock.wall().timestamp())
        claims = {"iss": issuer, "sub": subject, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600}
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": jwt.encode({"alg": "RS256", "kid": "k"}, claims, ISSUER_KEY, default_type=None),
            "scope": f"{resource}.default",
        }
        return await self.client.post(f"https://{LOGIN}/{self.tenant}/oauth2/v2.0/token", data=form)


async def _now() -> float:
    return asyncio.get_running_loop().time()


async def _published(url: str) -> tuple[int, bytes]:
    """Every issuer there is publishes the one key."""
    issuer, found, _ = url.partition(".well-known/openid-configuration")
    if found:
        # Fetched with one slash between, whether the issuer ends in one or not: tests use issuers that do.
        return 200, json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}keys"}).encode()
    return 200, json.dumps({"keys": [{**ISSUER_KEY.as_dict(private=False), "kid": "k", "use": "sig"}]}).encode()
