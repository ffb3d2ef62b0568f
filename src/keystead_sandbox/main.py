"""``keystead-sandbox``: the emulated Azure, the embedded Kubernetes, and the scenario that plays on both."""

import sys

import typer

from keystead_sandbox.azure_command import azure
from keystead_sandbox.kube.command import kube
from keystead_sandbox.scenario.command import scenario

app = typer.Typer(
    name="keystead-sandbox",
    help="Emulated Azure and Kubernetes that enforce the real rules, on loopback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(azure)
app.command()(kube)
app.command()(scenario)


def main() -> None:
    """Entry point; the scenario's usage shows the command that people type."""
    if sys.argv[1:2] == ["scenario"]:
        alone = typer.Typer(pretty_exceptions_enable=False)
        alone.command(context_settings={"help_option_names": ["-h", "--help"]})(scenario)
        alone(args=sys.argv[2:], prog_name="keystead sandbox")
        return
    app()
