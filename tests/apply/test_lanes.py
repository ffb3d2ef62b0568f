"""Lanes on the emulated Azure, with an inventory and no planner: what they do with steps, whoever planned them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from azure_transport import ASGIAzureTransport
from keystead.apply.board import Board
from keystead.apply.lanes import Lanes, LaneWiring
from keystead.apply.pacing import Paces
from keystead.azure.arm import IdentityClient
from keystead.azure.clouds import CLOUDS
from keystead.azure.errors import CONCURRENT
from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.errors import Refused
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.reasons import Reason
from keystead.model.records import Exchange
from keystead.observe.inventory import Inventory, ListPaces
from keystead.operator.clock import LoopClock
from keystead.plan.steps import DeleteCredential, LaneStep, WriteCredential
from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.resources import Identity
from world import EPOCH, ISSUER, StaticCredential, World

pytestmark = pytest.mark.looptime
PACES = ListPaces(identity=4.0, subscription=0.2, drift=600.0, retry=15.0)


class Scene:
    """One identity, its lane, and a cluster in which every namespace ``x`` has the UID ``uid-x``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.identity: Identity = world.identity("one")
        self.id = IdentityId.parse(self.identity.resource_id)
        self.asked: list[str] = []
        self.uids: dict[str, NamespaceUid] = {}
        self.slow: dict[str, float] = {}
        """Seconds that it takes to read a namespace."""
        self.may_write = True
        clock, self.board = LoopClock(EPOCH), Board()
        self.client = IdentityClient(
            StaticCredential(world),  # type: ignore[arg-type] # as much of a credential as the client uses
            CLOUDS["AzureCloud"],
            lambda: ASGIAzureTransport(world.azure_app),
            clock,
        )
        self.inventory = Inventory(self.client, clock, lambda grant, _: self.asked.append(grant), PACES)
        wiring = LaneWiring(
            credentials=self.client,
            clock=clock,
            board=self.board,
            live_uid=self._live_uid,
            gate=lambda _seconds: self.may_write,
            requeue=self.asked.append,
            corrected=self.inventory.corrected,
            doubted=self.inventory.doubted,
            known=self.inventory.known,
        )
        self.lanes = Lanes(wiring, Paces())

    async def _live_uid(self, namespace: str) -> NamespaceUid | None:
        await asyncio.sleep(self.slow.get(namespace, 0.0))
        return self.uids.get(namespace, NamespaceUid(f"uid-{namespace}"))

    async def listed(self) -> None:
        """Until the inventory knows what the identity holds now."""
        began = self.world.clock.now()
        await self.world.pass_time(0.25)
        self.inventory.doubted(self.id, Reason.AZURE_UNAVAILABLE)

        def is_known() -> bool:
            state = self.inventory.states([self.id], "team")[self.id]
            return state.listed_at is not None and (state.listed_at - EPOCH).total_seconds() > began

        await self.world.until(is_known, seconds=30)

    async def ended(self) -> None:
        await self.world.until(lambda: self.lanes.idle, seconds=300)

    def held(self) -> dict[str, str]:
        return {name: each.subject for name, each in self.identity.credentials.items()}

    def writes(self) -> list[tuple[str, str]]:
        return [(each.method, each.path.rpartition("/")[2]) for each in self.world.azure_writes()]


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    async with World() as world:
        scene = Scene(world)
        await scene.listed()
        try:
            yield scene
        finally:
            await scene.lanes.stop()
            await scene.inventory.stop()
            await scene.client.close()


def _credential(name: str, subject: str = "") -> Credential:
    return Credential(f"ks-{name}", ISSUER, subject or f"system:serviceaccount:{name}:keystead", EXCHANGE_AUDIENCE)


def _write(scene: Scene, name: str) -> WriteCredential:
    return WriteCredential(f"{name}/team", f"ks-{name}", scene.id, _credential(name), name, NamespaceUid(f"uid-{name}"))


def _delete(scene: Scene, name: str) -> DeleteCredential:
    return DeleteCredential(f"ks-{name}", f"ks-{name}", scene.id, _credential(name))


def _submit(scene: Scene, *steps: LaneStep) -> None:
    scene.lanes.submit("team", steps)


def _azure_holds(scene: Scene, name: str, subject: str = "") -> None:
    made = _credential(name, subject)
    scene.world.azure.add_credential(scene.identity, made.name, made.issuer, made.subject)


async def test_steps_are_carried_out_one_by_one_and_whoever_planned_them_is_told() -> None:
    async with _scene() as scene:
        _submit(scene, *(_write(scene, name) for name in ("a", "b", "c")))
        await scene.ended()

        assert scene.writes() == [("PUT", "ks-a"), ("PUT", "ks-b"), ("PUT", "ks-c")]
        assert scene.asked[-3:] == ["team", "team", "team"]


async def test_what_is_so_already_costs_no_turn() -> None:
    async with _scene() as scene:
        _azure_holds(scene, "a")
        await scene.listed()
        _submit(scene, _write(scene, "a"), _delete(scene, "gone"), _write(scene, "b"))
        await scene.ended()

        assert scene.writes() == [("PUT", "ks-b")]


async def test_what_goes_by_the_name_and_trusts_another_is_neither_written_over_nor_deleted() -> None:
    async with _scene() as scene:
        for name in ("a", "b"):
            _azure_holds(scene, name, f"theirs-{name}")
        await scene.listed()
        _submit(scene, _write(scene, "a"), _delete(scene, "b"))
        await scene.ended()

        assert scene.writes() == []
        assert scene.held() == {"ks-a": "theirs-a", "ks-b": "theirs-b"}


async def test_what_a_grant_wants_no_more_leaves_the_line() -> None:
    async with _scene() as scene:
        scene.lanes.submit("other", [_write(scene, "z")])
        _submit(scene, _write(scene, "a"), _write(scene, "b"), _write(scene, "c"))
        await scene.world.pass_time(1)
        _submit(scene, _write(scene, "c"))
        await scene.ended()

        assert scene.writes() == [("PUT", "ks-z"), ("PUT", "ks-c")]


async def test_a_delete_overtakes_the_writes_that_wait() -> None:
    async with _scene() as scene:
        _azure_holds(scene, "old")
        await scene.listed()
        _submit(scene, _write(scene, "a"), _write(scene, "b"))
        await scene.world.pass_time(3.5)  # the second write looks at its namespace by now
        _submit(scene, _write(scene, "b"), _delete(scene, "old"))
        await scene.ended()

        assert scene.writes() == [("PUT", "ks-a"), ("DELETE", "ks-old"), ("PUT", "ks-b")]


@pytest.mark.parametrize("uid", [None, "uid-of-another"], ids=["gone", "made anew"])
async def test_a_write_is_for_the_namespace_of_its_uid_alone(uid: str | None) -> None:
    async with _scene() as scene:
        scene.uids["a"] = NamespaceUid(uid) if uid is not None else None  # type: ignore[assignment] # absent
        _submit(scene, _write(scene, "a"), _write(scene, "b"))
        await scene.world.pass_time(60)
        before = scene.writes()
        _submit(scene)
        await scene.ended()

        assert before == [("PUT", "ks-b")]
        assert scene.writes() == before
        assert len(scene.asked) < 12  # whoever plans is told ever more rarely


async def test_nothing_is_written_while_the_lease_would_not_outlast_it() -> None:
    async with _scene() as scene:
        scene.may_write = False
        _submit(scene, _write(scene, "a"))
        await scene.world.pass_time(30)
        before = scene.writes()
        scene.may_write = True
        await scene.ended()

        assert before == []
        assert scene.writes() == [("PUT", "ks-a")]


async def test_what_was_proven_before_proves_nothing_of_a_credential_that_was_written_or_deleted_since() -> None:
    async with _scene() as scene:
        _azure_holds(scene, "b")
        await scene.listed()
        for name in ("a", "b", "c"):
            scene.board.exchanged(f"ks-{name}", Exchange("OK", EPOCH))
        _submit(scene, _write(scene, "a"), _delete(scene, "b"))
        await scene.ended()

        assert list(scene.board.exchanges) == ["ks-c"]


async def test_the_twenty_first_is_told_from_a_write_that_makes_no_sense() -> None:
    async with _scene() as scene:
        odd = replace(_credential("odd"), subject="x" * 601)
        with pytest.raises(Refused) as refused:
            await scene.client.write(scene.id, odd)
        for number in range(20):
            _azure_holds(scene, f"n{number}")
        await scene.world.pass_time(10)
        with pytest.raises(Refused) as full:
            await scene.client.write(scene.id, _credential("late"))

        assert refused.value.reason is Reason.AZURE_REFUSED
        assert full.value.reason is Reason.IDENTITY_FULL


async def test_a_delete_on_an_identity_that_vanished_is_done() -> None:
    async with _scene() as scene:
        _azure_holds(scene, "a")
        await scene.listed()
        scene.world.azure.remove_identity(scene.identity)
        _submit(scene, _delete(scene, "a"))
        await scene.ended()

        assert scene.board.failures == {}
        state = scene.inventory.known(scene.id)
        assert state is not None
        assert state.credentials == ()


async def test_a_lost_answer_leads_to_a_look_and_not_to_a_second_write() -> None:
    async with _scene() as scene:
        scene.world.azure.faults.add(Fault(service="arm", method="PUT", effect=Effect.LOST_ANSWER, times=1))
        _submit(scene, _write(scene, "a"))
        await scene.ended()

        assert scene.writes() == [("PUT", "ks-a")]
        assert list(scene.held()) == ["ks-a"]


_PASSING = pytest.mark.parametrize(
    ("status", "code"), [(503, "ServiceUnavailable"), (409, CONCURRENT), (429, "TooManyRequests")]
)


_PUT_OFF = pytest.mark.parametrize(("status", "code"), [(409, CONCURRENT), (429, "TooManyRequests")])


@_PASSING
async def test_a_write_that_nobody_wants_any_more_is_not_tried_again(status: int, code: str) -> None:
    async with _scene() as scene:
        scene.world.azure.faults.add(Fault(service="arm", method="PUT", status=status, code=code, delay=1.0, times=1))
        _submit(scene, _write(scene, "a"))
        await scene.world.pass_time(0.5)
        _submit(scene)
        before = len(scene.asked)
        await scene.ended()

        assert scene.held() == {}
        assert scene.asked[before:] == ["team"]  # whoever planned it learns that it is not under way any more


@_PASSING
@pytest.mark.parametrize("leading", [True, False], ids=["the leader", "the leader no more"])
async def test_stopping_ends_whatever_becomes_of_the_write_that_is_under_way(
    status: int, code: str, leading: bool
) -> None:
    async with _scene() as scene:
        scene.world.azure.faults.add(Fault(service="arm", method="PUT", status=status, code=code, delay=1.0))
        _submit(scene, _write(scene, "a"))
        await scene.world.pass_time(0.5)
        scene.may_write = leading
        await asyncio.wait_for(scene.lanes.stop(), 10)

        assert len(scene.writes()) == 1


@_PUT_OFF
@pytest.mark.parametrize("wait", [0.5, 2.0], ids=["during the write", "before it is tried again"])
async def test_a_write_that_was_put_off_and_is_left_is_in_flight_until_a_list_has_told(
    status: int, code: str, wait: float
) -> None:
    """Whoever answered it may have been wrong: the ledger must not forget on a list from before."""
    async with _scene() as scene:
        half = Fault(service="arm", method="PUT", effect=Effect.HALF_WRITE, status=status, code=code, delay=1.0)
        scene.world.azure.faults.add(half)
        _submit(scene, _write(scene, "a"))
        await scene.world.pass_time(wait)
        assert scene.lanes.in_flight() == {(scene.id, "ks-a")}
        _submit(scene)
        await scene.ended()

        assert len(scene.writes()) == 1
        assert scene.lanes.in_flight() == {(scene.id, "ks-a")}
        assert scene.asked[-1] == "team"
        scene.inventory.states([scene.id], "team")  # as whoever was asked does
        await scene.world.until(lambda: scene.lanes.in_flight() == set(), seconds=10)
        assert _names(scene.inventory.known(scene.id)) == ["ks-a"]


async def test_a_write_that_was_put_off_is_in_flight_no_more_when_it_is_confirmed() -> None:
    async with _scene() as scene:
        fault = Fault(service="arm", method="PUT", status=409, code=CONCURRENT, times=1)
        scene.world.azure.faults.add(fault)
        _submit(scene, _write(scene, "a"))
        await scene.ended()

        assert len(scene.writes()) == 2
        assert scene.lanes.in_flight() == set()
        assert len(scene.world.entries("arm", "GET", "/federatedIdentityCredentials")) == 1  # no look was needed


async def _two(scene: Scene, *, look: float) -> tuple[DeleteCredential, DeleteCredential]:
    """An adopted credential to delete, with a look that takes so many seconds, and another on an identity beside it."""
    two = scene.world.identity("two")
    _azure_holds(scene, "a")
    await scene.listed()
    beside = _credential("b")
    scene.world.azure.add_credential(two, beside.name, beside.issuer, beside.subject)
    scene.world.azure.faults.add(Fault(service="arm", method="GET", effect=Effect.DELAY, delay=look))
    place = IdentityId.parse(two.resource_id)
    return replace(_delete(scene, "a"), adopted=True), DeleteCredential("ks-b", "ks-b", place, beside)


async def _begun(scene: Scene, step: LaneStep) -> None:
    """The look before this step is under way."""
    _submit(scene, step)
    await scene.world.pass_time(0.1)
    assert scene.lanes.in_flight() == {(step.identity, step.credential.name)}


@pytest.mark.parametrize("look", [0.4, 0.8, 3.2])
async def test_a_write_after_a_look_waits_for_the_turn_that_others_took_meanwhile(look: float) -> None:
    async with _scene() as scene:
        adopted, other = await _two(scene, look=look)
        await _begun(scene, adopted)
        _submit(scene, adopted, other)
        await scene.ended()

        first, second = (each.at for each in scene.world.azure_writes())
        assert second - first >= 0.49
        assert {name for _, name in scene.writes()} == {"ks-a", "ks-b"}


async def test_what_azure_asks_of_all_lanes_during_a_look_holds_the_write_after_it() -> None:
    async with _scene() as scene:
        adopted, other = await _two(scene, look=3.0)
        throttled = Fault(
            service="arm",
            method="DELETE",
            status=429,
            code="SubscriptionRequestsThrottled",
            retry_after=30.0,
            times=1,
        )
        scene.world.azure.faults.add(throttled)
        await _begun(scene, adopted)
        _submit(scene, adopted, other)
        await scene.world.pass_time(15)
        assert scene.board.failures == {}  # nobody is told that Azure does not answer
        await scene.ended()

        refused, *later = scene.world.azure_writes()
        assert all(each.at - refused.at >= 29.9 for each in later)
        assert {each.path.rpartition("/")[2] for each in later} == {"ks-a", "ks-b"}


async def test_stopping_waits_for_the_write_that_is_under_way_and_begins_no_other() -> None:
    async with _scene() as scene:
        _submit(scene, _write(scene, "a"), _write(scene, "b"))
        await scene.world.pass_time(0.5)
        await asyncio.wait_for(scene.lanes.stop(), 30)

        assert list(scene.held()) == ["ks-a"]
        assert _names(scene.inventory.known(scene.id)) == ["ks-a"]


def _names(state: object) -> list[str]:
    credentials: Iterable[Credential] = getattr(state, "credentials", ())
    return [each.name for each in credentials]


async def test_a_delete_whose_lane_still_reads_a_namespace_gets_the_turn_all_the_same() -> None:
    """Revocations first: a write of another lane that could start now leaves it the next turn of their subscription."""
    async with _scene() as scene:
        two = IdentityId.parse(scene.world.identity("two").resource_id)
        _azure_holds(scene, "x")
        await scene.listed()
        scene.slow = {"a": 1.4, "b": 1.0}
        writes = (_write(scene, "a"), replace(_write(scene, "b"), identity=two))
        _submit(scene, *writes)
        await scene.world.pass_time(0.5)
        _submit(scene, _delete(scene, "x"), *writes)
        await scene.ended()

        assert scene.writes() == [("DELETE", "ks-x"), ("PUT", "ks-b"), ("PUT", "ks-a")]
