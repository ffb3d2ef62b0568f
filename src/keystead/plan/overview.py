"""Pure: what to tell the admin about a grant: is it valid, is the pool usable, is there room, is the issuer trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

from keystead.model.conditions import ConditionDraft, ConditionType, Status, draft
from keystead.model.reasons import CATALOGUE, Reason, Severity
from keystead.model.records import Grant
from keystead.plan import codes, guards
from keystead.plan.pool import Pool
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import ClaimVerdict, GrantVerdict, Held, IdentityVerdict
from keystead.plan.validation import Problem, Validated
from keystead.plan.verification import Proofs

_T, _F, _U = Status.TRUE, Status.FALSE, Status.UNKNOWN
_C = ConditionType
_ISSUER_TROUBLE = (Reason.ISSUER_MISMATCH, Reason.ISSUER_UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Scene:
    """What the grant's verdict is made of."""

    snapshot: Snapshot
    proofs: Proofs
    valid: Validated | None
    problems: Sequence[Problem]
    pool: Pool | None
    claims: Sequence[ClaimVerdict]
    held: Sequence[Held]


def grant_verdict(scene: Scene, grant: Grant) -> GrantVerdict:
    """What the admin reads."""
    parts = [_valid(scene.problems), _pool_ready(scene), _capacity(scene), _issuer(scene)]
    eyes = guards.four_eyes(grant, scene.snapshot)
    counts = [_count(verdict) for verdict in scene.claims]
    return GrantVerdict(
        conditions=(_ready(_counted(parts, eyes, scene), scene.held, grant), *parts, eyes),
        identities=_identities(scene.pool),
        total=len(scene.claims),
        ready=counts.count("ready"),
        awaiting_review=counts.count("review"),
        blocked=counts.count("blocked"),
        exhausted=_exhausted(scene),
    )


def _counted(parts: Sequence[ConditionDraft], eyes: ConditionDraft, scene: Scene) -> list[ConditionDraft]:
    """The conditions that decide whether the grant is ready: guards count where nothing is granted without them."""
    return [*parts, eyes] if scene.snapshot.limits.require_guards else list(parts)


def _ready(parts: Sequence[ConditionDraft], held: Sequence[Held], grant: Grant) -> ConditionDraft:
    waiting = {each.step.unit for each in held if each.reason is Reason.AWAITING_CONFIRMATION}
    if waiting:
        text = (
            f"{len(waiting)} revocation(s) wait: annotate the grant with "
            f'keystead.dev/confirm-revocations: "{grant.generation}" to go on, or undo the edit.'
        )
        return draft(_C.READY, _F, Reason.AWAITING_CONFIRMATION, text)
    bad = next((part for part in parts if part.status is _F), None)
    # An issuer that nobody has tried yet is no fault of the grant's.
    bad = bad or next((part for part in parts if part.status is _U and part.type is not _C.ISSUER_TRUSTED), None)
    if bad is not None:
        return draft(_C.READY, _F, bad.reason, bad.message)
    observed = sum(1 for each in held if each.reason is Reason.OBSERVE_ONLY)
    if observed:
        text = f"Keystead only observes: {observed} step(s) are planned, see `keystead plan`. Nothing is written."
        return draft(_C.READY, _F, Reason.OBSERVE_ONLY, text)
    return draft(_C.READY, _T, Reason.READY)


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


def _pool_ready(scene: Scene) -> ConditionDraft:
    pool = scene.pool
    if pool is None:
        return draft(_C.POOL_READY, _U, Reason.GRANT_INVALID)
    broken = pool.broken
    if broken is not None:
        index, state = broken
        reason = state.problem or Reason.AZURE_UNAVAILABLE
        detail = f" ({state.problem_detail})" if state.problem_detail else ""
        path = f"spec.identities[{index}].resourceId"
        return draft(_C.POOL_READY, _F, reason, f"{path}: {state.id}: {CATALOGUE[reason].admin}{detail}")
    if len(pool.tenants) > 1:
        told = ", ".join(sorted(pool.tenants))
        text = f"spec.identities: their tenants are {told}. {CATALOGUE[Reason.TENANTS_DISAGREE].admin}"
        return draft(_C.POOL_READY, _F, Reason.TENANTS_DISAGREE, text)
    if pool.unread:
        return draft(_C.POOL_READY, _U, Reason.AWAITING_LIST)
    return draft(_C.POOL_READY, _T, Reason.POOL_READY)


def _exhausted(scene: Scene) -> int:
    return sum(1 for each in scene.claims if each.conditions[-1].reason is Reason.POOL_EXHAUSTED)


def _capacity(scene: Scene) -> ConditionDraft:
    pool = scene.pool
    if pool is None:
        return draft(_C.CAPACITY_AVAILABLE, _U, Reason.GRANT_INVALID)
    missing = _exhausted(scene)
    if missing:
        text = f"{missing} slot(s) are missing: add an identity to spec.identities (20 slots each)."
        return draft(_C.CAPACITY_AVAILABLE, _F, Reason.POOL_EXHAUSTED, text)
    if pool.unread:
        return draft(_C.CAPACITY_AVAILABLE, _U, Reason.AWAITING_LIST)
    return draft(_C.CAPACITY_AVAILABLE, _T, Reason.CAPACITY_AVAILABLE)


def _issuer(scene: Scene) -> ConditionDraft:
    """Whether Entra accepts this cluster's tokens, as the exchanges of this grant have shown."""
    proven, refused = False, None
    for federation in scene.snapshot.federations:
        last = scene.proofs.of(federation).newest
        if last is None:
            continue
        reason = Reason.VERIFIED if last.ok else codes.meaning(last).reason
        if reason in _ISSUER_TROUBLE:
            refused = min((codes.said(last), reason), refused or (codes.said(last), reason))
        # Whatever Entra says about the subject, it says of a token whose issuer it knows.
        proven = proven or last.ok or reason in (Reason.VAULT_FORBIDDEN, Reason.VAULT_CLOSED, Reason.VAULT_UNREACHABLE)
    if proven:
        return draft(_C.ISSUER_TRUSTED, _T, Reason.VERIFIED)
    if refused is not None:
        told, reason = refused
        text = f"{CATALOGUE[reason].admin} Issuer: {scene.snapshot.cluster.issuer} ({told})"
        return draft(_C.ISSUER_TRUSTED, _F, reason, text)
    return draft(_C.ISSUER_TRUSTED, _U, Reason.AWAITING_VERIFICATION)


def _identities(pool: Pool | None) -> tuple[IdentityVerdict, ...]:
    if pool is None:
        return ()
    rows = []
    for member in pool.members:
        state, used = pool.states[member.identity], pool.occupancy[member.identity]
        error = f"{state.problem}: {state.problem_detail}" if state.problem is not None else ""
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
                error,
            )
        )
    return tuple(rows)
