"""A replica of an operator: a process that is started, killed, frozen, stopped, and started again by its supervisor."""

import asyncio
import datetime
import random

from keystead.kube.informer import Patience
from keystead.kube.permissions import NAMESPACE
from keystead.model.errors import KeysteadError
from keystead.operator.app import Operator, Seams
from keystead.operator.clock import LoopClock
from keystead.operator.settings import Settings
from simulation.loop import Process
from simulation.stage import EPOCH, Credential, Place, Stage, kube_config
from simulation.wire import AzureTransport, Guard, KubeTransport, Line

_RESTART = 3.0  # seconds until the supervisor starts again what has ended by itself


class Replica:
    """Of one cluster's operator."""

    def __init__(self, stage: Stage, place: Place, number: int, guard: Guard, known: dict[str, "Replica"]) -> None:
        self.stage = stage
        self.place = place
        self.number = number
        self.skew = stage.setup.skews[place.number * stage.setup.replicas + number]
        self.process = Process("")
        self.operator: Operator | None = None
        self.died: list[str] = []
        self.thawed = float("-inf")
        self.lag = stage.setup.lag
        self.line: Line | None = None
        self._guard = guard
        self._known = known
        """By the name of each process there ever was."""
        self._starts = 0
        self._stop = asyncio.Event()
        self._graves: list[tuple[Process, asyncio.Task[None], Line]] = []
        self._wanted = False

    @property
    def running(self) -> bool:
        return self._wanted and not self.process.dead and not self.process.frozen

    @property
    def instance(self) -> str:
        return self.process.name

    @property
    def processes(self) -> list[Process]:
        return [process for process, _, _ in self._graves]

    @property
    def lines(self) -> list[Line]:
        return [line for _, _, line in self._graves]

    def start(self) -> None:
        """A new incarnation."""
        stage, place, setup = self.stage, self.place, self.stage.setup
        self._starts += 1
        self._wanted = True
        self.process = Process(f"{place.letter}-{self.number}-{self._starts}")
        self._known[self.process.name] = self
        chance = random.Random(f"{setup.seed}/{self.process.name}")  # noqa: S311 - a seed makes it repeat
        self.line = line = Line(self.process, self._guard, chance, place.troubles, self.lag)
        self._stop = asyncio.Event()
        seams = Seams(
            clock=LoopClock(EPOCH + datetime.timedelta(seconds=self.skew)),
            kubernetes=kube_config(f"replica-{self.number}", place.issuer),
            kubernetes_transport=KubeTransport(line, place.cluster),
            azure_transport=lambda: AzureTransport(line, stage.app),
            credential=Credential(stage, place.application),
            instance=self.process.name,
            patience=Patience(),
        )
        settings = Settings(
            lease_duration=setup.lease,
            lease_namespace=NAMESPACE,
            drift_interval=setup.drift,
            heartbeat=setup.heartbeat,
            lane_pace=4.0,
        )
        self.operator = Operator(settings, seams)
        stage.disturb(place, setup.lease / 3)
        task = self.process.spawn(self._live(self.operator, self._stop, self.process), name=self.process.name)
        self._graves.append((self.process, task, line))

    async def _live(self, operator: Operator, stop: asyncio.Event, process: Process) -> None:
        try:
            await operator.run(stop)
        except asyncio.CancelledError:
            raise
        except KeysteadError as error:
            self.stage.counts["exits"] += 1
            del error
        except Exception as error:  # noqa: BLE001 - any other end is a finding
            self.died.append(f"{type(error).__name__}: {error}")
        if self.process is process and self._wanted and not stop.is_set():
            self.stage.remember(self.again(_RESTART))

    async def again(self, seconds: float) -> None:
        """The supervisor starts it after so long."""
        ended = self.process
        await self.stage.clock.sleep(seconds)
        if self._wanted and self.process is ended:
            self.start()

    def kill(self, down: float) -> None:
        """At once, wherever it is."""
        if self.process.dead or self.line is None:
            return
        self.stage.counts["kills"] += 1
        self.process.kill()
        self.line.hang_up()
        self.stage.disturb(self.place, down + self.stage.setup.lease)
        self.stage.remember(self.again(down))

    def freeze(self, seconds: float) -> None:
        if self.process.dead or self.process.frozen:
            return
        self.stage.counts["freezes"] += 1
        frozen = self.process
        frozen.freeze()
        self.stage.disturb(self.place, seconds + self.stage.setup.lease, blinds=True)

        async def thaw() -> None:
            await self.stage.clock.sleep(seconds)
            self.thawed = self.stage.now
            if not frozen.dead:
                frozen.thaw()

        self.stage.remember(thaw())

    async def stop(self, down: float) -> None:
        """A clean end, and a new start later."""
        if self.process.dead or self.process.frozen:
            return
        self._stop.set()
        self.stage.disturb(self.place, down + 30)
        await self.again(down + 20)

    async def bury(self) -> None:
        """End all incarnations for good, without a network; nobody looks any more."""
        self._wanted = False
        for process, task, line in self._graves:
            line.closed = True
            line.hang_up()
            process.bury()
            task.cancel()
            await asyncio.wait({task}, timeout=120)
            await line.close()
