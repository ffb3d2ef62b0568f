"""The queue against a model of what a queue should do, and the few things that a model does not see."""

import asyncio
import datetime
from typing import Any

import looptime
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keystead.kube.queue import Closed, WorkQueue
from keystead.operator.clock import LoopClock

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
KEYS = st.sampled_from(["a1", "a2", "a3", "b1", "c1"])


def _queue(**how: Any) -> WorkQueue[str]:
    return WorkQueue(LoopClock(EPOCH), **how)


class QueueMachine(RuleBasedStateMachine):
    """The model: who is wanted now, who later, who is being worked on."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: Any = looptime.new_event_loop()
        self.queue = _queue(first=1.0, longest=60.0, group=lambda key: key[0])
        self.wanted: set[str] = set()
        self.working: set[str] = set()
        self.later: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    def _run(self, call: Any) -> Any:
        async def within() -> Any:
            return call()

        return self.loop.run_until_complete(within())

    def _time(self) -> None:
        for key in [key for key, due in self.later.items() if due <= self.loop.time() + 1e-4]:
            del self.later[key]
            self.wanted.add(key)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self._time()
        self._run(lambda: self.queue.add(key))
        self.later.pop(key, None)
        self.wanted.add(key)

    @rule(key=KEYS, seconds=st.sampled_from([0.0, 0.5, 3.0, 30.0, 300.0]))
    def add_after(self, key: str, seconds: float) -> None:
        self._time()
        self._run(lambda: self.queue.add_after(key, seconds))
        if seconds == 0:
            self.later.pop(key, None)
            self.wanted.add(key)
        elif key not in self.wanted:
            self.later[key] = min(self.later.get(key, float("inf")), self.loop.time() + seconds)

    @rule(seconds=st.sampled_from([0.5, 2.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule()
    def get(self) -> None:
        self._time()
        ready = self.wanted - self.working
        waits = [due - self.loop.time() for key, due in self.later.items() if key not in self.working]

        async def taken() -> str | None:
            try:
                async with asyncio.timeout(1000):
                    return await self.queue.get()
            except TimeoutError:
                return None

        key = self.loop.run_until_complete(taken())
        if ready:
            assert key in ready
        elif waits:
            self._time()
            assert key in self.wanted - self.working
        else:
            assert key is None
            self._time()  # while that lasted, what was delayed has come due
            return
        self.wanted.discard(str(key))
        self.working.add(str(key))

    @rule(fails=st.booleans(), data=st.data())
    def done(self, fails: bool, data: st.DataObject) -> None:
        if not self.working:
            return
        self._time()
        key = data.draw(st.sampled_from(sorted(self.working)))
        if fails:
            wait = self._run(lambda: self.queue.retry(key))
            assert wait == min(60.0, float(2 ** self.failures.get(key, 0)))
            self.failures[key] = self.failures.get(key, 0) + 1
            if key not in self.wanted:
                self.later[key] = min(self.later.get(key, float("inf")), self.loop.time() + wait)
        else:
            self._run(lambda: self.queue.forget(key))
            self.failures.pop(key, None)
        self._run(lambda: self.queue.done(key))
        self.working.discard(key)

    @invariant()
    def is_not_idle_while_somebody_works(self) -> None:
        if self.working:
            assert not self.queue.idle

    def teardown(self) -> None:
        self.loop.close()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.mark.looptime
async def test_groups_take_turns_however_many_keys_each_has() -> None:
    queue = _queue(group=lambda key: key[0])
    for key in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        queue.add(key)

    assert [await queue.get() for _ in range(7)] == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


@pytest.mark.looptime
async def test_somebody_always_watches_the_time() -> None:
    """Three idle workers, one of which is called away: what comes due meanwhile is taken by another at its time."""
    queue = _queue()
    taken: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    async def work() -> None:
        while True:
            key = await queue.get()
            taken.append((key, round(loop.time(), 1)))
            await asyncio.sleep(100)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(1)
    queue.add_after("late", 10)
    await asyncio.sleep(1)
    queue.add("now")
    queue.add("too")
    await asyncio.sleep(20)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)

    assert taken == [("now", 2.0), ("too", 2.0), ("late", 11.0)]


@pytest.mark.looptime
async def test_a_worker_that_is_cancelled_takes_nothing_with_it() -> None:
    queue = _queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add("key")
    first.cancel()
    await asyncio.sleep(1)

    assert second.result() == "key"
    assert first.cancelled()


@pytest.mark.looptime
async def test_a_closed_queue_tells_all_who_wait() -> None:
    queue = _queue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(1)
    queue.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    queue.add("later")

    assert [type(each) for each in results] == [Closed] * 3
    with pytest.raises(Closed):
        await queue.get()
    assert queue.take_due(1.0) == ["later"]


@pytest.mark.looptime
async def test_overtaken_delays_do_not_pile_up() -> None:
    queue = _queue()
    for _ in range(10_000):
        queue.add_after("key", 86_400)
        queue.add("key")
        queue.done(await queue.get())

    assert len(queue._delayed) < 200


@pytest.mark.looptime
async def test_a_key_that_has_succeeded_backs_off_from_the_start() -> None:
    queue = _queue(first=1.0)

    assert [queue.retry("key"), queue.retry("key"), queue.retry("other")] == [1.0, 2.0, 1.0]
    queue.forget("key")
    assert [queue.retry("key"), queue.retry("other")] == [1.0, 2.0]
