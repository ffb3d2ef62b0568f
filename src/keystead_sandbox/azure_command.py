"""``keystead-sandbox azure``: the emulated Azure alone, in the foreground, for any unmodified client on this machine.

- The environment file appears all at once when every port accepts, and goes with the process: who waits for it waits
  for nothing else.
- Issuers' documents are read from loopback alone, unless the caller names a host.
- What cannot be used (seed, port, folder, authorities) is one line on standard error and exit code 2.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shlex
import signal
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
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
from keystead_sandbox.resources import Application
from keystead_sandbox.seeds import BadSeed, Seed, plant, read_seed
from keystead_sandbox.server import Server
from keystead_sandbox.world import World

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FETCH_LIMIT = 5.0  # wall seconds for one document of an issuer
_FETCH_BYTES = 1 << 20  # an issuer that sends more gets no further


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
    issuer_documents: Annotated[
        Path | None,
        typer.Option("--issuer-documents", help="JSON object of issuers' documents by URL, never fetched then."),
    ] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="Write every exchange here, as JSON lines.")] = None,
) -> None:
    """Serve an emulated Azure: Entra, Resource Manager, Key Vault, behind a CONNECT proxy."""
    try:
        options = Options(
            seed=read_seed(seed) if seed is not None else Seed(),
            env_file=in_a_folder(env_file.absolute()),
            port=port,
            rate=clock_rate,
            issuers=Issuers(issuer_ca, read_documents(issuer_documents)),
            allowed=frozenset(host.lower() for host in allow_issuer or ()),
            journal=journal,
        )
        asyncio.run(_serve(options))
    except (BadSeed, Unusable) as error:
        typer.echo(f"keystead-sandbox azure: {error}", err=True)
        raise typer.Exit(2) from None


class Unusable(Exception):
    """An option that cannot be used as it was given; the text names the option and the cure."""


class Issuers:
    """Whom issuers' documents are believed from: the machine's authorities, and those of a file.

    The file may appear after the start, since an issuer on this machine may come up beside the sandbox: it is read at
    the first use. What is there at the start and holds no certificates is refused at once.
    """

    def __init__(self, path: Path | None, documents: Mapping[str, bytes] | None = None) -> None:
        self._path = path
        self.documents = documents or {}
        """What issuers publish that cannot be reached from here, by URL."""
        self._context: ssl.SSLContext | None = None
        if path is not None and path.exists():
            try:
                self.context()
            except OSError as error:  # ssl.SSLError among them
                raise Unusable(f"--issuer-ca: {path} holds no certificates in PEM. Name a file that does.") from error

    def context(self) -> ssl.SSLContext:
        """To verify issuers with. OSError when the file is still not there, or is none."""
        if self._context is None:
            context = ssl.create_default_context()
            if self._path is not None:
                context.load_verify_locations(cafile=self._path)
            self._context = context
        return self._context


def read_documents(path: Path | None) -> dict[str, bytes]:
    """Issuers' documents by URL, from a file. Unusable when it is none."""
    if path is None:
        return {}
    try:
        written = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Unusable(f"--issuer-documents: {path} cannot be read as JSON. Name a file that can.") from error
    if not isinstance(written, dict) or not all(isinstance(each, dict) for each in written.values()):
        raise Unusable(f"--issuer-documents: {path} must be an object that gives a JSON object for each URL.")
    return {url: json.dumps(document).encode() for url, document in written.items()}


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked."""

    seed: Seed
    env_file: Path
    port: int
    rate: float
    issuers: Issuers
    allowed: frozenset[str]
    journal: Path | None

    @property
    def ca_file(self) -> Path:
        return self.env_file.with_name(f"{self.env_file.name}.ca.pem")


def in_a_folder(path: Path) -> Path:
    """*path* itself, if it can be written at all."""
    if not path.parent.is_dir():
        raise Unusable(f"--env-file: the folder {path.parent} is not there. Make it first.")
    return path


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = ScaledClock(options.rate)
    async with contextlib.AsyncExitStack() as stack:
        journal = _journal(clock, options.journal)
        stack.callback(journal.close)
        world = plant(options.seed, clock, journal)
        owner = _owner(world)
        authority = Authority()
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        app = AzureApp(world, fetcher(session, options.issuers, options.allowed))
        server = Server(app, port=options.port, tls=server_context(*authority.issue(NAMES)))
        try:
            tls_port = await server.start()
        except OSError as error:
            raise Unusable(f"--port: {options.port} cannot be used: {error.strerror}. Name another, or 0.") from error
        stack.push_async_callback(server.stop)
        # The control API speaks plain HTTP on a port of its own: whoever reads it needs no certificate.
        control = Server(app)
        control_port = await control.start()
        stack.push_async_callback(control.stop)
        imds = Server(app.imds)
        imds_port = await imds.start()
        stack.push_async_callback(imds.stop)
        proxy = Proxy(journal, tls_port)
        proxy_port = await proxy.start()
        stack.push_async_callback(proxy.stop)
        for path in (options.ca_file, options.env_file):
            stack.callback(path.unlink, missing_ok=True)
        _publish(options.ca_file, authority.ca_pem.decode())
        ports = {"proxy": proxy_port, "control": control_port, "imds": imds_port}
        exports = _exports(world, owner, ports, options.ca_file)
        _publish(options.env_file, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items()))
        await stop.wait()


def _journal(clock: ScaledClock, path: Path | None) -> Journal:
    try:
        return Journal(clock, path)
    except OSError as error:
        raise Unusable(f"--journal: {path} cannot be written: {error.strerror}.") from error


def _owner(world: World) -> Application:
    """Somebody who may do everything on the subscription, and nothing in a vault's data."""
    owner = world.add_application("sandbox-owner", secret=secrets.token_urlsafe(24))
    for subscription in world.subscriptions.values():
        world.assign_role(owner.object_id, "Owner", f"/subscriptions/{subscription.id}")
    return owner


def _exports(world: World, owner: Application, ports: dict[str, int], ca_file: Path) -> dict[str, str]:
    ca = str(ca_file)
    return {
        "HTTPS_PROXY": f"http://127.0.0.1:{ports['proxy']}",
        "HTTP_PROXY": f"http://127.0.0.1:{ports['proxy']}",
        "NO_PROXY": "127.0.0.1,localhost",
        "SSL_CERT_FILE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "AZURE_TENANT_ID": next(iter(world.tenants)),
        "AZURE_SUBSCRIPTION_ID": next(iter(world.subscriptions)),
        "AZURE_CLIENT_ID": owner.client_id,
        "AZURE_CLIENT_SECRET": owner.secret,
        "KEYSTEAD_SANDBOX_URL": f"http://127.0.0.1:{ports['control']}",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{ports['imds']}",
    }


def _publish(path: Path, text: str) -> None:
    """All of the file or none, readable by its owner alone: it may hold the owner's secret."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def fetcher(session: aiohttp.ClientSession, issuers: Issuers, allowed: frozenset[str]) -> Fetch:
    """Reads issuers' documents over TLS, from loopback and from hosts that were named; from nowhere else."""

    async def fetch(url: str) -> tuple[int, bytes]:
        if url in issuers.documents:
            return 200, issuers.documents[url]
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme != "https" or (host not in _LOOPBACK and host not in allowed):
            raise OSError(f"{host} is not an issuer that the sandbox may reach")
        trust, timeout = issuers.context(), aiohttp.ClientTimeout(total=_FETCH_LIMIT)
        try:
            async with session.get(url, ssl=trust, timeout=timeout, allow_redirects=False) as response:
                return response.status, await response.content.read(_FETCH_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{host} did not answer: {type(error).__name__}") from error

    return fetch
