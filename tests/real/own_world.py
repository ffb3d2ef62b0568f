"""A world on a control plane of its own, whose programs a test may stop, kill and start again.

- Every replica of the operator reaches both of its worlds through a :class:`Replica`, which counts, and notes at each
  write to Azure whether the lease stood behind it: by the renewals that the API server has confirmed, not by what the
  replica believes.
- While a program is away nobody looks at objects: the tests' own client waits for an answer, and all would wait with it.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from lightkube.config.kubeconfig import SingleConfig
from starlette.types import Receive, Scope, Send

from control_plane_fixture import Reachable
from keystead.kube.informer import Patience
from keystead.operator.app import Operator
from keystead_sandbox.control_plane import assets
from keystead_sandbox.control_plane.cluster import ControlPlane, running
from keystead_sandbox.journal import Entry
from real_world import RealWorld, begun
from world import Trap

_CREDENTIAL = "/federatedidentitycredentials/"


@dataclass(frozen=True)
class AzureWrite:
    """A write of a credential as it arrived at Azure."""

    replica: str
    method: str
    name: str
    at: float
    """Wall seconds, of a clock that never goes back."""
    covered: bool
    """A renewal that the API server had confirmed had not run out."""
    alone: bool
    """No other replica held the lease."""


class Replica(Trap):
    """Between one replica and its two worlds."""

    def __init__(self, world: "OwnWorld", name: str) -> None:
        super().__init__()
        self._world = world
        self.name = name
        self.kept_off = False
        """Nothing new reaches the API server; what streams already goes on."""
        self.requests = 0
        self.covered_until = float("-inf")
        self.operator: Operator | None = None

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("PUT", "DELETE") and _CREDENTIAL in scope["path"].lower():
            self._world.note(self, scope["method"], scope["path"].rpartition("/")[2])
        await super().__call__(app, scope, receive, send)


class _Way(httpx2.AsyncBaseTransport):
    """A replica's way to the API server."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, replica: Replica) -> None:
        self._inner = inner
        self._replica = replica

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._replica.requests += 1
        if self._replica.kept_off:
            raise httpx2.ConnectError("kept off")
        asked = time.monotonic()
        response = await self._inner.handle_async_request(request)
        if "/leases" in request.url.path and request.method in ("POST", "PUT") and response.is_success:
            spec = json.loads(request.content)["spec"]
            ours = spec["holderIdentity"] == self._replica.name
            self._replica.covered_until = asked + spec["leaseDurationSeconds"] if ours else float("-inf")
        return response


class OwnWorld(RealWorld):
    """One Azure, and replicas that come and go, beside a control plane that does so too."""

    patience = Patience()
    """As in production: how often is asked of a server that is away is what is looked at."""

    def __init__(self, plane: ControlPlane, **settings: Any) -> None:
        super().__init__(**settings)
        self.plane = plane
        self.replicas: dict[str, Replica] = {}
        self.noted: list[AzureWrite] = []
        self._arrived = asyncio.Event()
        self._away: list[tuple[float, float]] = []

    async def go_away(self, program: str, *, still: bool = False) -> None:
        """Kill a program, or let it stand *still*."""
        self._away.append((self.clock.now(), float("inf")))
        if still:
            self.plane.pause(program)
        else:
            await self.plane.kill(program)

    async def come_back(self, program: str, *, still: bool = False) -> None:
        """Return when the API server is ready again."""
        if still:
            self.plane.resume(program)
            await self.plane.until_ready()
        else:
            await self.plane.revive(program)
        self._away[-1] = (self._away[-1][0], self.clock.now())

    def refused(self) -> list[Entry]:
        """While it comes up, and is not ready yet, an API server knows no roles and refuses everybody."""
        return [each for each in super().refused() if not any(begin <= each.at <= end for begin, end in self._away)]

    def replica(self, name: str) -> Replica:
        """Start one more replica."""
        replica = self.replicas[name] = Replica(self, name)
        replica.operator = self.start(trap=replica, instance=name)
        return replica

    def leader(self) -> Replica | None:
        return next((each for each in self.replicas.values() if each.operator and each.operator.lease.held), None)

    def note(self, replica: Replica, method: str, name: str) -> None:
        now = time.monotonic()
        others = [each for each in self.replicas.values() if each is not replica and each.operator is not None]
        alone = not any(each.operator.lease.held for each in others if each.operator is not None)
        self.noted.append(AzureWrite(replica.name, method, name, now, now <= replica.covered_until, alone))
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def until_written(self, after: int) -> None:
        """Wait until more than *after* writes have arrived at Azure."""
        async with asyncio.timeout(300):
            while len(self.noted) <= after:
                await self._arrived.wait()

    def uncovered(self) -> list[AzureWrite]:
        """Writes behind which no lease stood, or more than one."""
        return [each for each in self.noted if not (each.covered and each.alone)]

    def written_twice(self) -> list[tuple[str, str]]:
        """Credentials that Azure wrote, or deleted, more than once."""
        done = [(entry.method, entry.path) for entry in self.azure_writes() if entry.status in (200, 201, 204)]
        return [each for each in sorted(set(done)) if done.count(each) > 1]

    def _kubernetes(self, trap: Trap) -> tuple[SingleConfig, httpx2.AsyncBaseTransport]:
        config, transport = super()._kubernetes(trap)
        return config, _Way(transport, trap) if isinstance(trap, Replica) else transport

    async def _leave(self) -> None:
        """Nobody comes after us: the control plane ends with the test."""


@contextlib.asynccontextmanager
async def own_world(folder: Path, **settings: Any) -> AsyncIterator[OwnWorld]:
    """A world with a control plane of its own in *folder*."""
    found = assets.find(dict(os.environ))  # noqa: TID251 - as the command will look for it
    assert found is not None
    async with running(found, folder) as plane:
        with begun(Reachable(plane.url, plane.ca_pem, plane.token(), plane.kubeconfig)):
            async with OwnWorld(plane, **settings) as world:
                yield world
