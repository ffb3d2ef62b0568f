"""Pools that grow: what the world says of them, what people do to them, and what no operator may do.

Its chance is drawn apart, so that stories without growth stay what they were.
"""

import base64
import hashlib
import json
import random
import re
from typing import TYPE_CHECKING, Any

from keystead_sandbox.resources import Identity, ResourceGroup
from simulation.stage import Object, Place, Stage

if TYPE_CHECKING:
    from simulation.story import Event
    from simulation.wire import Asked

PREFIX = "grown"
MADE = re.compile(r"(.+/userAssignedIdentities/[^/]+)$", re.IGNORECASE)
ASSIGNED = re.compile(r"/roleAssignments/[^/]+$", re.IGNORECASE)
_DEEDS = ("untag_made", "delete_made", "take_made_roles", "make_stranger", "edit_growth")


# The story -------------------------------------------------------------------------------------------------------


class Draw:
    """What a seed says about growth."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"growth/{seed}")  # noqa: S311 - a seed makes it repeat
        self.grows = self._chance.random() < 0.25

    def of_grant(self, given: dict[str, Any]) -> dict[str, Any]:
        """The grant as it was drawn, and its growth."""
        if not self.grows:
            return given
        named = given["identities"] if self._chance.random() < 0.6 else []
        return {**given, "identities": named, "provisioning": self._provisioning()}

    def _provisioning(self) -> dict[str, Any]:
        return {"maxIdentities": self._chance.choice((1, 2, 3)), "headroom": self._chance.choice((0, 1, 5, 20))}

    def events(self, length: float, grants: list[str], clusters: int) -> list[tuple[float, str, str, int, Any]]:
        """When, what, on which grant, in which cluster."""
        if not self.grows:
            return []
        chance, found = self._chance, []
        for _ in range(chance.choice((0, 1, 2, 4))):
            deed = chance.choice(_DEEDS)
            given = {"provisioning": self._provisioning()} if deed == "edit_growth" else {"nth": chance.randrange(4)}
            at = round(chance.uniform(20.0, length), 2)
            found.append((at, deed, chance.choice(grants), chance.randrange(clusters), given))
        return found


# What stands -----------------------------------------------------------------------------------------------------


def group_of(stage: Stage) -> ResourceGroup:
    return next(each for each in stage.azure.groups.values() if each.name == "identities")


def completed(stage: Stage, spec: Object) -> Object:
    """A grant's spec with all that growth needs."""
    if "provisioning" not in spec:
        return spec
    group, url = group_of(stage), spec["vault"]["url"]
    vault = next((each for each in stage.vaults if url == f"https://{each.name}.vault.azure.net"), None)
    place = {"resourceGroupId": group.id, "location": group.location, "namePrefix": PREFIX}
    return {
        **spec,
        "vault": {"url": url, **({"resourceId": vault.resource_id} if vault is not None else {})},
        "provisioning": {**place, **spec["provisioning"]},
    }


def stem(place: Place, grant: Object) -> str:
    """What the names of a grant's own identities begin with."""
    vault = grant["spec"]["vault"].get("resourceId", "").lower()
    parts = "\n".join((place.id, grant["metadata"]["name"], vault))
    return f"{PREFIX}-{base64.b32encode(hashlib.sha256(parts.encode()).digest()).decode().lower()[:8]}-"


def made(stage: Stage, place: Place, grant: Object) -> list[Identity]:
    """Identities of the operator's making that are in the grant's pool."""
    if not grant["spec"].get("provisioning"):
        return []
    begins, tags = stem(place, grant), {"keystead-cluster": place.id, "keystead-grant": grant["metadata"]["name"]}
    return [
        each
        for each in stage.azure.identities.values()
        if each.name.startswith(begins) and tags.items() <= each.tags.items()
    ]


def may_grow(stage: Stage, place: Place, grant: Object) -> bool:
    """One more identity may be made."""
    wanted = grant["spec"].get("provisioning")
    return bool(wanted) and len(made(stage, place, grant)) < wanted["maxIdentities"]


def is_probe(entry: Object) -> bool:
    return not entry["spec"]["claimName"]


def complaints(stage: Stage, place: Place, grant: Object) -> list[str]:
    """What must be so at rest, where a grant makes sense and does not only observe."""
    name = grant["metadata"]["name"]
    rows = (grant.get("status") or {}).get("identities") or []
    proven = {each["resourceId"].lower() for each in rows if each.get("provenAt")}
    ours, wanted = made(stage, place, grant), grant["spec"].get("provisioning") or {}
    named = [stage.azure.identity(each["resourceId"]) for each in grant["spec"].get("identities") or []]
    limit = stage.azure.rules.credential_limit
    free = sum(limit - len(each.credentials) for each in (*named, *ours) if each is not None)
    told = {each["resourceId"].lower() for each in rows if f"/{PREFIX}-" in each["resourceId"]}
    found = [f"growth: the status of {name} shows other identities"] if told != {_key(each) for each in ours} else []
    if wanted and free < wanted.get("headroom", 5) and may_grow(stage, place, grant):
        found.append(f"growth: {name} has {free} free slots, and may have more")
    found += [
        f"growth: {each['metadata']['name']} is still outside the pool"
        for each in place.objects("federations")
        if wanted and free and each["spec"]["grantName"] == name and _outside(each, ours) and _is_served(place, each)
    ]
    holders = {each.principal_id for each in stage.azure.assignments.values()}
    found += [f"growth: {each.name} has no role" for each in ours if each.principal_id not in holders]
    found += [
        f"growth: {each.name} of {name} is not proven"
        for each in ours
        if _key(each) not in proven and len(each.credentials) < limit
    ]
    found += [
        f"growth: the probe {each['metadata']['name']} is still there"
        for each in place.objects("federations")
        if is_probe(each) and each["spec"]["grantName"] == name
    ]
    return found


def _key(identity: Identity) -> str:
    return identity.resource_id.lower()


def _outside(entry: Object, ours: list[Identity]) -> bool:
    identity = entry["spec"]["identityResourceId"].lower()
    return f"/{PREFIX}-" in identity and identity not in {_key(each) for each in ours}


def _is_served(place: Place, entry: Object) -> bool:
    """Where a store's or an account's owner disagrees, a claim waits where it is."""
    claim = place.object("vaultclaims", entry["spec"]["claimName"], entry["spec"]["namespace"])
    rows = ((claim or {}).get("status") or {}).get("conditions") or []
    return any((row["type"], row["status"]) == ("Ready", "True") for row in rows)


# What people do --------------------------------------------------------------------------------------------------


def _one(stage: Stage, place: Place, event: "Event") -> Identity | None:
    grant = place.object("vaultgrants", event.on)
    found = sorted(made(stage, place, grant), key=lambda each: each.name) if grant is not None else []
    return found[event.given["nth"] % len(found)] if found else None


def untag_made(stage: Stage, place: Place, event: "Event") -> None:
    """Somebody takes an identity out of the pool."""
    identity = _one(stage, place, event)
    if identity is not None:
        stage.touch(place)
        identity.tags = {}


def delete_made(stage: Stage, place: Place, event: "Event") -> None:
    identity = _one(stage, place, event)
    if identity is not None:
        stage.touch(place)
        stage.foreign_since[identity.name] = stage.now
        stage.azure.remove_identity(identity)


def take_made_roles(stage: Stage, place: Place, event: "Event") -> None:
    identity = _one(stage, place, event)
    if identity is None:
        return
    stage.disturb(place, 60.0)
    for each in [each for each in stage.azure.assignments.values() if each.principal_id == identity.principal_id]:
        stage.azure.remove_assignment(each)


def make_stranger(stage: Stage, place: Place, event: "Event") -> None:
    """Somebody's identity by a name that the operator would choose."""
    grant = place.object("vaultgrants", event.on)
    name = f"{stem(place, grant)}{event.given['nth'] + 1:03}" if grant is not None else ""
    path = f"{group_of(stage).id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    if name and stage.azure.identity(path) is None:
        stage.azure.add_identity(name, tags={"owner": "somebody"})


# What no operator may do -----------------------------------------------------------------------------------------


def writes(asked: "Asked") -> bool:
    """A write of growth: an identity, or a role."""
    grows = MADE.search(asked.path) is not None or ASSIGNED.search(asked.path) is not None
    return asked.service != "kube" and asked.method in ("PUT", "PATCH", "DELETE") and grows


def broken_by(stage: Stage, place: Place, asked: "Asked") -> tuple[str, str] | None:
    """The rule that this write of growth breaks, as Azure sees it."""
    if asked.method != "PUT":
        return "growth", f"{asked.method} {asked.path[-60:]}: growth deletes and changes nothing"
    if ASSIGNED.search(asked.path) is not None:
        principal = json.loads(asked.body)["properties"]["principalId"]
        holder = next((each for each in stage.azure.identities.values() if each.principal_id == principal), None)
        if holder is not None and holder.tags.get("keystead-cluster") not in (place.id, None):
            return "growth", f"{holder.name} is given a role, and is another cluster's"
        return None
    there = stage.azure.identity(asked.path)
    if there is not None and there.tags != json.loads(asked.body).get("tags"):
        return "growth", f"{there.name} is written over, and is not ours"
    return None


def unproven(stage: Stage, identity: Identity) -> bool:
    """An identity of an operator's making through which nobody has seen the vault yet."""
    if not identity.name.startswith(f"{PREFIX}-") or "keystead-grant" not in identity.tags:
        return False
    return not any(
        each.service == "keyvault"
        and each.status == 200
        and each.caller == identity.name
        and each.at >= identity.created_at
        for each in stage.journal.entries()
    )
