"""Azure's public names land in the sandbox, and nothing else gets out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.journal import Journal
from keystead_sandbox.proxy import Proxy
from keystead_sandbox.world import World


class Through:
    """A proxy before a server that answers what it is sent, in capitals."""

    def __init__(self, world: World, proxy: Proxy, target: asyncio.Server, port: int) -> None:
        self.world = world
        self.journal = world.journal
        self.proxy = proxy
        self.target = target
        self.port = port

    async def say(self, head: bytes, more: bytes = b"") -> bytes:
        """Send, say no more, and read all."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        if more:
            writer.write(more)
            answer += await reader.read(len(more))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return answer


@contextlib.asynccontextmanager
async def proxied(handler: Callable[..., Awaitable[None]]) -> AsyncIterator[Through]:
    target = await asyncio.start_server(handler, "127.0.0.1", 0)
    clock = ScaledClock()
    world = World(clock, Journal(clock))
    proxy = Proxy(world.journal, target.sockets[0].getsockname()[1], world)
    yield Through(world, proxy, target, await proxy.start())
    await proxy.stop()
    target.close()


@pytest.fixture
async def through() -> AsyncIterator[Through]:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(4096):
                writer.write(chunk.upper())
        writer.close()

    async with proxied(shout) as made:
        yield made


@pytest.mark.parametrize(
    "host",
    [
        "login.microsoftonline.com",
        "login.windows.net",
        "management.azure.com",
        "team-kv.vault.azure.net",
        "Management.Azure.COM",
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_azures_names_are_led_to_the_sandbox(through: Through, host: str, version: bytes) -> None:
    answer = await through.say(b"CONNECT " + host.encode() + b":443 " + version + b"\r\nHost: x\r\n\r\n", b"hello")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"HELLO")
    (entry,) = through.journal.entries()
    assert (entry.service, entry.method, entry.host, entry.status) == ("proxy", "CONNECT", host.lower(), 200)


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT example.com:443 HTTP/1.1",
        b"CONNECT azcliprod.blob.core.windows.net:443 HTTP/1.0",
        b"CONNECT vault.azure.net.example.com:443 HTTP/1.1",
        b"CONNECT management.azure.com.example.com:443 HTTP/1.1",
        b"CONNECT evilmanagement.azure.com:443 HTTP/1.1",
        b"CONNECT management.azure.com:22 HTTP/1.1",
        b"CONNECT 127.0.0.1:443 HTTP/1.1",
        b"CONNECT management.azure.com HTTP/1.1",
        b"GET http://management.azure.com/ HTTP/1.1",
        b"nonsense",
    ],
)
async def test_nothing_else_gets_out(through: Through, line: bytes) -> None:
    answer = await through.say(line + b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 403 ")
    (entry,) = through.journal.entries()
    assert (entry.service, entry.status, entry.code) == ("proxy", 403, "Refused")


async def test_a_client_that_goes_away_leaves_nothing_behind(through: Through) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"CONNECT manage")
    writer.close()
    await writer.wait_closed()

    assert (await through.say(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n", b"x")).endswith(b"X")


async def test_a_head_without_end_is_refused(through: Through) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"CONNECT " + b"a" * (1 << 20))

    assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
    writer.close()
    assert [entry.code for entry in through.journal.entries()] == ["TooLarge"]


async def test_many_headers_are_refused(through: Through) -> None:
    flood = b"".join(b"x-%d: y\r\n" % number for number in range(20_000))

    answer = await through.say(b"CONNECT management.azure.com:443 HTTP/1.1\r\n" + flood + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET http://user:planted@example.com/secret?sig=planted HTTP/1.1\r\nAuthorization: planted\r\n\r\n",
        b"CONNECT user:planted@management.azure.com:443 HTTP/1.1\r\n\r\n",
        b"PLANTED x:443 HTTP/1.1\r\n\r\n",
        b"CONNECT management.azure.com:443:planted HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_refusal_writes_down_a_name_at_most(through: Through, request_head: bytes) -> None:
    assert (await through.say(request_head)).startswith(b"HTTP/1.1 403 ")

    assert "planted" not in str(through.journal.entries())


async def test_a_refused_client_reads_its_answer_though_it_sent_a_body(through: Through) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"POST http://169.254.169.254/ HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
    writer.write(b"x" * 1_000_000)
    await writer.drain()

    answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"\r\nConnection: close\r\n" in answer
    writer.close()


async def test_bytes_that_follow_the_head_at_once_are_passed_on(through: Through) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\nhello")

    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(5) == b"HELLO"
    writer.close()


async def test_a_client_that_has_said_all_still_hears_the_answer() -> None:
    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read()  # until the client has said all
        writer.write(said.upper())
        writer.close()

    async with proxied(later) as through:
        reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
        writer.write(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\nhello")
        writer.write_eof()

        answer = await reader.read()
        writer.close()

    assert answer.endswith(b"HELLO")


async def test_a_server_that_has_said_all_still_hears_the_client() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        heard.set_result(await reader.read())
        writer.close()

    async with proxied(farewell) as through:
        reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
        writer.write(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")
        assert (await reader.read()).endswith(b"bye")
        writer.write(b"and you")
        writer.write_eof()

        assert await heard == b"and you"
        writer.close()


async def test_many_tunnels_at_once_leave_nothing_behind(through: Through) -> None:
    head = b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n"

    answers = await asyncio.gather(*(through.say(head, b"%d" % number) for number in range(200)))

    assert [answer.rpartition(b"\n")[2] for answer in answers] == [b"%d" % number for number in range(200)]
    async with asyncio.timeout(30):
        await through.proxy.idle()  # each ends when its sides have closed


async def test_a_sandbox_that_is_gone_is_a_bad_gateway(through: Through) -> None:
    through.target.close()
    await through.target.wait_closed()

    answer = await through.say(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 502 ")


# Faults ----------------------------------------------------------------------------------------------------------


async def test_tunnels_are_refused_by_a_fault(through: Through) -> None:
    through.world.faults.add(Fault(service="proxy", host="^login", status=502, code="BadGateway", times=1))

    answers = [await through.say(b"CONNECT login.windows.net:443 HTTP/1.1\r\n\r\n") for _ in range(2)]

    assert [answer.split(b" ")[1] for answer in answers] == [b"502", b"200"]
    assert [(each.status, each.code) for each in through.journal.entries()] == [(502, "BadGateway"), (200, "")]


@pytest.mark.parametrize("effect", [Effect.RESET, Effect.CUT])
async def test_tunnels_are_dropped_by_a_fault(through: Through, effect: Effect) -> None:
    through.world.faults.add(Fault(service="proxy", effect=effect))
    reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")

    with contextlib.suppress(ConnectionError):
        while await reader.read(100):
            pass
    writer.close()

    (entry,) = through.journal.entries()
    assert (entry.status, entry.detail) == (200 if effect is Effect.CUT else 0, {"fault": str(effect)})


async def test_a_fault_holds_a_tunnel_until_the_client_gives_up(through: Through) -> None:
    through.world.faults.add(Fault(service="proxy", effect=Effect.HANG))
    reader, writer = await asyncio.open_connection("127.0.0.1", through.port)
    writer.write(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")
    writer.write_eof()

    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()

    assert through.journal.entries()[0].detail == {"fault": "hang"}


async def test_faults_of_all_services_leave_the_proxy_alone(through: Through) -> None:
    through.world.faults.add(Fault())

    assert (await through.say(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_stopping_ends_open_tunnels() -> None:
    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    target = await asyncio.start_server(quiet, "127.0.0.1", 0)
    proxy = Proxy(Journal(ScaledClock()), target.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
    writer.write(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")

    async with asyncio.timeout(10):
        await proxy.stop()
        assert await reader.read() == b""

    writer.close()
    target.close()
