"""``keystead-sandbox azure``: the emulated Azure alone, in the foreground, for any unmodified client on this machine."""

import asyncio
import os
import secrets
import shlex
import signal
import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import aiohttp
import typer

from keystead_sandbox.azure import NAMES, AzureApp
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.entra.state import Fetch
from keystead_sandbox.journal import Journal
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.proxy import Proxy
from keystead_sandbox.seeds import BadSeed, Seed, plant, read_seed
from keystead_sandbox.server import Server
from keystead_sandbox.world import Application, World

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FETCH_LIMIT = 5.0  # seconds for one document of an issuer


def azure(
    env_file: Annotated[
        Path, typer.Option("--env-file", help="Appears, with export lines, once every port accepts.", dir_okay=False)
    ],
    seed: Annotated[Path | None, typer.Option("--seed", help="What exists at the start, in YAML.")] = None,
    port: Annotated[int, typer.Option("--port", help="TLS port; 0 takes any.", min=0, max=65535)] = 0,
    clock_rate: Annotated[
        float, typer.Option("--clock-rate", help="How fast Azure's waits pass.", min=0.1, max=100)
    ] = 1.0,
    issuer_ca: Annotated[Path | None, typer.Option("--issuer-ca", help="Authorities of token issuers, PEM.")] = None,
    allow_issuer: Annotated[
        list[str] | None, typer.Option("--allow-issuer", help="An issuer's host beyond loopback.")
    ] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="Write every exchange here, as JSON lines.")] = None,
) -> None:
    """Serve an emulated Azure: Entra, Resource Manager, Key Vault, behind a CONNECT proxy."""
    try:
        seeded = read_seed(seed) if seed is not None else Seed()
        asyncio.run(_serve(seeded, env_file, port, clock_rate, issuer_ca, frozenset(allow_issuer or ()), journal))
    except BadSeed as error:
        typer.echo(f"keystead-sandbox azure: {error}", err=True)
        raise typer.Exit(2) from None


async def _serve(
    seed: Seed,
    env_file: Path,
    port: int,
    rate: float,
    issuer_ca: Path | None,
    allowed: frozenset[str],
    log: Path | None,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = ScaledClock(rate)
    journal = Journal(clock, log)
    world = plant(seed, clock, journal)
    owner = _owner(world)
    authority = Authority()
    ca_file = env_file.with_suffix(".ca.pem")
    async with aiohttp.ClientSession(trust_env=False) as session:
        app = AzureApp(world, _fetcher(session, issuer_ca, allowed))
        server = Server(app, port=port, tls=server_context(*authority.issue(NAMES)))
        proxy = Proxy(journal, await server.start())
        proxy_port = await proxy.start()
        # The control API speaks plain HTTP on a port of its own: whoever reads it needs no certificate.
        control = Server(app)
        control_port = await control.start()
        ca_file.write_bytes(authority.ca_pem)
        _publish(env_file, _exports(world, owner, proxy_port, control_port, ca_file))
        try:
            await stop.wait()
        finally:
            env_file.unlink(missing_ok=True)
            ca_file.unlink(missing_ok=True)
            await proxy.stop()
            await server.stop()
            await control.stop()
            journal.close()


def _owner(world: World) -> Application:
    """Somebody who may do everything on the subscription, and nothing in a vault's data."""
    owner = world.add_application("sandbox-owner", secret=secrets.token_urlsafe(24))
    for subscription in world.subscriptions.values():
        world.assign_role(owner.object_id, "Owner", f"/subscriptions/{subscription.id}")
    return owner


def _exports(world: World, owner: Application, proxy: int, control: int, ca_file: Path) -> dict[str, str]:
    ca = str(ca_file.absolute())
    return {
        "HTTPS_PROXY": f"http://127.0.0.1:{proxy}",
        "HTTP_PROXY": f"http://127.0.0.1:{proxy}",
        "NO_PROXY": "127.0.0.1,localhost",
        "SSL_CERT_FILE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "AZURE_TENANT_ID": next(iter(world.tenants)),
        "AZURE_SUBSCRIPTION_ID": next(iter(world.subscriptions)),
        "AZURE_CLIENT_ID": owner.client_id,
        "AZURE_CLIENT_SECRET": owner.secret,
        "KEYSTEAD_SANDBOX_URL": f"http://127.0.0.1:{control}",
    }


def _publish(path: Path, exports: dict[str, str]) -> None:
    """All of the file or none, readable by its owner alone: it holds the owner's secret."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items())
    partial.replace(path)


def _fetcher(session: aiohttp.ClientSession, issuer_ca: Path | None, allowed: frozenset[str]) -> Fetch:
    """Reads issuers' documents over TLS, from loopback and from hosts that were named; from nowhere else."""
    context: ssl.SSLContext | None = None

    async def fetch(url: str) -> tuple[int, bytes]:
        nonlocal context
        parts = urlsplit(url)
        if parts.scheme != "https" or (parts.hostname not in _LOOPBACK and parts.hostname not in allowed):
            raise OSError(f"{parts.hostname} is not an issuer that the sandbox may reach")
        if context is None:
            # Read at the first use: an issuer on this machine may write its authority after we have started.
            context = ssl.create_default_context(cafile=str(issuer_ca) if issuer_ca is not None else None)
        timeout = aiohttp.ClientTimeout(total=_FETCH_LIMIT)
        try:
            async with session.get(url, ssl=context, timeout=timeout, allow_redirects=False) as response:
                return response.status, await response.read()
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    return fetch
