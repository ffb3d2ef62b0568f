"""lightkube by itself: list in pages, keep the objects, watch from there."""

import asyncio
import sys
from typing import Any

import lightkube
from lightkube.config.kubeconfig import KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Namespace, ServiceAccount
from meter import Meter


async def main(server: str, objects: int, burst: int) -> None:
    config = KubeConfig.from_dict(
        {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "c", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
    )
    claims = create_namespaced_resource("keystead.dev", "v1alpha1", "VaultClaim", "vaultclaims")
    meter = Meter(server, objects, burst)
    client: Any = lightkube.AsyncClient(config.get(), trust_env=False)
    held: dict[tuple[str, str, str], Any] = {}

    def keep(kind: str, item: Any) -> None:
        key = (kind, item.metadata.namespace or "", item.metadata.name)
        held[key] = item
        meter.arrived(key)

    async def follow(resource: Any) -> None:
        where = {} if resource is Namespace else {"namespace": "*"}
        listed = client.list(resource, chunk_size=500, **where)
        async for item in listed:
            keep(resource.__name__, item)
        version = listed.resourceVersion
        async for _, item in client.watch(resource, resource_version=version, **where):
            keep(resource.__name__, item)
            if meter.is_done:
                return

    tasks = [asyncio.create_task(follow(each)) for each in (Namespace, ServiceAccount, claims)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
