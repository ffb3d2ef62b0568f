"""Managed identity tokens, as on a machine in Azure."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from joserfc import jws

from keystead_sandbox.resources import Identity
from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime(start=0)
TOKEN = "/metadata/identity/oauth2/token"
ARM = "https://management.azure.com/"


@pytest.fixture
async def machine(arm: Arm) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(arm.app.imds), base_url="http://127.0.0.1:8480", headers={"Metadata": "true"}
    ) as client:
        yield client


async def _ask(machine: httpx2.AsyncClient, **query: str) -> httpx2.Response:
    return await machine.get(TOKEN, params={"api-version": "2018-02-01", "resource": ARM, **query})


async def test_the_only_identity_needs_no_name(arm: Arm, machine: httpx2.AsyncClient) -> None:
    arm.world.assign_role(arm.identity.principal_id, "Reader", f"/subscriptions/{arm.subscription.id}")

    answer = (await _ask(machine)).json()

    assert (answer["token_type"], answer["resource"], answer["client_id"]) == ("Bearer", ARM, arm.identity.client_id)
    assert answer["expires_in"] == "86399"
    assert int(answer["expires_on"]) - int(answer["not_before"]) == 86400
    claims = jws.extract_compact(answer["access_token"].encode()).payload.decode()
    assert "/virtualMachines/sandbox" in claims
    assert arm.identity.resource_id in claims
    read = await arm.client.get(
        f"/subscriptions/{arm.subscription.id}?api-version=2022-12-01",
        headers={"Authorization": f"Bearer {answer['access_token']}"},
    )
    assert read.status_code == 200
    (entry,) = arm.entries("imds")
    assert (entry.caller, entry.status, entry.detail["resource"]) == ("writer", 200, ARM)
    assert answer["access_token"] not in str(entry)


@pytest.mark.parametrize("name", ["client_id", "object_id", "principal_id", "msi_res_id", "mi_res_id"])
async def test_one_of_several_is_named_in_each_way_and_in_any_case(
    arm: Arm, machine: httpx2.AsyncClient, name: str
) -> None:
    other = arm.world.add_identity("Other")
    value = {"client_id": other.client_id, "object_id": other.principal_id, "principal_id": other.principal_id}

    answer = await _ask(machine, **{name: value.get(name, other.resource_id).upper()})

    assert answer.json()["client_id"] == other.client_id


async def test_an_identity_of_another_machine_is_not_found(arm: Arm, machine: httpx2.AsyncClient) -> None:
    arm.identity.attached = False
    other = arm.world.add_identity("other")

    assert (await _ask(machine)).json()["client_id"] == other.client_id
    assert _described(await _ask(machine, client_id=arm.identity.client_id)) == "Identity not found"
    arm.world.remove_identity(other)
    assert _described(await _ask(machine)) == "Identity not found"


async def test_what_is_no_request_of_this_machine_is_refused(arm: Arm, machine: httpx2.AsyncClient) -> None:
    other: Identity = arm.world.add_identity("other")

    assert "Multiple user assigned identities" in _described(await _ask(machine))
    assert "Only one of" in _described(await _ask(machine, client_id=other.client_id, object_id=other.principal_id))
    assert "'resource' is missing" in _described(await _ask(machine, resource=""))
    assert "AADSTS500011" in _described(await _ask(machine, resource="https://nobody", client_id=other.client_id))
    assert "metadata header" in _described(await machine.get(TOKEN, headers={"Metadata": ""}))
    assert "X-Forwarded-For" in _described(await machine.get(TOKEN, headers={"X-Forwarded-For": "10.0.0.1"}))
    for version in ("", "2017-13-01"):
        refused = await machine.get(TOKEN, params={"resource": ARM, "api-version": version})
        assert refused.status_code == 400
        assert refused.json()["newest-versions"]
    assert (await machine.post(TOKEN)).status_code == 405
    assert (await machine.get("/metadata/instance?api-version=2021-02-01")).status_code == 404


async def test_twenty_requests_in_a_second_and_no_more(machine: httpx2.AsyncClient) -> None:
    assert [(await _ask(machine)).status_code for _ in range(20)] == [200] * 20

    refused = await _ask(machine)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    await asyncio.sleep(1)
    assert (await _ask(machine)).status_code == 200


def _described(response: httpx2.Response) -> str:
    assert response.status_code == 400
    return str(response.json()["error_description"])
