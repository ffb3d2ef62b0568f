"""Pure: a place for each claim that has none, and the identity that serves a claim that has several.

- Nothing is placed while anything of another namespace UID, or of another grant, still trusts the same account.
- Nothing is placed while the pool's identities are of different tenants, nor without guards where they are required.
- A place is given when its turn is near, and not before: until then nobody knows which identity will be held up by
  others' writes, and a place once recorded is kept.
- What we wrote before the ledger was lost is found again by its name, and recorded where it is.
- What others made for the account is recorded where it is once an admin said adopt, and holds the claim up before.
- An adopted credential that its maker deleted or changed is followed by one of ours, on the same identity if it can be
  and a slot is left there: the names of others are not ours to write. One that came back under another name is followed
  by it, if the word holds.
- Drain: an entry on an identity outside the pool serves on until its successor is verified and annotated.
"""

import datetime
from collections.abc import Collection

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Federation
from keystead.plan import guards
from keystead.plan.admission import Admission
from keystead.plan.adoption import Adoptions, Finding, taken_text
from keystead.plan.granting import Granting, Progress
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
        roleless: Collection[IdentityId] = (),
        *,
        observing: bool = False,
    ) -> None:
        self._snapshot = snapshot
        self._holdings = holdings
        self._proofs = proofs
        self._pool = pool
        self._valid = valid
        self._adoptions = Adoptions(snapshot, valid, holdings)
        self._granting = Granting(snapshot, valid, holdings, proofs, self._adoptions, pool.withheld | pool.crowded)
        self._members = {member.identity for member in valid.pool}
        self._closed = guards.closed(valid.grant, snapshot)
        self._roleless = roleless
        """Known to lack the vault's role: passed over while there is another place."""
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
        if inside and self._holdings.is_void(inside[0]):
            return self._renew(admission, inside[0])
        if inside:
            progress = self._granting.onward(admission, inside[0])
            if len(live) > 1:
                return progress._replace(obsolete=self._obsolete(live, inside[0], progress))
            return progress
        progress = self._place(admission)
        outside = sorted(live, key=self._preference)
        if progress.federation is not None or not outside:
            return progress
        if self._holdings.is_void(outside[0]):
            return progress._replace(federation=outside[0])
        return self._granting.onward(admission, outside[0])  # better there than nowhere

    def _preference(self, federation: Federation) -> tuple[bool, bool, str]:
        void = self._holdings.is_void(federation)
        return (void, self._proofs.of(federation).verified_at is None, federation.name)

    def _obsolete(self, live: Collection[Federation], chosen: Federation, progress: Progress) -> tuple[str, ...]:
        """Entries that the claim needs no more: all others once it is served, and before that what nothing stands for."""
        served = progress.verified and progress.annotated
        return tuple(
            each.name
            for each in live
            if each is not chosen and (served or (each.identity == chosen.identity and self._holdings.is_void(each)))
        )

    def _renew(self, admission: Admission, void: Federation) -> Progress:
        """The way on for a claim whose entry nothing can come of any more."""
        finding = self._adoptions.of(admission.subject, void.identity)
        if finding is None and not void.adopted:
            return self._granting.onward(admission, void)
        if admission.subject in self._leaving:
            return _wait(Reason.AWAITING_REVOCATION)._replace(federation=void)
        finding = finding or self._adoptions.of(admission.subject)
        if finding is not None:
            progress = self._adopt(admission, finding)
            return progress if progress.federation is not None else progress._replace(federation=void)
        own = self._entry(admission, void.identity)
        stays = self._holdings.of(void) is Holding.ABSENT and self._holdings.of(own) is Holding.ABSENT
        if stays and self._pool.follow(void.identity):
            # We give its slot to nobody else as long as the entry stands; others may have filled it.
            return self._granting.onward(admission, own, new=True)
        progress = self._settle(admission)
        return progress if progress.federation is not None else progress._replace(federation=void)

    def _place(self, admission: Admission) -> Progress:
        if admission.subject in self._leaving:
            return _wait(Reason.AWAITING_REVOCATION)
        if len(self._pool.tenants) > 1:
            return _wait(Reason.TENANTS_DISAGREE)
        if self._closed:
            return _wait(Reason.GUARDS_ABSENT)
        found = self._find(admission)
        if found is not None:
            return self._granting.onward(admission, found, new=True)
        finding = self._adoptions.of(admission.subject)
        if finding is not None:
            return self._adopt(admission, finding)
        return self._settle(admission)

    def _adopt(self, admission: Admission, finding: Finding) -> Progress:
        """Record what others made, if an admin said so; else say who holds the trust."""
        grant, namespace = self._valid.grant.name, admission.claim.namespace
        said = finding.covered_by(self._adoptions.word, namespace, admission.service_account)
        if finding.obstacle or not said:
            text = taken_text(grant, namespace, admission.subject, finding)
            return Progress(waiting=Reason.TUPLE_TAKEN, message=text)
        if self._pool.unread:
            return _wait(Reason.AWAITING_LIST)  # an identity that was not read yet may hold the same
        entry = self._entry(admission, finding.identity, finding.credential)
        return self._granting.onward(admission, entry, new=True)

    def _settle(self, admission: Admission) -> Progress:
        """A new credential, where it can be written soonest."""
        if self._later is not None:  # turns are given in order: this one is further off still
            return self._later if self._pool.wait() else self._no_room()
        entries: dict[IdentityId, Federation] = {}

        def held_by_another(identity: IdentityId) -> bool:
            entries[identity] = self._entry(admission, identity)
            return self._holdings.of(entries[identity]) is Holding.DIFFERENT

        def second_best(identity: IdentityId) -> bool:
            return identity in self._roleless or held_by_another(identity)

        choosy = self._roleless and not all(second_best(each) for each in self._pool.offering)
        place = self._pool.place(second_best if choosy else held_by_another, self._horizon)
        if place is None:
            return self._no_room()
        identity, start = place
        if start > self._horizon:
            return self._wait_for(start)
        return self._granting.onward(admission, entries[identity], new=True)

    def _wait_for(self, start: float) -> Progress:
        """The first turn that is too far off tells when to look again."""
        again = self._snapshot.now + datetime.timedelta(seconds=start - self._horizon)
        self._later = _wait(Reason.AWAITING_WRITE)
        return self._later._replace(wake=again)

    def _no_room(self) -> Progress:
        if self._pool.unread:
            return _wait(Reason.AWAITING_LIST)
        self._pool.unplaced += 1
        if self._pool.growing:
            return _wait(Reason.POOL_GROWING)
        broken = self._pool.broken
        if broken is not None:
            member, state = broken
            reason = state.problem or Reason.AZURE_UNAVAILABLE
            where = member.where.removesuffix(".resourceId") or member.place
            text = f"No identity of the pool has room; {where} of the grant cannot be used. "
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

    def _entry(self, admission: Admission, identity: IdentityId, adopted: Credential | None = None) -> Federation:
        namespace = admission.namespace
        if namespace is None:
            raise ValueError("an admitted claim has a namespace")
        cluster, account = self._snapshot.cluster, admission.service_account
        held_as = adopted.name if adopted is not None else ""
        name = credential_name(cluster, namespace.uid, namespace.name, account, identity, held_as)
        return Federation(
            name=name,
            uid="",
            grant_name=self._valid.grant.name,
            namespace=namespace.name,
            namespace_uid=namespace.uid,
            claim_name=admission.claim.name,
            service_account_name=account,
            identity=identity,
            credential=adopted or Credential(name, cluster.issuer, admission.subject, EXCHANGE_AUDIENCE),
            requested_by=admission.claim.requested_by,
            approval_name=admission.review.approval_name if admission.review is not None else "",
            adopted=adopted is not None,
        )


def _wait(reason: Reason) -> Progress:
    return Progress(waiting=reason, message=CATALOGUE[reason].tenant)
