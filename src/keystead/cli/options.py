"""Options and texts that several commands share."""

import json
import logging
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from keystead.operator.settings import Settings, read_settings
from keystead.report.logs import configure

HOME = "~/.kube/config"
Kubeconfig = Annotated[str, typer.Option(envvar="KUBECONFIG", help="Kubeconfig file.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Grants = Annotated[
    list[str] | None, typer.Argument(help="Names of VaultGrants; all when none is given.", metavar="GRANT")
]


def settings_of(kubeconfig: str, context: str | None) -> Settings:
    """The operator's settings from the environment, for a command that ends; libraries keep quiet from now on."""
    configure("error")
    # What azure-identity tries and gives up is told by the error that follows from it.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    return read_settings(kubeconfig=kubeconfig, context=context)


def one_of(value: str, allowed: tuple[str, ...], option: str) -> str:
    """*value*, if it is allowed: exit code 2 with what is, if not."""
    if value not in allowed:
        told = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
        raise typer.BadParameter(f"{value!r} is not allowed: give {told}", param_hint=option)
    return value


def console(*, errors: bool = False) -> Console:
    """Prints what it is given: names of others are no markup."""
    return Console(stderr=errors, markup=False, highlight=False)


def plain(text: str) -> str:
    """Pure: texts of others without what a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def print_json(data: Any) -> None:
    """To standard output."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
