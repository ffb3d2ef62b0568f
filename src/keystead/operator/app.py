"""The composition root: every object of the operator is built here, with constructor arguments."""

import asyncio
import contextlib
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
from keystead.apply.lanes import WRITE_DEADLINE, Lanes, LaneWiring
from keystead.apply.pacing import Paces
from keystead.apply.verifier import Quorum, Verifier
from keystead.azure.arm import IdentityClient
from keystead.azure.clouds import CLOUDS
from keystead.azure.credential import SignIn, make_credential
from keystead.azure.exchange import FreshExchanger
from keystead.azure.pool import PoolClient
from keystead.azure.transport import MakeTransport, aiohttp_transport
from keystead.kube.caches import ClusterCaches
from keystead.kube.client import Api, load_config
from keystead.kube.eso import Eso
from keystead.kube.informer import Patience
from keystead.kube.issuer import read_cluster
from keystead.kube.lease import Lease, LeaseTimes
from keystead.kube.queue import WorkQueue
from keystead.kube.status import StatusWriter
from keystead.kube.writer import ClusterWriter
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError
from keystead.model.records import Claim, Cluster, Federation, ServiceAccount
from keystead.observe.inventory import Inventory, ListPaces
from keystead.observe.keys import watcher
from keystead.observe.snapshots import Azure, Memory, Observer
from keystead.operator.clock import LoopClock
from keystead.operator.controller import COALESCE, Controller
from keystead.operator.growing import GrowingParts, grow
from keystead.operator.settings import Settings
from keystead.plan.snapshot import Limits
from keystead.plan.verdicts import orphan_claim_verdict
from keystead.report.metrics import Metrics
from keystead.report.publish import Publisher, Told

log = structlog.get_logger("keystead.operator")
_WORKERS = 4
_AHEAD, _LEAST_AHEAD = 0.5, 2.0
"""How far ahead of their turns claims are given a place: a part of a lane's pace, so that its last write is answered by
then, but no fewer seconds than a pass and its records take."""
_GRACE = 5.0  # seconds for passes to end by themselves once nothing more is begun
_FLUSH = 4.0  # seconds for the last word
_LONGEST_END = _GRACE + WRITE_DEADLINE + _FLUSH + 5.0
"""Seconds; well below the half minute that Kubernetes gives a pod. The release of the lease is the rest."""


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

    def __init__(
        self, settings: Settings, seams: Seams | None = None, *, on_synced: Callable[[], None] = lambda: None
    ) -> None:
        """*on_synced* is called when all that there is was read, before anything is planned."""
        self.settings = settings
        self._on_synced = on_synced
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
        self._pools = PoolClient(self._credential, cloud, make_transport, self._clock)
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
        self._writes = self.api.only_while(lambda: self.lease.held)
        self._status = StatusWriter(self._writes, self._clock, instance=self._instance)
        self._board = Board()
        self._eso = Eso(self.api, settings.eso_account)
        self.caches: ClusterCaches | None = None
        self.inventory: Inventory | None = None
        self.lanes: Lanes | None = None
        self.controller: Controller | None = None
        self._observer: Observer | None = None
        self._verifier: Verifier | None = None
        self._growing: GrowingParts | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until *stop*, then end what was begun; errors of the start are raised, later ones are retried."""
        cluster = await read_cluster(self.api, issuer=self.settings.issuer)
        log.info("cluster", id=cluster.id, issuer=cluster.issuer, instance=self._instance)
        queue: WorkQueue[str] = WorkQueue(self._clock)
        caches = self.caches = ClusterCaches(
            self.api,
            self._clock,
            lambda old, new: self._changed(queue, old, new),
            account_names=self.settings.service_account_names,
            eso=self._eso,
            patience=self._seams.patience,
        )
        watch = asyncio.create_task(caches.run(), name="informers")
        leading = asyncio.create_task(self._lead(queue, self._board, cluster, caches), name="leader")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({watch, leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            queue.close()
            if self.controller is not None:
                await asyncio.wait({leading, watch}, timeout=_LONGEST_END, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopping, leading):
                task.cancel()
            await asyncio.gather(stopping, leading, return_exceptions=True)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await self._close()

    def _changed(self, queue: WorkQueue[str], old: Any, new: Any) -> None:
        caches, observer = self.caches, self._observer
        if caches is None or observer is None:
            return  # nobody works yet: whoever begins to looks at every grant
        if isinstance(old, Claim) and new is None:
            observer.claim_deleted(old)
        if isinstance(old or new, ServiceAccount):
            observer.account_changed(old, new)
        if isinstance(old, Claim | Federation) and new is None:
            self._forget(old, caches)
        requeue: Callable[[str], None] = lambda name: queue.add_after(name, COALESCE)  # noqa: E731 - a binding
        watcher(lambda: caches, requeue)(old, new)

    def _forget(self, gone: Claim | Federation, caches: ClusterCaches) -> None:
        """What failed for it; while a ledger entry of a claim stands, what failed for the claim still matters."""
        if isinstance(gone, Federation):
            self._board.gone(gone.name)
            self._board.forgotten(gone.name, gone.uid)  # it may have come and gone between two looks
        key = gone.key if isinstance(gone, Claim) else gone.claim_key
        namespace = gone.namespace
        standing = {each.key for each in caches.claims_in(namespace)}
        standing |= {each.claim_key for each in caches.federations_in(namespace)}
        if key not in standing:
            self._board.gone(key)

    async def _lead(self, queue: WorkQueue[str], board: Board, cluster: Cluster, caches: ClusterCaches) -> None:
        """Wait for the lease, work while it is held, begin anew when it is lost; return when the queue is closed."""
        while True:
            await self.lease.acquire()
            log.info("leading", instance=self._instance)
            self.metrics.leader.set(1)
            lost = asyncio.Event()
            keeping = asyncio.create_task(self.lease.keep(lost.set), name="lease")
            working = asyncio.create_task(self._work(queue, board, cluster, caches), name="work")
            losing = asyncio.create_task(lost.wait())
            try:
                done, _ = await asyncio.wait({keeping, working, losing}, return_when=asyncio.FIRST_COMPLETED)
                if working in done:
                    working.result()
                    return
            finally:
                self.metrics.leader.set(0)
                for task in (working, losing):
                    task.cancel()
                await asyncio.gather(working, losing, return_exceptions=True)
                self.controller = None
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await self.lease.release()

    async def _work(self, queue: WorkQueue[str], board: Board, cluster: Cluster, caches: ClusterCaches) -> None:
        await caches.until_synced()
        self._on_synced()
        controller = self._build(caches, queue, board, cluster)
        names = {grant.name for grant in caches.grants()}
        names |= {each.grant_name for each in caches.federations()} | {each.grant_name for each in caches.claims()}
        for name in sorted(names):
            queue.add(name)
        workers = [asyncio.create_task(controller.run(), name=f"worker:{number}") for number in range(_WORKERS)]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)  # the queue was closed
            await asyncio.wait(workers, timeout=_GRACE)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            drain = asyncio.create_task(self._drain(controller), name="drain")
            try:
                await asyncio.shield(drain)
            except asyncio.CancelledError:
                await drain  # it is bounded, and a write that nobody waits for is one that nobody has recorded
                raise

    def _build(self, caches: ClusterCaches, queue: WorkQueue[str], board: Board, cluster: Cluster) -> Controller:
        settings, clock = self.settings, self._clock
        writer = ClusterWriter(self._writes, clock, self._eso)

        def requeue(name: str, seconds: float = 0.0) -> None:
            queue.add_after(name, seconds + COALESCE)

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
        growing = self._growing = grow(self._pools, clock, board, self.lease.may_write, requeue, settings, self.metrics)
        memory = Memory(
            board.failures, board.exchanges, board.recorded, board.annotated, self.lanes.view, self.lanes.in_flight
        )
        azure = Azure(self.inventory, growing.looks)
        self._observer = Observer(caches, azure, memory, clock, cluster, limits_of(settings))
        publisher = Publisher(self._status)
        self.metrics.observe(caches, inventory=self.inventory, queue=queue, lanes=self.lanes.view)

        async def orphans(grant_name: str) -> Told:
            return await self._tell_orphans(caches, publisher, grant_name)

        executor = Executor(writer, self.lanes, self._verifier, growing.grower, board, clock)
        learn = self.metrics.pools.planned
        self.controller = Controller(self._observer, executor, publisher, queue, clock, orphans, learn)
        return self.controller

    async def _tell_orphans(self, caches: ClusterCaches, publisher: Publisher, grant_name: str) -> Told:
        """Claims whose grant does not exist are nobody's pass, and are told so all the same."""
        if any(grant.name == grant_name for grant in caches.grants()):
            return Told.ALL
        now, left = self._clock.now(), [claim for claim in caches.claims() if claim.grant_name == grant_name]
        told = [await publisher.claim_without_grant(claim, orphan_claim_verdict(claim), now) for claim in left]
        return max(told, default=Told.ALL)

    async def _drain(self, controller: Controller) -> None:
        """Let writes in flight end, start nothing, and say how things stand if it is still for us to say."""
        if self._verifier is not None:
            await self._verifier.stop()
        if self.lanes is not None:
            await self.lanes.stop()
        if self._growing is not None:
            await self._growing.stop()
        if self.inventory is not None:
            await self.inventory.stop()
        if self.lease.held:
            with contextlib.suppress(KeysteadError, TimeoutError):
                async with asyncio.timeout(_FLUSH):
                    await controller.tell()
                    await self._status.flush()

    async def _close(self) -> None:
        await self._identities.close()
        await self._pools.close()
        await self._credential.close()
        await self.api.close()

    def readiness(self) -> dict[str, bool]:
        """What /readyz says."""
        synced = self.caches is not None and self.caches.synced
        watching = self.caches is not None and self.caches.watching
        azure = self.inventory is None or self.inventory.reachable is not False
        return {"synced": synced, "watching": watching, "leader": self.lease.held, "azure": azure}


def limits_of(settings: Settings) -> Limits:
    """The settings that rules depend on."""

    def seconds(value: float) -> datetime.timedelta:
        return datetime.timedelta(seconds=value)

    return Limits(
        lane_pace=seconds(settings.lane_pace),
        subscription_pace=seconds(settings.subscription_pace),
        tenant_pace=seconds(settings.tenant_pace),
        horizon=seconds(max(_LEAST_AHEAD, _AHEAD * settings.lane_pace)),
        propagation_wait=seconds(settings.propagation_wait),
        heartbeat=seconds(settings.heartbeat),
        finalizer_wait=seconds(settings.finalizer_wait),
        service_account_names=frozenset(settings.service_account_names),
        observe_only=settings.observe_only,
        require_guards=settings.require_guards,
        own_namespace=settings.lease_namespace,
    )
