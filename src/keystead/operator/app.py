"""The composition root: every object of the operator is built here, with constructor arguments."""

import asyncio
import datetime
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from lightkube.config.kubeconfig import SingleConfig

from keystead.apply.board import Board
from keystead.apply.executor import Executor
from keystead.apply.lanes import Lanes, LaneWiring
from keystead.apply.pacing import Paces
from keystead.apply.verifier import Quorum, Verifier
from keystead.azure.arm import IdentityClient
from keystead.azure.clouds import CLOUDS
from keystead.azure.credential import SignIn, make_credential
from keystead.azure.exchange import FreshExchanger
from keystead.azure.transport import MakeTransport, aiohttp_transport
from keystead.kube.caches import ClusterCaches
from keystead.kube.client import Api, load_config
from keystead.kube.informer import Patience
from keystead.kube.issuer import read_cluster
from keystead.kube.lease import Lease, LeaseTimes
from keystead.kube.queue import WorkQueue
from keystead.kube.status import StatusWriter
from keystead.kube.writer import ClusterWriter
from keystead.model.clock import Clock
from keystead.model.records import Claim, Cluster
from keystead.observe.inventory import Inventory, ListPaces
from keystead.observe.keys import watcher
from keystead.observe.snapshots import Memory, Observer
from keystead.operator.clock import LoopClock
from keystead.operator.controller import Controller
from keystead.operator.settings import Settings
from keystead.plan.snapshot import Limits
from keystead.plan.verdicts import orphan_claim_verdict
from keystead.report.metrics import Metrics
from keystead.report.publish import Publisher, Told

log = structlog.get_logger("keystead.operator")
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Seams:
    """What tests and the simulation put in place of the network and of time."""

    clock: Clock
    kubernetes: SingleConfig | None = None
    kubernetes_transport: httpx2.AsyncBaseTransport | None = None
    azure_transport: MakeTransport = aiohttp_transport
    credential: Any = None
    instance: str = ""
    patience: Patience | None = None


class Operator:
    """One replica."""

    def __init__(self, settings: Settings, seams: Seams | None = None) -> None:
        self.settings = settings
        self._seams = seams or Seams(LoopClock())
        self._clock = self._seams.clock
        self._instance = self._seams.instance or f"{socket.gethostname()}-{os.getpid()}"
        config = self._seams.kubernetes or load_config(settings.kubeconfig or None, settings.context or None)
        self.api = Api(config, transport=self._seams.kubernetes_transport)
        cloud = CLOUDS[settings.cloud]
        sign_in = SignIn(settings.tenant_id, settings.client_id, settings.client_secret, settings.token_file)
        make_transport = self._seams.azure_transport
        self._credential = self._seams.credential or make_credential(sign_in, cloud, make_transport)
        self._identities = IdentityClient(self._credential, cloud, make_transport, self._clock)
        self._exchanger = FreshExchanger(make_transport, self._clock)
        self.metrics = Metrics()
        self.lease = Lease(
            self.api,
            self._clock,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=self._instance,
            times=LeaseTimes(duration=settings.lease_duration),
        )
        self.caches: ClusterCaches | None = None
        self.inventory: Inventory | None = None
        self.lanes: Lanes | None = None
        self.controller: Controller | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until *stop*; errors of the start are raised, later ones are retried."""
        cluster = await read_cluster(self.api, issuer=self.settings.issuer)
        log.info("cluster", id=cluster.id, issuer=cluster.issuer, instance=self._instance)
        queue = WorkQueue(self._clock)
        board = Board()
        watch = asyncio.create_task(self._watch(queue, board, cluster), name="informers")
        leading = asyncio.create_task(self._lead(queue, board, cluster), name="leader")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({watch, leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (stopping, leading, watch):
                task.cancel()
            await asyncio.gather(stopping, leading, watch, return_exceptions=True)
            await self._close()

    async def _watch(self, queue: WorkQueue, board: Board, cluster: Cluster) -> None:
        del board, cluster
        self.caches = ClusterCaches(
            self.api,
            self._clock,
            lambda old, new: self._changed(queue, old, new),
            account_names=self.settings.service_account_names,
            patience=self._seams.patience,
        )
        await self.caches.run()

    def _changed(self, queue: WorkQueue, old: Any, new: Any) -> None:
        if self.caches is None or self._observer is None:
            return  # nobody works yet: whoever begins to looks at every grant
        caches = self.caches
        if isinstance(old, Claim) and new is None:
            self._observer.claim_deleted(old)
        requeue: Callable[[str], None] = lambda name: queue.add_after(name, 0.03)  # noqa: E731 - a binding
        watcher(lambda: caches, requeue)(old, new)

    _observer: Observer | None = None

    async def _lead(self, queue: WorkQueue, board: Board, cluster: Cluster) -> None:
        """Wait for the lease, work while it is held, begin anew when it is lost."""
        while True:
            await self.lease.acquire()
            log.info("leading", instance=self._instance)
            self.metrics.leader.set(1)
            lost = asyncio.Event()
            keeping = asyncio.create_task(self.lease.keep(lost.set), name="lease")
            working = asyncio.create_task(self._work(queue, board, cluster), name="work")
            losing = asyncio.create_task(lost.wait())
            try:
                done, _ = await asyncio.wait({keeping, working, losing}, return_when=asyncio.FIRST_COMPLETED)
                if working in done:
                    working.result()
            finally:
                self.metrics.leader.set(0)
                for task in (working, losing):
                    task.cancel()
                await asyncio.gather(working, losing, return_exceptions=True)
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await self.lease.release()

    async def _work(self, queue: WorkQueue, board: Board, cluster: Cluster) -> None:
        while self.caches is None:
            await self._clock.sleep(0.01)
        await self.caches.until_synced()
        controller = self._build(self.caches, queue, board, cluster)
        for name in {grant.name for grant in self.caches.grants()} | {
            each.grant_name for each in self.caches.federations()
        }:
            queue.add(name)
        for claim in self.caches.claims():
            queue.add(claim.grant_name)
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(_WORKERS):
                    tasks.create_task(controller.run(), name=f"worker:{number}")
        finally:
            await asyncio.shield(self._drain())

    def _build(self, caches: ClusterCaches, queue: WorkQueue, board: Board, cluster: Cluster) -> Controller:
        settings, clock = self.settings, self._clock
        leading = self.api.only_while(lambda: self.lease.held)
        writer = ClusterWriter(leading, clock)
        status = StatusWriter(leading, clock, instance=self._instance)

        def requeue(name: str) -> None:
            queue.add_after(name, 0.03)

        self.inventory = Inventory(
            self._identities,
            clock,
            requeue,
            ListPaces(identity=settings.list_pace, drift=settings.drift_interval),
        )
        wiring = LaneWiring(
            credentials=self._identities,
            clock=clock,
            board=board,
            live_uid=writer.namespace_uid,
            gate=self.lease.may_write,
            requeue=requeue,
            corrected=self.inventory.corrected,
            doubted=self.inventory.doubted,
            known=self.inventory.known,
            counted=self.metrics.count_write,
        )
        paces = Paces(settings.lane_pace, settings.subscription_pace, settings.tenant_pace)
        self.lanes = Lanes(wiring, paces)
        self._verifier = Verifier(
            writer, self._exchanger, clock, board, requeue, Quorum(settings.quorum, settings.quorum_interval)
        )
        memory = Memory(board.failures, board.exchanges, board.recorded, self.lanes.view, self.lanes.in_flight)
        self._observer = Observer(caches, self.inventory, memory, clock, cluster, _limits(settings))
        publisher = Publisher(status)
        self.metrics.observe(caches, inventory=self.inventory, queue=queue, lanes=self.lanes.view)

        async def orphans(grant_name: str) -> Told:
            if any(grant.name == grant_name for grant in caches.grants()):
                return Told.ALL
            left = [claim for claim in caches.claims() if claim.grant_name == grant_name]
            told = [
                await publisher.claim_without_grant(claim, orphan_claim_verdict(claim), clock.now()) for claim in left
            ]
            return max(told, default=Told.ALL)

        executor = Executor(writer, self.lanes, self._verifier, board, clock)
        self.controller = Controller(self._observer, executor, publisher, queue, clock, orphans)
        return self.controller

    _verifier: Verifier | None = None

    async def _drain(self) -> None:
        """Let writes in flight end; start nothing."""
        if self._verifier is not None:
            await self._verifier.stop()
        if self.lanes is not None:
            await self.lanes.stop()
        if self.inventory is not None:
            await self.inventory.stop()

    async def _close(self) -> None:
        await self._identities.close()
        await self._credential.close()
        await self.api.close()

    def readiness(self) -> dict[str, bool]:
        """What /readyz says."""
        synced = self.caches is not None and self.caches.synced
        azure = self.inventory is None or self.inventory.reachable is not False
        return {"synced": synced, "leader": self.lease.held, "azure": azure}


def _limits(settings: Settings) -> Limits:
    def seconds(value: float) -> datetime.timedelta:
        return datetime.timedelta(seconds=value)

    return Limits(
        lane_pace=seconds(settings.lane_pace),
        propagation_wait=seconds(settings.propagation_wait),
        heartbeat=seconds(settings.heartbeat),
        finalizer_wait=seconds(settings.finalizer_wait),
        service_account_names=frozenset(settings.service_account_names),
        observe_only=settings.observe_only,
    )
