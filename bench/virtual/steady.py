"""An operator that starts on a large settled cluster, and an hour in which nothing changes; all on virtual time."""

import asyncio
import gc
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollout import Way, silence
from settled import Size, begin, fill, is_served, pattern_of

from keystead.kube.permissions import NAMESPACE
from keystead.operator.app import Operator, Seams
from keystead.operator.clock import LoopClock
from keystead.operator.collector import keep_what_stands
from keystead.operator.settings import Settings
from keystead_sandbox.journal import Entry
from keystead_sandbox.latency import Lognormal
from simulation.loop import Process, VirtualLoop
from simulation.stage import EPOCH, Credential, Object, Stage, kube_config
from simulation.wire import AzureTransport, KubeTransport

HOUR = 3600.0
_CALM = 900.0  # seconds from the last plan to the hour: heartbeats that were due at the start are over
_AZURE_WAY, _KUBE_WAY = Lognormal(median=0.025, sigma=0.4), Lognormal(median=0.003, sigma=0.4)  # one of two ways
_KINDS = (
    ("drift lists", "arm", "GET", r"/federatedIdentityCredentials$"),
    ("identities read anew", "arm", "GET", r"/userAssignedIdentities/[^/]+$"),
    ("role holders listed", "arm", "GET", r"/roleAssignments$"),
    ("other reads of Resource Manager", "arm", "GET", ""),
    ("writes of Resource Manager", "arm", "PUT|DELETE|PATCH|POST", ""),
    ("exchanges", "entra", "POST", ""),
    ("looks at a vault", "keyvault", "GET", ""),
    ("tokens minted", "kube", "POST", r"/token$"),
    ("Lease reads and renewals", "kube", "GET|PUT", r"/leases"),
    ("status of ledger entries, their proof's time", "kube", "PATCH", r"/federations/[^/]+/status$"),
    ("other status", "kube", "PATCH", r"/status$"),
    ("other writes to Kubernetes", "kube", "POST|PUT|PATCH|DELETE", ""),
)


class Metered(Process):
    """Counts the seconds of the processor that its own tasks use, whoever else runs on the loop."""

    seconds = 0.0

    def carry_out(self, resumption: Callable[[], None]) -> None:
        began = time.thread_time()
        resumption()
        self.seconds += time.thread_time() - began


@dataclass
class Steady:
    """What was found; seconds are virtual but for those of the processor."""

    first_plan: float = 0.0
    """Until a grant said of its own pool that it is ready."""
    all_plans: float = 0.0
    start_processor: float = 0.0
    """Seconds of the processor until then."""
    hour_processor: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    """In the hour, by kind."""
    passes: int = 0
    ready: int = 0


def watch(size: Size) -> Steady:
    """Start, wait until all is planned, and watch an hour."""
    silence()
    random.seed(1)
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_watch(size))
    finally:
        loop.close()


def make_pattern(size: Size) -> dict[str, Object]:
    """What the operator makes of one namespace on a stage of this size."""

    async def play() -> dict[str, Object]:
        return pattern_of(await _patterned(size))

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(play())
    finally:
        loop.close()


async def _patterned(size: Size) -> Stage:
    stage = begin(size)
    run = _Run(stage, "pattern")
    await _until(lambda: is_served(stage.places[0]))
    await asyncio.sleep(30.0)
    await run.end()
    return stage


async def _watch(size: Size) -> Steady:
    stage = await _patterned(size)
    fill(stage, size)
    gc.collect()
    gc.freeze()  # the sandbox's world is not the operator's to look through
    return await _measure(stage, size)


async def _measure(stage: Stage, size: Size) -> Steady:
    found, began, run = Steady(), stage.now, _Run(stage, "measured")
    await _until(lambda: _planned(stage) > 0)
    found.first_plan = stage.now - began
    await _until(lambda: _planned(stage) == size.grants)
    found.all_plans, found.start_processor = stage.now - began, run.process.seconds
    await asyncio.sleep(_CALM)
    journals = (stage.journal, stage.places[0].journal)
    marks, seconds, passes = [each.last for each in journals], run.process.seconds, run.passes
    await asyncio.sleep(HOUR)
    found.hour_processor, found.passes = run.process.seconds - seconds, run.passes - passes
    entries = [entry for journal, mark in zip(journals, marks, strict=True) for entry in journal.entries(mark)]
    counts = Counter(map(_kind, entries))
    found.requests = {title: counts[title] for title, *_ in _KINDS}
    found.ready = sum(_says(claim, "Ready") for claim in stage.places[0].objects("vaultclaims"))
    await run.end()
    return found


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - on virtual time looking costs nothing, and nobody tells
        await asyncio.sleep(0.25)


class _Run:
    """An operator on the stage, and what it uses."""

    def __init__(self, stage: Stage, name: str) -> None:
        place, self.process, self._stop = stage.places[0], Metered(name), asyncio.Event()
        chance = random.Random(name)  # noqa: S311 - a seed makes it repeat
        azure, kube = Way(self.process, chance, _AZURE_WAY), Way(self.process, chance, _KUBE_WAY)
        seams = Seams(
            clock=LoopClock(EPOCH),
            kubernetes=kube_config("replica-0", place.issuer),
            kubernetes_transport=KubeTransport(kube, place.cluster),
            azure_transport=lambda: AzureTransport(azure, stage.app),
            credential=Credential(stage, place.application),
            instance=name,
        )
        self._ways = (azure, kube)
        self._operator = Operator(Settings(lease_namespace=NAMESPACE), seams, on_synced=keep_what_stands)
        self._task = self.process.spawn(self._operator.run(self._stop), name=name)

    @property
    def passes(self) -> int:
        controller = self._operator.controller
        return controller.passes if controller is not None else 0

    async def end(self) -> None:
        self._stop.set()
        await self._task
        for each in self._ways:
            await each.close()


def _planned(stage: Stage) -> int:
    return sum(_says(grant, "PoolReady") for grant in stage.places[0].objects("vaultgrants"))


def _says(item: dict[str, Any], type_: str) -> bool:
    said = item.get("status", {}).get("conditions", ())
    return any((each["type"], each["status"]) == (type_, "True") for each in said)


def _kind(entry: Entry) -> str:
    return next(
        (
            title
            for title, service, method, path in _KINDS
            if entry.service == service
            and re.fullmatch(method, entry.method)
            and re.search(path, entry.path, re.IGNORECASE)
        ),
        "",
    )
