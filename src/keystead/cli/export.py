"""``keystead export terraform``: what stands, as configuration that Terraform can take over. Writes nothing but files.

What is exported is in the ledger and was seen in Azure at this moment; the rest is named on standard error. If any of the
identities cannot be read, nothing is exported: half of it would look like the whole.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from keystead.cli.options import HOME, Context, Grants, Kubeconfig, console, one_of, plain, settings_of
from keystead.model.errors import Refused
from keystead.model.reasons import Reason
from keystead.model.records import Federation
from keystead.operator.look import Look
from keystead.operator.settings import Settings
from keystead.plan.snapshot import Snapshot
from keystead.report.terraform import MAJORS, Standing, hcl, in_order, rows, tf_json

export = typer.Typer(
    help="Write what stands in other tools' words.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Exported(NamedTuple):
    """What the ledger records."""

    standing: tuple[Standing, ...]
    absent: tuple[Federation, ...]
    """Azure has not got these, or has something else under their names."""


@export.callback()
def _words() -> None:
    """Write what stands in other tools' words."""


@export.command()
def terraform(
    grants: Grants = None,
    azurerm: Annotated[str, typer.Option("--azurerm", help="Major version of the azurerm provider: 4 or 5.")] = "5",
    output: Annotated[
        str, typer.Option("--output", "-o", help="hcl, tf-json (Terraform's JSON syntax) or json (the facts).")
    ] = "hcl",
    output_file: Annotated[
        Path | None, typer.Option("--output-file", help="Write there, all or nothing, and not to standard output.")
    ] = None,
    kubeconfig: Kubeconfig = HOME,
    context: Context = None,
) -> None:
    """Write what stands in Azure as azurerm_federated_identity_credential, with import blocks."""
    major = int(one_of(azurerm, tuple(map(str, MAJORS)), "--azurerm"))
    one_of(output, ("hcl", "tf-json", "json"), "--output")
    standing, absent = asyncio.run(look_and_export(settings_of(kubeconfig, context), grants or ()))
    match output:
        case "hcl":
            text = hcl(standing, major=major)
        case "tf-json":
            text = tf_json(standing, major=major)
        case _:
            text = json.dumps(rows(standing), indent=2, ensure_ascii=False) + "\n"
    if output_file is None:
        sys.stdout.write(text)
    else:
        _write(output_file, text)
    if not standing:
        typer.echo("keystead: nothing that the ledger records stands in Azure", err=True)
    for federation in absent:
        where = f"{federation.claim_key} on identity {federation.identity.name}"
        typer.echo(f"keystead: left out, as Azure does not have it: {where}", err=True)


async def look_and_export(settings: Settings, wanted: Sequence[str]) -> Exported:
    """One look, and what stands."""
    async with Look(settings) as look:
        return await export_of(look, wanted)


async def export_of(look: Look, wanted: Sequence[str]) -> Exported:
    """Of the *wanted* grants; of all when none is named. Refused when not everything can be read."""
    names = look.grants(wanted)
    with console(errors=True).status("reading identities") as status:
        seen = await look.snapshots(names, lambda read, of: status.update(f"reading identities: {read} of {of}"))
    missing = (*look.left_out(), *look.unread(seen.values()))
    if missing:
        text = f"nothing is exported, since not everything could be read: {'; '.join(map(plain, missing))}"
        raise Refused(Reason.AZURE_REFUSED, text)
    return what_stands(each for each in seen.values() if each is not None)


def what_stands(seen: Iterable[Snapshot]) -> Exported:
    """Pure: what the ledger records and Azure has, and what the ledger records and Azure has not.

    An entry that is being revoked is neither: its credential is about to go. Nor is the operator's own probe of a new
    identity, for the same reason.
    """
    standing: list[Standing] = []
    absent: list[Federation] = []
    for snapshot in seen:
        for federation in snapshot.federations:
            if federation.deleting or federation.probe:
                continue
            state = snapshot.identities.get(federation.identity)
            held = state.named(federation.credential.name) if state is not None else None
            if held is not None and held.agrees(federation.credential):
                standing.append(Standing(federation, held))
            else:
                absent.append(federation)
    return Exported(in_order(standing), tuple(sorted(absent, key=lambda each: each.name)))


def _write(path: Path, text: str) -> None:
    """All of the file or none: a good one is not lost to one that fails half-way."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        reason = f"--output-file: {path} cannot be written: {error.strerror}. Name another."
        raise Refused(Reason.INTERNAL_ERROR, reason) from error
