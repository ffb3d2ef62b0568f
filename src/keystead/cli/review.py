"""``keystead requests``, ``approve`` and ``deny``: the reviewer's desk."""

import asyncio
import hashlib
import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from keystead.kube import decode
from keystead.kube.client import Api, load_config
from keystead.kube.kinds import VAULT_APPROVAL, VAULT_CLAIM, VAULT_GRANT
from keystead.kube.resources import API_VERSION
from keystead.model.conditions import ConditionType, Status, find
from keystead.model.errors import Refused
from keystead.model.reasons import Reason
from keystead.model.records import Claim, Decision

Kubeconfig = Annotated[str, typer.Option(envvar="KUBECONFIG", help="Kubeconfig file.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Which = Annotated[
    str, typer.Argument(help="NAMESPACE, or NAMESPACE/CLAIM where it has several.", metavar="NAMESPACE[/CLAIM]")
]
Message = Annotated[str, typer.Option("--message", "-m", help="Why; everyone can read it.")]
Output = Annotated[str, typer.Option("--output", "-o", help="text, or json for the VaultApproval that was made.")]
_HOME = "~/.kube/config"
_LONGEST_NAME = 253
_FUTILE = {
    Reason.APPROVAL_NOT_REQUIRED: "its grant asks for no review, so there is nothing to approve",
    Reason.REQUESTER_UNKNOWN: "spec.requestedBy names nobody, so nobody can approve it; the claim has to be made again",
}
"""Of the claim's condition Approved: why an approval would change nothing."""


def requests(
    kubeconfig: Kubeconfig = _HOME,
    context: Context = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """Show what waits for a review."""
    _check_output(output, "table")
    waiting = asyncio.run(with_api(kubeconfig, context, _waiting))
    rows = [
        {
            "namespace": claim.namespace,
            "claim": claim.name,
            "grant": claim.grant_name,
            "requestedBy": claim.requested_by,
            "since": claim.created_at.isoformat() if claim.created_at is not None else "",
            "reason": _reason(claim),
        }
        for claim in waiting
    ]
    if output == "json":
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    if not rows:
        Console().print("Nothing waits for a review.")
        return
    table = Table(box=None, header_style="bold")
    table.add_column("NAMESPACE", no_wrap=True)  # at most 63 characters, and typed again by whoever decides
    for title in ("CLAIM", "GRANT", "REQUESTED BY", "SINCE"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(row["namespace"], row["claim"], row["grant"], row["requestedBy"] or "(automatic)", row["since"])
    Console().print(table)


def approve(
    which: Which,
    message: Message = "",
    kubeconfig: Kubeconfig = _HOME,
    context: Context = None,
    output: Output = "text",
) -> None:
    """Say yes to a claim; bound to the namespace's UID, the account and the vault."""
    _check_output(output, "text")
    asyncio.run(_decide(kubeconfig, context, which, Decision.APPROVED, message, output))


def deny(
    which: Which,
    message: Message = "",
    kubeconfig: Kubeconfig = _HOME,
    context: Context = None,
    output: Output = "text",
) -> None:
    """Say no to a claim, or take its access away."""
    _check_output(output, "text")
    asyncio.run(_decide(kubeconfig, context, which, Decision.DENIED, message, output))


def _check_output(output: str, plain: str) -> None:
    if output not in (plain, "json"):
        raise typer.BadParameter(f"{output!r} is not allowed: give {plain} or json", param_hint="--output")


async def with_api(kubeconfig: str, context: str | None, work: Any) -> Any:
    """What *work* returns, given a client of the cluster that these name."""
    api = Api(load_config(kubeconfig, context))
    try:
        return await work(api)
    finally:
        await api.close()


async def _claims(api: Api) -> list[Claim]:
    listed = await api.get(VAULT_CLAIM.path)
    if listed is None:
        raise Refused(Reason.KUBERNETES_REFUSED, "this cluster has no VaultClaims: apply the output of `keystead crds`")
    return sorted((decode.claim(item) for item in listed["items"]), key=lambda claim: claim.key)


async def _waiting(api: Api) -> list[Claim]:
    return [claim for claim in await _claims(api) if _awaits(claim)]


def _awaits(claim: Claim) -> bool:
    return _reason(claim) in (Reason.AWAITING_REVIEW, Reason.APPROVER_IS_REQUESTER)


def _reason(claim: Claim) -> str:
    """Of its condition Approved, while it is not; empty before anybody has said anything."""
    approved = find(claim.conditions, ConditionType.APPROVED)
    return approved.reason if approved is not None and approved.status is Status.FALSE else ""


async def _decide(
    kubeconfig: str, context: str | None, which: str, decision: Decision, message: str, output: str
) -> None:
    async def work(api: Api) -> tuple[str, Claim, dict[str, Any]]:
        claim = await _find(api, which)
        me = await who_am_i(api)
        body = await _approval(api, claim, decision, me, message)
        if decision is Decision.APPROVED:
            await _check_use(api, claim, me, body["spec"])
        return me, claim, await _post(api, body)

    me, claim, made = await with_api(kubeconfig, context, work)
    if output == "json":
        sys.stdout.write(json.dumps(made, indent=2) + "\n")
        return
    verb = "approved" if decision is Decision.APPROVED else "denied"
    Console(highlight=False).print(f"{claim.key} {verb} by {me} (grant {claim.grant_name})", markup=False)


async def _check_use(api: Api, claim: Claim, me: str, spec: dict[str, Any]) -> None:
    """Refused where an approval would change nothing."""
    if claim.requested_by == me:
        raise Refused(
            Reason.APPROVER_IS_REQUESTER, f"{claim.key}: you ({me}) asked for it; somebody else has to approve it"
        )
    approved = find(claim.conditions, ConditionType.APPROVED)
    futile = _FUTILE.get(Reason(approved.reason)) if approved is not None and approved.reason in _FUTILE else None
    if futile is not None:
        raise Refused(Reason.KUBERNETES_REFUSED, f"{claim.key}: {futile}")
    listed = await api.get(VAULT_APPROVAL.path)
    bound = ("grantName", "namespace", "namespaceUID", "subject")
    for item in (listed or {}).get("items") or ():
        said = item["spec"]
        if said["decision"] == Decision.DENIED.value and all(said[each] == spec[each] for each in bound):
            name = item["metadata"]["name"]
            text = f"{claim.key}: {said['by']} said no, which wins; `kubectl delete va {name}` takes that back first"
            raise Refused(Reason.DENIED, text)


async def _find(api: Api, which: str) -> Claim:
    namespace, _, name = which.partition("/")
    found = [claim for claim in await _claims(api) if claim.namespace == namespace and name in ("", claim.name)]
    if not found:
        raise Refused(Reason.CLAIM_DELETED, f"{which}: there is no such VaultClaim; see `keystead requests`")
    if len(found) > 1:
        found = [claim for claim in found if _awaits(claim)] or found
    if len(found) > 1:
        names = ", ".join(claim.key for claim in found)
        raise Refused(Reason.TOO_MANY_CLAIMS, f"{which}: it has several claims, name one of {names}")
    return found[0]


async def who_am_i(api: Api) -> str:
    """The caller's name, as the API server knows it."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(answer["status"]["userInfo"]["username"])


async def _approval(api: Api, claim: Claim, decision: Decision, by: str, message: str) -> dict[str, Any]:
    """Bound to what is true now: the namespace's UID is read live, the rest is what the claim says of itself."""
    namespace = await api.get(f"/api/v1/namespaces/{claim.namespace}")
    granted = await api.get(f"{VAULT_GRANT.path}/{claim.grant_name}")
    item = await api.get(f"/apis/{API_VERSION}/namespaces/{claim.namespace}/{VAULT_CLAIM.plural}/{claim.name}")
    subject = ((item or {}).get("status") or {}).get("subject")
    if namespace is None or granted is None or not subject:
        raise Refused(
            Reason.GRANT_NOT_FOUND, f"{claim.key}: namespace, grant or the claim's own status is missing; try again"
        )
    uid = namespace["metadata"]["uid"]
    return {
        "apiVersion": API_VERSION,
        "kind": VAULT_APPROVAL.kind,
        "metadata": {"name": _name(claim, uid, decision)},
        "spec": {
            "grantName": claim.grant_name,
            "namespace": claim.namespace,
            "namespaceUID": uid,
            "subject": subject,
            "vaultUrl": granted["spec"]["vault"]["url"],
            "decision": decision.value,
            "by": by,
            "message": message,
        },
    }


def _name(claim: Claim, uid: str, decision: Decision) -> str:
    """One for each claim, namespace and decision; what is too long is cut, and told apart by a digest."""
    end = f"-{uid[:8]}-{decision.value.lower()}"
    stem = f"{claim.namespace}-{claim.name}"
    if len(stem) + len(end) > _LONGEST_NAME:
        digest = hashlib.sha256(claim.key.encode()).hexdigest()[:16]
        stem = f"{stem[: _LONGEST_NAME - len(end) - len(digest) - 1]}-{digest}"
    return stem + end


async def _post(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    try:
        made: dict[str, Any] = await api.post(VAULT_APPROVAL.path, body)
    except Refused as error:
        if error.code != "AlreadyExists":
            raise
        name = body["metadata"]["name"]
        raise Refused(
            error.reason,
            f"VaultApproval {name} stands already; `kubectl delete va {name}` withdraws it",
            code=error.code,
        ) from error
    return made
