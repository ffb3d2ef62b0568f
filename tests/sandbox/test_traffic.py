"""Scripted faults, the journal around them, and the control API."""

import asyncio
from typing import Any

import httpx2
import pytest

from keystead_sandbox.faults import Effect, Fault
from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm, code_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime


async def test_the_next_n_requests_are_refused_and_then_no_more(arm: Arm) -> None:
    arm.world.faults.add(Fault(service="arm", method="PUT", times=3, status=409, code="Scripted"))

    codes = [code_of(await arm.put("fic1")) for _ in range(4)]

    assert codes == [(409, "Scripted")] * 3 + [(201, "")]
    assert list(arm.identity.credentials) == ["fic1"]
    assert [entry.code for entry in arm.entries()] == ["Scripted"] * 3 + [""]


async def test_every_third_request_is_refused(arm: Arm) -> None:
    arm.world.faults.add(Fault(every=3, status=503))

    statuses = [(await arm.ask("GET", arm.identity.resource_id)).status_code for _ in range(6)]

    assert statuses == [200, 200, 503, 200, 200, 503]


async def test_a_fault_ends_by_the_sandboxs_clock(arm: Arm) -> None:
    arm.world.faults.add(Fault(seconds=30))

    during = (await arm.ask("GET", arm.identity.resource_id)).status_code
    await asyncio.sleep(30)
    after = (await arm.ask("GET", arm.identity.resource_id)).status_code

    assert (during, after) == (503, 200)


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        (Fault(service="entra"), False),
        (Fault(service="arm"), True),
        (Fault(method="put"), False),
        (Fault(method="get"), True),
        (Fault(path="/USERASSIGNEDIDENTITIES/writer$"), True),
        (Fault(path="/other"), False),
        (Fault(host=r"^management\."), True),
        (Fault(host="login"), False),
    ],
)
async def test_a_fault_hits_what_it_means(arm: Arm, fault: Fault, hit: bool) -> None:
    arm.world.faults.add(fault)

    assert ((await arm.ask("GET", arm.identity.resource_id)).status_code == 503) is hit


async def test_a_half_write_takes_effect_behind_its_error(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.HALF_WRITE, method="PUT", times=1, status=500, code="InternalServerError"))

    answer = await arm.put("fic1")

    assert code_of(answer) == (500, "InternalServerError")
    assert list(arm.identity.credentials) == ["fic1"]
    assert arm.entries()[0].detail["fault"] == "half-write"


async def test_a_lost_answer_takes_effect_and_the_connection_drops(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.LOST_ANSWER, method="DELETE", times=1))
    arm.stand("fic1")

    with pytest.raises(ConnectionResetError):
        await arm.ask("DELETE", arm.url("fic1"))

    assert not arm.identity.credentials
    assert [entry.status for entry in arm.entries()] == [0]


async def test_a_reset_takes_no_effect(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.RESET, times=1))

    with pytest.raises(ConnectionResetError):
        await arm.put("fic1")

    assert not arm.identity.credentials


async def test_a_hang_lasts_until_the_client_gives_up(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.HANG, times=1))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100):
            await arm.put("fic1")

    assert arm.clock.now() == pytest.approx(100)
    assert not arm.identity.credentials
    assert [entry.status for entry in arm.entries()] == [0]


async def test_a_delay_is_late_and_otherwise_as_usual(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.DELAY, delay=5, jitter=2))

    assert (await arm.put("fic1")).status_code == 201
    assert 6.3 <= arm.clock.now() <= 8.3


async def test_a_scripted_throttle_says_when_to_come_back(arm: Arm) -> None:
    arm.world.faults.add(Fault(status=429, code="TooManyRequests", retry_after=7))

    assert (await arm.put("fic1")).headers["retry-after"] == "7"


async def test_entra_faults_have_oauths_shape(arm: Arm) -> None:
    arm.world.faults.add(Fault(service="entra", code="AADSTS90033"))
    tenant = next(iter(arm.world.tenants))

    answer = await arm.client.post(f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token")

    assert answer.status_code == 503
    assert (answer.json()["error"], answer.json()["error_codes"]) == ("temporarily_unavailable", [90033])


def control(arm: Arm) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(arm.app), base_url="http://127.0.0.1:1")


async def test_the_control_api_scripts_and_lifts_faults(arm: Arm) -> None:
    async with control(arm) as client:
        made = await client.post("/faults", json={"effect": "answer", "times": 5, "retryAfter": 3})
        hit = (await arm.ask("GET", arm.identity.resource_id)).status_code
        standing = (await client.get("/faults")).json()
        await client.delete("/faults")
        free = (await arm.ask("GET", arm.identity.resource_id)).status_code

    assert made.json() == {"number": 1}
    assert (hit, free) == (503, 200)
    assert [(each["number"], each["hits"]) for each in standing] == [(1, 1)]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"effect":"explode"}', b'{"unknown":1}', b'{"path":"("}', b'{"every":0}', b'{"times":0}'],
)
async def test_a_fault_that_makes_no_sense_is_refused(arm: Arm, body: bytes) -> None:
    async with control(arm) as client:
        answer = await client.post("/faults", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert arm.world.faults.standing() == []


async def test_the_control_api_shows_state_journal_and_clock(arm: Arm) -> None:
    vault = arm.world.add_vault("team-kv")
    arm.world.set_secret(vault, "db", "hunter2-planted")
    await arm.put("fic1")
    await arm.put("fic2")
    async with control(arm) as client:
        state: dict[str, Any] = (await client.get("/state")).json()
        journal = (await client.get("/journal?since=1")).json()
        clock = (await client.get("/clock")).json()
        bad = await client.get("/journal?since=x")
        whole = (await client.get("/journal")).text + str(state)

    assert [each["name"] for each in state["identities"][0]["credentials"]] == ["fic1", "fic2"]
    assert state["vaults"] == [{"name": "team-kv", "secrets": 1}]
    assert [entry["seq"] for entry in journal] == [2]
    assert clock["rate"] == 1.0
    assert bad.status_code == 400
    assert "hunter2" not in whole
    assert "eyJ" not in whole
