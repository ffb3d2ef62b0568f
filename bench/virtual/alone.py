"""The operator in a process of its own, over real sockets, at services on loopback; prints what it used, as JSON.

``python bench/virtual/alone.py JSON``: ports, the number of grants, and a token for Resource Manager. Nothing of the
sandbox is imported here, so that the memory is the operator's.
"""

import asyncio
import datetime
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport
from lightkube.config.kubeconfig import KubeConfig
from yarl import URL

from keystead.kube.permissions import NAMESPACE
from keystead.operator.app import Operator, Seams
from keystead.operator.clock import LoopClock
from keystead.operator.collector import keep_what_stands
from keystead.operator.settings import Settings

_AFTER = 30.0  # seconds from the last plan until the process is looked at
_FOREVER = 30 * 86400.0  # no heartbeat falls due: what is looked at is a cluster at rest


class _Redirected(AioHttpTransport):  # type: ignore[misc] # azure-core types it as Any
    """To the emulated Azure on loopback, whatever host is named."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def send(self, request: Any, **kwargs: Any) -> Any:
        url = URL(request.url, encoded=True)
        request.headers["Host"] = url.host or ""
        request.url = str(url.with_scheme("http").with_host("127.0.0.1").with_port(self._port))
        return await super().send(request, **kwargs)


class _Token:
    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        del scopes
        return AccessToken(self._token, 2**40)

    async def close(self) -> None:
        return


async def _operate(given: dict[str, Any]) -> None:
    config = KubeConfig.from_dict(
        {
            "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{given['kube']}"}}],
            "users": [{"name": "u", "user": {"token": given["user"]}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }
    ).get()
    seams = Seams(
        # The server's too: both count from when the machine was started.
        clock=LoopClock(datetime.datetime.fromisoformat(given["epoch"])),
        kubernetes=config,
        azure_transport=lambda: _Redirected(given["azure"]),
        credential=_Token(given["token"]),
        instance="alone",
    )
    settings = Settings(lease_namespace=NAMESPACE, heartbeat=_FOREVER)
    operator, stop = Operator(settings, seams, on_synced=keep_what_stands), asyncio.Event()
    began = time.monotonic()
    running = asyncio.create_task(operator.run(stop))
    while not running.done() and _planned(operator) < given["grants"]:  # noqa: ASYNC110 - a look from outside
        await asyncio.sleep(0.5)
    planned, processor = time.monotonic() - began, time.process_time()
    await asyncio.sleep(_AFTER)
    pages = int(Path("/proc/self/statm").read_text().split()[1])  # noqa: ASYNC240 - a read of memory
    found = {
        "resident": pages * resource.getpagesize() / 1e6,
        "peak": _peak() / 1e6,
        "planned": planned,
        "processor": processor,
        "calm": (time.process_time() - processor) / _AFTER,
    }
    print(json.dumps(found), flush=True)
    stop.set()
    await running


def _peak() -> int:
    """Bytes; rusage would tell of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def _planned(operator: Operator) -> int:
    grants = operator.caches.grants() if operator.caches is not None else ()
    return sum(any(each.type == "PoolReady" and each.status == "True" for each in grant.conditions) for grant in grants)


if __name__ == "__main__":
    asyncio.run(_operate(json.loads(sys.argv[1])))
