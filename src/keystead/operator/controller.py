"""The loop: look, plan, do, tell. It has no rules in it."""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

import structlog

from keystead.apply.executor import Executor
from keystead.kube.queue import Closed, WorkQueue
from keystead.model.clock import Clock
from keystead.observe.snapshots import Observer
from keystead.operator.collector import uncollected
from keystead.plan.planner import make_plan
from keystead.plan.recollection import Recollection
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import Plan
from keystead.report.publish import BELIEVED, Publisher, Told

log = structlog.get_logger("keystead.controller")

COALESCE = 0.03  # seconds: a burst of events about one grant is looked at once
_GRAIN = 1e-5  # seconds: a wait below the clock's own grain need not move it
_REST_FOR_EACH, _LONGEST_REST = 0.001, 0.5  # seconds between two looks at a grant: for each of its claims, and at most


class Orphans(Protocol):
    """Tells claims whose grant does not exist."""

    async def __call__(self, grant_name: str) -> Told: ...


class Controller:
    """Reconciles grants by name."""

    def __init__(
        self,
        observer: Observer,
        executor: Executor,
        publisher: Publisher,
        queue: WorkQueue[str],
        clock: Clock,
        orphans: Orphans,
        planned: Callable[[Snapshot, Plan], None] = lambda _seen, _plan: None,
    ) -> None:
        self._observer = observer
        self._executor = executor
        self._publisher = publisher
        self._queue = queue
        self._clock = clock
        self._orphans = orphans
        self._planned = planned
        self._rested: dict[str, float] = {}
        """By grant: until when it is not looked at again, since a look at many claims takes its time."""
        self._recollections: dict[str, Recollection] = {}
        self.passes = 0

    def requeue(self, name: str) -> None:
        """Look at this grant again, soon."""
        self._queue.add_after(name, COALESCE)

    async def run(self) -> None:
        """Work until cancelled, or until the queue is closed."""
        while True:
            try:
                name = await self._queue.get()
            except Closed:
                return
            try:
                if (rest := self._rested.get(name, 0.0) - self._clock.monotonic()) > _GRAIN:
                    self._queue.add_after(name, rest)
                    continue
                self._look_again(name, await self._reconcile(name))
            except (asyncio.CancelledError, KeyboardInterrupt):
                raise
            except Exception:  # what the worlds answer never comes so far: whoever asks them makes an outcome of it
                log.exception("bug: pass failed unexpectedly", grant=name, again=self._queue.retry(name))
            finally:
                self._queue.done(name)

    async def tell(self) -> None:
        """Say how the grants stand whose turn would be next, and do nothing about it: for an operator that ends."""
        for name in self._queue.take_due(2 * COALESCE):
            seen = self._observer.snapshot(name)
            if seen is not None:
                await self._publisher.publish(seen, make_plan(seen))

    def _look_again(self, name: str, told: Told) -> None:
        """Where somebody could not be told, or may have been told otherwise since, nothing else would bring us back."""
        if told is Told.NOT_ALL:
            self._queue.retry(name)
            return
        self._queue.forget(name)
        if told is Told.UNSEEN:
            self._queue.add_after(name, BELIEVED.total_seconds() + COALESCE)

    async def _reconcile(self, name: str) -> Told:
        self.passes += 1
        seen = self._observer.snapshot(name)
        if seen is None:
            self._rested.pop(name, None)
            self._recollections.pop(name, None)
            return await self._orphans(name)
        self._rested[name] = self._clock.monotonic() + min(_LONGEST_REST, _REST_FOR_EACH * len(seen.claims))
        with uncollected():
            plan = make_plan(seen, self._recollections.setdefault(name, Recollection()))
        self._planned(seen, plan)
        again = await self._executor.carry_out(plan)
        told = await self._publisher.publish(seen, plan)
        if seen.grant is None:
            told = max(told, await self._orphans(name))
        drift = self._observer.next_list(seen)
        if drift is not None and not math.isinf(drift):
            self._queue.add_after(name, drift + COALESCE)
        # The plan was made before its steps failed: nothing but what they say brings us back to try them again.
        for moment in (plan.look_again, again):
            if moment is not None:
                self._queue.add_after(name, (moment - self._clock.now()).total_seconds() + COALESCE)
        return told
