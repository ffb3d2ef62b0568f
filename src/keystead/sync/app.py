"""The engine's composition root, and the process around it: the lease, signals, exit.

Of several replicas one serves; the others wait for its lease, and begin from nothing when they get it.
"""

import asyncio
import os
import socket

import httpx2
import structlog
from lightkube.config.kubeconfig import SingleConfig

from keystead.azure.exchange import FreshExchanger
from keystead.azure.transport import MakeTransport, aiohttp_transport
from keystead.kube.client import Api, load_config
from keystead.kube.lease import Lease
from keystead.kube.signals import stop_on_signals
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError
from keystead.sync.clock import EngineClock
from keystead.sync.cluster import ClusterAccounts, ClusterSecrets, ClusterVoice
from keystead.sync.engine import Engine, Manners
from keystead.sync.settings import SyncSettings
from keystead.sync.shelf import Shelf
from keystead.sync.tokens import Tokens
from keystead.sync.vault import KeyVaults

log = structlog.get_logger("keystead.sync")


class SyncApp:
    """Built from settings and the two seams below which tests put the sandbox."""

    def __init__(
        self,
        settings: SyncSettings,
        *,
        config: SingleConfig | None = None,
        kube_transport: httpx2.AsyncBaseTransport | None = None,
        make_transport: MakeTransport = aiohttp_transport,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or EngineClock()
        config = config or load_config(settings.kubeconfig or None, settings.context or None)
        self._settings = settings
        self._clock = clock
        self._instance = f"{socket.gethostname()}-{os.getpid()}"
        self._api = Api(config, transport=kube_transport)
        self._make_transport = make_transport
        self._vaults = KeyVaults(make_transport, clock)
        namespace, name = settings.lease
        self._lease = Lease(self._api, clock, namespace=namespace, name=name, identity=self._instance)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until *stop*, whenever the lease is ours."""
        serving = asyncio.create_task(self._lead(), name="leader")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
        finally:
            for task in (serving, stopping):
                task.cancel()
            await asyncio.gather(serving, stopping, return_exceptions=True)
            await self._vaults.close()
            await self._api.close()

    async def _lead(self) -> None:
        """Each time with an engine that knows nothing: what the last one knew may be old by then."""
        while True:
            await self._lease.acquire()
            log.info("leading", instance=self._instance)
            lost = asyncio.Event()
            keeping = asyncio.create_task(self._lease.keep(lost.set), name="lease")
            serving = asyncio.create_task(self._engine().run(), name="engine")
            try:
                done, _ = await asyncio.wait({keeping, serving}, return_when=asyncio.FIRST_COMPLETED)
                if serving in done:
                    serving.result()
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await self._lease.release()

    def _engine(self) -> Engine:
        settings, clock = self._settings, self._clock
        exchanger = FreshExchanger(self._make_transport, clock, authority=settings.authority)
        return Engine(
            self._api,
            ClusterSecrets(self._api),
            ClusterVoice(self._api, clock, instance=self._instance),
            Tokens(ClusterAccounts(self._api), exchanger, clock),
            Shelf(self._vaults, clock),
            clock,
            Manners(settings.controller_class, settings.store_interval, settings.workers),
        )


async def serve(settings: SyncSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        await SyncApp(settings).run(stop_on_signals())
    except* KeysteadError as group:
        raise group.exceptions[0] from None
    log.info("stopped")
