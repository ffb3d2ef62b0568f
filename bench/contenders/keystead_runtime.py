"""The operator's own caches, with their indexes, and a queue whose workers look at every object that changed."""

import asyncio
import sys
from typing import Any

from lightkube.config.kubeconfig import KubeConfig
from meter import Meter

from keystead.kube.caches import ClusterCaches
from keystead.kube.client import Api
from keystead.kube.queue import WorkQueue
from keystead.operator.clock import LoopClock

Key = tuple[str, str, str]
_WORKERS = 4


async def main(server: str, objects: int, burst: int) -> None:
    config = KubeConfig.from_server(server).get()
    if config is None:
        raise SystemExit("no context")
    meter = Meter(server, objects, burst)
    api, clock = Api(config), LoopClock()
    queue: WorkQueue[Key] = WorkQueue(clock, group=lambda key: key[0])

    def changed(old: Any, new: Any) -> None:
        record = new if new is not None else old
        queue.add((type(record).__name__, getattr(record, "namespace", ""), record.name))

    async def work() -> None:
        while not meter.is_done:
            key = await queue.get()
            meter.arrived(key)
            queue.forget(key)
            queue.done(key)

    caches = ClusterCaches(api, clock, changed, account_names=["keystead"])
    watching = asyncio.create_task(caches.run())
    workers = [asyncio.create_task(work()) for _ in range(_WORKERS)]
    await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
    for task in (*workers, watching):
        task.cancel()
    await asyncio.gather(*workers, watching, return_exceptions=True)
    await api.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
