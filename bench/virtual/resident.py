"""What the operator needs of memory on a large settled cluster: a process of its own, in real time, over real sockets."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from rollout import silence
from settled import Size, begin, fill, put_pattern
from steady import make_pattern

from keystead_sandbox.server import Server
from simulation.stage import EPOCH, Object

_ALONE = Path(__file__).with_name("alone.py")


def weigh(size: Size) -> dict[str, Any]:
    """Serve the cluster and Azure, run the operator until every grant is planned and a while longer."""
    silence()
    return asyncio.run(_serve(size, make_pattern(size)))


async def _serve(size: Size, pattern: dict[str, Object]) -> dict[str, Any]:
    stage = begin(size)
    put_pattern(stage, pattern)
    fill(stage, size)
    place = stage.places[0]
    kube, azure = Server(place.cluster), Server(stage.app)
    given = {
        "kube": await kube.start(),
        "azure": await azure.start(),
        "user": "replica-0",
        "grants": size.grants,
        "epoch": EPOCH.isoformat(),
        "token": stage.app.authority.issue(place.application, "https://management.azure.com/"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_ALONE), json.dumps(given), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    await asyncio.gather(kube.stop(), azure.stop())
    found: dict[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith(b"{")))
    return found
