"""Who may have what, said by the world alone: rules of the documentation, written a second time and sharing no code.

An edit of a grant, or of a namespace's labels, is told apart from what ends trust at once: a namespace, a claim, a word.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from keystead_sandbox.resources import Credential, Identity
from simulation.stage import Object, Place, Stage

PROJECT = "field.cattle.io/projectId"
_VAULT = re.compile(r"https://[a-z][a-z0-9-]{1,22}[a-z0-9]\.vault\.azure\.net/?")
_ID = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourcegroups/[^/]+/providers/microsoft\.managedidentity/userassignedidentities/"
    r"[a-z0-9][a-z0-9_-]{2,127}"
)


@dataclass(frozen=True, slots=True)
class No:
    """Why not; ``edit`` when an edit of the grant or of labels made it so."""

    reason: str
    edit: bool = False


def ours(place: Place, held: Credential) -> bool:
    """The name carries this cluster's id, and the issuer is this cluster's."""
    return held.name.startswith(f"ks-{place.id}-") and held.issuer == place.issuer


def key_of(identity: Identity, name: str) -> tuple[str, str]:
    """Where a credential is, as Azure tells two apart."""
    return identity.resource_id.lower(), name.lower()


def kept(place: Place, identity: Identity, held: Credential) -> bool:
    """Ours by its name, or taken over, and as it was then."""
    return ours(place, held) or place.adopted.get(key_of(identity, held.name)) == (held.issuer, held.subject)


def entry_of(place: Place, identity: Identity, name: str) -> Object | None:
    """The ledger entry that records the credential of this name on this identity."""
    wanted = key_of(identity, name)
    for entry in place.objects("federations"):
        spec = entry["spec"]
        if (spec["identityResourceId"].lower(), spec["credential"]["name"].lower()) == wanted:
            return entry
    return None


def says_adopt(grant: Object | None, namespace: str, account: str) -> bool:
    """Whether the grant carries an admin's word on this account."""
    notes = (grant or {"metadata": {}})["metadata"].get("annotations") or {}
    word = {each.strip() for each in notes.get("keystead.dev/adopt", "").split(",")}
    return bool({"*", namespace, f"{namespace}/{account}"} & word)


def once_said(place: Place, namespace: str, account: str) -> bool:
    """Whether an admin has ever said so, of whichever grant."""
    said = {"metadata": {"annotations": {"keystead.dev/adopt": ",".join(place.said)}}}
    return says_adopt(said, namespace, account)


def name_of(place: Place, uid: str, namespace: str, account: str, identity: Identity, held_as: str = "") -> str:
    """The digest that ends a ledger entry's name."""
    parts = "\n".join(
        (place.id, uid, namespace, account, identity.resource_id.lower(), *([held_as] if held_as else []))
    )
    return base64.b32encode(hashlib.sha256(parts.encode()).digest()).decode().lower()[:26]


def allows(spec: Object, namespace: Object) -> bool:
    """Whether a grant's rules allow a namespace."""
    metadata = namespace["metadata"]
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    rule = spec.get("namespaces") or {}
    projects = rule.get("rancherProjects") or []
    if projects and PROJECT in labels and PROJECT in notes and labels[PROJECT] != notes[PROJECT].split(":")[-1]:
        return False
    selector = rule.get("selector")
    given = notes.get(PROJECT, "")
    return (
        metadata["name"] in (rule.get("names") or [])
        or bool(given and {given, given.split(":")[-1]} & set(projects))
        or (selector is not None and _selects(selector, labels))
    )


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or []:
        has, values = each["key"] in labels, each.get("values") or []
        value = labels.get(each["key"])
        met = {
            "In": has and value in values,
            "NotIn": not has or value not in values,
            "Exists": has,
            "DoesNotExist": not has,
        }[each["operator"]]
        if not met:
            return False
    return True


def is_valid(place: Place, grant: Object) -> bool:
    """Whether a grant makes sense, among the others."""
    spec = grant["spec"]
    rule = spec.get("namespaces") or {}
    wanted = [each["resourceId"].lower() for each in spec.get("identities") or []]
    elsewhere = {
        each["resourceId"].lower()
        for other in place.objects("vaultgrants")
        if other["metadata"]["name"] != grant["metadata"]["name"] and not other["metadata"].get("deletionTimestamp")
        for each in other["spec"].get("identities") or []
    }
    return (
        (rule.get("selector") is not None or bool(rule.get("names")) or bool(rule.get("rancherProjects")))
        and _VAULT.fullmatch(spec["vault"]["url"]) is not None
        and (bool(wanted) or bool(spec.get("provisioning")))
        and (not spec.get("provisioning") or bool(spec["vault"].get("resourceId")))
        and len(set(wanted)) == len(wanted)
        and all(_ID.fullmatch(each) for each in wanted)
        and not elsewhere & set(wanted)
    )


def words(place: Place, grant: Object, namespace: Object, subject: str) -> tuple[bool, set[str]]:
    """Denied, and who has approved: what is bound to exactly this namespace, account and vault."""
    vault = grant["spec"]["vault"]["url"].rstrip("/").lower()
    bound = [
        each["spec"]
        for each in place.objects("vaultapprovals")
        if each["spec"]["grantName"] == grant["metadata"]["name"]
        and each["spec"]["namespace"] == namespace["metadata"]["name"]
        and each["spec"]["namespaceUID"] == namespace["metadata"]["uid"]
        and each["spec"]["subject"] == subject
        and each["spec"]["vaultUrl"].rstrip("/").lower() == vault
    ]
    return any(each["decision"] == "Denied" for each in bound), {
        each["by"] for each in bound if each["decision"] == "Approved"
    }


def account_of(grant: Object, claim: Object) -> str:
    template = grant["spec"].get("template") or {}
    return str(claim["spec"].get("serviceAccountName") or template.get("serviceAccountName") or "keystead")


def forbids(stage: Stage, place: Place, identity: Identity, held: Credential) -> No | None:
    """Why a credential of ours must go; ``None`` when it may stand."""
    entry = entry_of(place, identity, held.name)
    if entry is None:
        return No("no ledger entry")
    spec = entry["spec"]
    if entry["metadata"].get("deletionTimestamp"):
        return No("its ledger entry is being deleted")
    namespace = place.object("namespaces", spec["namespace"])
    if namespace is None or namespace["metadata"].get("deletionTimestamp"):
        return No("its namespace is gone or going")
    uid = namespace["metadata"]["uid"]
    held_as = held.name.lower() if spec.get("adopted") else ""
    digest = name_of(place, uid, spec["namespace"], spec["serviceAccountName"], identity, held_as)
    if uid != spec["namespaceUID"] or not entry["metadata"]["name"].endswith(digest):
        return No("its namespace is another one by now")
    grant = place.object("vaultgrants", spec["grantName"])
    if grant is None or grant["metadata"].get("deletionTimestamp"):
        return No("its grant is gone")
    if not spec["claimName"]:
        return None  # a probe: how long it may stand is judged at rest
    claim = place.object("vaultclaims", spec["claimName"], spec["namespace"])
    del stage
    return _refuses(place, grant, namespace, claim, held.subject)


def _refuses(place: Place, grant: Object, namespace: Object, claim: Object | None, subject: str) -> No | None:
    if claim is None or claim["metadata"].get("deletionTimestamp"):
        return No("its claim is gone")
    denied, approvers = words(place, grant, namespace, subject)
    if denied:
        return No("it was denied")
    if not is_valid(place, grant):
        return None
    if not allows(grant["spec"], namespace):
        return No("its namespace is not allowed", edit=True)
    if grant["spec"]["approval"] == "Required" and not approvers - {claim["spec"].get("requestedBy")}:
        return No("nobody has approved it", edit=True)
    return None


def admits(place: Place, claim: Object) -> bool:
    """Whether a claim may have a credential, whatever the ledger says of it."""
    grant = place.object("vaultgrants", claim["spec"]["grantName"])
    namespace = place.object("namespaces", claim["metadata"]["namespace"])
    if grant is None or namespace is None:
        return False
    if grant["metadata"].get("deletionTimestamp") or namespace["metadata"].get("deletionTimestamp"):
        return False
    subject = f"system:serviceaccount:{claim['metadata']['namespace']}:{account_of(grant, claim)}"
    return _refuses(place, grant, namespace, claim, subject) is None


def forbids_entry(stage: Stage, place: Place, entry: Object) -> No | None:
    """The same for what a ledger entry records, wherever it is written."""
    identity = stage.azure.identity(entry["spec"]["identityResourceId"])
    if identity is None:
        return None
    given = entry["spec"]["credential"]
    held = Credential(given["name"], given["issuer"], given["subject"], given["audience"], 0.0)
    return forbids(stage, place, identity, held)


def braked(stage: Stage, place: Place, grant_name: str) -> bool:
    """Whether an edit takes so much away at once that somebody has to confirm it: above five and a fifth."""
    grant = place.object("vaultgrants", grant_name)
    if grant is None:
        return False
    confirmed = (grant["metadata"].get("annotations") or {}).get("keystead.dev/confirm-revocations")
    if confirmed == str(grant["metadata"]["generation"]):
        return False
    entries = [
        each
        for each in place.objects("federations")
        if each["spec"]["grantName"] == grant_name and not each["metadata"].get("deletionTimestamp")
        if each["spec"]["claimName"]
    ]
    edits = sum(1 for each in entries if _goes_by_edit(stage, place, grant, each))
    return edits > 5 and edits > len(entries) / 5


def _goes_by_edit(stage: Stage, place: Place, grant: Object, entry: Object) -> bool:
    """Also where its identity is gone: that somebody has deleted it takes no brake off the others."""
    spec = entry["spec"]
    if stage.azure.identity(spec["identityResourceId"]) is not None:
        no = forbids_entry(stage, place, entry)
        return no is not None and no.edit
    namespace = place.object("namespaces", spec["namespace"])
    if namespace is None or namespace["metadata"].get("deletionTimestamp"):
        return False
    if namespace["metadata"]["uid"] != spec["namespaceUID"]:
        return False
    claim = place.object("vaultclaims", spec["claimName"], spec["namespace"])
    no = _refuses(place, grant, namespace, claim, spec["credential"]["subject"])
    return no is not None and no.edit


def exempt(place: Place, identity: Identity, held: Credential) -> bool:
    """Grants that retain or only observe leave credentials on purpose."""
    entry = entry_of(place, identity, held.name)
    names = {entry["spec"]["grantName"]} if entry is not None else {*place.specs}
    return bool(names & place.retained) or any(place.specs.get(name, {}).get("observeOnly") for name in names)


def reason_of(item: Object, type_: str = "Ready") -> tuple[str, str]:
    """Status and reason of a condition."""
    rows: list[Any] = (item.get("status") or {}).get("conditions") or []
    return next(((row["status"], row["reason"]) for row in rows if row["type"] == type_), ("", ""))
