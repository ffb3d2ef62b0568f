"""What on-call sees: readiness, metrics, Events, and objects that stay as the operator told them."""

import asyncio

import pytest

from keystead.operator.app import Operator
from keystead.operator.health import serve_health
from keystead_sandbox.faults import Fault
from world import World

pytestmark = pytest.mark.looptime


def _figure(operator: Operator, name: str, **labels: str) -> float | None:
    return operator.metrics.registry.get_sample_value(name, labels)


async def _served(world: World) -> Operator:
    world.grant("team", world.identity("one"))
    world.namespace("shop", labels={"team": "team"})
    operator = world.start()
    await world.until(lambda: world.ready("shop"))
    return operator


async def test_metrics_count_what_stands() -> None:
    async with World() as world:
        operator = await _served(world)

        await world.until(lambda: _figure(operator, "keystead_claims", grant="team", reason="Ready") == 1)
        assert _figure(operator, "keystead_federations", identity="one") == 1
        assert _figure(operator, "keystead_identity_credentials", identity="one") == 1
        assert _figure(operator, "keystead_exchanges", code="OK") == 1
        await world.until(lambda: _figure(operator, "keystead_queue_depth") == 0)
        assert _figure(operator, "keystead_leader") == 1
        assert b"keystead_azure_writes_total" in operator.metrics.text()


@pytest.mark.virtual
async def test_metrics_show_the_pool_its_forecast_and_how_long_a_namespace_waited() -> None:
    async with World() as world:
        identity = world.identity("one")
        world.azure.add_credential(identity, "by-hand", "https://ci", "someone")
        world.grant("team", identity)
        names = [f"n-{number}" for number in range(7)]
        for name in names:
            world.namespace(name, labels={"team": "team"})
        operator = world.start()
        await world.until(lambda: world.ready(*names))
        await world.pass_time(5)

        slots = {
            state: _figure(operator, "keystead_identity_slots", grant="team", identity="one", state=state)
            for state in ("ours", "foreign", "reserved", "free")
        }
        assert slots == {"ours": 7, "foreign": 1, "reserved": 0, "free": 12}
        assert _figure(operator, "keystead_pool_slots_free", grant="team") == 12
        assert _figure(operator, "keystead_pool_slots_missing", grant="team") == 0
        assert _figure(operator, "keystead_pool_days_left", grant="team") == 12  # seven came in a week
        assert _figure(operator, "keystead_time_to_verified_seconds_count", grant="team") == 7
        waited = _figure(operator, "keystead_time_to_verified_seconds_sum", grant="team") or 0
        assert 7 * 20 < waited < 7 * 80


async def test_a_namespace_is_counted_once_whoever_leads() -> None:
    async with World() as world:
        await _served(world)
        await world.stop()

        operator = world.start()
        await world.until(lambda: world.ready("shop"))
        await world.pass_time(120)

        assert _figure(operator, "keystead_time_to_verified_seconds_count", grant="team") is None


async def test_metrics_show_what_is_missing_and_why_a_grant_is_not_ready() -> None:
    async with World() as world:
        identity = world.identity("one")
        for number in range(19):
            world.azure.add_credential(identity, f"by-hand-{number}", "https://ci", f"someone-{number}")
        world.grant("team", identity)
        for name in ("a", "b", "c"):
            world.namespace(name, labels={"team": "team"})
        operator = world.start()
        await world.until(lambda: world.claim("c")[1] == "PoolExhausted")
        await world.pass_time(5)

        assert _figure(operator, "keystead_pool_slots_missing", grant="team") == 2
        named = {"grant": "team", "type": "CapacityAvailable", "reason": "PoolExhausted"}
        assert _figure(operator, "keystead_grant_condition", **named) == 1
        world.delete("vaultgrants", "team")
        await world.until(lambda: world.objects("federations") == [])
        await world.pass_time(5)
        assert _figure(operator, "keystead_pool_slots_free", grant="team") is None


@pytest.mark.virtual
async def test_a_revocation_is_told_and_counted_while_it_lasts() -> None:
    async with World() as world:
        operator = await _served(world)
        world.azure.faults.add(Fault(service="arm", method="DELETE", status=503, seconds=60))

        world.delete("namespaces", "shop")
        await world.until(lambda: _figure(operator, "keystead_revocations", cause="NamespaceDeleted") == 1)

        told = [each for each in world.objects("events") if each["involvedObject"]["kind"] == "Federation"]
        assert [each["reason"] for each in told] == ["NamespaceDeleted"]
        await world.until(lambda: world.objects("federations") == [])
        await world.pass_time(5)
        assert _figure(operator, "keystead_revocations", cause="NamespaceDeleted") is None


async def test_metrics_name_an_identity_in_trouble() -> None:
    async with World() as world:
        world.azure.faults.add(Fault(service="arm", status=503))
        world.grant("team", world.identity("one"))
        operator = world.start()
        await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[0] == "False")

        assert _figure(operator, "keystead_identity_trouble", identity="one", reason="AzureUnavailable") == 1


async def test_readiness_follows_azure_and_leadership() -> None:
    async with World() as world:
        operator = await _served(world)
        standby = world.start()
        await world.pass_time(10)
        before = (operator.readiness(), standby.readiness())
        world.azure.faults.add(Fault(service="arm", status=503))
        world.identity("two")
        world.grant("second", world.identity("three"))
        await world.until(lambda: not operator.readiness()["azure"])
        world.azure.faults.clear()
        await world.until(lambda: operator.readiness()["azure"])

        assert before == (
            {"synced": True, "watching": True, "leader": True, "azure": True},
            {"synced": True, "watching": True, "leader": False, "azure": True},
        )


async def test_each_step_is_told_in_the_tenants_namespace() -> None:
    async with World() as world:
        await _served(world)
        await world.pass_time(5)

        events = [each for each in world.objects("events") if each["metadata"]["namespace"] == "shop"]
        reasons = {str(each["reason"]) for each in events}
        assert {"Accepted", "Federated", "Verified", "Ready"} <= reasons
        assert {each["involvedObject"]["kind"] for each in events} == {"VaultClaim"}


async def test_a_restart_tells_nothing_again() -> None:
    async with World() as world:
        await _served(world)
        await world.pass_time(30)
        told = len(world.objects("events"))
        await world.stop()
        world.start()
        await world.pass_time(300)

        assert len(world.objects("events")) == told


async def test_a_claim_on_a_grant_that_comes_later_is_served_then() -> None:
    async with World() as world:
        world.namespace("shop", labels={"team": "team"})
        spec = {"grantName": "team"}
        metadata = {"name": "mine", "namespace": "shop"}
        world.put({"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "metadata": metadata, "spec": spec})
        world.start()
        await world.until(lambda: world.claim("shop", "Accepted", name="mine")[1] == "GrantNotFound")

        world.grant("team", world.identity("one"))

        await world.until(lambda: world.ready("shop", name="mine"))


async def test_an_observer_plans_and_reports_and_writes_nothing_else() -> None:
    async with World(observe_only=True) as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        metadata = {"name": "team", "namespace": "shop"}
        spec = {"grantName": "team"}
        world.put({"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "metadata": metadata, "spec": spec})
        world.start()
        await world.until(lambda: world.claim("shop")[0] == "False")
        await world.pass_time(300)

        assert world.azure_writes() == []
        told = [each for each in world.writes() if each.path.endswith("/status") or "/events" in each.path]
        assert told
        assert world.writes() == told


async def test_two_changes_of_one_label_move_a_namespace_from_grant_to_grant() -> None:
    async with World() as world:
        world.grant("red", world.identity("one"))
        world.grant("blue", world.identity("two"))
        world.namespace("shop", labels={"team": "red"})
        world.start()
        await world.until(lambda: world.ready("shop", name="red"))

        world.namespace("shop", labels={"team": "blue"})

        await world.until(lambda: world.ready("shop", name="blue"))
        assert world.credentials() == {"system:serviceaccount:shop:keystead": "two"}
        assert world.object("vaultclaims", "red", "shop") is None


async def _page(port: int, path: str) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.split("\r\n")[0], body


@pytest.mark.looptime(False)
@pytest.mark.parametrize(
    ("path", "line", "part"),
    [
        ("/healthz", "HTTP/1.1 200 OK", "ok"),
        ("/readyz", "HTTP/1.1 503 Service Unavailable", '"synced":false'),
        ("/metrics", "HTTP/1.1 200 OK", "keystead_leader 0.0"),
        ("/metrics?x=y", "HTTP/1.1 200 OK", "keystead_leader 0.0"),
        ("/", "HTTP/1.1 404 Not Found", "/readyz"),
    ],
)
async def test_the_health_port_answers(path: str, line: str, part: str) -> None:
    async with World() as world:
        operator = world.make()
        server = await serve_health(operator, "127.0.0.1", 0)
        async with server:
            answer = await _page(server.sockets[0].getsockname()[1], path)

        assert answer[0] == line
        assert part in answer[1]
