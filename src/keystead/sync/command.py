"""``keystead sync``: the command's flags, each with its environment variable."""

import asyncio
import datetime
from typing import Annotated

import typer


def sync(
    kubeconfig: Annotated[
        str, typer.Option(envvar="KUBECONFIG", help="Kubeconfig file; without one, the pod's own account.")
    ] = "",
    context: Annotated[str, typer.Option(envvar="KEYSTEAD_CONTEXT", help="Context of the kubeconfig.")] = "",
    controller_class: Annotated[
        str, typer.Option(envvar="KEYSTEAD_CONTROLLER_CLASS", help="spec.controller of the stores to serve.")
    ] = "keystead",
    store_interval: Annotated[
        float, typer.Option(envvar="KEYSTEAD_STORE_INTERVAL", min=1.0, help="Seconds between looks at a store.")
    ] = 300.0,
    workers: Annotated[
        int, typer.Option(envvar="KEYSTEAD_SYNC_WORKERS", min=1, max=256, help="ExternalSecrets looked at at once.")
    ] = 32,
    authority: Annotated[
        str, typer.Option(envvar="AZURE_AUTHORITY_HOST", help="Entra's address, where it is not the cloud's own.")
    ] = "",
    lease: Annotated[
        str,
        typer.Option(envvar="KEYSTEAD_SYNC_LEASE", help="NAMESPACE/NAME of the Lease of the replica that serves."),
    ] = "default/keystead-sync",
    log_level: Annotated[
        str, typer.Option(envvar="KEYSTEAD_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Turn ExternalSecrets into Secrets where External Secrets Operator does not run."""
    from keystead.report.logs import configure  # noqa: PLC0415 - the other commands need none of it
    from keystead.sync.app import serve  # noqa: PLC0415 - as above
    from keystead.sync.settings import SyncSettings  # noqa: PLC0415 - as above

    configure(log_level)
    settings = SyncSettings(
        kubeconfig=kubeconfig,
        context=context,
        controller_class=controller_class,
        store_interval=datetime.timedelta(seconds=store_interval),
        workers=workers,
        authority=_address(authority),
        lease=_lease(lease),
    )
    asyncio.run(serve(settings))


def _address(authority: str) -> str:
    """Azure's tools take AZURE_AUTHORITY_HOST with and without ``https://`` and a last slash."""
    bare = authority.rstrip("/")
    return bare if not bare or "://" in bare else f"https://{bare}"


def _lease(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise typer.BadParameter(f"KEYSTEAD_SYNC_LEASE: {text!r} is not allowed: give NAMESPACE/NAME.")
    return namespace, name
