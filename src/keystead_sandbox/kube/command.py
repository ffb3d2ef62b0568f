"""``keystead-sandbox kube``: the embedded API server alone, in the foreground."""

import asyncio
import base64
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube.app import ENFORCED, Cluster
from keystead_sandbox.kube.auth import ADMINS, User
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import Server

ADMIN = "admin"


def kube(
    kubeconfig: Annotated[Path, typer.Option("--kubeconfig", help="Appears once the server accepts.", dir_okay=False)],
    port: Annotated[int, typer.Option("--port", help="TLS port; 0 takes any.", min=0, max=65535)] = 0,
    clock_rate: Annotated[
        float, typer.Option("--clock-rate", help="How fast imposed waits pass.", min=0.1, max=100)
    ] = 1.0,
    user: Annotated[
        list[str] | None, typer.Option("--user", help="NAME[:GROUP,...], with a context of that name.")
    ] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="Write every request here, as JSON lines.")] = None,
) -> None:
    """Serve a Kubernetes API with RBAC and admission policies; the first context, admin, may do everything.

    SIGHUP makes a new key sign tokens from then on, and leaves the old ones published; SIGUSR1 withdraws the old ones.
    """
    sys.stderr.write(f"keystead-sandbox kube: {ENFORCED}\n")
    asyncio.run(_serve(kubeconfig, port, clock_rate, user or [], journal))


async def _serve(kubeconfig: Path, port: int, rate: float, named: list[str], log: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    users = {secrets.token_urlsafe(24): each for each in (User(ADMIN, (ADMINS,)), *map(_user, named))}
    clock = ScaledClock(rate)
    journal = Journal(clock, log)
    authority = Authority()
    app = _Late()
    server = Server(app, port=port, tls=server_context(*authority.issue(("127.0.0.1", "localhost"))))
    address = f"https://127.0.0.1:{await server.start()}"
    app.cluster = Cluster(clock, journal, issuer=address, users=users, ca_pem=authority.ca_pem.decode())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, app.cluster.tokens.rotate)
    loop.add_signal_handler(signal.SIGUSR1, app.cluster.tokens.retire)
    _publish(kubeconfig, _config(address, authority.ca_pem, users))
    sys.stdout.write(f"keystead-sandbox kube: {address}, KUBECONFIG={kubeconfig}\n")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        await server.stop()
        journal.close()


class _Late:
    """The issuer's name holds the port, so the cluster is made once the port is known."""

    cluster: Cluster

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.cluster(scope, receive, send)


def _user(text: str) -> User:
    name, _, groups = text.partition(":")
    return User(name, tuple(filter(None, groups.split(","))))


def _config(address: str, ca_pem: bytes, users: dict[str, User]) -> dict[str, Any]:
    cluster = {"server": address, "certificate-authority-data": base64.b64encode(ca_pem).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": ADMIN,
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": each.name, "user": {"token": token}} for token, each in users.items()],
        "contexts": [
            {"name": each.name, "context": {"cluster": "sandbox", "user": each.name, "namespace": "default"}}
            for each in users.values()
        ],
    }


def _publish(path: Path, config: dict[str, Any]) -> None:
    """All of the file or none, readable by its owner alone."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    partial.replace(path)
