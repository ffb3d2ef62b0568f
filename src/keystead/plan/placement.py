"""Pure: a place for each claim that has none, and the identity that serves a claim that has several.

- Nothing is placed while anything of another namespace UID, or of another grant, still trusts the same account.
- Nothing is placed while the pool's identities are of different tenants.
- A place is given when its turn is near, and not before: until then nobody knows which identity will be held up by
  others' writes, and a place once recorded is kept.
- What we wrote before the ledger was lost is found again by its name, and recorded where it is.
- Drain: an entry on an identity outside the pool serves on until its successor is verified and annotated.
"""

import datetime
from collections.abc import Collection

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Federation
from keystead.plan.admission import Admission
from keystead.plan.granting import Granting, Progress, taken
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.naming import credential_name
from keystead.plan.pool import Pool, usable
from keystead.plan.snapshot import Snapshot
from keystead.plan.validation import Validated
from keystead.plan.verification import Proofs


class Placement:
    """Advances the claims of one grant, sharing the pool's room among them, in the order they are asked."""

    def __init__(
        self,
        snapshot: Snapshot,
        valid: Validated,
        holdings: Holdings,
        proofs: Proofs,
        pool: Pool,
        leaving: Collection[str],
        *,
        observing: bool = False,
    ) -> None:
        self._snapshot = snapshot
        self._holdings = holdings
        self._proofs = proofs
        self._pool = pool
        self._valid = valid
        self._granting = Granting(snapshot, valid, holdings, proofs)
        self._members = {member.identity for member in valid.pool}
        limits = snapshot.limits
        ahead = None if observing else limits.horizon  # who only looks wants to see it all
        self._horizon = ahead.total_seconds() if ahead is not None else float("inf")
        self._later: Progress | None = None
        self._leaving = {*leaving, *(each.credential.subject for each in snapshot.other_federations)}

    def advance(self, admission: Admission, live: Collection[Federation]) -> Progress:
        """The rest of the way of one admitted claim."""
        inside = [each for each in live if each.identity in self._members]
        if len(inside) > 1:
            inside.sort(key=self._preference)
        if inside:
            progress = self._granting.onward(admission, inside[0])
            if progress.verified and progress.annotated and len(live) > 1:
                rest = tuple(each.identity for each in live if each is not inside[0])
                return progress._replace(obsolete=rest)
            return progress
        progress = self._place(admission)
        outside = sorted(live, key=self._preference)
        if progress.federation is None and outside:
            return self._granting.onward(admission, outside[0])  # better there than nowhere
        return progress

    def _preference(self, federation: Federation) -> tuple[bool, str]:
        return (self._proofs.of(federation).verified_at is None, federation.name)

    def _place(self, admission: Admission) -> Progress:
        if admission.subject in self._leaving:
            return _wait(Reason.AWAITING_REVOCATION)
        if len(self._pool.tenants) > 1:
            return _wait(Reason.TENANTS_DISAGREE)
        found = self._find(admission)
        if found is not None:
            return self._granting.onward(admission, found, new=True)
        obstacle = taken(self._holdings, admission.subject)
        if obstacle is not None:
            return Progress(waiting=obstacle[0], message=obstacle[1])
        entries: dict[IdentityId, Federation] = {}

        def held_by_another(identity: IdentityId) -> bool:
            entries[identity] = self._entry(admission, identity)
            return self._holdings.of(entries[identity]) is Holding.DIFFERENT

        place = self._pool.place(held_by_another, self._horizon)
        if place is None:
            return self._no_room()
        identity, start = place
        if start > self._horizon:
            return self._wait_for(start)
        return self._granting.onward(admission, entries[identity], new=True)

    def _wait_for(self, start: float) -> Progress:
        """Turns are given in order, so the first that is too far off tells when to look again: well before it comes."""
        if self._later is None:
            again = self._snapshot.now + datetime.timedelta(seconds=start - self._horizon / 2)
            self._later = _wait(Reason.AWAITING_WRITE)
            return self._later._replace(wake=again)
        return self._later

    def _no_room(self) -> Progress:
        if self._pool.unread:
            return _wait(Reason.AWAITING_LIST)
        broken = self._pool.broken
        if broken is not None:
            index, state = broken
            reason = state.problem or Reason.AZURE_UNAVAILABLE
            text = f"No identity of the pool has room; spec.identities[{index}] of the grant cannot be used. "
            return Progress(waiting=reason, message=text + CATALOGUE[reason].tenant)
        return _wait(Reason.POOL_EXHAUSTED)

    def _find(self, admission: Admission) -> Federation | None:
        """The entry for a credential of ours that stands although no ledger entry does."""
        for identity, held in self._holdings.unledgered(admission.subject):
            if identity not in self._members or not usable(self._pool.states[identity]):
                continue
            entry = self._entry(admission, identity)
            if (held.name.lower(), held.audience) == (entry.name, entry.credential.audience):
                return entry
        return None

    def _entry(self, admission: Admission, identity: IdentityId) -> Federation:
        namespace = admission.namespace
        if namespace is None:
            raise ValueError("an admitted claim has a namespace")
        cluster, account = self._snapshot.cluster, admission.service_account
        name = credential_name(cluster, namespace.uid, namespace.name, account, identity)
        return Federation(
            name=name,
            uid="",
            grant_name=self._valid.grant.name,
            namespace=namespace.name,
            namespace_uid=namespace.uid,
            claim_name=admission.claim.name,
            service_account_name=account,
            identity=identity,
            credential=Credential(name, cluster.issuer, admission.subject, EXCHANGE_AUDIENCE),
            requested_by=admission.claim.requested_by,
            approval_name=admission.review.approval_name if admission.review is not None else "",
        )


def _wait(reason: Reason) -> Progress:
    return Progress(waiting=reason, message=CATALOGUE[reason].tenant)
