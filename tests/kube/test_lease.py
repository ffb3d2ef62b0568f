"""One holder at a time, whoever races, sleeps, is cut off or robbed; and no write that the lease would not outlive."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from keystead.kube.client import Api
from keystead.kube.lease import Lease
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import User
from kube.scripted import answer, config
from transports import StreamingASGITransport

pytestmark = pytest.mark.looptime
EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases/leader"


class JumpingClock:
    """The loop's time, and a wall that can be set."""

    def __init__(self) -> None:
        self.jumped = 0.0

    def now(self) -> datetime.datetime:
        return EPOCH + datetime.timedelta(seconds=self.monotonic() + self.jumped)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class Gate:
    """Between one candidate and the API server: open, answering 500, hanging, slow, or late with its answers."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.state = "open"
        self.requests = 0
        self.asked: list[tuple[float, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        self.asked.append((asyncio.get_running_loop().time(), scope["method"]))
        if self.state == "failing":
            await answer(500, "InternalError")(scope, receive, send)
            return
        if self.state == "hanging":
            await asyncio.Event().wait()
        if self.state == "slow":
            await asyncio.sleep(2.0)
        await self._app(scope, receive, self._late(send) if self.state == "late" else send)

    def _late(self, send: Send) -> Send:
        async def late(message: Message) -> None:
            await asyncio.sleep(3.0 if message["type"] == "http.response.start" else 0.0)
            await send(message)

        return late


class Candidate:
    """A replica that works while it holds the lease, as the operator does."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.clock = JumpingClock()
        self.gate = Gate(cluster)
        given = config("https://kubernetes.sandbox")
        api = Api(given._replace(user=_user()), transport=StreamingASGITransport(self.gate))
        self.api = api
        self.lease = Lease(api, self.clock, namespace="default", name="leader", identity=name)
        self.name = name
        self.lost = 0
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self.lease.acquire()
            lost = asyncio.Event()
            await self.lease.keep(lost.set)
            assert lost.is_set()
            self.lost += 1

    async def leave(self, *, cleanly: bool) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        if cleanly:
            await self.lease.release()


def _user() -> Any:
    from lightkube.config.models import User as KubeUser

    return KubeUser(token="operator")


@asynccontextmanager
async def _election(*names: str) -> AsyncIterator[tuple[Cluster, list[Candidate]]]:
    clock = VirtualClock(EPOCH)
    cluster = Cluster(
        clock, None, issuer="https://kubernetes.sandbox", users={"operator": User("operator", ("system:masters",))}
    )
    candidates = [Candidate(cluster, name) for name in names]
    watch = asyncio.create_task(_never_two(candidates))
    try:
        yield cluster, candidates
    finally:
        watch.cancel()
        for each in candidates:
            await each.leave(cleanly=False)
            await each.api.close()
        with_error = await asyncio.gather(watch, return_exceptions=True)
        assert isinstance(with_error[0], asyncio.CancelledError), with_error


async def _never_two(candidates: list[Candidate]) -> None:
    while True:
        assert sum(each.lease.held for each in candidates) <= 1, [each.name for each in candidates if each.lease.held]
        await asyncio.sleep(0.05)


async def _until(condition: Callable[[], bool], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)


async def test_of_two_that_race_one_wins_and_keeps_it() -> None:
    async with _election("one", "two") as (_, candidates):
        await asyncio.sleep(600)

        assert [each.lost for each in candidates] == [0, 0]
        assert sum(each.lease.held for each in candidates) == 1
        assert all(each.gate.requests < 700 for each in candidates)


async def test_a_clean_end_hands_over_within_seconds() -> None:
    async with _election("one", "two") as (_, candidates):
        await _until(lambda: any(each.lease.held for each in candidates))
        first, second = sorted(candidates, key=lambda each: not each.lease.held)
        before = asyncio.get_running_loop().time()
        await first.leave(cleanly=True)
        await _until(lambda: second.lease.held)

        assert asyncio.get_running_loop().time() - before < 5


async def test_a_crash_hands_over_when_the_lease_has_run_out_and_not_before() -> None:
    async with _election("one", "two") as (_, candidates):
        await _until(lambda: any(each.lease.held for each in candidates))
        first, second = sorted(candidates, key=lambda each: not each.lease.held)
        before = asyncio.get_running_loop().time()
        await first.leave(cleanly=False)
        await _until(lambda: second.lease.held)

        assert 10 < asyncio.get_running_loop().time() - before < 20


@pytest.mark.parametrize("state", ["failing", "hanging"])
async def test_whoever_is_cut_off_says_so_at_the_very_end_of_its_time(state: str) -> None:
    async with _election("one") as (_, [one]):
        await _until(lambda: one.lease.held)
        one.gate.state = state
        await _until(lambda: not one.lease.may_write(8.0))
        since = asyncio.get_running_loop().time()
        await _until(lambda: not one.lease.held)
        ended = asyncio.get_running_loop().time()
        await _until(lambda: one.lost == 1)

        assert 7.5 < ended - since < 8.5  # no write of eight seconds began that the lease did not outlive
        assert asyncio.get_running_loop().time() - ended < 0.2
        assert one.gate.requests < 30


async def test_a_slow_server_costs_nothing() -> None:
    async with _election("one", "two") as (_, candidates):
        for each in candidates:
            each.gate.state = "slow"
        await asyncio.sleep(600)

        assert [each.lost for each in candidates] == [0, 0]
        assert sum(each.lease.held for each in candidates) == 1


async def test_a_stolen_lease_is_given_up_at_the_next_renewal() -> None:
    async with _election("one") as (_, [one]):
        await _until(lambda: one.lease.held)
        stolen = await one.api.get(PATH)
        stolen["spec"] |= {"holderIdentity": "thief", "renewTime": "2026-01-01T00:00:00.000000Z"}
        await one.api.request("PUT", PATH, body=stolen)
        await _until(lambda: one.lost == 1, seconds=5)
        assert not one.lease.held
        await _until(lambda: one.lease.held, seconds=25)  # the thief never renews

        assert (await one.api.get(PATH))["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forwards", "backwards"])
async def test_a_wall_that_jumps_takes_the_lease_from_nobody(jump: float) -> None:
    async with _election("one", "two") as (_, candidates):
        await _until(lambda: any(each.lease.held for each in candidates))
        for each in candidates:
            each.clock.jumped = jump
        await asyncio.sleep(5)
        leader = next(each for each in candidates if each.lease.held)
        assert leader.lease.may_write(8.0)
        await asyncio.sleep(300)

        assert [each.lost for each in candidates] == [0, 0]


async def test_a_machine_that_slept_writes_nothing_before_it_has_renewed() -> None:
    """Its monotonic time stood still, everybody else's went on."""
    async with _election("one") as (_, [one]):
        await _until(lambda: one.lease.may_write(8.0))
        one.gate.state = "hanging"
        one.clock.jumped = 60.0
        assert not one.lease.may_write(8.0)
        one.gate.state = "open"
        await _until(lambda: one.lease.may_write(8.0), seconds=20)


async def test_a_lease_that_somebody_deletes_is_made_again() -> None:
    async with _election("one") as (_, [one]):
        await _until(lambda: one.lease.held)
        await one.api.request("DELETE", PATH)
        await asyncio.sleep(20)

        assert one.lost == 0
        assert (await one.api.get(PATH))["spec"]["holderIdentity"] == "one"


async def test_a_deleted_record_counts_until_it_would_have_run_out() -> None:
    async with _election("one") as (cluster, [one]):
        await _until(lambda: one.lease.held)
        two = Candidate(cluster, "two")
        await asyncio.sleep(30)
        one.gate.state = "hanging"
        gone = asyncio.get_running_loop().time()
        await two.api.request("DELETE", PATH)
        while not two.lease.held:
            assert not (one.lease.held and two.lease.held)
            await asyncio.sleep(0.05)

        assert asyncio.get_running_loop().time() - gone >= 10  # fifteen seconds from the last renewal
        assert not one.lease.held
        await two.leave(cleanly=False)
        await two.api.close()


async def test_a_lease_counts_from_when_it_was_asked_for_however_late_the_answer_comes() -> None:
    async with _election("one") as (_, [one]):
        await _until(lambda: one.lease.held)
        one.gate.state = "late"
        await asyncio.sleep(60)
        renewals = one.gate.requests
        await _until(lambda: one.gate.requests > renewals and one.gate.asked[-1][1] == "PUT")
        asked, _ = one.gate.asked[-2]
        one.gate.state = "hanging"  # what was asked already is still answered
        await _until(lambda: not one.lease.held)

        assert asyncio.get_running_loop().time() - asked <= 15.2
