"""One rollout on virtual time: the whole operator, its real code above the two HTTP seams, at the sandbox's services.

- The world is made first: namespaces, a pool over one or more subscriptions, other people's credentials in it.
- Then one replica starts, as the simulation starts it, with the settings that it has by default.
- What is measured is read from the journal of the emulated Azure alone, whatever the operator believes.
"""

import asyncio
import gc
import random
import re
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

from keystead.kube.permissions import NAMESPACE
from keystead.operator.app import Operator, Seams
from keystead.operator.clock import LoopClock
from keystead.operator.settings import Settings
from keystead_sandbox.faults import Fault
from keystead_sandbox.latency import Lognormal
from keystead_sandbox.resources import Identity
from keystead_sandbox.schedule import Slots, optimum
from simulation.loop import Process, VirtualLoop
from simulation.stage import EPOCH, VAULTS, Credential, Member, Setup, Stage, kube_config
from simulation.wire import Asked, AzureTransport, Headers, KubeTransport, Line

API = "keystead.dev/v1alpha1"
CREDENTIALS_PER_IDENTITY = 20
CONCURRENT = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
_WRITE = re.compile(r"(.+/userAssignedIdentities/[^/]+)/federatedIdentityCredentials/[^/]+$", re.IGNORECASE)
_KUBE_WAY = Lognormal(median=0.003, sigma=0.4)
_LOOK = 5.0  # seconds between two looks at whether all is written
_LONGEST = 20_000.0  # seconds until a rollout counts as stuck


@dataclass(frozen=True, slots=True)
class Point:
    """One rollout to measure."""

    namespaces: int
    identities: int
    subscriptions: int = 1
    foreign: float = 0.0
    """Share of all slots that other people's credentials take, unevenly over the identities."""
    conflicts: float = 0.0
    """Share of credential writes that Azure answers with 409, as when somebody else writes there."""
    latency: float = 0.05
    """Median seconds of the way to Azure and back; Azure holds an identity for 1.3 s on top while it writes."""
    proof_wait: float = 20.0
    """Seconds from a credential to the first proof of its exchange."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What became of it; seconds are virtual."""

    seconds: float
    """From the start of the first credential write to the start of the last."""
    optimum: float
    writes: int
    refused: int
    passes: int

    @property
    def bar(self) -> float:
        return 1.05 * self.optimum + 1.0


class Quiet:
    """A guard that watches nobody."""

    def sent(self, asked: Asked) -> None: ...

    def arrived(self, asked: Asked) -> None: ...

    def answered(self, asked: Asked, status: int, headers: Headers, content: bytes) -> None: ...

    def ended(self, asked: Asked) -> None: ...


class Way(Line):
    """A line whose latencies have one distribution; *median* is of a way and back."""

    def __init__(self, process: Process, chance: random.Random, latency: Lognormal) -> None:
        super().__init__(process, Quiet(), chance)
        self._latency = latency

    def delay(self) -> float:
        return self._latency.draw(self.chance)


def silence() -> None:
    """No log lines: they are no part of what is measured."""

    def drop(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        raise structlog.DropEvent(event)

    structlog.configure(processors=[drop])


def roll_out(point: Point) -> Found:
    """Play *point* until the last credential stands."""
    silence()
    random.seed(point.seed)
    gc.disable()  # the process ends with this point; cycles are few
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_play(point))
    finally:
        loop.close()
        gc.enable()


async def _play(point: Point) -> Found:
    return await _Rollout(point).run()


class _Rollout:
    def __init__(self, point: Point) -> None:
        self.point = point
        self.stage = Stage(
            Setup(
                seed=point.seed,
                clusters=1,
                replicas=1,
                members=_members(point),
                lease=15.0,
                drift=600.0,
                heartbeat=86400.0,
                skews=(0.0,),
                lag=0.0,
                subscriptions=point.subscriptions,
            )
        )
        self.place = self.stage.places[0]
        self.before = {name: len(each.credentials) for name, each in self.stage.identities.items()}
        for number in range(point.namespaces):
            metadata = {"name": f"namespace-{number:04}", "labels": {"team": "shop"}}
            self.stage.put(self.place, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.stage.put(self.place, self._grant())
        if point.conflicts:
            fault = Fault(
                service="arm",
                method="PUT",
                path="federatedIdentityCredentials",
                status=409,
                code=CONCURRENT,
                probability=point.conflicts,
                seed=point.seed,
            )
            self.stage.azure.faults.add(fault)

    def _grant(self) -> dict[str, Any]:
        spec = {
            "namespaces": {"selector": {"matchLabels": {"team": "shop"}}},
            "vault": {"url": f"https://{VAULTS[0]}.vault.azure.net"},
            "identities": [{"resourceId": each.resource_id} for each in self.stage.identities.values()],
            "claims": "Automatic",
            "approval": "Automatic",
        }
        return {"apiVersion": API, "kind": "VaultGrant", "metadata": {"name": "shop"}, "spec": spec}

    async def run(self) -> Found:
        process, point = Process("operator"), self.point
        chance = random.Random(f"latency/{point.seed}")  # noqa: S311 - a seed makes it repeat
        # Half of it each way.
        azure = Way(process, chance, Lognormal(median=point.latency / 2, sigma=0.4))
        kube = Way(process, chance, _KUBE_WAY)
        seams = Seams(
            clock=LoopClock(EPOCH),
            kubernetes=kube_config("replica-0", self.place.issuer),
            kubernetes_transport=KubeTransport(kube, self.place.cluster),
            azure_transport=lambda: AzureTransport(azure, self.stage.app),
            credential=Credential(self.stage, self.place.application),
            instance="operator",
        )
        settings = Settings(propagation_wait=point.proof_wait, lease_namespace=NAMESPACE)
        operator, stop = Operator(settings, seams), asyncio.Event()
        running = process.spawn(operator.run(stop), name="operator")
        while self._standing() < point.namespaces and not running.done():
            if self.stage.now > _LONGEST:
                raise RuntimeError(f"{point}: {self._standing()} of {point.namespaces} after {_LONGEST:.0f} s")
            await asyncio.sleep(_LOOK)
        passes = operator.controller.passes if operator.controller is not None else 0
        stop.set()
        await running
        await asyncio.gather(azure.close(), kube.close())
        return self._found(passes)

    def _standing(self) -> int:
        """Credentials of ours."""
        identities = self.stage.identities
        return sum(len(each.credentials) - self.before[name] for name, each in identities.items())

    def _found(self, passes: int) -> Found:
        starts, refused = [], Counter[str]()
        for entry in self.stage.journal.entries(service="arm"):
            write = _WRITE.match(entry.path)
            if entry.method == "PUT" and write is not None:
                starts.append(entry.at)
                refused[write[1].lower()] += entry.status not in (200, 201)
        pool = [self._slots(name, each, refused) for name, each in self.stage.identities.items()]
        best = optimum(self.point.namespaces, pool)
        return Found(max(starts) - min(starts), best, len(starts), refused.total(), passes)

    def _slots(self, name: str, identity: Identity, refused: Counter[str]) -> Slots:
        room = CREDENTIALS_PER_IDENTITY - self.before[name]
        return Slots(identity.subscription_id, room, refused[identity.resource_id.lower()])


def _members(point: Point) -> tuple[Member, ...]:
    """Other people's credentials go where chance will have them, no more than nineteen to an identity."""
    chance = random.Random(f"foreign/{point.seed}")  # noqa: S311 - a seed makes it repeat
    foreign = [0] * point.identities
    for _ in range(round(point.foreign * CREDENTIALS_PER_IDENTITY * point.identities)):
        # Whoever has some gets more: pools are shared unevenly.
        free = [index for index, count in enumerate(foreign) if count < CREDENTIALS_PER_IDENTITY - 1]
        foreign[chance.choices(free, weights=[1 + foreign[index] for index in free])[0]] += 1
    return tuple(
        Member(f"identity-{index:03}", count, index % point.subscriptions) for index, count in enumerate(foreign)
    )
