"""The control API: the journal, faults, the clock, snapshots, and its own description."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.world import World
from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm, code_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime(start=0)


@pytest.fixture
async def control(arm: Arm) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(arm.app), base_url="http://127.0.0.1") as client:
        yield client


async def test_the_journal_is_filtered(arm: Arm, control: httpx2.AsyncClient) -> None:
    await arm.put("fic1")
    await arm.ask("GET", arm.url("absent"))
    await arm.client.get("/subscriptions?api-version=2022-12-01")

    async def found(query: str) -> list[int]:
        return [entry["seq"] for entry in (await control.get(f"/journal?{query}")).json()]

    assert await found("") == [1, 2, 3]
    assert await found("method=put") == [1]
    assert await found("status=404") == [2]
    assert await found("path=FIC1$") == [1]
    assert await found("code=AuthenticationFailed") == [3]
    assert await found(f"caller={arm.owner.client_id}&since=1") == [2]
    assert await found("service=entra") == []
    assert await found("since=1&limit=1") == [2]


@pytest.mark.parametrize("query", ["since=x", "since=-1", "limit=0", "path=(", "service=graph", "wrong=1"])
async def test_a_filter_that_makes_no_sense_is_named(control: httpx2.AsyncClient, query: str) -> None:
    refused = await control.get(f"/journal?{query}")

    assert refused.status_code == 400
    assert query.partition("=")[0] in refused.json()["error"]


async def test_a_snapshot_brings_back_state_time_and_buckets(arm: Arm, control: httpx2.AsyncClient) -> None:
    await arm.put("fic1")
    taken = (await control.post("/snapshot")).json()
    before = (await control.get("/clock")).json()["now"]

    await arm.put("fic2")
    assert code_of(await arm.put("fic3")) == (429, "TooManyRequests")
    await arm.ask("DELETE", arm.url("fic1"))
    await control.post("/clock", json={"advance": 3600})
    assert (await control.post("/restore", json=taken)).status_code == 200

    assert (await control.get("/clock")).json()["now"] == pytest.approx(before)
    (identity,) = (await control.get("/state")).json()["identities"]
    assert [each["name"] for each in identity["credentials"]] == ["fic1"]
    assert code_of(await arm.put("fic2")) == (201, "")
    assert code_of(await arm.put("fic3"))[0] == 429
    again = await control.post("/restore", json=taken)
    assert again.status_code == 200
    assert code_of(await arm.put("fic3")) == (201, "")
    assert (await control.get("/snapshot")).json() == [taken]
    assert (await control.post("/restore", json={"snapshot": 9})).status_code == 404
    assert len((await control.get("/journal")).json()) == 7  # the journal goes on


async def test_time_is_skipped_forward_only(arm: Arm, control: httpx2.AsyncClient) -> None:
    await arm.put("fic1")
    await arm.put("fic2")
    assert code_of(await arm.put("fic3"))[0] == 429

    moved = await control.post("/clock", json={"advance": 4})

    assert moved.json()["now"] == pytest.approx(2 * arm.world.rules.write_hold + 4)
    assert code_of(await arm.put("fic3")) == (201, "")
    bodies: list[object] = [{"advance": -1}, {"rate": 0}, {"rate": 2}, {"forward": 1}, []]
    for body in bodies:
        refused = await control.post("/clock", json=body)
        assert (refused.status_code, bool(refused.json()["error"])) == (400, True)


async def test_one_fault_is_lifted_by_its_number(control: httpx2.AsyncClient) -> None:
    first = (await control.post("/faults", json={"service": "arm"})).json()["number"]
    second = (await control.post("/faults", json={"service": "entra"})).json()["number"]

    assert (await control.delete(f"/faults/{first}")).status_code == 200
    assert [each["number"] for each in (await control.get("/faults")).json()] == [second]
    for number in (first, "x", "99999999999999999999"):
        refused = await control.delete(f"/faults/{number}")
        assert (refused.status_code, "GET /faults" in refused.json()["error"]) == (404, True)


async def test_the_description_names_every_route_and_every_route_is_there(control: httpx2.AsyncClient) -> None:
    described = (await control.get("/openapi.json")).json()

    assert described["openapi"].startswith("3.1")
    assert {"/journal", "/faults", "/clock", "/snapshot", "/restore"} <= set(described["paths"])
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            answer = await control.request(method, path.replace("{number}", "1"))
            assert answer.status_code in (200, 400, 404), (method, path)
            assert operation["summary"]
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert schema
    references = {
        line.partition("#/components/schemas/")[2].strip('" ,}')
        for line in json.dumps(described, indent=1).splitlines()
        if "$ref" in line
    }
    assert references <= set(described["components"]["schemas"])
    assert "Fault" in references


async def test_what_is_not_there_is_refused_in_the_same_shape(control: httpx2.AsyncClient) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("PUT", "/clock", 405)):
        refused = await control.request(method, path)
        assert refused.status_code == status
        assert refused.json()["error"]


async def test_a_reader_of_the_journal_waits_for_what_it_means(arm: Arm, control: httpx2.AsyncClient) -> None:
    reader = asyncio.create_task(control.get("/journal?method=PUT&wait=30"))
    await asyncio.sleep(5)
    await arm.client.get("/subscriptions?api-version=2022-12-01")
    await asyncio.sleep(5)
    assert not reader.done()

    await arm.put("fic1")

    assert [entry["method"] for entry in (await reader).json()] == ["PUT"]
    began = asyncio.get_running_loop().time()
    assert (await control.get("/journal?since=2&wait=7.5")).json() == []
    assert asyncio.get_running_loop().time() - began == pytest.approx(7.5)


@pytest.mark.parametrize("wait", ["x", "-1", "61", "nan", "inf", ""])
async def test_a_wait_that_makes_no_sense_is_refused(control: httpx2.AsyncClient, wait: str) -> None:
    refused = await control.get(f"/journal?wait={wait}")

    assert refused.status_code == 400
    assert "wait" in refused.json()["error"]


async def test_rules_change_while_it_runs(arm: Arm, control: httpx2.AsyncClient) -> None:
    changed = await control.patch("/rules", json={"writeHold": 0.5, "creditLimit": 1})
    assert changed.status_code == 400
    assert arm.world.rules.write_hold == 1.3

    changed = await control.patch("/rules", json={"writeHold": 0.5, "credentialLimit": 1})

    assert changed.json()["writeHold"] == 0.5
    assert (await control.get("/rules")).json() == changed.json()
    assert [code_of(await arm.put(name))[0] for name in ("fic1", "fic2")] == [201, 400]
    assert arm.clock.now() == pytest.approx(0.5)
    wrongs: tuple[object, ...] = ({"writeRefill": 0}, {"propagation": -1}, {"pageSize": "many"}, [])
    for wrong in wrongs:
        assert (await control.patch("/rules", json=wrong)).status_code == 400


async def test_a_forgotten_state_is_no_more(control: httpx2.AsyncClient) -> None:
    first = (await control.post("/snapshot")).json()["snapshot"]

    assert (await control.delete(f"/snapshot/{first}")).status_code == 200
    assert (await control.delete(f"/snapshot/{first}")).status_code == 404
    assert (await control.post("/restore", json={"snapshot": first})).status_code == 404
    assert (await control.post("/snapshot")).json()["snapshot"] == first + 1  # no number comes again


async def test_remembered_states_are_not_without_end(control: httpx2.AsyncClient) -> None:
    answers = [(await control.post("/snapshot")).status_code for _ in range(101)]

    assert answers == [200] * 100 + [400]


async def test_what_was_made_in_a_state_that_was_left_shares_no_id(arm: Arm, control: httpx2.AsyncClient) -> None:
    taken = (await control.post("/snapshot")).json()
    left = arm.world.add_identity("left")
    fault = (await control.post("/faults", json={"times": 1})).json()
    await control.post("/restore", json=taken)

    made = arm.world.add_identity("left")
    again = (await control.post("/faults", json={"times": 1})).json()

    assert (made.client_id, made.principal_id) != (left.client_id, left.principal_id)
    assert left.client_id not in arm.world.identities_by_client
    assert again["number"] > fault["number"]


async def test_a_snapshot_keeps_faults_with_their_hits_and_windows(arm: Arm, control: httpx2.AsyncClient) -> None:
    await control.post("/faults", json={"method": "GET", "times": 2, "after": 10})
    await control.post("/clock", json={"advance": 10})
    assert (await arm.ask("GET", arm.identity.resource_id)).status_code == 503
    taken = (await control.post("/snapshot")).json()
    assert (await arm.ask("GET", arm.identity.resource_id)).status_code == 503
    assert (await arm.ask("GET", arm.identity.resource_id)).status_code == 200

    await control.post("/restore", json=taken)

    assert [each["hits"] for each in (await control.get("/faults")).json()] == [1]
    assert [(await arm.ask("GET", arm.identity.resource_id)).status_code for _ in range(2)] == [503, 200]


async def test_restoring_under_load_breaks_no_request(arm: Arm, control: httpx2.AsyncClient) -> None:
    await arm.put("before")
    taken = (await control.post("/snapshot")).json()
    writes = [asyncio.create_task(arm.put(f"fic{number}")) for number in range(5)]
    reads = [asyncio.create_task(arm.ask("GET", arm.url("before"))) for _ in range(5)]
    await asyncio.sleep(0.5)  # one write holds the identity

    await control.post("/restore", json=taken)

    answers = [answer.status_code for answer in await asyncio.gather(*writes, *reads)]
    assert set(answers) <= {200, 201, 409, 429}
    (identity,) = (await control.get("/state")).json()["identities"]
    assert [each["name"] for each in identity["credentials"]] == ["before"]
    await asyncio.sleep(10)
    assert code_of(await arm.put("after")) == (201, "")


def test_a_rate_changes_from_now_on() -> None:
    clock = ScaledClock(100)
    world = World(clock, Journal(clock))
    first = world.clock.now()

    world.clock.set_rate(1)

    assert world.clock.rate == 1
    assert first <= world.clock.now() < first + 100
