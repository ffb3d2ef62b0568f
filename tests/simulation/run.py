"""Plays one story to its end and says what broke."""

import asyncio
import gc
import hashlib
import logging
import random
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import structlog

from simulation import secrecy
from simulation.judge import Judge
from simulation.loop import VirtualLoop
from simulation.replica import Replica
from simulation.stage import Stage
from simulation.story import DEEDS, LENGTH, REPLICA_DEEDS, Event, Story, write_story
from simulation.watchman import Watchman

_LOOK = 3.0  # seconds between two looks at everything
_SETTLES = 2400.0  # seconds in which all must come to rest once nothing fails any more: back-offs have grown meanwhile
_QUIET = 240.0  # seconds at rest in which requests are counted
_PER_MINUTE = 8.0  # requests of one replica at rest, drift lists and heartbeats on top
_MOST_BREAKS = 12
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a story ended."""

    seed: int
    breaks: tuple[str, ...]
    digest: str
    """Of all that the services were asked and answered: equal for equal stories."""
    steps: int
    """Resumptions of the operators' tasks."""
    requests: int
    faults: int
    kills: int
    seconds: float
    """Virtual."""
    counts: dict[str, int]

    @property
    def rules(self) -> frozenset[str]:
        """Which rules broke."""
        return frozenset(each.partition(":")[0] for each in self.breaks)


@dataclass
class Log:
    """All that was said: log lines, and what the loop complains of."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        self.lines.append({"at": asyncio.get_running_loop().time(), **event})
        raise structlog.DropEvent

    def complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")


def play(story: Story) -> Outcome:
    """Play *story* to its end."""
    return staged(story, Run.play)


def staged(story: Story, work: "Callable[[Run], Coroutine[Any, Any, T]]") -> T:
    """Do *work* on *story*, on a loop of its own; whatever the global state of logging was, it is again afterwards."""
    log, before = Log(), structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, log],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    state, collects = random.getstate(), gc.isenabled()
    random.seed(story.setup.seed)
    gc.disable()  # a cycle's end must not depend on what ran before
    loop = VirtualLoop()
    loop.set_exception_handler(log.complain)

    async def begin() -> T:
        return await work(Run(story, log))

    try:
        return loop.run_until_complete(begin())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        random.setstate(state)
        structlog.configure(**before)
        if collects:
            gc.enable()


def play_again(outcome: Outcome, plays: Callable[[Story], Outcome] = play) -> Outcome:
    """A broken seed is played once more: one that ends otherwise cannot be replayed, which is a break of its own."""
    if not outcome.breaks:
        return outcome
    again = plays(write_story(outcome.seed))
    others = [each.name for each in fields(outcome) if getattr(outcome, each.name) != getattr(again, each.name)]
    if not others:
        return outcome
    text = f"replay: seed {outcome.seed} ends with other {', '.join(others)} when it is played again"
    return replace(outcome, breaks=(*outcome.breaks, text))


class Run:
    """One story, and everybody who watches it."""

    def __init__(self, story: Story, log: Log) -> None:
        self.story = story
        self.log = log
        self.stage = Stage(story.setup)
        self.watchman = Watchman(self.stage)
        self.judge = Judge(self.stage)
        self.replicas = [
            Replica(self.stage, place, number, self.watchman, self.watchman.replicas)
            for place in self.stage.places
            for number in range(story.setup.replicas)
        ]

    async def play(self) -> Outcome:
        """From the first event to the end of the last replica."""
        for event in self.story.events:
            await self._until(event.at)
            self.happen(event)
            if event.at == 0.0:
                continue
            if not self.watchman.replicas:
                for replica in self.replicas:
                    replica.start()
            self.judge.look()
            self.watchman.look()
        if not self.watchman.replicas:
            for replica in self.replicas:
                replica.start()
        await self._until(LENGTH)
        breaks = await self.rest()
        outcome = self.outcome(breaks)
        await self.end()
        return outcome

    async def _until(self, moment: float) -> None:
        while self.stage.now < moment:
            await asyncio.sleep(min(_LOOK, moment - self.stage.now))
            self.judge.look()
            self.watchman.look()

    def happen(self, event: Event) -> None:
        place = self.stage.places[event.place]
        if event.deed in REPLICA_DEEDS:
            replica = self.replicas[event.place * self.story.setup.replicas + event.replica]
            REPLICA_DEEDS[event.deed](self.stage, replica, event)
        else:
            DEEDS[event.deed](self.stage, place, event)

    async def rest(self) -> list[str]:
        """Nothing fails any more; everything must settle, and then be quiet."""
        stage = self.stage
        stage.azure.faults.clear()
        for place in stage.places:
            place.troubles.clear()
            for store in place.objects("secretstores"):
                DEEDS["release_store"](stage, place, Event(stage.now, "", store["metadata"]["namespace"]))
        began, good, complaints = stage.now, 0, list[str]()
        while stage.now < began + _SETTLES:
            await self._until(stage.now + 15.0)
            complaints = self.judge.complaints()
            good = 0 if complaints else good + 1
            if good > 2 or self.judge.breaks or self.watchman.breaks:
                break
        stage.counts["settled in"] = int(stage.now - began)
        if complaints and not self.judge.breaks and not self.watchman.breaks:
            return [f"unsettled: {each}" for each in complaints]
        if self.judge.breaks or self.watchman.breaks:
            return []
        return await self.quiet()

    async def quiet(self) -> list[str]:
        """A loop has no end; what a replica that starts late still has to do has one."""
        return await self._too_many() and await self._too_many()

    async def _too_many(self) -> list[str]:
        before = dict(self.watchman.requests)
        await self._until(self.stage.now + _QUIET)
        found = []
        setup, identities = self.story.setup, len(self.stage.azure.identities) + 2 * len(self.stage.places)
        lists = identities * (_QUIET / setup.drift + 2)
        served = sum(len(each.credentials) for each in self.stage.azure.identities.values())
        proofs = served * (_QUIET / (setup.heartbeat * 0.9) + 1) if setup.heartbeat < 1000 else 0.0
        for name, count in self.watchman.requests.items():
            more = count - before.get(name, 0)
            # Each proof asks for a token and says in the ledger how it went; its other requests write nothing.
            expected = 2 * proofs if name.endswith("/write") else lists + 6 * proofs
            allowed = _PER_MINUTE * _QUIET / 60 + expected
            if more > allowed:
                found.append(f"hot loop: {name} makes {more} requests in {_QUIET:.0f} s at rest, not {allowed:.0f}")
        return found

    def outcome(self, rest: list[str]) -> Outcome:
        breaks = [*self.watchman.breaks, *self.judge.breaks, *rest]
        for replica in self.replicas:
            breaks += [f"died: {replica.place.letter}-{replica.number}: {each}" for each in replica.died]
        breaks += [
            f"{line['event']} {line.get('grant') or line.get('credential')}: {str(line.get('exception'))[-600:]}"
            for line in self.log.lines
            if str(line.get("event")).startswith("bug")
        ]
        breaks += [f"loop: {each}" for each in self.log.complaints]
        breaks += self._secrets()
        journals = [self.stage.journal, *(place.journal for place in self.stage.places)]
        digest = hashlib.sha256()
        for journal in journals:
            # Sorted: in which order the watches of a process end that goes is the only thing left to chance (asyncio's
            # task groups are sets).
            for line in sorted(
                repr((entry.at, entry.service, entry.method, entry.path, entry.status, entry.code, entry.caller))
                for entry in journal.entries()
            ):
                digest.update(line.encode())
        counts = dict(self.stage.counts)
        hits = sum(1 for entry in self.stage.journal.entries() if "fault" in entry.detail)
        hits += sum(line.hits for replica in self.replicas for line in replica.lines)
        hits += sum(counts.get(each, 0) for each in ("watches cut", "watches muted", "lags", "freezes"))
        return Outcome(
            seed=self.story.setup.seed,
            breaks=tuple(dict.fromkeys(breaks))[:_MOST_BREAKS],
            digest=digest.hexdigest(),
            steps=sum(process.steps for replica in self.replicas for process in replica.processes),
            requests=sum(len(journal.entries()) for journal in journals),
            faults=hits,
            kills=counts.get("kills", 0),
            seconds=self.stage.now,
            counts=counts,
        )

    def _secrets(self) -> list[str]:
        """No token and no planted value in anything that was said or stored; Secrets are for them."""
        said = [(f"the log line {line.get('event')!r:.80}", repr(line)) for line in self.log.lines]
        said += [("a complaint of the loop", each) for each in self.log.complaints]
        for replica in self.replicas:
            if replica.operator is not None:
                said.append((f"the metrics of {replica.instance}", replica.operator.metrics.text().decode()))
        for journal in (self.stage.journal, *(place.journal for place in self.stage.places)):
            said += [
                (f"request {entry.seq} of the {entry.service} journal", repr(entry)) for entry in journal.entries()
            ]
        for place in self.stage.places:
            store = place.cluster.store
            for group, plural in store.resources():
                for each in store.all((group, plural)) if plural != "secrets" else ():
                    metadata = each["metadata"]
                    said.append((f"{plural} {metadata.get('namespace', '')}/{metadata['name']}", repr(each)))
        return [f"secret: {what} shows a token or a secret's value" for what, text in said if secrecy.shows(text)]

    async def end(self) -> None:
        for replica in self.replicas:
            await replica.bury()
        await self.stage.close()
