"""``keystead plan``: what the operator would do now, what it holds back, and whose the slots are. Writes nothing.

Exit codes: 0; 1 when it could not look at everything; with ``--exit-code``, 2 when there is anything to do.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from keystead.cli.options import HOME, Context, Grants, Kubeconfig, console, one_of, plain, print_json, settings_of
from keystead.cli.plan_json import as_json
from keystead.cli.plan_table import print_plan
from keystead.model.records import Cluster
from keystead.operator.look import Look
from keystead.operator.settings import Settings
from keystead.plan.preview import Preview, preview, preview_orphans

_PENDING = 2


@dataclass(frozen=True, slots=True)
class Planned:
    """What was seen and follows from it."""

    cluster: Cluster
    grants: tuple[Preview, ...]
    missing: tuple[str, ...]
    """What could not be read."""


def plan(
    grants: Grants = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
    kubeconfig: Kubeconfig = HOME,
    context: Context = None,
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 2 when there is anything to do, held back or not.")
    ] = False,
) -> None:
    """Show every step that the operator would take now, and who holds the slots. Needs rights to read, and no more."""
    one_of(output, ("table", "json"), "--output")
    planned = asyncio.run(look_and_plan(settings_of(kubeconfig, context), grants or ()))
    if output == "json":
        print_json(as_json(planned.cluster, planned.grants, planned.missing))
    else:
        print_plan(console(), planned.grants)
    for each in planned.missing:
        typer.echo(f"keystead: not read, so this is not the whole plan: {plain(each)}", err=True)
    if planned.missing:
        raise typer.Exit(1)
    if exit_code and any(each.units for each in planned.grants):
        raise typer.Exit(_PENDING)


async def look_and_plan(settings: Settings, wanted: Sequence[str]) -> Planned:
    """One look, and the plans that the operator would make of it."""
    async with Look(settings) as look:
        return await plan_of(look, wanted)


async def plan_of(look: Look, wanted: Sequence[str]) -> Planned:
    """Of the *wanted* grants; of all when none is named."""
    names = look.grants(wanted)
    with console(errors=True).status("reading identities") as status:
        seen = await look.snapshots(names, lambda read, of: status.update(f"reading identities: {read} of {of}"))
    previews = [
        preview(snapshot) if snapshot is not None else preview_orphans(name, look.claims_on(name))
        for name, snapshot in seen.items()
    ]
    return Planned(look.cluster, tuple(previews), (*look.left_out(), *look.unread(seen.values())))
