"""What is not ours in a cluster: what no operator may delete, take off or write over unless an admin has said so."""

import json

from simulation import oracle
from simulation.stage import Object, Place, Stage
from simulation.wire import Asked

_CLIENT = "azure.workload.identity/client-id"
_OURS = "keystead"


def broken_by(stage: Stage, place: Place, asked: Asked) -> tuple[str, str] | None:
    """The rule that this write to the cluster breaks, as the API server sees it."""
    parts = asked.path.strip("/").split("/")
    if asked.method == "DELETE":
        return _by_delete(place, parts)
    if asked.method != "PATCH" or len(parts) < 4 or parts[-2] not in ("serviceaccounts", "secretstores"):
        return None
    body = json.loads(asked.body)
    forced = asked.query.get("force") == "true"
    if forced or (asked.query.get("fieldManager") == _OURS and "apiVersion" not in body and "spec" in body):
        stage.counts["forced"] += 1
        return _by_force(stage, place, parts[-3], parts[-1])
    notes = (body.get("metadata") or {}).get("annotations") or {}
    if parts[-2] == "serviceaccounts" and notes.get(_CLIENT, "") is None:
        return _by_withdrawal(place, parts[-3], parts[-1])
    return None


def _by_delete(place: Place, parts: list[str]) -> tuple[str, str] | None:
    """Ledger entries are ours, and claims that we have made; all else goes with its owner."""
    if parts[-2] == "federations":
        return None
    if parts[-2] == "vaultclaims":
        claim = place.object("vaultclaims", parts[-1], parts[-3])
        if claim is None or _labelled(claim):
            return None
    return "foreign", f"{'/'.join(parts[-3:])} is not ours and is deleted"


def _by_force(stage: Stage, place: Place, namespace: str, name: str) -> tuple[str, str] | None:
    """By force, or by a merge, which asks no owner either."""
    grants = place.objects("vaultgrants")
    now = any(oracle.says_adopt(each, namespace, "keystead") for each in grants)
    if now or (oracle.once_said(place, namespace, "keystead") and not stage.is_known(place, namespace)):
        return None
    return "force", f"{namespace}/{name} is applied by force, and nobody has said so"


def _by_withdrawal(place: Place, namespace: str, name: str) -> tuple[str, str] | None:
    account = place.object("serviceaccounts", name, namespace)
    metadata = (account or {"metadata": {}})["metadata"]
    if _CLIENT not in (metadata.get("annotations") or {}):
        return None
    fields = [each["fieldsV1"] for each in metadata.get("managedFields") or () if each["manager"] == _OURS]
    if any(f"f:{_CLIENT}" in json.dumps(each) for each in fields):
        return None
    return "foreign", f"{namespace}/{name} names an identity by others' word, and loses it"


def _labelled(item: Object) -> bool:
    return bool((item["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == _OURS)
