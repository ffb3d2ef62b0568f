"""Pure: which identities are of the operator's making for this grant, and which of them are proven.

- The list of the resource group says which there are. While it was never read, the ledger's own entries stand in for it,
  so that nothing that works is taken to be outside the pool.
- Proven is an identity whose very principal was seen to read the vault: by the status of the grant, by a probe, or, where
  status knows nothing of it, by a claim's own credential on it, which was proven the same way.
- Proof never outlasts its principal. Where the role is known to be missing it is void, and status says so first.
"""

import datetime

from keystead.model.growth import FoundIdentity
from keystead.model.ids import IdentityId
from keystead.model.records import Federation, Grant
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.provisioning import Growing
from keystead.plan.snapshot import Snapshot
from keystead.plan.validation import Validated
from keystead.plan.verification import Proofs


def made_for(growing: Growing, grant: Grant, snapshot: Snapshot) -> tuple[FoundIdentity, ...]:
    """The grant's own identities, in the order of their numbers."""
    named = {each.resource_id.strip().rstrip("/").lower() for each in grant.identities}
    if snapshot.made.at is None:
        known = {each.identity for each in snapshot.federations if not each.probe}
        found = {each: FoundIdentity(each) for each in known if growing.number(each) is not None}
    else:
        listed = {each.id for each in snapshot.made.value}
        found = {each.id: each for each in snapshot.made.value if growing.owns(each)}
        # A list may be late or short. What the ledger names stays until its own list says that it is gone.
        for each in {each.identity for each in snapshot.federations if not each.probe} - listed:
            state = snapshot.identities.get(each)
            if growing.number(each) is not None and state is not None and state.known and state.problem is None:
                found[each] = FoundIdentity(each, state.client_id, state.principal_id, state.tenant_id)
    kept = [each for each in found.values() if each.id.key not in named]
    return tuple(sorted(kept, key=lambda each: (growing.number(each.id) or 0, each.id.key)))


def strangers(growing: Growing, snapshot: Snapshot) -> tuple[FoundIdentity, ...]:
    """Identities that go by names of ours, and are not ours."""
    found = (each for each in snapshot.made.value if growing.number(each.id) is not None and not growing.owns(each))
    return tuple(sorted(found, key=lambda each: each.id.key))


class MadeProofs:
    """When each identity of the operator's making was proven."""

    def __init__(self, snapshot: Snapshot, valid: Validated, holdings: Holdings, proofs: Proofs) -> None:
        self._snapshot = snapshot
        self._holdings = holdings
        self._proofs = proofs
        self._told = {(each.resource_id.lower(), each.principal_id): each.proven_at for each in valid.grant.proofs}
        self._ledger: dict[IdentityId, list[Federation]] = {}
        for each in snapshot.federations:
            self._ledger.setdefault(each.identity, []).append(each)

    def told(self, found: FoundIdentity) -> datetime.datetime | None:
        """The proof that the grant's status carries."""
        return self._told.get((found.id.key, found.principal_id)) if found.principal_id else None

    def of(self, found: FoundIdentity) -> datetime.datetime | None:
        """The proof, told or not yet; ``None``: it is to be proven."""
        told = self.told(found)
        if told is not None:
            return told
        # Where status says that it is not proven, what claims had proven before no longer counts.
        denied = (found.id.key, found.principal_id) in self._told
        entries = (each for each in self._ledger.get(found.id, ()) if each.probe or not denied)
        return min(filter(None, map(self._shown, entries)), default=None)

    def _shown(self, federation: Federation) -> datetime.datetime | None:
        """What one credential on it proves, while it stands and its last exchange was no refusal."""
        if self._holdings.of(federation) is not Holding.PRESENT:
            return None
        proof = self._proofs.of(federation)
        return proof.verified_at if proof.newest is None or proof.newest.ok else None
