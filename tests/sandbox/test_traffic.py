"""Scripted faults, the journal around them, and the control API."""

import asyncio
import contextlib
from typing import Any

import httpx2
import pytest

from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.latency import Constant
from keystead_sandbox.server import Server
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


async def statuses(arm: Arm, count: int, every: float = 0.0) -> list[int]:
    """What so many reads are answered, one after another."""
    found = []
    for _ in range(count):
        found.append((await arm.ask("GET", f"/subscriptions/{arm.identity.subscription_id}")).status_code)
        await asyncio.sleep(every)
    return found


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(skip=2, times=1), [200, 200, 503, 200, 200, 200]),
        (Fault(skip=1, every=2), [200, 200, 503, 200, 503, 200]),
        (Fault(probability=0), [200] * 6),
        (Fault(probability=1), [503] * 6),
    ],
    ids=["the third alone", "every second from the second on", "never", "always"],
)
async def test_a_fault_counts_the_requests_that_it_means(arm: Arm, fault: Fault, seen: list[int]) -> None:
    arm.world.faults.add(fault)

    assert await statuses(arm, 6) == seen


async def test_chance_is_seeded_and_each_faults_own(arm: Arm) -> None:
    arm.world.faults.add(Fault(probability=0.5, seed=7))
    alone = await statuses(arm, 40)
    arm.world.faults.clear()

    arm.world.faults.add(Fault(effect=Effect.DELAY, probability=0.5, seed=1))
    arm.world.faults.add(Fault(probability=0.5, seed=7))
    assert await statuses(arm, 40) == alone
    assert {200, 503} == set(alone)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(after=2, seconds=2), [200, 200, 503, 503, 200, 200, 200, 200]),
        (Fault(after=3), [200, 200, 200, 503, 503, 503, 503, 503]),
        (Fault(seconds=1, period=3), [503, 200, 200, 503, 200, 200, 503, 200]),
        (Fault(after=1, seconds=1, period=4, times=2), [200, 503, 200, 200, 200, 503, 200, 200]),
    ],
    ids=["later, for a while", "from then on", "again and again", "later, twice"],
)
async def test_a_window_opens_later_and_again(arm: Arm, fault: Fault, seen: list[int]) -> None:
    arm.world.faults.add(fault)

    assert await statuses(arm, 8, every=1) == seen


async def test_a_fault_that_is_over_stands_no_more(arm: Arm) -> None:
    arm.world.faults.add(Fault(after=10, seconds=5))
    await asyncio.sleep(14)
    assert len(arm.world.faults.standing()) == 1

    await asyncio.sleep(1)
    assert arm.world.faults.standing() == []


async def test_delays_add_up_before_the_first_other_effect(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.DELAY, delay=2, headers={"x-slow": "yes"}))
    arm.world.faults.add(Fault(effect=Effect.DELAY, latency=Constant(seconds=3)))
    arm.world.faults.add(Fault(status=500, code="First", times=1))
    arm.world.faults.add(Fault(status=501, code="Second", times=1))

    answers = [await arm.ask("GET", arm.identity.resource_id) for _ in range(3)]

    assert [code_of(answer) for answer in answers] == [(500, "First"), (501, "Second"), (200, "")]
    assert [answer.headers["x-slow"] for answer in answers] == ["yes"] * 3
    assert arm.clock.now() == pytest.approx(15)
    assert [entry.detail.get("fault") for entry in arm.entries()] == ["answer", "answer", "delay"]


async def test_headers_and_body_of_an_answer_are_overridden(arm: Arm) -> None:
    override = {"x-ms-request-id": None, "Retry-After": "Tue, 03 Mar 2026 00:00:00 GMT"}
    arm.world.faults.add(Fault(effect=Effect.DELAY, headers=override, times=1))
    gateway = Fault(status=502, body="<html>bad</html>", headers={"content-type": "text/html", "X-A": "b"}, times=1)
    arm.world.faults.add(gateway)

    bad, good = [await arm.ask("GET", arm.identity.resource_id) for _ in range(2)]

    assert (bad.status_code, bad.text, bad.headers["content-type"], bad.headers["x-a"]) == (
        502,
        "<html>bad</html>",
        "text/html",
        "b",
    )
    assert good.status_code == 200
    assert "retry-after" in bad.headers
    assert "retry-after" not in good.headers


async def test_half_of_an_answer_comes_and_then_nothing(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.TRUNCATE, method="PUT", times=1))

    with pytest.raises(ConnectionResetError):
        await arm.put("fic1")

    assert list(arm.identity.credentials) == ["fic1"]
    assert [(entry.status, entry.detail["fault"]) for entry in arm.entries()] == [(201, "truncate")]


async def test_half_of_an_answer_is_less_than_its_head_promises(arm: Arm) -> None:
    arm.world.faults.add(Fault(effect=Effect.TRUNCATE))
    server = Server(arm.app)
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
    writer.write(b"GET /subscriptions HTTP/1.1\r\nHost: management.azure.com\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        rest = await reader.read()
    writer.close()
    await server.stop()

    promised = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert len(rest) == promised // 2


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
    [
        b"{",
        b"[]",
        b'{"effect":"explode"}',
        b'{"unknown":1}',
        b'{"path":"("}',
        b'{"every":0}',
        b'{"times":0}',
        b'{"probability":2}',
        b'{"after":-1}',
        b'{"period":5}',
        b'{"seconds":9,"period":5}',
        b'{"effect":"cut"}',
        b'{"status":100}',
        b'{"service":"proxy","effect":"half-write"}',
        b'{"headers":{"a b":"c"}}',
        b'{"headers":{"a":"b\\n"}}',
        b'{"latency":{"kind":"uniform","low":2,"high":1}}',
        b'{"latency":{"kind":"percentiles","seconds":{}}}',
        b'{"latency":{"kind":"percentiles","seconds":{"50":2,"90":1}}}',
        b'{"latency":{"kind":"nonsense"}}',
    ],
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
