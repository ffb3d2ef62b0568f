"""What people and other tools do, one deed at a time. A deed whose object is not there does nothing, so that any event of
a story can be left out.
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from keystead.kube.permissions import LEASE, NAMESPACE
from keystead_sandbox.resources import Credential, Identity
from simulation import growing, oracle
from simulation.stage import VAULTS, Object, Place, Stage

if TYPE_CHECKING:
    from simulation.story import Event

Deed: TypeAlias = Callable[[Stage, Place, "Event"], None]
API = "keystead.dev/v1alpha1"
ESO_FINALIZER = "secretstore.externalsecrets.io/finalizer"
CLIENT = "azure.workload.identity/client-id"


# Namespaces and what is in them ----------------------------------------------------------------------------------


def make_namespace(stage: Stage, place: Place, event: "Event") -> None:
    labels, project = event.given.get("labels") or {}, event.given.get("project")
    notes = {"field.cattle.io/projectId": project} if project else {}
    if event.given.get("label_project"):
        labels = {**labels, "field.cattle.io/projectId": event.given["label_project"]}
    metadata = {"name": event.on, "labels": labels, "annotations": notes}
    stage.touch(place, event.on)
    stage.put(place, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def delete_namespace(stage: Stage, place: Place, event: "Event") -> None:
    stage.touch(place, event.on)
    stage.delete(place, "namespaces", event.on)


def recreate_namespace(stage: Stage, place: Place, event: "Event") -> None:
    delete_namespace(stage, place, event)
    make_namespace(stage, place, event)


def make_claim(stage: Stage, place: Place, event: "Event") -> None:
    spec = {"grantName": event.given["grant"], "requestedBy": "tenant"}
    if event.given.get("account"):
        spec["serviceAccountName"] = event.given["account"]
    metadata = {"name": event.given["name"], "namespace": event.on}
    stage.touch(place, event.on)
    stage.put(place, {"apiVersion": API, "kind": "VaultClaim", "metadata": metadata, "spec": spec})


def delete_claim(stage: Stage, place: Place, event: "Event") -> None:
    stage.touch(place, event.on)
    if stage.delete(place, "vaultclaims", event.given["name"], event.on):
        place.deleted_claims.add(event.on)


def make_store(stage: Stage, place: Place, event: "Event") -> None:
    """By hand, as the operator would, or otherwise."""
    agrees = event.given["agrees"]
    azure = {
        "authType": "WorkloadIdentity",
        "vaultUrl": f"https://{VAULTS[0]}.vault.azure.net" if agrees else "https://elsewhere.vault.azure.net",
        "serviceAccountRef": {"name": "keystead"},
    }
    metadata = {"name": "azure-store", "namespace": event.on}
    stage.touch(place, event.on)
    store = {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": metadata}
    stage.put(place, {**store, "spec": {"provider": {"azurekv": azure}}})


def make_account(stage: Stage, place: Place, event: "Event") -> None:
    notes = {"by-hand": "yes"}
    if event.given["annotated"]:
        notes[CLIENT] = "00000000-0000-4000-8000-000000000000"
    metadata = {"name": "keystead", "namespace": event.on, "annotations": notes}
    stage.touch(place, event.on)
    stage.put(place, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def hold_store(stage: Stage, place: Place, event: "Event") -> None:
    """External Secrets Operator's finalizer on the store."""
    store = place.object("secretstores", "azure-store", event.on)
    if store is not None and not store["metadata"].get("deletionTimestamp"):
        changed = copy.deepcopy(store)
        changed["metadata"]["finalizers"] = [ESO_FINALIZER]
        stage.edit(place, "secretstores", changed)


def release_store(stage: Stage, place: Place, event: "Event") -> None:
    store = place.object("secretstores", "azure-store", event.on)
    if store is not None and store["metadata"].get("finalizers"):
        changed = copy.deepcopy(store)
        changed["metadata"]["finalizers"] = []
        stage.edit(place, "secretstores", changed)


# Admins and reviewers --------------------------------------------------------------------------------------------


def write_grant(stage: Stage, place: Place, event: "Event") -> None:
    """Apply a change of a grant's spec; identities are named and become ids. What is refused is not tried again."""
    change = dict(event.given)
    if "identities" in change:
        change["identities"] = [_member(stage, each) for each in change["identities"]]
    before, spec = place.specs.get(event.on), {**place.specs.get(event.on, {}), **change}
    place.specs[event.on] = spec
    stage.touch(place)
    if _put_grant(stage, place, event.on) is None and before is not None:
        place.specs[event.on] = before
    elif spec.get("revocation") == "Retain":
        place.retained.add(event.on)


def _member(stage: Stage, name: str) -> Object:
    name, _, reserved = name.partition("/")
    identity = stage.identities.get(name)
    found = identity.resource_id if identity is not None else name
    return {"resourceId": found, "reservedSlots": int(reserved or 0)}


def _put_grant(stage: Stage, place: Place, name: str, notes: dict[str, str] | None = None) -> Object | None:
    metadata: Object = {"name": name, **({"annotations": notes} if notes else {})}
    spec = growing.completed(stage, copy.deepcopy(place.specs[name]))
    return stage.put(place, {"apiVersion": API, "kind": "VaultGrant", "metadata": metadata, "spec": spec})


def delete_grant(stage: Stage, place: Place, event: "Event") -> None:
    stage.touch(place)
    stage.delete(place, "vaultgrants", event.on)


def confirm(stage: Stage, place: Place, event: "Event") -> None:
    grant = place.object("vaultgrants", event.on)
    if grant is not None and event.on in place.specs:
        notes = {"keystead.dev/confirm-revocations": str(grant["metadata"]["generation"])}
        stage.touch(place)
        _put_grant(stage, place, event.on, notes)


def say_adopt(stage: Stage, place: Place, event: "Event") -> None:
    """An admin's word on what may be taken over, or none any more; beside whoever owns the grant's spec."""
    metadata: Object = {"name": event.on}
    if event.given["word"]:
        metadata["annotations"] = {"keystead.dev/adopt": event.given["word"]}
    if place.object("vaultgrants", event.on) is not None:
        stage.touch(place)
        place.said.add(event.given["word"])
        stage.put(place, {"apiVersion": API, "kind": "VaultGrant", "metadata": metadata}, manager="admin")


def decide(stage: Stage, place: Place, event: "Event") -> None:
    """A reviewer's word about a namespace's claim."""
    namespace, grant = place.object("namespaces", event.on), place.object("vaultgrants", event.given["grant"])
    if namespace is None or grant is None:
        return
    spec = {
        "grantName": event.given["grant"],
        "namespace": event.on,
        "namespaceUID": namespace["metadata"]["uid"],
        "subject": f"system:serviceaccount:{event.on}:keystead",
        "vaultUrl": grant["spec"]["vault"]["url"],
        "decision": event.given["decision"],
        "by": event.given["by"],
    }
    stage.touch(place, event.on)
    number = stage.counts["words"] = stage.counts["words"] + 1
    metadata = {"name": f"{event.on}-{number}"}
    stage.put(place, {"apiVersion": API, "kind": "VaultApproval", "metadata": metadata, "spec": spec})


def withdraw(stage: Stage, place: Place, event: "Event") -> None:
    for each in place.objects("vaultapprovals"):
        if each["spec"]["namespace"] == event.on:
            stage.touch(place, event.on)
            stage.delete(place, "vaultapprovals", each["metadata"]["name"])
            return


def delete_entry(stage: Stage, place: Place, event: "Event") -> None:
    """Somebody deletes a ledger entry by hand."""
    for each in place.objects("federations"):
        if each["spec"]["namespace"] == event.on:
            stage.touch(place, event.on)
            stage.delete(place, "federations", each["metadata"]["name"])
            return


def delete_lease(stage: Stage, place: Place, event: "Event") -> None:
    del event
    stage.disturb(place, stage.setup.lease)
    stage.delete(place, "leases", LEASE, NAMESPACE)


# Azure, without us -----------------------------------------------------------------------------------------------


def _path(identity: Identity, name: str) -> str:
    return f"{identity.resource_id}/federatedIdentityCredentials/{name}"


def _mark(stage: Stage, identity: Identity) -> None:
    stage.foreign_since[identity.name] = stage.now


def write_foreign(stage: Stage, place: Place, event: "Event") -> None:
    """Another tool's credential; with a namespace given, one that takes the trust that ours would need."""
    identity = stage.identities[event.on]
    issuer, subject = "https://other", event.given["name"]
    if event.given.get("takes"):
        issuer, subject = place.issuer, f"system:serviceaccount:{event.given['takes']}:keystead"
    body = {"properties": {"issuer": issuer, "subject": subject, "audiences": ["api://AzureADTokenExchange"]}}
    _ask(stage, identity, "PUT", event.given["name"], body)


def delete_foreign(stage: Stage, place: Place, event: "Event") -> None:
    del place
    identity = stage.identities[event.on]
    theirs = sorted(each.name for each in identity.credentials.values() if not each.name.startswith("ks-"))
    if theirs:
        _ask(stage, identity, "DELETE", theirs[event.given["nth"] % len(theirs)], None)


def change_foreign(stage: Stage, place: Place, event: "Event") -> None:
    """The same name for something else."""
    found = _made_by_hand(stage, place, event)
    if found is not None:
        trust = {"issuer": "https://changed", "subject": found.name, "audiences": ["api://AzureADTokenExchange"]}
        _ask(stage, stage.identities[event.on], "PUT", found.name, {"properties": trust})


def rename_foreign(stage: Stage, place: Place, event: "Event") -> None:
    """The same trust under another name: names cannot change in Azure, so one goes and another comes."""
    found, identity = _made_by_hand(stage, place, event), stage.identities[event.on]
    if found is None:
        return
    trust = {"issuer": found.issuer, "subject": found.subject, "audiences": [found.audience]}

    async def rename() -> None:
        _mark(stage, identity)
        await stage.ask_azure("DELETE", _path(identity, found.name))
        await stage.ask_azure("PUT", _path(identity, f"{found.name}-x"), {"properties": trust})
        _mark(stage, identity)

    stage.remember(rename())


def _made_by_hand(stage: Stage, place: Place, event: "Event") -> Credential | None:
    """One that trusts an account of the cluster."""
    held = stage.identities[event.on].credentials.values()
    mine = [each for each in held if each.issuer == place.issuer and not each.name.startswith("ks-")]
    found = sorted(mine, key=lambda each: each.name)
    return found[event.given["nth"] % len(found)] if found else None


def delete_ours(stage: Stage, place: Place, event: "Event") -> None:
    """Somebody deletes a credential of the operator's by hand."""
    found = _ours(stage, place, event)
    if found is not None:
        _ask(stage, found[0], "DELETE", found[1], None)


def change_ours(stage: Stage, place: Place, event: "Event") -> None:
    """Somebody makes a credential of the operator's say something else."""
    found = _ours(stage, place, event)
    if found is not None:
        trust = {"issuer": "https://changed", "subject": "by-hand", "audiences": ["api://AzureADTokenExchange"]}
        _ask(stage, found[0], "PUT", found[1], {"properties": trust})


def _ours(stage: Stage, place: Place, event: "Event") -> tuple[Identity, str] | None:
    identity = stage.identities[event.on]
    names = sorted(each.name for each in identity.credentials.values() if oracle.ours(place, each))
    return (identity, names[event.given["nth"] % len(names)]) if names else None


def _ask(stage: Stage, identity: Identity, method: str, name: str, body: Any) -> None:
    async def write() -> None:
        _mark(stage, identity)
        await stage.ask_azure(method, _path(identity, name), body)
        _mark(stage, identity)

    stage.remember(write())


def delete_identity(stage: Stage, place: Place, event: "Event") -> None:
    del place
    identity = stage.identities[event.on]
    _mark(stage, identity)
    stage.azure.remove_identity(identity)


def restore_identity(stage: Stage, place: Place, event: "Event") -> None:
    """Under the same id, with another client and principal, and empty: as Azure makes it anew."""
    del place
    identity = stage.identities[event.on]
    if stage.azure.identity(identity.resource_id) is None:
        stage.add_identity(event.on, list(stage.azure.subscriptions).index(identity.subscription_id))
        _mark(stage, identity)


def take_roles(stage: Stage, place: Place, event: "Event") -> None:
    """The identity may not read vaults any more."""
    identity = stage.identities[event.on]
    stage.disturb(None, event.given["seconds"])
    taken = [each for each in stage.azure.assignments.values() if each.principal_id == identity.principal_id]
    for each in taken:
        stage.azure.remove_assignment(each)

    async def give_back() -> None:
        await stage.clock.sleep(event.given["seconds"])
        for vault in stage.vaults:
            stage.azure.assign_role(identity.principal_id, "Key Vault Secrets User", vault.resource_id)

    stage.remember(give_back())
    del place
