"""Random changes and random faults: in the end the cache is the truth, and whoever heard only changes knows it too."""

import asyncio
from collections.abc import Callable
from typing import Any

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from starlette.responses import Response

from kube.scripted import Follower, Misbehaviour, Scripted, answer, stream

NAMES = st.sampled_from("abcdefg")
FAULTS: dict[str, Callable[[], Response]] = {
    "expired": lambda: answer(410, "Expired"),
    "failing": lambda: answer(500, "InternalError"),
    "busy": lambda: answer(429, "TooManyRequests", headers={"Retry-After": "2"}),
    "garbage": lambda: stream(b"<html>\n"),
    "half a line": lambda: stream(b'{"type":"DELETED","object":{"meta'),
    "nothing": stream,
    "not there": lambda: answer(404, "NotFound"),
}


def _fault(name: str) -> Misbehaviour:
    return lambda *_: FAULTS[name]()


class InformerMachine(RuleBasedStateMachine):
    """One informer, one server, one loop of virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: Any = looptime.new_event_loop()
        self.running: asyncio.Task[None] | None = None

    @initialize(streams=st.booleans(), ignores=st.booleans(), page=st.integers(1, 3))
    def begin(self, streams: bool, ignores: bool, page: int) -> None:
        # Far above what a server that lost its state can count up to in one story: see lose_state.
        self.server = Scripted(streams=streams, ignores=ignores, page=page, version=1000)
        self.lost = False

        async def start() -> None:
            self.follower = Follower(self.server)
            self.running = asyncio.create_task(self.follower.informer.run())

        self.loop.run_until_complete(start())

    @rule(name=NAMES, value=st.integers(0, 3))
    def put(self, name: str, value: int) -> None:
        self.server.put(name, value)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if ("shop", name) in self.server.objects:
            self.server.delete(name)

    @rule(name=NAMES)
    def replace(self, name: str) -> None:
        self.delete(name)
        self.server.put(name)

    @rule()
    def hang_up(self) -> None:
        self.server.hang_up()

    @rule()
    def compact(self) -> None:
        self.server.compact()

    @precondition(lambda self: not self.lost)
    @rule(back_to=st.integers(1, 50))
    def lose_state(self, back_to: int) -> None:
        """Once: where two different states bear the same version, no client can tell them apart."""
        self.lost = True
        for key in sorted(self.server.objects)[::2]:
            del self.server.objects[key]
        self.server.lose_state(back_to)

    @rule(quiet=st.booleans())
    def go_quiet(self, quiet: bool) -> None:
        if self.server.quiet and not quiet:
            self.server.hang_up()  # what a dead connection lost cannot be followed by more on the same connection
        self.server.quiet = quiet

    @rule(faults=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=4))
    def misbehave(self, faults: list[str]) -> None:
        self.server.script += [_fault(fault) for fault in faults]

    @rule(part=st.sampled_from([b"garbage\n", b'{"type":', b'{"type":"ERROR","object":{"code":410}}\n', b"\n"]))
    def say(self, part: bytes) -> None:
        self.server.send(part)

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @invariant()
    def runs(self) -> None:
        assert self.running is None or not self.running.done()

    def teardown(self) -> None:
        if self.running is not None:
            self.loop.run_until_complete(self._end(self.running))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    async def _end(self, running: asyncio.Task[None]) -> None:
        self.server.script.clear()
        self.server.quiet = False
        self.server.hang_up()  # a test cannot say whether a dead connection lost what was sent
        await self.follower.until_true()
        await asyncio.sleep(60)  # what was said before may still lead to one reading of everything
        before = len(self.server.asked)
        await asyncio.sleep(600)
        assert self.follower.is_true()
        assert len(self.server.asked) - before <= 5
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await self.follower.api.close()


TestInformer = InformerMachine.TestCase
TestInformer.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
