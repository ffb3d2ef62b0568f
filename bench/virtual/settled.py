"""A large cluster in which everything is done, made at once: what an operator sees that starts where it has long been.

- One namespace is served by the operator itself; all that then stands, its status included, is the pattern for the rest.
- Copies differ in names, UIDs, identities, and in when they were last proven: spread, so that their heartbeats are due
  evenly over a day.
"""

import datetime
import random
import re
from dataclasses import dataclass

import msgspec

from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.records import Cluster
from keystead.plan.naming import credential_name
from keystead_sandbox.resources import Identity
from simulation.stage import EPOCH, VAULTS, Member, Object, Place, Setup, Stage

API = "keystead.dev/v1alpha1"
_NAMESPACE, _GRANT, _IDENTITY = "pattern-namespace", "pattern-grant", "pattern-identity"
_COPIED = {
    "namespaces": ("", "namespaces"),
    "serviceaccounts": ("", "serviceaccounts"),
    "vaultclaims": ("keystead.dev", "vaultclaims"),
    "federations": ("keystead.dev", "federations"),
    "secretstores": ("external-secrets.io", "secretstores"),
}
_SINCE = re.compile(r'"lastTransitionTime":"[^"]*"')
_PROVEN = re.compile(r'"(verifiedAt|at)":"[^"]*"')
_DAY = datetime.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is."""

    namespaces: int = 10_000
    identities: int = 600
    grants: int = 100
    subscriptions: int = 3


def begin(size: Size) -> Stage:
    """The pool in Azure, and a cluster with what the pattern needs."""
    pool = [Member(f"identity-{number:03}", 0, number % size.subscriptions) for number in range(size.identities)]
    stage = Stage(
        Setup(
            seed=1,
            clusters=1,
            replicas=1,
            members=(Member(_IDENTITY, 0), *pool),
            lease=15.0,
            drift=600.0,
            heartbeat=_DAY.total_seconds(),
            skews=(0.0,),
            lag=0.0,
            subscriptions=size.subscriptions,
        )
    )
    stage.put(stage.places[0], _namespace(_NAMESPACE, _GRANT))
    stage.put(stage.places[0], _grant(_GRANT, [stage.identities[_IDENTITY]]))
    return stage


def is_served(place: Place) -> bool:
    """The pattern's claim says so."""
    claim = place.object("vaultclaims", _GRANT, _NAMESPACE)
    said = (claim or {}).get("status", {}).get("conditions", ())
    return any((each["type"], each["status"]) == ("Ready", "True") for each in said)


def pattern_of(stage: Stage) -> dict[str, Object]:
    """What stands for the namespace that is served, by kind."""
    return {kind: _of_pattern(stage.places[0], kind) for kind in _COPIED}


def put_pattern(stage: Stage, pattern: dict[str, Object]) -> None:
    """The same on another stage of the same size."""
    for kind, item in pattern.items():
        stage.places[0].cluster.store.put(_COPIED[kind], item)


def fill(stage: Stage, size: Size) -> None:
    """Copy the pattern, and take it away."""
    place, pattern = stage.places[0], stage.identities.pop(_IDENTITY)
    identities, share = list(stage.identities.values()), size.identities // size.grants
    copier = _Copier(stage, place, pattern)
    for number in range(size.namespaces):
        grant = number % size.grants
        copier.copy(
            f"namespace-{number:05}", f"grant-{grant:03}", identities[grant * share + number // size.grants % share]
        )
    for kind, item in copier.pattern.items():
        metadata = item["metadata"]
        place.cluster.store.remove(_COPIED[kind], metadata.get("namespace", ""), metadata["name"])
    place.cluster.store.remove(("keystead.dev", "vaultgrants"), "", _GRANT)
    stage.azure.remove_identity(pattern)
    for grant in range(size.grants):
        stage.put(place, _grant(f"grant-{grant:03}", identities[grant * share : (grant + 1) * share]))


def _namespace(name: str, grant: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"grant": grant}}}


def _grant(name: str, identities: list[Identity]) -> Object:
    spec = {
        "namespaces": {"selector": {"matchLabels": {"grant": name}}},
        "vault": {"url": f"https://{VAULTS[0]}.vault.azure.net"},
        "identities": [{"resourceId": each.resource_id} for each in identities],
        "claims": "Automatic",
        "approval": "Automatic",
    }
    return {"apiVersion": API, "kind": "VaultGrant", "metadata": {"name": name}, "spec": spec}


class _Copier:
    def __init__(self, stage: Stage, place: Place, pattern: Identity) -> None:
        self._stage = stage
        self._place = place
        self._identity = pattern
        self._cluster = Cluster(place.id, place.issuer)
        self._chance = random.Random("settled")  # noqa: S311 - a seed makes it repeat
        self._uids = 0
        self.pattern = pattern_of(stage)
        long_ago = f'"lastTransitionTime":"{_instant(EPOCH - 3 * _DAY)}"'
        self._texts = {
            kind: _SINCE.sub(long_ago, msgspec.json.encode(item).decode()) for kind, item in self.pattern.items()
        }

    def copy(self, name: str, grant: str, identity: Identity) -> None:
        """One more namespace that is served."""
        uids = {kind: self._uid() for kind in _COPIED}
        uid = NamespaceUid(uids["namespaces"])
        credential = credential_name(self._cluster, uid, name, "keystead", IdentityId.parse(identity.resource_id))
        proven = EPOCH - _DAY * self._chance.random()
        swaps = {
            self.pattern["federations"]["metadata"]["name"]: credential,
            self._identity.resource_id: identity.resource_id,
            self._identity.client_id: identity.client_id,
            **{item["metadata"]["uid"]: uids[kind] for kind, item in self.pattern.items()},
            _NAMESPACE: name,
            _GRANT: grant,
            _IDENTITY: identity.name,
        }
        for kind, pattern in self._texts.items():
            text = _PROVEN.sub(rf'"\1":"{_instant(proven)}"', pattern)
            for old, new in swaps.items():
                text = text.replace(old, new)
            self._place.cluster.store.put(_COPIED[kind], msgspec.json.decode(text))
        self._stage.azure.add_credential(
            identity, credential, self._place.issuer, f"system:serviceaccount:{name}:keystead"
        )

    def _uid(self) -> str:
        self._uids += 1
        return f"00000000-0000-4000-8000-{self._uids:012x}"


def _of_pattern(place: Place, kind: str) -> Object:
    """The pattern's object of this kind."""
    return next(
        item
        for item in place.objects(kind)
        if _NAMESPACE in msgspec.json.encode(item).decode() and item["metadata"]["name"] != "default"
    )


def _instant(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
