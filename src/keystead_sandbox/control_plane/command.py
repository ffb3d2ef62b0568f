"""``keystead-sandbox control-plane``: the real control plane, found or built, and alone in the foreground when asked.

What is wanted of the output is its last line, the folder; progress goes to standard error.
"""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from keystead_sandbox import kubeconfig as files
from keystead_sandbox.control_plane.assets import NoControlPlane, NothingToBuildWith, find, find_or_build
from keystead_sandbox.control_plane.cluster import ADMIN, ControlPlane, User, running
from keystead_sandbox.control_plane.leftovers import claimed
from keystead_sandbox.processes import PartFailed

_NAME = "keystead-sandbox control-plane"
_ABSENT = 3  # the exit code that tells "none on this machine" from "broken"
_FOLDER = "ks-control-plane-"


def control_plane(
    kubeconfig: Annotated[
        Path | None,
        typer.Option("--kubeconfig", help="Run it, too; the file appears once all is ready.", dir_okay=False),
    ] = None,
    logs: Annotated[
        Path | None, typer.Option("--logs", help="Keep logs and keys in this folder.", file_okay=False)
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option("--user", help="NAME[:GROUP,...], with a token and a context of that name.")
    ] = None,
    certificate: Annotated[
        list[str] | None, typer.Option("--certificate", help="The same, by a client certificate in place of a token.")
    ] = None,
    *,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="End with standard input, which ends with whoever holds it.")
    ] = False,
    no_build: Annotated[
        bool, typer.Option("--no-build", help="Only look whether the programs are there: exit code 3 when not.")
    ] = False,
) -> None:
    """Find etcd, kube-apiserver and kube-controller-manager, or build them once; print their folder.

    Exit code 3: there is none here, nor what a build needs (Go and the modules); 1: something failed.
    """
    try:
        by_token = files.named(user or (), beside=(ADMIN,))
        options = Options(
            None if kubeconfig is None else files.in_a_folder(kubeconfig.absolute()),
            logs,
            tuple(User(*each) for each in by_token),
            tuple(files.named(certificate or (), beside=(ADMIN, *dict(by_token)))),
            until_eof=until_eof,
        )
        code = _look() if no_build else asyncio.run(_run(options))
    except files.NotUsable as error:
        _say(str(error))
        raise typer.Exit(2) from None
    except (NoControlPlane, PartFailed) as error:
        _say(str(error))
        raise typer.Exit(_ABSENT if isinstance(error, NothingToBuildWith) else 1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked."""

    kubeconfig: Path | None
    logs: Path | None
    by_token: tuple[User, ...]
    by_certificate: tuple[tuple[str, tuple[str, ...]], ...]
    until_eof: bool


def _look() -> int:
    found = find(dict(os.environ))  # noqa: TID251 - the cache is where the caller's settings put it
    if found is None:
        _say("no control plane is here yet: `make control-plane` builds one")
        return _ABSENT
    sys.stdout.write(f"{found.folder}\n")
    return 0


async def _run(options: Options) -> int:
    assets = await find_or_build(dict(os.environ), _say)  # noqa: TID251 - Go's settings are the caller's
    sys.stdout.write(f"{assets.folder}\n")
    sys.stdout.flush()
    if options.kubeconfig is None:
        return 0
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as stack:
        folder = options.logs or stack.enter_context(claimed(_FOLDER)).folder
        async with running(assets, folder, options.by_token) as plane:
            names = [ADMIN, *(each.name for each in options.by_token)]
            sections = {name: files.token_section(plane.token(name)) for name in names}
            sections |= {name: plane.certificate(name, groups) for name, groups in options.by_certificate}
            files.publish(options.kubeconfig, plane.config(sections, current=ADMIN))
            await _serve(plane, stop, until_eof=options.until_eof)
    return 0


async def _serve(plane: ControlPlane, stop: asyncio.Event, *, until_eof: bool) -> None:
    """Return when it is time to end. PartFailed when a program ends before."""
    ending = asyncio.create_task(plane.first_to_end())
    reasons = {ending, asyncio.create_task(stop.wait())}
    if until_eof:
        reasons.add(asyncio.create_task(_end_of_input()))
    done, pending = await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if ending in done:
        part = ending.result()
        raise PartFailed(f"{part.name} ended with code {part.process.returncode}:\n{part.last_words()}")


async def _end_of_input() -> bool:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        while await reader.read(1024):
            pass
        return True
    finally:
        transport.close()


def _say(text: str) -> None:
    sys.stderr.write(f"{_NAME}: {text}\n")
    sys.stderr.flush()
