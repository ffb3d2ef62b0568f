"""The operator as a process of its own, between a real API server and an emulated Azure that can kill it.

- Azure is served by the test itself, over TLS behind the sandbox's proxy, so the process is the one that people run, with
  settings as they are given to it.
- A :class:`Moment` is a request to Azure: the process is killed, by SIGKILL, when it arrives, or when it has taken effect
  and nobody was told.
"""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keystead.kube.permissions import NAMESPACE, OPERATOR
from keystead.operator.settings import Settings
from keystead_sandbox import kubeconfig
from keystead_sandbox.azure import NAMES
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.processes import Part, Parts, executable
from keystead_sandbox.proxy import Proxy
from keystead_sandbox.server import ABORT, Server
from real_world import RealWorld, session

_LEASE = 12.0  # seconds; who comes after one that was killed waits that long
_CREDENTIAL = "/federatedidentitycredentials/"


@dataclass(frozen=True)
class Moment:
    """A kind of request to Azure at which the process dies."""

    kind: str
    """``PUT`` or ``DELETE`` of a credential, or ``exchange`` of a ServiceAccount's token."""
    after: bool = False
    """When Azure has done it, in place of when it is asked to."""

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.kind}"


class Deadly:
    """An Azure that kills who asks it, at each of its moments in turn."""

    def __init__(self, world: RealWorld, moments: Sequence[Moment]) -> None:
        self._world = world
        self.moments = list(moments)
        self.killed = 0
        self.most = 0
        """Credentials that one subject had at once, at most."""
        self.part: Part | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._world.azure_app
        body = await _read(receive)
        moment = self.moments[0] if self.moments else None
        if moment is None or self.part is None or _kind(scope, body) != moment.kind:
            await app(scope, _replayed(body, receive), send)
        elif self.part.process.returncode is None:
            self.moments.pop(0)
            if moment.after:
                await app(scope, _replayed(body, receive), _nowhere)
            self.part.process.kill()
            self.killed += 1
            scope["extensions"][ABORT]()
        self._count()

    def _count(self) -> None:
        subjects = [
            each.subject for identity in self._world.azure.identities.values() for each in identity.credentials.values()
        ]
        self.most = max([self.most, *map(subjects.count, subjects)])


def _kind(scope: Scope, body: bytes) -> str:
    if scope["method"] in ("PUT", "DELETE") and _CREDENTIAL in scope["path"].lower():
        return str(scope["method"])
    return "exchange" if b"client_assertion=" in body else ""


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _nowhere(message: Message) -> None:
    """Nobody is left to read the answer."""


class Processes:
    """The operator's process, and the next one when it was killed."""

    def __init__(self, parts: Parts, azure: Deadly, environment: dict[str, str], log: Path) -> None:
        self._parts = parts
        self._azure = azure
        self._environment = environment
        self._log = log
        self.started = 0

    async def start(self) -> None:
        self.started += 1
        self._azure.part = await self._parts.start(
            "operator", executable("keystead"), "run", environment=self._environment
        )

    async def tend(self) -> None:
        """Start another one whenever one was killed; to be cancelled."""
        while True:
            part = self._azure.part
            assert part is not None
            code = await part.process.wait()
            assert code < 0, f"it ended by itself, with code {code}:\n{part.last_words()}"
            await self.start()

    def log(self) -> str:
        return self._log.read_text()


@contextlib.asynccontextmanager
async def operator_process(
    world: RealWorld, folder: Path, moments: Sequence[Moment]
) -> AsyncIterator[tuple[Processes, Deadly]]:
    """The process, started; killed at the *moments*, and followed by another each time."""
    azure, parts, authority = Deadly(world, moments), Parts(folder), Authority()
    async with contextlib.AsyncExitStack() as stack:
        server = Server(azure, tls=server_context(*authority.issue(NAMES)))
        port = await server.start()
        stack.push_async_callback(server.stop)
        proxy = Proxy(world.journal, port)
        proxy_port = await proxy.start()
        stack.push_async_callback(proxy.stop)
        (folder / "azure-ca.pem").write_bytes(authority.ca_pem)
        environment = _environment(world, folder) | {
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy_port}",
            "NO_PROXY": "127.0.0.1",
            "SSL_CERT_FILE": str(folder / "azure-ca.pem"),
        }
        processes = Processes(parts, azure, environment, folder / "operator.log")
        await processes.start()
        stack.push_async_callback(parts.stop)
        tending = asyncio.create_task(processes.tend())
        try:
            yield processes, azure
        finally:
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending


def _environment(world: RealWorld, folder: Path) -> dict[str, str]:
    found = session()
    assert found is not None
    config = folder / "kubeconfig"
    cluster = kubeconfig.cluster_section(found.cluster.url, found.cluster.ca_pem)
    section = kubeconfig.token_section(found.token(OPERATOR))
    kubeconfig.publish(config, kubeconfig.document(cluster, {"operator": section}, current="operator"))
    durations = {
        each.metadata["variable"]: f"{getattr(world.settings, each.name):g}s"
        for each in dataclasses.fields(Settings)
        if isinstance(each.default, float)
    }
    path = dict(os.environ)["PATH"]  # noqa: TID251 - for a child
    return durations | {
        "PATH": path,
        "KEYSTEAD_LEASE_DURATION": f"{_LEASE:g}s",
        "KEYSTEAD_LEASE_NAMESPACE": NAMESPACE,
        "KUBECONFIG": str(config),
        "AZURE_TENANT_ID": next(iter(world.azure.tenants)),
        "AZURE_CLIENT_ID": world.application.client_id,
        "AZURE_CLIENT_SECRET": world.application.secret,
    }
