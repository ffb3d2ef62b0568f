"""kopf with a handler of events for each kind; it keeps no objects."""

import asyncio
import importlib
import logging
import sys
from typing import Any

from meter import Meter


async def main(server: str, objects: int, burst: int) -> None:
    kopf: Any = importlib.import_module("kopf")
    logging.getLogger("kopf").setLevel(logging.ERROR)
    logging.disable(logging.WARNING)
    stop = asyncio.Event()
    registry = kopf.OperatorRegistry()
    meter = Meter(server, objects, burst)

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator,unused-ignore] # known only where kopf is
    def login(**_: Any) -> Any:
        return kopf.ConnectionInfo(server=server)

    def listen(plural: str) -> None:
        @kopf.on.event(plural, registry=registry)  # type: ignore[untyped-decorator,unused-ignore] # as above
        async def happened(namespace: str | None, name: str, **_: Any) -> None:
            meter.arrived((plural, namespace or "", name))
            if meter.is_done:
                stop.set()

    for plural in ("namespaces", "serviceaccounts", "vaultclaims"):
        listen(plural)
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    await kopf.operator(registry=registry, settings=settings, standalone=True, clusterwide=True, stop_flag=stop)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
