"""What is said twice is one Event with a count, also for a process that has forgotten that it said it."""

import asyncio
import datetime
from typing import Any

import pytest
from lightkube.config.models import User as KubeUser

from keystead.kube.client import Api
from keystead.kube.events import Recorder, Said
from keystead.model.errors import Refused
from keystead.operator.clock import LoopClock
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube.kinds import EVENTS
from kube.scripted import config
from transports import StreamingASGITransport

pytestmark = pytest.mark.looptime
EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Stage:
    """An API server, and recorders that come and go."""

    def __init__(self) -> None:
        clock = VirtualClock(EPOCH)
        self.journal = Journal(clock)
        self.cluster = Cluster(
            clock, self.journal, issuer="https://k", users={"operator": User("operator", ("system:masters",))}
        )

    def recorder(self) -> Recorder:
        api = Api(
            config("https://k")._replace(user=KubeUser(token="operator")),
            transport=StreamingASGITransport(self.cluster),
        )
        return Recorder(api, LoopClock(EPOCH), controller="keystead.dev/test", instance="one", manager="keystead")

    def events(self) -> list[tuple[str, int]]:
        held = self.cluster.store.all(EVENTS)
        return [(each["message"], (each.get("series") or {}).get("count", 1)) for each in held]

    def writes(self) -> int:
        return sum(each.method in ("POST", "PATCH") for each in self.journal.entries())


def _said(note: str = "it is so", **changed: Any) -> Said:
    given = {
        "api_version": "keystead.dev/v1alpha1",
        "kind": "VaultClaim",
        "namespace": "default",
        "name": "team",
        "uid": "u",
        "reason": "Ready",
        "action": "Serve",
        **changed,
    }
    return Said(note=note, **given)


async def test_the_same_is_counted_up_and_something_else_is_another() -> None:
    stage = Stage()
    recorder = stage.recorder()
    for _ in range(2):
        await recorder.say(_said())
    await recorder.say(_said("it is otherwise"))

    assert sorted(stage.events()) == [("it is otherwise", 1), ("it is so", 2)]


async def test_a_flood_of_the_same_costs_a_write_a_minute() -> None:
    stage = Stage()
    recorder = stage.recorder()
    for _ in range(600):
        await recorder.say(_said())
        await asyncio.sleep(1)
    before = stage.writes()
    await recorder.flush()

    assert stage.events() == [("it is so", 600)]
    assert before <= 13
    await recorder.flush()
    assert stage.writes() == before + 1


async def test_a_restarted_process_counts_on() -> None:
    stage = Stage()
    for _ in range(3):
        await stage.recorder().say(_said())

    assert stage.events() == [("it is so", 3)]


async def test_an_event_that_ran_out_on_the_server_is_said_anew() -> None:
    stage = Stage()
    recorder = stage.recorder()
    await recorder.say(_said())
    (held,) = stage.cluster.store.all(EVENTS)
    stage.cluster.rest.remove(EVENTS, held)
    await recorder.say(_said())

    assert stage.events() == [("it is so", 1)]


async def test_one_object_cannot_drown_the_others() -> None:
    stage = Stage()
    recorder = stage.recorder()
    for number in range(100):
        await recorder.say(_said(f"thing {number}"))
    await recorder.say(_said("another object", uid="v", name="other"))
    assert len(stage.events()) == 26
    await asyncio.sleep(600)
    for number in range(100, 110):
        await recorder.say(_said(f"thing {number}"))

    assert len(stage.events()) == 28


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "n" * 253},
        {"name": "a" * 199 + "-" + "b" * 50},
        {"name": "a" * 199 + "." + "b" * 50},
        {"note": "ü" * 5000},
        {"namespace": "", "kind": "VaultGrant"},
        {"warning": True},
    ],
    ids=["a long name", "cut at a dash", "cut at a dot", "a long note", "of no namespace", "a warning"],
)
async def test_whatever_is_said_the_server_takes_it(changed: dict[str, Any]) -> None:
    stage = Stage()
    for _ in range(2):
        await stage.recorder().say(_said(**{"note": "x", **changed}))

    assert [count for _, count in stage.events()] == [2]


async def test_what_the_server_refuses_is_an_error_and_not_remembered() -> None:
    stage = Stage()
    recorder = stage.recorder()
    for _ in range(2):
        with pytest.raises(Refused):
            await recorder.say(_said(namespace="nowhere"))
