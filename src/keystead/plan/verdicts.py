"""Pure: what to tell people about claims, ledger entries and the grant."""

from collections.abc import Sequence

from keystead.model.conditions import ConditionDraft, ConditionType, Status, draft
from keystead.model.credentials import IdentityState
from keystead.model.reasons import CATALOGUE, Reason, Severity
from keystead.model.records import Claim, Federation, Grant
from keystead.plan import verification
from keystead.plan.admission import Admission
from keystead.plan.granting import Progress
from keystead.plan.pool import survey
from keystead.plan.removal import Removal
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import (
    ClaimVerdict,
    FederationVerdict,
    GrantVerdict,
    Held,
    IdentityVerdict,
)
from keystead.plan.validation import Problem, Validated

_T, _F, _U = Status.TRUE, Status.FALSE, Status.UNKNOWN
_C = ConditionType


def claim_verdict(
    snapshot: Snapshot,
    admission: Admission,
    progress: Progress | None,
    valid: Validated | None,
    live: tuple[Federation, ...],
) -> ClaimVerdict:
    """The six conditions of a claim."""
    federation = (
        progress.federation if progress is not None and progress.federation is not None else next(iter(live), None)
    )
    state = snapshot.identities.get(federation.identity) if federation is not None else None
    recorded = federation is not None and bool(federation.uid)
    parts = [_accepted(admission, valid), _approved(admission)]
    parts += _azure(snapshot, admission, progress)
    parts.append(_ready(parts))
    return ClaimVerdict(
        claim_key=admission.claim.key,
        claim_uid=admission.claim.uid,
        conditions=tuple(parts),
        subject=admission.subject,
        client_id=state.client_id if state is not None and recorded else "",
        tenant_id=state.tenant_id if state is not None and recorded else "",
        vault_url=str(valid.vault) if valid is not None else "",
        federation_name=federation.name if federation is not None and recorded else "",
        identity=federation.identity.name if federation is not None and recorded else "",
    )


def orphan_claim_verdict(claim: Claim) -> ClaimVerdict:
    """A claim on a grant that does not exist."""
    text = f"spec.grantName: there is no VaultGrant {claim.grant_name!r}; correct the name."
    parts = [draft(_C.ACCEPTED, _F, Reason.GRANT_NOT_FOUND, text)]
    parts.append(draft(_C.READY, _F, Reason.GRANT_NOT_FOUND, text))
    return ClaimVerdict(claim.key, claim.uid, tuple(parts))


def _accepted(admission: Admission, valid: Validated | None) -> ConditionDraft:
    if admission.allowed and valid is None:
        return draft(_C.ACCEPTED, _U, Reason.GRANT_INVALID)
    return draft(_C.ACCEPTED, _T if admission.allowed else _F, admission.reason, admission.message)


def _approved(admission: Admission) -> ConditionDraft:
    if admission.review is None:
        return draft(_C.APPROVED, _U, admission.reason, admission.message)
    return admission.review.condition


def _azure(snapshot: Snapshot, admission: Admission, progress: Progress | None) -> list[ConditionDraft]:
    """Federated, Verified, StoreReady."""
    if progress is None or (progress.federation is None and progress.waiting is None):
        return [draft(each, _U, *_not_started(admission)) for each in (_C.FEDERATED, _C.VERIFIED, _C.STORE_READY)]
    if progress.waiting is not None:
        return [
            draft(each, _F if each is _C.FEDERATED else _U, progress.waiting, progress.message)
            for each in (_C.FEDERATED, _C.VERIFIED, _C.STORE_READY)
        ]
    failure = snapshot.failures.get(admission.claim.key)
    trouble = (failure.reason, failure.message) if failure is not None else None
    federated = _federated(progress, trouble)
    return [federated, _verified(snapshot, progress, federated), _store(progress, trouble)]


def _not_started(admission: Admission) -> tuple[Reason, str]:
    if not admission.allowed:
        return admission.reason, admission.message
    if admission.review is not None and not admission.review.passed:
        return admission.review.condition.reason, admission.review.condition.message
    return Reason.GRANT_INVALID, CATALOGUE[Reason.GRANT_INVALID].tenant


def _federated(progress: Progress, trouble: tuple[Reason, str] | None) -> ConditionDraft:
    federation = progress.federation
    identity = federation.identity.name if federation is not None else "?"
    if progress.federated:
        return draft(_C.FEDERATED, _T, Reason.FEDERATED, f"Identity {identity} trusts the account.")
    if trouble is not None:
        return draft(_C.FEDERATED, _F, *trouble)
    return draft(
        _C.FEDERATED,
        _F,
        Reason.AWAITING_WRITE,
        f"Waits for its turn on identity {identity} (Azure takes a write in four seconds).",
    )


def _verified(snapshot: Snapshot, progress: Progress, federated: ConditionDraft) -> ConditionDraft:
    if not progress.federated or progress.federation is None:
        return draft(_C.VERIFIED, _U, federated.reason, federated.message)
    if progress.verified:
        return draft(_C.VERIFIED, _T, Reason.VERIFIED)
    last = verification.newest(snapshot, progress.federation)
    if last is not None and not last.ok:
        reason = verification.reason_of(last)
        return draft(_C.VERIFIED, _F, reason, f"{last.code}: {CATALOGUE[reason].tenant}")
    return draft(_C.VERIFIED, _F, Reason.AWAITING_PROPAGATION)


def _store(progress: Progress, trouble: tuple[Reason, str] | None) -> ConditionDraft:
    if progress.conflict is not None:
        return draft(_C.STORE_READY, _F, progress.conflict, progress.conflict_message)
    if progress.store_applied:
        return draft(_C.STORE_READY, _T, Reason.STORE_APPLIED)
    if progress.verified and trouble is not None:
        return draft(_C.STORE_READY, _F, *trouble)
    return draft(_C.STORE_READY, _U, Reason.AWAITING_VERIFICATION, "Follows once the exchange is proven.")


def _ready(parts: Sequence[ConditionDraft]) -> ConditionDraft:
    worst = next((part for part in parts if part.status is _F), None) or next(
        (part for part in parts if part.status is _U), None
    )
    if worst is None:
        return draft(_C.READY, _T, Reason.READY)
    return draft(_C.READY, _F, worst.reason, worst.message)


def federation_verdict(
    snapshot: Snapshot, federation: Federation, removal: tuple[Federation, Reason, Removal] | None
) -> FederationVerdict:
    """What the ledger entry should say."""
    state = snapshot.identities.get(federation.identity)
    last, proven = verification.newest(snapshot, federation), verification.verified_at(snapshot, federation)
    parts = [_listed(federation, state)]
    if proven is not None:
        parts.append(draft(_C.VERIFIED, _T, Reason.VERIFIED))
    elif last is not None:
        reason = verification.reason_of(last)
        parts.append(draft(_C.VERIFIED, _F, reason, f"{last.code}: {CATALOGUE[reason].admin}"))
    else:
        parts.append(draft(_C.VERIFIED, _U, Reason.AWAITING_VERIFICATION))
    if removal is not None:
        _, cause, what = removal
        failure = snapshot.failures.get(federation.name)
        text = f"{CATALOGUE[cause].tenant} {failure.message if failure is not None else CATALOGUE[what.state].tenant}"
        parts.append(draft(_C.REVOKING, _T, cause, text))
    return FederationVerdict(
        federation.name,
        tuple(parts),
        proven,
        last.code if last is not None else "",
        last.at if last is not None else None,
    )


def _listed(federation: Federation, state: IdentityState | None) -> ConditionDraft:
    if state is None or not state.known:
        carried = next((each for each in federation.conditions if each.type == _C.FEDERATED), None)
        if carried is not None and carried.status is _T:
            return draft(_C.FEDERATED, _T, Reason.FEDERATED)  # nothing says otherwise since
        return draft(_C.FEDERATED, _U, Reason.AWAITING_LIST)
    held = state.named(federation.credential.name)
    if held is not None and held.trust == federation.credential.trust:
        return draft(_C.FEDERATED, _T, Reason.FEDERATED)
    return draft(_C.FEDERATED, _F, Reason.AWAITING_WRITE)


def grant_verdict(
    snapshot: Snapshot,
    grant: Grant,
    valid: Validated | None,
    problems: Sequence[Problem],
    claims: Sequence[ClaimVerdict],
    held: Sequence[Held],
) -> GrantVerdict:
    """What the admin reads."""
    counts = [_count(verdict) for verdict in claims]
    parts = [_valid(problems), *_pool_conditions(snapshot, valid, claims)]
    if held:
        text = (
            f"{len({each.step.unit for each in held})} revocations wait: annotate the grant with "
            f'keystead.dev/confirm-revocations: "{grant.generation}" to go on, or undo the edit.'
        )
        parts.insert(0, draft(_C.READY, _F, Reason.AWAITING_CONFIRMATION, text))
    else:
        worst = next((part for part in parts if part.status is not _T and part.type is not _C.FOUR_EYES_ENFORCED), None)
        parts.insert(
            0, draft(_C.READY, _T, Reason.READY) if worst is None else draft(_C.READY, _F, worst.reason, worst.message)
        )
    return GrantVerdict(
        conditions=tuple(parts),
        identities=_identities(snapshot, valid),
        total=len(claims),
        ready=counts.count("ready"),
        awaiting_review=counts.count("review"),
        blocked=counts.count("blocked"),
    )


def _count(verdict: ClaimVerdict) -> str:
    ready = verdict.conditions[-1]
    if ready.status is _T:
        return "ready"
    if ready.reason is Reason.AWAITING_REVIEW:
        return "review"
    return "blocked" if CATALOGUE[ready.reason].severity is Severity.BLOCKED else "on its way"


def _valid(problems: Sequence[Problem]) -> ConditionDraft:
    if not problems:
        return draft(_C.VALID, _T, Reason.VALID)
    return draft(_C.VALID, _F, problems[0].reason, "; ".join(str(problem) for problem in problems))


def _pool_conditions(
    snapshot: Snapshot, valid: Validated | None, claims: Sequence[ClaimVerdict]
) -> list[ConditionDraft]:
    guards = draft(_C.FOUR_EYES_ENFORCED, _F, Reason.GUARDS_ABSENT, CATALOGUE[Reason.GUARDS_ABSENT].admin)
    if valid is None:
        kinds = (_C.POOL_READY, _C.CAPACITY_AVAILABLE)
        return [*(draft(each, _U, Reason.GRANT_INVALID) for each in kinds), guards]
    pool = survey(valid.pool, snapshot)
    broken = [(each, state) for each, state in pool.states.items() if state.problem is not None]
    tenants = {state.tenant_id for state in pool.states.values() if state.tenant_id}
    if broken:
        identity, state = broken[0]
        reason = state.problem or Reason.AZURE_UNAVAILABLE
        index = [member.identity for member in valid.pool].index(identity)
        text = f"spec.identities[{index}].resourceId: {identity.name}: {CATALOGUE[reason].admin} {state.problem_detail}".strip()
        ready = draft(_C.POOL_READY, _F, reason, text)
    elif len(tenants) > 1:
        ready = draft(
            _C.POOL_READY, _F, Reason.TENANTS_DISAGREE, f"spec.identities: tenants {', '.join(sorted(tenants))}."
        )
    elif pool.unread:
        ready = draft(_C.POOL_READY, _U, Reason.AWAITING_LIST)
    else:
        ready = draft(_C.POOL_READY, _T, Reason.POOL_READY)
    missing = sum(1 for each in claims if each.conditions[-1].reason is Reason.POOL_EXHAUSTED)
    if missing:
        text = f"{missing} slot(s) are missing: add an identity to spec.identities (20 slots each)."
        capacity = draft(_C.CAPACITY_AVAILABLE, _F, Reason.POOL_EXHAUSTED, text)
    elif pool.unread:
        capacity = draft(_C.CAPACITY_AVAILABLE, _U, Reason.AWAITING_LIST)
    else:
        capacity = draft(_C.CAPACITY_AVAILABLE, _T, Reason.CAPACITY_AVAILABLE, f"{pool.free} slot(s) are free.")
    return [ready, capacity, guards]


def _identities(snapshot: Snapshot, valid: Validated | None) -> tuple[IdentityVerdict, ...]:
    if valid is None:
        return ()
    pool = survey(valid.pool, snapshot)
    rows = []
    for member in valid.pool:
        state, used = pool.states[member.identity], pool.occupancy[member.identity]
        rows.append(
            IdentityVerdict(
                str(member.identity),
                state.client_id,
                state.principal_id,
                state.tenant_id,
                used.ours,
                used.foreign,
                member.reserved,
                used.room,
                f"{state.problem}: {state.problem_detail}" if state.problem is not None else "",
            )
        )
    return tuple(rows)
