"""The engine's composition root, and the process around it: signals, exit."""

import asyncio
import os
import signal
import socket

import httpx2
import structlog
from lightkube.config.kubeconfig import SingleConfig

from keystead.azure.exchange import FreshExchanger
from keystead.azure.transport import MakeTransport, aiohttp_transport
from keystead.kube.client import Api, load_config
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
        self._api = Api(config, transport=kube_transport)
        self._vaults = KeyVaults(make_transport, clock)
        tokens = Tokens(
            ClusterAccounts(self._api), FreshExchanger(make_transport, clock, authority=settings.authority), clock
        )
        self.engine = Engine(
            self._api,
            ClusterSecrets(self._api),
            ClusterVoice(self._api, clock, instance=f"{socket.gethostname()}-{os.getpid()}"),
            tokens,
            Shelf(self._vaults, clock),
            clock,
            Manners(settings.controller_class, settings.store_interval, settings.workers),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until *stop*."""
        serving = asyncio.create_task(self.engine.run(), name="engine")
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


async def serve(settings: SyncSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await SyncApp(settings).run(stop)
    except* KeysteadError as group:
        raise group.exceptions[0] from None
    log.info("stopped")
