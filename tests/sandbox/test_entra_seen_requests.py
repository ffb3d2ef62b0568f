"""Requests that real clients were seen to send, exactly as they send them, over HTTP/1.1 on a socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from joserfc import jwt
from joserfc.jwk import KeySet

from keystead_sandbox.azure import AzureApp
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.entra.rules import ASSERTION_TYPE
from keystead_sandbox.journal import Journal
from keystead_sandbox.resources import Application, Identity
from keystead_sandbox.server import Server
from keystead_sandbox.world import World
from sandbox.entra_keyvault_fixtures import CLIENT_SECRET, ISSUER, LOGIN, SUBJECT, Cluster

SEEN: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("entra_requests.yaml").read_text())


class Served:
    """Entra on a socket, and who asks it."""

    def __init__(self) -> None:
        clock = ScaledClock()
        self.world = World(clock, Journal(clock))
        self.tenant = self.world.add_tenant().id
        self.world.add_subscription()
        self.cluster = Cluster(clock)
        self.workload: Identity = self.world.add_identity("reader")
        self.world.add_credential(self.workload, "fic", ISSUER, SUBJECT)
        self.owner: Application = self.world.add_application("owner", secret=CLIENT_SECRET)
        self.app = AzureApp(self.world, self.cluster.fetch)

    def form(self, who: str, given: dict[str, str]) -> dict[str, str]:
        """The form with what only this run knows."""
        if who == "owner":
            return {"client_id": self.owner.client_id, "client_secret": CLIENT_SECRET, **given}
        return {
            "client_assertion": self.cluster.token(),
            "client_assertion_type": ASSERTION_TYPE,
            "client_id": self.workload.client_id,
            **given,
        }


@pytest.fixture
async def served() -> AsyncIterator[tuple[Served, httpx2.AsyncClient]]:
    made = Served()
    server = Server(made.app)
    port = await server.start()
    headers = {"Host": LOGIN}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
        yield made, client
    await server.stop()


@pytest.mark.parametrize("seen", SEEN, ids=[each["client"] for each in SEEN])
async def test_a_clients_requests_are_served(served: tuple[Served, httpx2.AsyncClient], seen: dict[str, Any]) -> None:
    made, client = served
    published: Any = made.app.authority.jwks()
    keys = KeySet.import_key_set(published)
    named = {"tenant": made.tenant, "host": LOGIN}
    assert seen["source"]
    for request in seen["requests"]:
        if "get" in request:
            answer = await client.get(request["get"].format(**named), headers=request.get("headers"))
            body = answer.json()
            assert answer.status_code == 200, body
            assert set(request["has"]) <= set(body)
            if "issuer" in request:
                assert body["issuer"] == request["issuer"].format(**named)
            continue
        form = made.form(request["as"], request["form"])
        answer = await client.post(request["post"].format(**named), data=form, headers=request.get("headers"))
        assert answer.status_code == 200, answer.text
        claims = jwt.decode(answer.json()["access_token"], keys, algorithms=["RS256"]).claims
        assert claims["aud"] == request["audience"]
        assert claims.get("xms_cc", []) == request.get("capabilities", [])
        assert set(request.get("claims", ())) <= set(claims)
        assert claims["tid"] == made.tenant


async def test_each_of_them_is_written_down_without_its_proof(served: tuple[Served, httpx2.AsyncClient]) -> None:
    made, client = served
    sent = 0
    for seen in SEEN:
        for request in seen["requests"]:
            if "post" in request:
                form = made.form(request["as"], request["form"])
                await client.post(request["post"].format(tenant=made.tenant), data=form)
                sent += 1

    entries = made.world.journal.entries(service="entra")
    assert len(entries) == sent
    assert {entry.caller for entry in entries} == {"reader", "owner"}
    written = str(entries)
    assert CLIENT_SECRET not in written
    assert "eyJ" not in written


async def test_http_1_0_is_served_and_closed(served: tuple[Served, httpx2.AsyncClient]) -> None:

    made, client = served
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(
        f"GET /{made.tenant}/v2.0/.well-known/openid-configuration? HTTP/1.0\r\nHost: {LOGIN}\r\n\r\n".encode()
    )

    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"token_endpoint"' in answer
