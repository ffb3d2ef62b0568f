"""``keystead abandon``: let go of a ledger entry whose credential Azure will never delete."""

import asyncio
import sys
from typing import Annotated, Any

import typer

from keystead.cli.review import Context, Kubeconfig, who_am_i, with_api
from keystead.kube.client import Api
from keystead.kube.kinds import FEDERATION
from keystead.kube.resources import ABANDON_ANNOTATION, ABANDONED_BY_ANNOTATION
from keystead.model.errors import Refused
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason

_MANAGER = "keystead-abandon"
_HOME = "~/.kube/config"


def abandon(
    federation: Annotated[str, typer.Argument(help="Name of the Federation.")],
    message: Annotated[str, typer.Option("--message", "-m", help="Why; it goes into the audit log, with your name.")],
    kubeconfig: Kubeconfig = _HOME,
    context: Context = None,
) -> None:
    """Let go of a ledger entry that is being revoked, and leave its credential in Azure."""
    if not message.strip():
        raise typer.BadParameter("say why", param_hint="--message")

    async def work(api: Api) -> tuple[str, dict[str, Any]]:
        path = f"{FEDERATION.path}/{federation}"
        found = await api.get(path)
        if found is None:
            raise Refused(Reason.FEDERATION_DELETED, f"{federation}: there is no such Federation")
        if not found["metadata"].get("deletionTimestamp"):
            raise Refused(
                Reason.KUBERNETES_REFUSED,
                f"{federation}: it is not being revoked; delete the claim, the namespace or the grant behind it first",
            )
        me = await who_am_i(api)
        annotations = {ABANDON_ANNOTATION: message.strip(), ABANDONED_BY_ANNOTATION: me}
        # Bound to this very object: another may go by its name by now.
        metadata = {"annotations": annotations, "uid": found["metadata"]["uid"]}
        if await api.merge(path, {"metadata": metadata}, manager=_MANAGER) is None:
            raise Refused(Reason.FEDERATION_DELETED, f"{federation}: it has gone by itself meanwhile")
        return me, found["spec"]

    me, spec = asyncio.run(with_api(kubeconfig, context, work))
    sys.stdout.write(_told(federation, me, spec))


def _told(federation: str, me: str, spec: dict[str, Any]) -> str:
    """What stays behind, and how to be rid of it."""
    credential = spec["credential"]
    told = (
        f"{federation} abandoned by {me}; the operator drops it now.\n"
        f"Credential {credential['name']} stays on {spec['identityResourceId']}: whoever gets a token of "
        f"{credential['subject']} is trusted there until it is deleted.\n"
    )
    try:
        identity = IdentityId.parse(spec["identityResourceId"])
    except ValueError:
        return told
    return (
        f"{told}Where somebody may delete it by hand:\n"
        f"  az identity federated-credential delete --yes --subscription {identity.subscription} "
        f"--resource-group {identity.resource_group} --identity-name {identity.name} --name {credential['name']}\n"
    )
