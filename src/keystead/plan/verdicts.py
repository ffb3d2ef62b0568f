"""Pure: what to tell tenants about their claims, and what to record in the ledger.

- Every claim carries all its conditions, and each message says what happens next or what the reader can do.
- A grant that is invalid takes nothing from what works: such a claim keeps saying what it said.
- Nothing in a message moves by itself: a status is written only when something changed.
"""

from collections.abc import Sequence

from keystead.model.conditions import Condition, ConditionDraft, ConditionType, Status, draft, find
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, REASONS, Reason
from keystead.model.records import Claim, Federation, Grant
from keystead.plan import codes, verification
from keystead.plan.admission import Admission
from keystead.plan.granting import Progress
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.removal import Removal, retains
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import (
    ClaimVerdict,
    EnsureServiceAccount,
    FederationVerdict,
    NudgeStore,
    RecordFederation,
    Verify,
    WriteCredential,
)
from keystead.plan.validation import Validated
from keystead.plan.verification import Proof, Proofs

_T, _F, _U = Status.TRUE, Status.FALSE, Status.UNKNOWN
_C = ConditionType
# What most of ten thousand claims say.
_FEDERATED = draft(_C.FEDERATED, _T, Reason.FEDERATED)
_VERIFIED = draft(_C.VERIFIED, _T, Reason.VERIFIED)
_READY = draft(_C.READY, _T, Reason.READY)
_STORES = {
    reason: draft(_C.STORE_READY, _F if reason is Reason.STORE_NOT_READY else _T, reason)
    for reason in (Reason.STORE_APPLIED, Reason.STORE_READY, Reason.STORE_NOT_READY)
}
_STORE_READY = _STORES[Reason.STORE_READY]
_AZURE_STEPS = (RecordFederation.__name__, WriteCredential.__name__)
_PROOF_STEPS = (EnsureServiceAccount.__name__, Verify.__name__)


class ClaimVerdicts:
    """Speaks about the claims of one grant."""

    def __init__(
        self, snapshot: Snapshot, grant: Grant | None, valid: Validated | None, proofs: Proofs, *, observing: bool
    ) -> None:
        self._snapshot = snapshot
        self._proofs = proofs
        self._vault = str(valid.vault) if valid is not None else ""
        self._trusted: dict[IdentityId, ConditionDraft] = {}
        self._allowed: dict[str, ConditionDraft] = {}
        self._frozen = grant is not None and valid is None
        self._observing = observing

    def verdict(self, admission: Admission, progress: Progress | None) -> ClaimVerdict:
        """The six conditions of a claim, and where it is served."""
        federation = progress.federation if progress is not None else None
        recorded = federation is not None and bool(federation.uid)
        state = self._snapshot.identities.get(federation.identity) if federation is not None and recorded else None
        served = progress if federation is not None else None
        parts = [
            self._accepted(admission, served),
            self._approved(admission, served),
            *self._azure(admission, progress),
        ]
        parts.append(self._ready(parts, progress))
        return ClaimVerdict(
            claim_key=admission.claim.key,
            claim_uid=admission.claim.uid,
            conditions=tuple(parts),
            subject=admission.subject,
            client_id=state.client_id if state is not None else "",
            tenant_id=state.tenant_id if state is not None else "",
            vault_url=self._vault,
            federation_name=federation.name if federation is not None and recorded else "",
            identity=federation.identity.name if federation is not None and recorded else "",
        )

    def _accepted(self, admission: Admission, served: Progress | None) -> ConditionDraft:
        if self._frozen and admission.allowed:
            kept = _kept(admission.claim, _C.ACCEPTED) if served is not None else None
            return kept or draft(_C.ACCEPTED, _U, Reason.GRANT_INVALID)
        if not admission.allowed and served is not None and not self._frozen:
            text = f"{admission.message} {CATALOGUE[Reason.AWAITING_CONFIRMATION].tenant}"
            return draft(_C.ACCEPTED, _F, admission.reason, text)
        if not admission.allowed:
            return draft(_C.ACCEPTED, _F, admission.reason, admission.message)
        said = self._allowed.get(admission.message)
        if said is None:
            said = self._allowed[admission.message] = draft(_C.ACCEPTED, _T, admission.reason, admission.message)
        return said

    def _approved(self, admission: Admission, served: Progress | None) -> ConditionDraft:
        if self._frozen and served is not None and admission.review is not None and not admission.review.passed:
            kept = _kept(admission.claim, _C.APPROVED)
            if kept is not None:
                return kept
        if admission.review is None:
            return draft(_C.APPROVED, _U, admission.reason, admission.message)
        return admission.review.condition

    def _azure(self, admission: Admission, progress: Progress | None) -> list[ConditionDraft]:
        """Federated, Verified, StoreReady."""
        if progress is None:
            return [draft(each, _U, *self._why_not(admission)) for each in (_C.FEDERATED, _C.VERIFIED, _C.STORE_READY)]
        federated = self._federated(progress)
        verified = self._verified(progress, federated)
        return [federated, verified, self._store(admission, progress, verified)]

    def _why_not(self, admission: Admission) -> tuple[Reason, str]:
        if not admission.allowed:
            return admission.reason, admission.message
        if admission.review is not None and not admission.review.passed:
            return admission.review.condition.reason, admission.review.condition.message
        return Reason.GRANT_INVALID, CATALOGUE[Reason.GRANT_INVALID].tenant

    def _federated(self, progress: Progress) -> ConditionDraft:
        federation, failure = progress.federation, progress.failure
        if progress.federated and federation is not None:
            said = self._trusted.get(federation.identity)
            if said is None:
                text = f"Identity {federation.identity.name} trusts the account."
                said = self._trusted[federation.identity] = draft(_C.FEDERATED, _T, Reason.FEDERATED, text)
            return said
        if progress.waiting is not None or federation is None:
            return draft(_C.FEDERATED, _F, progress.waiting or Reason.AWAITING_LIST, progress.message)
        if failure is not None and failure.step in _AZURE_STEPS:
            return draft(_C.FEDERATED, _F, failure.reason, _told(failure.reason, failure.message))
        if self._observing:
            return draft(_C.FEDERATED, _F, Reason.OBSERVE_ONLY)
        text = f"Waits for its turn on identity {federation.identity.name} (Azure takes one write in four seconds)."
        return draft(_C.FEDERATED, _F, Reason.AWAITING_WRITE, text)

    def _verified(self, progress: Progress, federated: ConditionDraft) -> ConditionDraft:
        if not progress.federated or progress.federation is None:
            return draft(_C.VERIFIED, _U, federated.reason, federated.message)
        condition = _proof(self._proofs.of(progress.federation), proven=progress.verified)
        failure = progress.failure
        if condition.status is not _T and failure is not None and failure.step in _PROOF_STEPS:
            return draft(_C.VERIFIED, _F, failure.reason, _told(failure.reason, failure.message))
        return condition

    def _store(self, admission: Admission, progress: Progress, verified: ConditionDraft) -> ConditionDraft:
        failure = progress.failure
        if progress.conflict is not None:
            return draft(_C.STORE_READY, _F, progress.conflict, progress.conflict_message)
        if progress.store is Reason.STORE_NOT_READY and failure is not None and failure.step == NudgeStore.__name__:
            return draft(_C.STORE_READY, _F, failure.reason, _told(failure.reason, failure.message))
        if progress.hint is not None:
            return draft(_C.STORE_READY, _T, *progress.hint)
        if progress.store is not None:
            return _STORE_READY if progress.store is Reason.STORE_READY else _STORES[progress.store]
        if failure is not None and failure.step not in (*_AZURE_STEPS, *_PROOF_STEPS):
            return draft(_C.STORE_READY, _F, failure.reason, _told(failure.reason, failure.message))
        if progress.federated and not progress.steps:  # nobody plans on: frozen, held back, or not listed yet
            kept = _kept(admission.claim, _C.STORE_READY)
            if kept is not None:
                return kept
        if progress.verified:
            text = "The exchange is proven; ServiceAccount and SecretStore are being written."
            return draft(_C.STORE_READY, _U, Reason.AWAITING_WRITE, text)
        return draft(_C.STORE_READY, _U, verified.reason, "Follows once the token exchange is proven.")

    def _ready(self, parts: Sequence[ConditionDraft], progress: Progress | None) -> ConditionDraft:
        # A conflict that somebody has to solve says more than a step that is on its way.
        if progress is not None and progress.conflict is not None:
            return draft(_C.READY, _F, progress.conflict, progress.conflict_message)
        unknown: ConditionDraft | None = None
        for part in parts:
            if part.status is _F:
                return draft(_C.READY, _F, part.reason, part.message)
            if part.status is _U:
                unknown = unknown or part
        return _READY if unknown is None else draft(_C.READY, _F, unknown.reason, unknown.message)


def orphan_claim_verdict(claim: Claim) -> ClaimVerdict:
    """A claim on a grant that does not exist."""
    text = f"spec.grantName: there is no VaultGrant {claim.grant_name!r}; correct the name, or ask for the grant."
    unknown = (_C.APPROVED, _C.FEDERATED, _C.VERIFIED, _C.STORE_READY)
    parts = [draft(_C.ACCEPTED, _F, Reason.GRANT_NOT_FOUND, text)]
    parts += [draft(each, _U, Reason.GRANT_NOT_FOUND, text) for each in unknown]
    parts.append(draft(_C.READY, _F, Reason.GRANT_NOT_FOUND, text))
    return ClaimVerdict(claim.key, claim.uid, tuple(parts))


class LedgerVerdicts:
    """Speaks about the ledger entries of one grant."""

    def __init__(self, snapshot: Snapshot, holdings: Holdings, proofs: Proofs) -> None:
        self._snapshot = snapshot
        self._holdings = holdings
        self._proofs = proofs

    def verdict(self, federation: Federation, removal: Removal | None) -> FederationVerdict:
        """What the ledger entry should say."""
        proof = self._proofs.of(federation)
        last, proven = proof.newest, proof.verified_at
        parts = [self._federated(federation, proof), _proof(proof, proven=proven is not None)]
        if removal is not None:
            cause = removal.cause.reason
            parts.append(draft(_C.REVOKING, _T, cause, f"{CATALOGUE[cause].tenant} {self._rest(federation, removal)}"))
        return FederationVerdict(
            federation.name,
            tuple(parts),
            proven,
            last.code if last is not None else "",
            last.at if last is not None else None,
            last.detail if last is not None else "",
            retains(self._snapshot.grant, federation),
            proof.vault,
        )

    def _federated(self, federation: Federation, proof: Proof) -> ConditionDraft:
        state = self._snapshot.identities.get(federation.identity)
        if state is not None and state.problem is Reason.IDENTITY_NOT_FOUND:
            return draft(_C.FEDERATED, _F, Reason.IDENTITY_NOT_FOUND)  # and nothing on it is
        return _listed(self._holdings.of(federation), proof)

    def _rest(self, federation: Federation, removal: Removal) -> str:
        """What still stands in the way of the end, and the last resort where somebody would have to change something."""
        failure, state = (
            self._snapshot.failures.get(federation.name),
            self._snapshot.identities.get(federation.identity),
        )
        if failure is not None:
            reason, text = failure.reason, failure.message
        elif state is not None and state.problem is not None:
            reason, text = state.problem, state.problem_detail or CATALOGUE[state.problem].admin
        else:
            return CATALOGUE[removal.state].tenant
        if CATALOGUE[reason].heals:
            return text
        return f"{text} {CATALOGUE[reason].admin} If that will never be: `keystead abandon {federation.name}`."


def _listed(holding: Holding, proof: Proof) -> ConditionDraft:
    match holding:
        case Holding.PRESENT:
            return _FEDERATED
        case Holding.UNKNOWN:
            if proof.federated_since is not None:
                return _FEDERATED  # nothing says otherwise since
            return draft(_C.FEDERATED, _U, Reason.AWAITING_LIST)
        case Holding.DIFFERENT:
            return draft(_C.FEDERATED, _F, Reason.TUPLE_TAKEN)
        case Holding.ABSENT:
            return draft(_C.FEDERATED, _F, Reason.AWAITING_WRITE)


def _proof(proof: Proof, *, proven: bool) -> ConditionDraft:
    """Verified: a later refusal counts against it, a later silence does not."""
    last = proof.newest
    if last is not None and not last.ok and not (proven and verification.proves_nothing(last)):
        reason = codes.meaning(last).reason
        return draft(_C.VERIFIED, _F, reason, _told(reason, codes.said(last)))
    if proven:
        return _VERIFIED
    return draft(_C.VERIFIED, _F, Reason.AWAITING_PROPAGATION)


def _told(reason: Reason, detail: str) -> str:
    """The tenant's sentence first, then what exactly was said."""
    sentence = CATALOGUE[reason].tenant
    return f"{sentence} ({detail})" if detail else sentence


def _kept(claim: Claim, type_: ConditionType) -> ConditionDraft | None:
    """The condition that the claim carries, as it is."""
    carried: Condition | None = find(claim.conditions, type_)
    if carried is None or (reason := REASONS.get(carried.reason)) is None:
        return None
    return draft(type_, carried.status, reason, carried.message)
