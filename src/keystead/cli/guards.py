"""``keystead guards``: the admission policies that hold people to their roles."""

import sys
from typing import Annotated

import typer


def guards(
    namespace: Annotated[str, typer.Option(help="Namespace of the installation.")] = "keystead-system",
    exempt: Annotated[
        list[str] | None,
        typer.Option(
            help="User who may bring any namespace into any grant; Rancher's own controllers if none is named."
        ),
    ] = None,
    *,
    stores: Annotated[
        bool, typer.Option("--stores", help="Also keep stores in claimed namespaces from node identities.")
    ] = False,
) -> None:
    """Print admission policies and bindings as YAML: ``keystead guards | kubectl apply --server-side -f -``."""
    from keystead.kube.guards import RANCHER, manifests  # noqa: PLC0415 - the other commands need none of it
    from keystead.kube.rbac import plain_yaml  # noqa: PLC0415 - as above

    objects = manifests(namespace=namespace, exempt=tuple(exempt) if exempt else RANCHER, optional=stores)
    sys.stdout.write("---\n".join(plain_yaml(each) for each in objects))
