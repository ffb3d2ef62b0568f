"""What must hold between requests: at any moment, and when everything has come to rest."""

from collections import defaultdict
from dataclasses import dataclass, field

from keystead_sandbox.resources import Identity
from simulation import growing, oracle
from simulation.stage import Object, Place, Stage

_LIMIT = 20
_BOUND = 75.0  # calm seconds until a credential that nothing allows is gone, and a turn on its lane for each other one
_TURN = 8.0
_FOR_GOOD = frozenset({"GrantNotFound", "GrantDeleted"})
CLIENT = "azure.workload.identity/client-id"


@dataclass
class Judge:
    """Of one story."""

    stage: Stage
    breaks: list[str] = field(default_factory=list)
    _calm: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    _last: float = 0.0

    def look(self) -> None:
        """At any moment: never 21, and nothing stands unallowed for long."""
        stage = self.stage
        passed, self._last = stage.now - self._last, stage.now
        present = set()
        self._prune()
        forbidden = [
            (place, identity, held.name, no)
            for identity in stage.azure.identities.values()
            for place in stage.places
            for held in identity.credentials.values()
            if oracle.kept(place, identity, held) and (no := oracle.forbids(stage, place, identity, held)) is not None
            if not oracle.exempt(place, identity, held)
        ]
        for identity in stage.azure.identities.values():
            if len(identity.credentials) > _LIMIT:
                self.breaks.append(f"never 21: {identity.name} holds {len(identity.credentials)} credentials")
        for place, identity, name, no in forbidden:
            key = (identity.resource_id, name)
            present.add(key)
            if stage.now > place.calm_from and not self._held_back(place, identity, name, no):
                self._calm[key] += passed
            if self._calm[key] > _BOUND + stage.setup.drift * 2 * (no.reason == "no ledger entry") + _TURN * len(
                forbidden
            ):
                self.breaks.append(f"bound: {name} stands on {identity.name} although {no.reason}")
        self._look_at_theirs()
        for key in self._calm.keys() - present:
            del self._calm[key]

    def _look_at_theirs(self) -> None:
        """What others have written stands as they left it, for as long as its identity does."""
        for (lane, name), theirs in list(self.stage.theirs.items()):
            identity = self.stage.azure.identity(lane)
            held = identity.credentials.get(name) if identity is not None else None
            if identity is None or identity.client_id != theirs.client_id:
                del self.stage.theirs[lane, name]
            elif held is None or (held.issuer, held.subject) != (theirs.issuer, theirs.subject):
                del self.stage.theirs[lane, name]
                what = "is gone" if held is None else "says something else"
                self.breaks.append(f"foreign: {name} on {identity.name} {what}, which others have written")

    def _prune(self) -> None:
        """What was taken over and is gone, or says otherwise, is others' business again."""
        for place in self.stage.places:
            for (lane, name), trust in list(place.adopted.items()):
                identity = self.stage.azure.identity(lane)
                held = identity.credentials.get(name) if identity is not None else None
                if held is None or (held.issuer, held.subject) != trust:
                    del place.adopted[lane, name]
                if held is None:
                    self.stage.theirs.pop((lane, name), None)  # others' no more: ours to delete

    def _held_back(self, place: Place, identity: Identity, name: str, no: oracle.No) -> bool:
        entry = oracle.entry_of(place, identity, name)
        return no.edit and entry is not None and oracle.braked(self.stage, place, entry["spec"]["grantName"])

    # At rest -----------------------------------------------------------------------------------------------------

    def complaints(self) -> list[str]:
        """What has not come to rest, or has come to a wrong one."""
        found = []
        for place in self.stage.places:
            found += [f"cluster {place.letter}: {each}" for each in self._of(place)]
        return found

    def _of(self, place: Place) -> list[str]:
        stage = self.stage
        found = []
        for identity in stage.azure.identities.values():
            for held in identity.credentials.values():
                if not oracle.kept(place, identity, held) or oracle.exempt(place, identity, held):
                    continue
                no = oracle.forbids(stage, place, identity, held)
                if no is not None and not self._held_back(place, identity, held.name, no):
                    found.append(f"leak: {held.name} stands on {identity.name} although {no.reason}")
        found += [
            f"ledger: {entry['metadata']['name']} is still being deleted"
            for entry in place.objects("federations")
            if entry["metadata"].get("deletionTimestamp") and not self._observes(place, entry["spec"]["grantName"])
        ]
        for claim in place.objects("vaultclaims"):
            wrong = self._claim(place, claim)
            if wrong:
                found.append(wrong)
        found += self._missing_claims(place)
        for grant in place.objects("vaultgrants"):
            if oracle.is_valid(place, grant) and not self._observes(place, grant["metadata"]["name"]):
                found += growing.complaints(stage, place, grant)
        found += self._accounts(place)
        found += [
            f"finalizers: {each['kind']} {each['metadata']['name']} carries one of ours"
            for plural in ("namespaces", "serviceaccounts", "secretstores", "vaultclaims", "vaultgrants")
            for each in place.objects(plural)
            if any("keystead" in name for name in each["metadata"].get("finalizers") or ())
        ]
        return found

    def _observes(self, place: Place, grant: str) -> bool:
        return bool(place.specs.get(grant, {}).get("observeOnly"))

    def _claim(self, place: Place, claim: Object) -> str:
        wanted = self._expected(place, claim)
        status, reason = oracle.reason_of(claim)
        if wanted is not None and status == "True" and not self._works(place, claim):
            return f"claim {claim['metadata']['namespace']}/{claim['metadata']['name']}: says Ready, and is not"
        if wanted is None or (status == "True" and "Ready" in wanted) or (status == "False" and reason in wanted):
            return ""
        where = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        return f"claim {where}: Ready is {status or 'absent'} {reason}, should be {' or '.join(sorted(wanted))}"

    def _works(self, place: Place, claim: Object) -> bool:
        """The credential stands, and the account names its identity."""
        subject, namespace = claim["status"].get("subject", ""), claim["metadata"]["namespace"]
        holder = place.object("serviceaccounts", subject.split(":")[-1], namespace)
        notes = (holder or {"metadata": {}})["metadata"].get("annotations") or {}
        identity = self.stage.azure.identities_by_client.get(notes.get(CLIENT, ""))
        held = identity.credentials.values() if identity is not None else ()
        return any((each.issuer, each.subject) == (place.issuer, subject) for each in held)

    def _expected(self, place: Place, claim: Object) -> set[str] | None:
        """Reasons that are right for this claim; ``None`` where several answers are."""
        metadata, spec = claim["metadata"], claim["spec"]
        grant = place.object("vaultgrants", spec["grantName"])
        namespace = place.object("namespaces", metadata["namespace"])
        if grant is None or grant["metadata"].get("deletionTimestamp"):
            return set(_FOR_GOOD)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return None
        if not oracle.is_valid(place, grant) or self._observes(place, spec["grantName"]):
            return None
        if oracle.braked(self.stage, place, spec["grantName"]):
            return None
        if not oracle.allows(grant["spec"], namespace):
            return {"NotAllowed", "RancherProjectDisagrees"}
        account = oracle.account_of(grant, claim)
        if account != "keystead":
            return {"ServiceAccountNameNotAllowed"}
        if len(place.objects("vaultclaims", metadata["namespace"])) > 1:
            return None
        subject = f"system:serviceaccount:{metadata['namespace']}:{account}"
        denied, approvers = oracle.words(place, grant, namespace, subject)
        if denied:
            return {"Denied"}
        if grant["spec"]["approval"] == "Required" and not approvers - {spec.get("requestedBy")}:
            return {"AwaitingReview", "ApproverIsRequester"}
        return self._served(place, grant, metadata["namespace"], subject)

    def _served(self, place: Place, grant: Object, namespace: str, subject: str) -> set[str]:
        """What an admitted claim may come to: ready, unless something in its way is seen from here."""
        may = set()
        named = grant["spec"].get("identities") or []
        pool = [self.stage.azure.identity(each["resourceId"]) for each in named]
        pool += growing.made(self.stage, place, grant)
        entries = [each for each in place.objects("federations") if each["spec"]["credential"]["subject"] == subject]
        for entry in entries:
            identity = self.stage.azure.identity(entry["spec"]["identityResourceId"])
            if identity is None:
                may |= {"IdentityNotFound"}
                continue
            given = entry["spec"]["credential"]
            held = identity.credentials.get(given["name"].lower())
            if (
                held is not None
                and not entry["spec"].get("adopted")
                and (held.issuer, held.subject) != (given["issuer"], given["subject"])
            ):
                may |= {"TupleTaken"}
            if held is None and len(identity.credentials) >= _LIMIT:
                may |= {"PoolExhausted", "IdentityFull"}
        account = subject.rsplit(":", maxsplit=1)[-1]
        said = oracle.says_adopt(grant, namespace, account)
        theirs = [
            identity
            for identity in self.stage.azure.identities.values()
            for each in identity.credentials.values()
            if (each.issuer, each.subject) == (place.issuer, subject)
            and oracle.entry_of(place, identity, each.name) is None
        ]
        if theirs and not (said and len(theirs) == 1 and any(each is theirs[0] for each in pool)):
            may |= {"TupleTaken"}
        free = [identity for identity in pool if identity is not None and _has_room(place, grant, identity)]
        if free and all(_has_our_name(place, identity, namespace, subject) for identity in free):
            may |= {"TupleTaken"}
        if not free and not growing.may_grow(self.stage, place, grant):
            may |= {"PoolExhausted", *(["IdentityNotFound"] if None in pool else [])}
        store = place.object("secretstores", "azure-store", namespace)
        holder = place.object("serviceaccounts", "keystead", namespace)
        if store is not None and not _managed(store):
            may |= {"StoreConflict"}
        if holder is not None and not said and "by-hand" in (holder["metadata"].get("annotations") or {}):
            may |= {"ServiceAccountConflict"}
        return {*may, "Ready"}

    def _missing_claims(self, place: Place) -> list[str]:
        found = []
        for grant in place.objects("vaultgrants"):
            name, spec = grant["metadata"]["name"], grant["spec"]
            automatic = spec.get("claims", "Automatic") == "Automatic" and oracle.is_valid(place, grant)
            if not automatic or self._observes(place, name):
                continue
            for namespace in place.objects("namespaces"):
                where = namespace["metadata"]["name"]
                if namespace["metadata"].get("deletionTimestamp") or where in place.deleted_claims:
                    continue
                if oracle.allows(spec, namespace) and not place.objects("vaultclaims", where):
                    found.append(f"claim: {where} is allowed by {name} and has none")
        return found

    def _accounts(self, place: Place) -> list[str]:
        """An account that names an identity does so because that identity trusts it."""
        found = []
        for account in place.objects("serviceaccounts"):
            metadata = account["metadata"]
            notes = metadata.get("annotations") or {}
            client = notes.get(CLIENT)
            if not client or "by-hand" in notes or place.retained:
                continue
            subject = f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}"
            if any(each["spec"]["credential"]["subject"] == subject for each in place.objects("federations")):
                continue  # judged with its claim
            identity = self.stage.azure.identities_by_client.get(client)
            held = identity.credentials.values() if identity is not None else ()
            if not any(each.subject == subject and each.issuer == place.issuer for each in held):
                found.append(f"annotation: {metadata['namespace']}/{metadata['name']} names what does not trust it")
        return found


def _has_room(place: Place, grant: Object, identity: Identity) -> bool:
    """A slot that the operator of this cluster may fill; another cluster's credentials are others' to it."""
    reserved = {
        each["resourceId"].lower(): each.get("reservedSlots") or 0 for each in grant["spec"].get("identities") or []
    }
    ours, standing = _promised(place, identity)
    foreign = max(len(identity.credentials) - standing, reserved.get(identity.resource_id.lower(), 0))
    return ours + foreign < _LIMIT


def _has_our_name(place: Place, identity: Identity, namespace: str, subject: str) -> bool:
    """Somebody has made what we once wrote for the namespace say something else, and it stands in our way."""
    named = [each for each in identity.credentials.values() if each.name.startswith(f"ks-{place.id}-{namespace}-")]
    return any((each.issuer, each.subject) != (place.issuer, subject) for each in named)


def _promised(place: Place, identity: Identity) -> tuple[int, int]:
    """Slots of an identity that are this cluster's, and how many of them something stands in.

    What the ledger promises takes none of the slots that are kept for others, whatever stands there by now: where
    somebody has made the credential say something else, or deleted it, it is written again as soon as it can be.
    """
    spec = [each["spec"] for each in place.objects("federations")]
    given = [each["credential"] for each in spec if each["identityResourceId"].lower() == identity.resource_id.lower()]
    names, held = {each["name"].lower() for each in given}, identity.credentials.values()
    standing = sum(1 for each in held if oracle.kept(place, identity, each) or each.name.lower() in names)
    missing = {(each["issuer"], each["subject"]) for each in given if each["name"].lower() not in identity.credentials}
    return standing + len(missing - {(each.issuer, each.subject) for each in held}), standing


def _managed(item: Object) -> bool:
    """Made by the operator, and never touched by anybody else."""
    metadata = item["metadata"]
    ours = (metadata.get("labels") or {}).get("app.kubernetes.io/managed-by") == "keystead"
    return ours and all(each["manager"] != "people" for each in metadata.get("managedFields") or ())
