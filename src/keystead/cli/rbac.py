"""``keystead rbac``: the roles of our two processes and of the people."""

import sys
from typing import Annotated

import typer


def rbac(
    namespace: Annotated[str, typer.Option(help="Namespace of the installation.")] = "keystead-system",
    service_account_names: Annotated[
        str,
        typer.Option(
            envvar="KEYSTEAD_SERVICE_ACCOUNT_NAMES", help="Accounts that claims may use, as the operator is told."
        ),
    ] = "keystead",
    *,
    token_roles: Annotated[
        bool, typer.Option("--token-roles", help="Let the operator make the Roles of spec.template.tokenRole.")
    ] = False,
) -> None:
    """Print roles, accounts and bindings as YAML: ``keystead rbac | kubectl apply --server-side -f -``."""
    from keystead.kube.rbac import rbac_yaml  # noqa: PLC0415 - the other commands need none of it

    names = [name.strip() for name in service_account_names.split(",") if name.strip()]
    if not names:
        # Empty is never permission: RBAC reads no names as any name.
        raise typer.BadParameter("give at least one name", param_hint="--service-account-names")
    sys.stdout.write(rbac_yaml(namespace=namespace, account_names=names, token_roles=token_roles))
