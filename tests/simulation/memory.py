"""When what an operator does was last right: what people have just changed, it may not know yet."""

from dataclasses import dataclass, field

from simulation import oracle
from simulation.stage import Object, Place, Stage

_STALE = 15.0  # seconds: from a change to the end of what was decided before it


@dataclass
class Memory:
    """Of one story; told by looks at the world, after each event and every few seconds."""

    stage: Stage
    _admitted: dict[tuple[int, str, str], float] = field(default_factory=dict)
    """By cluster, namespace's UID and claim, when it might have a credential."""
    _allowed: dict[tuple[int, str], float] = field(default_factory=dict)
    """By cluster and ledger entry, when nothing forbade its credential."""
    _unwanted: dict[tuple[int, str], float] = field(default_factory=dict)
    """By the same, when something did, or it had to move."""

    _touched: dict[tuple[int, str], float] = field(default_factory=dict)
    """By cluster and grant, when it did more than observe."""
    _revoked: dict[tuple[int, str], float] = field(default_factory=dict)
    """By the same, when it did not retain."""

    def look(self) -> None:
        now = self.stage.now
        for place in self.stage.places:
            self._look_at_gone_grants(place)
            for grant in place.objects("vaultgrants"):
                key = (place.number, grant["metadata"]["name"])
                if not grant["spec"].get("observeOnly"):
                    self._touched[key] = now
                if grant["spec"].get("revocation") != "Retain":
                    self._revoked[key] = now
            for claim in place.objects("vaultclaims"):
                namespace = place.object("namespaces", claim["metadata"]["namespace"])
                if namespace is not None and oracle.admits(place, claim):
                    self._admitted[place.number, namespace["metadata"]["uid"], claim["metadata"]["name"]] = now
            for entry in place.objects("federations"):
                key = (place.number, entry["metadata"]["name"])
                forbidden = oracle.forbids_entry(self.stage, place, entry) is not None
                if not forbidden:
                    self._allowed[key] = now
                if forbidden or drains(place, entry):
                    self._unwanted[key] = now

    def _look_at_gone_grants(self, place: Place) -> None:
        """A grant that is gone observes nothing, and retains only what it said while it stood: its trust goes.

        Made again under its name it may say otherwise, and nobody knows before it has seen that.
        """
        standing = {grant["metadata"]["name"] for grant in place.objects("vaultgrants")}
        for name in {entry["spec"]["grantName"] for entry in place.objects("federations")} - standing:
            self._touched[place.number, name] = self.stage.now
            if name not in place.retained:
                self._revoked[place.number, name] = self.stage.now

    def may_write(self, place: Place, entry: Object) -> bool:
        """Whether the operator may take the entry's credential for an allowed one still, although it is none any more."""
        spec = entry["spec"]
        claimed = self._admitted.get((place.number, spec["namespaceUID"], spec["claimName"]), float("-inf"))
        return self._is_news(place, self._allowed.get((place.number, entry["metadata"]["name"]), claimed))

    def may_delete(self, place: Place, entry: Object) -> bool:
        """Whether it may take it for one that has to go still."""
        return self._is_news(place, self._unwanted.get((place.number, entry["metadata"]["name"]), float("-inf")))

    def may_touch(self, place: Place, grant: str) -> bool:
        """Whether it may take the grant for one that does more than observe still."""
        return self._is_news(place, self._touched.get((place.number, grant), float("-inf")))

    def may_revoke(self, place: Place, grant: str) -> bool:
        """Whether it may take it for one that does not retain still."""
        return self._is_news(place, self._revoked.get((place.number, grant), float("-inf")))

    def _is_news(self, place: Place, last: float) -> bool:
        return self.stage.now - last <= _STALE or self.stage.now < place.clear_from


def drains(place: Place, entry: Object) -> bool:
    """Whether the grant has taken the entry's identity out of its pool."""
    grant = place.object("vaultgrants", entry["spec"]["grantName"])
    wanted = grant["spec"].get("identities") or [] if grant is not None else []
    return entry["spec"]["identityResourceId"].lower() not in {each["resourceId"].lower() for each in wanted}
