"""Pure: what the identities hold, indexed once for a whole plan.

Facts: names of Azure resources are compared without regard to case; issuer, subject and audience exactly (Entra
documentation, workload identity federation considerations). A name that is held with another issuer, subject or
audience is not ours to change or to delete, whatever the ledger says.
"""

import functools
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
        self._snapshot = snapshot
        self._answers: dict[str, Holding] = {}
        for identity, state in sorted(snapshot.identities.items()):
            if not state.known:
                continue
            self._by_name[identity.key] = {held.name.lower(): held for held in state.credentials}

    @functools.cached_property
    def ledger(self) -> set[tuple[str, str]]:
        """Identity and name of every credential that any ledger entry records."""
        return {(each.identity.key, each.credential.name.lower()) for each in _entries(self._snapshot)}

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

    def is_void(self, federation: Federation) -> bool:
        """Nothing of this entry stands in Azure, and nothing can be written for it.

        Either the credential was adopted, and what others named is theirs to write; or its trust stands on the
        identity under another name, and Azure takes no second.
        """
        held = self.of(federation)
        if held in (Holding.PRESENT, Holding.UNKNOWN):
            return False
        state = self._snapshot.identities.get(federation.identity)
        renamed = state is not None and state.holder_of(federation.credential.trust) is not None
        return federation.adopted or (held is Holding.ABSENT and renamed)

    def unledgered(self, subject: str) -> list[tuple[IdentityId, Credential]]:
        """Credentials of this cluster's issuer for *subject* that no ledger entry records."""
        return self._strangers.get(subject, [])

    @functools.cached_property
    def _strangers(self) -> dict[str, list[tuple[IdentityId, Credential]]]:
        """By subject."""
        found: dict[str, list[tuple[IdentityId, Credential]]] = {}
        for identity, state in sorted(self._snapshot.identities.items()):
            for held in state.credentials if state.known else ():
                known = held.issuer != self._snapshot.cluster.issuer or (identity.key, held.name.lower()) in self.ledger
                if not known:
                    found.setdefault(held.subject, []).append((identity, held))
        return found


def _entries(snapshot: Snapshot) -> Iterable[Federation]:
    yield from snapshot.federations
    yield from snapshot.other_federations
