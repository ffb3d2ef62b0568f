"""``keystead`` and ``kubectl keystead``: one command, one file for each family."""

import sys

import typer

from keystead.cli.abandon import abandon
from keystead.cli.adopt import adopt
from keystead.cli.crds import crds
from keystead.cli.export import export
from keystead.cli.guards import guards
from keystead.cli.plan import plan
from keystead.cli.rbac import rbac
from keystead.cli.review import approve, deny, requests
from keystead.cli.run import run
from keystead.cli.sandbox import sandbox
from keystead.cli.sync import sync
from keystead.model.errors import KeysteadError, Retryable

_CURES = {
    False: "Check that the API server runs and that KUBECONFIG names its address",
    True: "Check that this machine reaches Azure (proxy, firewall, DNS)",
}
"""By whether it is Azure that did not answer."""

app = typer.Typer(
    name="keystead",
    help="Self-service Azure workload identity for External Secrets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(sync)
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)(sandbox)
app.command()(plan)
app.add_typer(export, name="export")
app.command()(adopt)
app.command()(requests)
app.command()(approve)
app.command()(deny)
app.command()(abandon)
app.command()(crds)
app.command()(rbac)
app.command()(guards)


def main() -> None:
    """Entry point: errors of ours are told with their cure, and never as a traceback."""
    try:
        app()
    except KeysteadError as error:
        sys.stderr.write(f"keystead: {error}\n")
        if isinstance(error, Retryable):
            # A refusal names its own cure; for what did not answer, the cure lies around us.
            sys.stderr.write(_CURES[error.reason.startswith("Azure")] + ", then try again.\n")
        sys.exit(1)
