"""Pure: what the identities hold, indexed once for a whole plan.

Facts: names of Azure resources are compared without regard to case; issuer, subject and audience exactly (Entra
documentation, workload identity federation considerations). A name that is held with another issuer, subject or
audience is not ours to change or to delete, whatever the ledger says.
"""

from collections.abc import Iterable
from enum import Enum, auto

from keystead.model.credentials import Credential
from keystead.model.ids import IdentityId
from keystead.model.records import Federation
from keystead.plan.snapshot import Snapshot


class Holding(Enum):
    """How Azure stands to one ledger entry."""

    UNKNOWN = auto()
    """The identity was never listed."""
    ABSENT = auto()
    PRESENT = auto()
    DIFFERENT = auto()
    """Something else goes by the credential's name."""


class Holdings:
    """Answers by identity and name, and by identity and trust."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._by_name: dict[str, dict[str, Credential]] = {}
        self._by_subject: dict[str, list[tuple[IdentityId, Credential]]] = {}
        self.ledger: set[tuple[str, str]] = {
            (each.identity.key, each.credential.name.lower()) for each in _entries(snapshot)
        }
        """Identity and name of every credential that any ledger entry records."""
        self._answers: dict[str, Holding] = {}
        for identity, state in sorted(snapshot.identities.items()):
            if not state.known:
                continue
            self._by_name[identity.key] = {held.name.lower(): held for held in state.credentials}
            for held in state.credentials:
                if held.issuer == snapshot.cluster.issuer:
                    self._by_subject.setdefault(held.subject, []).append((identity, held))

    def of(self, federation: Federation) -> Holding:
        """How Azure stands to this entry, by the last list and the writes confirmed since."""
        answer = self._answers.get(federation.name)
        if answer is None:
            answer = self._answers[federation.name] = self._look(federation)
        return answer

    def _look(self, federation: Federation) -> Holding:
        names = self._by_name.get(federation.identity.key)
        if names is None:
            return Holding.UNKNOWN
        wanted = federation.credential
        held = names.get(wanted.name.lower())
        if held is None:
            return Holding.ABSENT
        return Holding.PRESENT if held.agrees(wanted) else Holding.DIFFERENT

    def unledgered(self, subject: str) -> list[tuple[IdentityId, Credential]]:
        """Credentials of this cluster's issuer for *subject* that no ledger entry records."""
        return [
            (identity, held)
            for identity, held in self._by_subject.get(subject, ())
            if (identity.key, held.name.lower()) not in self.ledger
        ]


def _entries(snapshot: Snapshot) -> Iterable[Federation]:
    yield from snapshot.federations
    yield from snapshot.other_federations
