"""``keystead-sandbox kube``: the embedded API server alone, in the foreground.

- The kubeconfig appears all at once when the port accepts, and one that an earlier server has left there is gone before
  that: who waits for it waits for nothing else.
- What cannot be used (folder, port, journal, a user) is one line on standard error and exit code 2.
"""

import asyncio
import contextlib
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from keystead_sandbox import kubeconfig as files
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
        list[str] | None, typer.Option("--user", help="NAME[:GROUP,...], with a token and a context of that name.")
    ] = None,
    certificate: Annotated[
        list[str] | None, typer.Option("--certificate", help="The same, by a client certificate in place of a token.")
    ] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="Write every request here, as JSON lines.")] = None,
) -> None:
    """Serve a Kubernetes API with RBAC and admission policies; the first context, admin, may do everything.

    SIGHUP makes a new key sign tokens from then on, and leaves the old ones published; SIGUSR1 withdraws the old ones.
    """
    try:
        by_token = files.named(user or (), beside=(ADMIN,))
        by_certificate = files.named(certificate or (), beside=(ADMIN, *dict(by_token)))
        options = Options(
            files.in_a_folder(kubeconfig.absolute()),
            port,
            clock_rate,
            tuple(User(*each) for each in by_token),
            tuple(User(*each) for each in by_certificate),
            journal,
        )
        sys.stderr.write(f"keystead-sandbox kube: {ENFORCED}\n")
        asyncio.run(_serve(options))
    except files.NotUsable as error:
        typer.echo(f"keystead-sandbox kube: {error}", err=True)
        raise typer.Exit(2) from None


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked."""

    kubeconfig: Path
    port: int
    rate: float
    by_token: tuple[User, ...]
    by_certificate: tuple[User, ...]
    journal: Path | None


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    users = {secrets.token_urlsafe(24): each for each in (User(ADMIN, (ADMINS,)), *options.by_token)}
    clock = ScaledClock(options.rate)
    authority = Authority()
    app = _Late()
    tls = server_context(*authority.issue(("127.0.0.1", "localhost")), asks_clients=True)
    server = Server(app, port=options.port, tls=tls)
    with _journal(clock, options.journal) as journal:
        try:
            address = f"https://127.0.0.1:{await server.start()}"
        except OSError as error:
            raise files.NotUsable(
                f"--port: {options.port} cannot be used: {error.strerror}. Name another, or 0."
            ) from error
        try:
            app.cluster = Cluster(clock, journal, issuer=address, users=users, ca_pem=authority.ca_pem.decode())
            loop.add_signal_handler(signal.SIGHUP, app.cluster.tokens.rotate)
            loop.add_signal_handler(signal.SIGUSR1, app.cluster.tokens.retire)
            sections: dict[str, dict[str, Any]] = {
                **{each.name: files.token_section(token) for token, each in users.items()},
                **{
                    each.name: files.certificate_section(*authority.issue_client(each.name, each.groups))
                    for each in options.by_certificate
                },
            }
            cluster = files.cluster_section(address, authority.ca_pem)
            files.publish(options.kubeconfig, files.document(cluster, sections, current=ADMIN))
            sys.stdout.write(f"keystead-sandbox kube: {address}, KUBECONFIG={options.kubeconfig}\n")
            sys.stdout.flush()
            await stop.wait()
        finally:
            await server.stop()


@contextlib.contextmanager
def _journal(clock: ScaledClock, path: Path | None) -> Iterator[Journal]:
    try:
        journal = Journal(clock, path)
    except OSError as error:
        raise files.NotUsable(f"--journal: {path} cannot be written: {error.strerror}. Name another.") from error
    try:
        yield journal
    finally:
        journal.close()


class _Late:
    """The issuer's name holds the port, so the cluster is made once the port is known."""

    cluster: Cluster

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.cluster(scope, receive, send)
