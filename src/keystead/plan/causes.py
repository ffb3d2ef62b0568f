"""Pure: why a ledger entry has to go, if it has to.

- What no edit of the grant can cause comes first: namespace, claim, denial. These end trust even under a frozen grant.
- An invalid grant freezes the rest: the ledger is the last good state.
- An approval that an edit of the grant made void (another vault, review required from now on) is the edit's doing.
"""

import datetime
import functools
from collections import defaultdict
from collections.abc import Collection

from keystead.model.conditions import ConditionType, find
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY
from keystead.model.ids import IdentityId
from keystead.model.reasons import REASONS, Reason
from keystead.model.records import Claim, Decision, Federation, Grant
from keystead.plan.admission import Admission
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.removal import Cause, namespace_cause
from keystead.plan.snapshot import Snapshot

_JUST_NOW = datetime.datetime.max.replace(tzinfo=datetime.UTC)  # recorded, and not read back yet


class Causes:
    """Judges the ledger entries of one grant; *pool* are the identities it has now, unless it is frozen."""

    def __init__(
        self,
        snapshot: Snapshot,
        holdings: Holdings,
        grant: Grant | None,
        *,
        frozen: bool,
        pool: Collection[IdentityId] = (),
    ) -> None:
        self._snapshot = snapshot
        self._holdings = holdings
        self._grant = grant
        self._frozen = frozen
        self._pool = pool
        self._words = {
            (each.namespace, each.namespace_uid, each.subject)
            for each in snapshot.approvals
            if each.decision is Decision.APPROVED and not each.deleting
        }
        self._vacating = {
            each.identity
            for each in (*snapshot.federations, *snapshot.other_federations)
            if each.deleting and holdings.of(each) is Holding.PRESENT
        }

    def of(self, federation: Federation, admission: Admission | None) -> Cause | None:
        """Why this entry has to go; ``None`` when it stays."""
        cause = self._outside(federation, admission)
        if cause is None and federation.deleting:
            return Cause(self._begun_for(federation, admission))
        if cause is not None or self._frozen or admission is None:
            return cause
        if not admission.allowed:
            return Cause(admission.reason, by_edit=True)
        if admission.review is not None and not admission.review.passed:
            return Cause(Reason.APPROVAL_WITHDRAWN, by_edit=self._voided_by_edit(federation, admission.claim))
        if self._displaced(federation):
            return Cause(Reason.IDENTITY_FULL)
        return None

    def _begun_for(self, federation: Federation, admission: Admission | None) -> Reason:
        """Why an entry is on its way out that no outer cause ends: as was said when it began, or as it would be now."""
        said = find(federation.conditions, ConditionType.REVOKING)
        if said is not None and said.reason in REASONS:
            return REASONS[said.reason]
        if self._frozen or admission is None:
            return Reason.FEDERATION_DELETED
        if not admission.allowed:
            return admission.reason
        if admission.review is not None and not admission.review.passed:
            return Reason.APPROVAL_WITHDRAWN
        return Reason.IDENTITY_REMOVED if federation.identity not in self._pool else Reason.FEDERATION_DELETED

    def _outside(self, federation: Federation, admission: Admission | None) -> Cause | None:
        """Causes that no edit of a living grant makes."""
        gone = namespace_cause(federation, self._snapshot.namespaces.get(federation.namespace))
        if gone is not None:
            return gone
        if self._grant is None:
            return Cause(Reason.GRANT_DELETED)
        if admission is None or admission.claim.deleting:
            return Cause(Reason.CLAIM_DELETED)
        if admission.service_account != federation.service_account_name and not federation.deleting:
            return Cause(Reason.CLAIM_CHANGED)
        if admission.review is not None and admission.review.denied:
            return Cause(Reason.DENIED)
        return None

    def _voided_by_edit(self, federation: Federation, claim: Claim) -> bool:
        """Whichever word it was recorded on: one that stands and does not count any more was not withdrawn."""
        if (federation.namespace, federation.namespace_uid, federation.credential.subject) in self._words:
            return True
        if federation.approval_name:
            return False
        said = find(claim.conditions, ConditionType.APPROVED)
        return said is None or said.reason != Reason.APPROVED

    def _displaced(self, federation: Federation) -> bool:
        """Others took the slot between our ledger entry and our write: a place on another identity is needed."""
        state = self._snapshot.identities.get(federation.identity)
        if state is None or self._holdings.of(federation) is not Holding.ABSENT:
            return False
        if state.holder_of(federation.credential.trust) is not None:
            return False  # it has its slot, under another name
        if federation.place in self._snapshot.in_flight or federation.identity in self._vacating:
            return False
        return state.full or federation.name in self._overbooked

    @functools.cached_property
    def _overbooked(self) -> set[str]:
        """Entries that wait to be written where fewer slots are left than wait; who came first stays."""
        states, waiting = self._snapshot.identities, defaultdict[IdentityId, list[Federation]](list)
        for each in (*self._snapshot.federations, *self._snapshot.other_federations):
            # What others named and deleted is not written again, and needs no slot.
            if each.deleting or each.adopted or self._holdings.of(each) is not Holding.ABSENT:
                continue
            if states[each.identity].holder_of(each.credential.trust) is None:
                waiting[each.identity].append(each)
        found: set[str] = set()
        for identity, entries in waiting.items():
            free = CREDENTIALS_PER_IDENTITY - len(states[identity].credentials)
            if len(entries) > free:
                entries.sort(key=lambda each: (each.place not in self._snapshot.in_flight, _age(each)))
                found |= {each.name for each in entries[max(0, free) :]}
        return found


def _age(federation: Federation) -> tuple[datetime.datetime, str]:
    return (federation.created_at or _JUST_NOW, federation.name)
