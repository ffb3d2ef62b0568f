"""``keystead-sandbox``: the emulated Azure, an embedded and a real Kubernetes, and the scenario that plays on them.

Only the command that was asked for is imported: each of them runs as a process of its own, and starts at once.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import typer

_COMMANDS = {
    "azure": "keystead_sandbox.azure_command",
    "control-plane": "keystead_sandbox.control_plane.command",
    "kube": "keystead_sandbox.kube.command",
    "scenario": "keystead_sandbox.scenario.command",
}
_SETTINGS = {"help_option_names": ["-h", "--help"]}


def main() -> None:
    """Entry point."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked in _COMMANDS:
        alone = typer.Typer(pretty_exceptions_enable=False)
        alone.command(context_settings=_SETTINGS)(_function(asked))
        # The usage of the scenario shows the command that people type.
        alone(args=sys.argv[2:], prog_name="keystead sandbox" if asked == "scenario" else f"keystead-sandbox {asked}")
        return
    app = typer.Typer(
        name="keystead-sandbox",
        help="Emulated Azure and Kubernetes that enforce the real rules, on loopback.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
    )
    for name in _COMMANDS:
        app.command(name)(_function(name))
    app()


def _function(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(importlib.import_module(_COMMANDS[name]), name.replace("-", "_"))
    return found
