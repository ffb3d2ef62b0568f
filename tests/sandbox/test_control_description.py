"""The control API is what its description says: whatever is sent, answers are described and nothing breaks."""

import asyncio
import json
import re
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.control import control_app
from keystead_sandbox.journal import Journal, Service
from keystead_sandbox.resources import Rules
from keystead_sandbox.world import World
from sandbox.schemas import anything, complaints, values

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def new_world() -> World:
    clock = ScaledClock()
    world = World(clock, Journal(clock), Rules())
    world.add_tenant()
    world.add_subscription()
    world.add_identity("writer")
    services: tuple[Service, ...] = ("arm", "entra")
    for service in services:
        world.journal.record(service=service, method="GET", host="h", path="/p", status=200)
    world.take_snapshot()
    return world


async def ask(world: World, method: str, path: str, **sent: Any) -> httpx2.Response:
    transport = httpx2.ASGITransport(control_app(world), raise_app_exceptions=True)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.request(method, path, **sent)


DESCRIBED: dict[str, Any] = asyncio.run(ask(new_world(), "GET", "/openapi.json")).json()
COMPONENTS: dict[str, Any] = DESCRIBED["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DESCRIBED["paths"].items()
    for method, operation in methods.items()
}


def test_the_description_holds_together() -> None:
    text = json.dumps(DESCRIBED)
    ids = [operation["operationId"] for operation in OPERATIONS.values()]

    assert DESCRIBED["openapi"].startswith("3.1.")
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == set(COMPONENTS)
    assert len(set(ids)) == len(ids)
    for name, operation in OPERATIONS.items():
        path = name.partition(" ")[2]
        declared = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), name
        assert {"200", "400"} <= set(operation["responses"]), name
        assert operation["summary"].endswith("."), name
        for answer in operation["responses"].values():
            assert answer["description"]
            assert answer["content"]["application/json"]["schema"]


def check(name: str, answer: httpx2.Response) -> None:
    described = OPERATIONS[name]["responses"].get(str(answer.status_code))
    assert described is not None, f"{name} answered {answer.status_code}, which is not described: {answer.text}"
    schema = described["content"]["application/json"]["schema"]
    assert complaints(answer.json(), schema, COMPONENTS) == []


@pytest.mark.parametrize("name", OPERATIONS)
@FUZZ
@given(data=st.data())
def test_every_answer_is_as_described(name: str, data: st.DataObject) -> None:
    method, _, path = name.partition(" ")
    operation = OPERATIONS[name]
    given_query = {}
    for each in operation.get("parameters", ()):
        kind = {"integer": st.integers(), "number": st.floats(), "string": st.text(max_size=10)}[each["schema"]["type"]]
        value = data.draw(kind | st.text(max_size=10) | st.sampled_from(["0", "1", "2", "entra", "(", "-1"]))
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", "".join(c for c in str(value) if c.isalnum()) or "1")
        # A number of seconds to wait is what it says.
        elif each["name"] != "wait" and data.draw(st.booleans()):
            given_query[each["name"]] = str(value)
    sent: dict[str, Any] = {"params": given_query}
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = data.draw(values(schema, COMPONENTS) | anything())
        sent["content"] = data.draw(st.just(json.dumps(body).encode()) | st.binary(max_size=20))

    check(name, asyncio.run(ask(new_world(), method, path, **sent)))


@FUZZ
@given(data=st.data())
def test_whatever_fault_is_accepted_hits_requests_without_breaking(data: st.DataObject) -> None:
    schema = OPERATIONS["POST /faults"]["requestBody"]["content"]["application/json"]["schema"]
    world = new_world()

    answer = asyncio.run(ask(world, "POST", "/faults", json=data.draw(values(schema, COMPONENTS))))

    if answer.status_code == 200:
        services: tuple[Service, ...] = ("arm", "proxy", "entra")
        for service in services:
            hit = world.faults.match(service, "GET", "management.azure.com", "/")
            assert 0 <= hit.wait <= 4e9
    else:
        assert answer.status_code == 400
        assert answer.json()["error"]


def test_a_body_without_end_is_refused() -> None:
    answer = asyncio.run(ask(new_world(), "POST", "/faults", content=b" " * (1 << 21)))

    assert answer.status_code == 400
    assert "longer than" in answer.json()["error"]
