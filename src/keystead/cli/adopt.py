"""``keystead adopt``: what Terraform or people have made for a grant's namespaces, and the word that it be taken over.

- Shows first; writes after a yes, and then one annotation of the grant, by a field manager of its own.
- Nothing changes in Azure: the operator records what stands there, and revokes it with the namespace from then on.
- The word names what was shown. What comes later is not covered by it.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from keystead.cli.adopt_table import count, print_report
from keystead.cli.options import HOME, Context, Kubeconfig, console, one_of, plain, print_json, settings_of
from keystead.kube.client import Api, load_config
from keystead.kube.kinds import VAULT_GRANT
from keystead.kube.permissions import ADMIN
from keystead.kube.resources import ADOPT_ANNOTATION, API_VERSION
from keystead.model.errors import FieldConflict, Refused
from keystead.model.reasons import Reason
from keystead.model.records import Cluster, Grant
from keystead.operator.look import Look
from keystead.operator.settings import Settings
from keystead.plan.adoption import extended
from keystead.plan.holdings import Holdings
from keystead.plan.stores import Difference
from keystead.plan.takeover import Report, Row, State, survey_takeover
from keystead.plan.validation import Validated, check

MANAGER = "keystead-adopt"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was seen, and what the word would be."""

    cluster: Cluster
    grant: Grant
    report: Report
    entries: tuple[str, ...]
    """What the word has to name in addition."""
    missing: tuple[str, ...]
    """What could not be read."""

    @property
    def word(self) -> str:
        return extended(self.grant.adopt, self.entries)


def adopt(
    grant: Annotated[str, typer.Argument(help="Name of the VaultGrant.", metavar="GRANT")],
    namespaces: Annotated[
        list[str] | None, typer.Argument(help="Only these namespaces.", metavar="NAMESPACE", show_default=False)
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
    kubeconfig: Kubeconfig = HOME,
    context: Context = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; take over all that can be.")] = False,
) -> None:
    """Show what others made for a grant's namespaces, and after a yes have it taken over as it is."""
    one_of(output, ("table", "json"), "--output")
    settings, only = settings_of(kubeconfig, context), tuple(namespaces or ())
    found = asyncio.run(look_and_survey(settings, grant, only))
    if output == "table":
        print_report(console(), grant, found.report, only)
    said = bool(found.entries) and (yes or (output == "table" and _agreed(found)))
    if said:
        asyncio.run(_say(settings, found))
    if output == "json":
        print_json(as_json(found, said=said))
    else:
        _close(found, said=said)
    for each in found.missing:
        typer.echo(f"keystead: not read, so this is not all: {plain(each)}", err=True)
    if found.missing:
        raise typer.Exit(1)


async def look_and_survey(settings: Settings, grant: str, namespaces: Sequence[str]) -> Surveyed:
    """One look, and what follows from it."""
    async with Look(settings) as look:
        return await survey_of(look, grant, namespaces)


async def survey_of(look: Look, name: str, namespaces: Sequence[str]) -> Surveyed:
    """Refused when there is no such grant, or it makes no sense."""
    (name,) = look.grants([name])
    with console(errors=True).status("reading identities") as status:
        seen = await look.snapshots([name], lambda read, of: status.update(f"reading identities: {read} of {of}"))
    snapshot = seen[name]
    if snapshot is None or snapshot.grant is None:
        raise Refused(Reason.GRANT_NOT_FOUND, f"VaultGrant {name} is gone: it can take nothing over")
    valid = check(snapshot.grant, snapshot.other_grants, snapshot.cluster)
    if not isinstance(valid, Validated):
        told = "; ".join(map(str, valid))
        raise Refused(Reason.GRANT_INVALID, f"VaultGrant {name} makes no sense, and takes nothing over: {told}")
    report = survey_takeover(snapshot, valid, Holdings(snapshot))
    missing = (*look.left_out(), *look.unread(seen.values()))
    return Surveyed(look.cluster, snapshot.grant, report, report.entries(namespaces), missing)


def _agreed(found: Surveyed) -> bool:
    """Ask, if there is somebody to ask."""
    if not sys.stdin.isatty():
        return False
    rows = _reached(found)
    console().print(f"\nNothing changes in Azure. {_promise(found)}")
    return typer.confirm(f"Take over {count(rows)}?")


def _promise(found: Surveyed) -> str:
    if found.grant.revocation.value == "Retain":
        return "The credentials are recorded as they are, and stay when their namespaces go (spec.revocation: Retain)."
    return "The credentials are recorded as they are, and from then on deleted with their namespaces."


def _reached(found: Surveyed) -> list[Row]:
    named = set(found.entries)
    return [
        row for row in found.report.rows if row.state is State.POSSIBLE and f"{row.namespace}/{row.account}" in named
    ]


async def _say(settings: Settings, found: Surveyed) -> None:
    api = Api(load_config(settings.kubeconfig or None, settings.context or None))
    try:
        await say(api, found)
    finally:
        await api.close()


async def say(api: Api, found: Surveyed) -> None:
    """Write the annotation, bound to the grant that was looked at; refused where somebody else keeps it, or may not."""
    grant, word = found.grant, found.word
    metadata = {"name": grant.name, "uid": grant.uid, "annotations": {ADOPT_ANNOTATION: word}}
    body = {"apiVersion": API_VERSION, "kind": VAULT_GRANT.kind, "metadata": metadata}
    try:
        await api.apply(f"{VAULT_GRANT.path}/{grant.name}", body, manager=MANAGER)
    except FieldConflict as error:
        owners = ", ".join(error.managers)
        text = f'{owners} keeps the annotation of VaultGrant {grant.name}. Write it there: {ADOPT_ANNOTATION}: "{word}"'
        raise Refused(error.reason, text, code=error.code) from error
    except Refused as error:
        if error.reason is not Reason.KUBERNETES_FORBIDDEN:
            raise
        text = f"{error}. Only admins of grants may say adopt: ask for the ClusterRole {ADMIN}."
        raise Refused(error.reason, text, code=error.code) from error


def _close(found: Surveyed, *, said: bool) -> None:
    out = console()
    if said:
        out.print(f"\nSaid: {ADOPT_ANNOTATION} on VaultGrant {found.grant.name}. The operator does the rest;")
        out.print(f"`keystead adopt {found.grant.name}` shows how far it is. Once all is taken over, the word can go:")
        out.print(f"  kubectl annotate vaultgrant {found.grant.name} {ADOPT_ANNOTATION}-")
        if found.grant.observe_only:
            out.print("The grant only observes: nothing is taken over before spec.observeOnly is taken away.")
    elif found.entries:
        out.print("\nNothing was written. Say --yes to take over what can be.")
    else:
        out.print("\nNothing was written: there is nothing left that can be taken over.")


def as_json(found: Surveyed, *, said: bool) -> dict[str, Any]:
    """The same for programs. The keys are described in ``docs/adopt.md``; they are added to, never renamed."""
    return {
        "cluster": {"id": found.cluster.id, "issuer": found.cluster.issuer},
        "complete": not found.missing,
        "notRead": list(found.missing),
        "grant": found.grant.name,
        "word": found.word if said else found.grant.adopt,
        "problem": found.report.problem,
        "said": said,
        "possible": list(found.entries),
        "otherIssuers": found.report.foreign,
        "others": [_other(row) for row in found.report.rows],
    }


def _other(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "namespace": row.namespace,
        "serviceAccount": row.account,
        "name": row.name,
        "identity": str(row.identity) if row.identity is not None else "",
        "state": row.state.value,
        "reason": row.reason,
        "differences": [_difference(each) for each in row.differences],
    }


def _difference(each: Difference) -> dict[str, str]:
    return {"field": each.field, "given": each.given, "wanted": each.wanted}
