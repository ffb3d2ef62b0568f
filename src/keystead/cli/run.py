"""``keystead run``: the operator."""

import asyncio
from typing import Annotated

import typer


def run(
    kubeconfig: Annotated[str | None, typer.Option(help="Kubeconfig file [env: KUBECONFIG].")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig [env: KEYSTEAD_CONTEXT].")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    *,
    observe_only: Annotated[bool, typer.Option("--observe-only", help="Plan and report, write nothing.")] = False,
) -> None:
    """Run the operator until it is told to stop."""
    from keystead.operator.runner import run as serve  # noqa: PLC0415 - the other commands need none of it
    from keystead.operator.settings import read_settings  # noqa: PLC0415 - as above
    from keystead.report.logs import configure  # noqa: PLC0415 - as above

    settings = read_settings(
        kubeconfig=kubeconfig, context=context, log_level=log_level, observe_only="true" if observe_only else None
    )
    configure(settings.log_level)
    asyncio.run(serve(settings))
