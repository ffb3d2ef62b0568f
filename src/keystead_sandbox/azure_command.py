"""``keystead-sandbox azure``: the emulated Azure alone, in the foreground, for any unmodified client on this machine.

- The environment file appears all at once when every port accepts, and goes with the process: who waits for it waits
  for nothing else.
- Several may run at once; who names the same file as another takes its place, and neither removes the other's.
- Issuers' documents are read from this machine alone, unless the caller names a host.
- What cannot be used (seed, port, folder, authorities) is one line on standard error and exit code 2.
"""

import asyncio
import contextlib
import os
import secrets
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from keystead_sandbox.azure import NAMES, AzureApp
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.issuers import Hosts, Issuers, Unusable, fetcher, read_documents
from keystead_sandbox.journal import Journal
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.proxy import Proxy
from keystead_sandbox.resources import Application, Subscription
from keystead_sandbox.seeds import BadSeed, Seed, plant, read_seed
from keystead_sandbox.server import Server
from keystead_sandbox.world import World

_TERRAFORM = {"AzureCloud": "public", "AzureChinaCloud": "china", "AzureUSGovernment": "usgovernment"}


def azure(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command line
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
        list[str] | None,
        typer.Option("--allow-issuer", help="A host, or HOST:PORT, of issuers beyond this machine. Repeatable."),
    ] = None,
    issuer_documents: Annotated[
        Path | None,
        typer.Option("--issuer-documents", help="JSON object of issuers' documents by URL, never fetched then."),
    ] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="Write every exchange here, as JSON lines.")] = None,
    journal_keep: Annotated[
        int, typer.Option("--journal-keep", help="How many exchanges to keep in memory, the newest.", min=1)
    ] = 100_000,
) -> None:
    """Serve an emulated Azure: Entra, Resource Manager, Key Vault, behind a CONNECT proxy."""
    try:
        options = Options(
            seed=read_seed(seed) if seed is not None else Seed(),
            env_file=in_a_folder(env_file.absolute()),
            port=port,
            rate=clock_rate,
            issuers=Issuers(issuer_ca, read_documents(issuer_documents)),
            hosts=Hosts.read(allow_issuer or ()),
            keep=journal_keep,
            journal=journal,
        )
        asyncio.run(_serve(options))
    except (BadSeed, Unusable) as error:
        typer.echo(f"keystead-sandbox azure: {error}", err=True)
        raise typer.Exit(2) from None


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked."""

    seed: Seed
    env_file: Path
    port: int
    rate: float
    issuers: Issuers
    hosts: Hosts
    keep: int
    journal: Path | None

    @property
    def ca_file(self) -> Path:
        return self.env_file.with_name(f"{self.env_file.name}.ca.pem")


def in_a_folder(path: Path) -> Path:
    """*path* itself, if it can be written at all; what a killed process left there is gone, so that nobody reads it."""
    if not path.parent.is_dir():
        raise Unusable(f"--env-file: the folder {path.parent} is not there. Make it first.")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Unusable(f"--env-file: {path} cannot be written: {error.strerror}. Name another.") from error
    return path


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = ScaledClock(options.rate)
    async with contextlib.AsyncExitStack() as stack:
        journal = _journal(clock, options)
        stack.callback(journal.close)
        world = plant(options.seed, clock, journal)
        home = next(iter(world.subscriptions.values()))
        owner = _owner(world, home)
        authority = Authority()
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        app = AzureApp(world, fetcher(session, options.issuers, options.hosts))
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
        proxy = Proxy(journal, tls_port, world)
        proxy_port = await proxy.start()
        stack.push_async_callback(proxy.stop)
        ports = {"proxy": proxy_port, "control": control_port, "imds": imds_port}
        exports = _exports(world, home, owner, ports, options.ca_file)
        lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items())
        for path, text in ((options.ca_file, authority.ca_pem.decode()), (options.env_file, lines)):
            stack.callback(_withdraw, path, text)
            _publish(path, text)
        await stop.wait()


def _journal(clock: ScaledClock, options: Options) -> Journal:
    try:
        return Journal(clock, options.journal, options.keep)
    except OSError as error:
        raise Unusable(f"--journal: {options.journal} cannot be written: {error.strerror}. Name another.") from error


def _owner(world: World, home: Subscription) -> Application:
    """Somebody who may do everything on the subscriptions of a tenant, and nothing in a vault's data."""
    owner = world.add_application("sandbox-owner", secret=secrets.token_urlsafe(24), tenant_id=home.tenant_id)
    for subscription in world.subscriptions.values():
        if subscription.tenant_id == home.tenant_id:
            world.assign_role(owner.object_id, "Owner", f"/subscriptions/{subscription.id}")
    return owner


def _exports(
    world: World, home: Subscription, owner: Application, ports: dict[str, int], ca_file: Path
) -> dict[str, str]:
    """What a shell needs: names that Azure's clients read, and those that other clients read for the same."""
    ca, proxy, tenant = str(ca_file), f"http://127.0.0.1:{ports['proxy']}", world.tenants[home.tenant_id]
    here = "127.0.0.1,localhost,::1"
    exports = {
        "HTTPS_PROXY": proxy,
        "HTTP_PROXY": proxy,
        "NO_PROXY": here,
        # Clients that know both spellings prefer this one; a shell may have had it for another proxy.
        "https_proxy": proxy,
        "http_proxy": proxy,
        "no_proxy": here,
        "SSL_CERT_FILE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "CURL_CA_BUNDLE": ca,
        "NODE_EXTRA_CA_CERTS": ca,
        "AZURE_TENANT_ID": tenant.id,
        "AZURE_SUBSCRIPTION_ID": home.id,
        "AZURE_CLIENT_ID": owner.client_id,
        "AZURE_CLIENT_SECRET": owner.secret,
        # Terraform's provider has names of its own.
        "ARM_TENANT_ID": tenant.id,
        "ARM_SUBSCRIPTION_ID": home.id,
        "ARM_CLIENT_ID": owner.client_id,
        "ARM_CLIENT_SECRET": owner.secret,
        "KEYSTEAD_SANDBOX_URL": f"http://127.0.0.1:{ports['control']}",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{ports['imds']}",
    }
    if tenant.cloud:
        cloud = world.cloud_of(tenant.id)
        exports |= {"AZURE_AUTHORITY_HOST": f"https://{cloud.login_host}", "ARM_ENVIRONMENT": _TERRAFORM[cloud.name]}
    return exports


def _publish(path: Path, text: str) -> None:
    """All of the file or none, readable by its owner alone: it may hold the owner's secret."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def _withdraw(path: Path, text: str) -> None:
    """The file goes with the process, unless another one has put its own in its place."""
    with contextlib.suppress(OSError):
        if path.read_text() == text:
            path.unlink()
