"""Pure: what to tell the admin about a grant: is it valid, is the pool usable, is there room, is the issuer trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keystead.model.conditions import ConditionDraft, ConditionType, Status, draft
from keystead.model.growth import IdentityProof
from keystead.model.reasons import CATALOGUE, Reason, Severity
from keystead.model.records import Grant
from keystead.plan import codes, guards
from keystead.plan.adoption import read_word
from keystead.plan.growth import Growth, GrowthPlan
from keystead.plan.growth_report import growing_trouble, headroom, how_it_grows, missing_slots, roles_missing
from keystead.plan.parity import Parity
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
    growth: Growth | None = None
    grown: GrowthPlan | None = None
    parity: Parity | None = None


def grant_verdict(scene: Scene, grant: Grant) -> GrantVerdict:
    """What the admin reads."""
    parts = [_valid(scene.problems), _pool_ready(scene), _capacity(scene), _issuer(scene), *_adoption(scene, grant)]
    eyes = guards.four_eyes(grant, scene.snapshot)
    counts = [_count(verdict) for verdict in scene.claims]
    return GrantVerdict(
        conditions=(_ready(_counted(parts, eyes, scene), scene.held, grant), *parts, eyes),
        identities=_identities(scene, grant),
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
        member, state = broken
        reason = state.problem or Reason.AZURE_UNAVAILABLE
        detail = f" ({state.problem_detail})" if state.problem_detail else ""
        return draft(_C.POOL_READY, _F, reason, f"{member.place}: {state.id}: {CATALOGUE[reason].admin}{detail}")
    if len(pool.tenants) > 1:
        told = ", ".join(sorted(pool.tenants))
        text = f"spec.identities: their tenants are {told}. {CATALOGUE[Reason.TENANTS_DISAGREE].admin}"
        return draft(_C.POOL_READY, _F, Reason.TENANTS_DISAGREE, text)
    trouble = growing_trouble(scene.snapshot, scene.grown) or roles_missing(pool, scene.parity)
    if trouble is not None:
        return draft(_C.POOL_READY, _F, *trouble)
    if pool.unread:
        return draft(_C.POOL_READY, _U, Reason.AWAITING_LIST)
    if pool.members and len(pool.withheld) == len(pool.members):
        return draft(_C.POOL_READY, _U, Reason.POOL_GROWING, how_it_grows(scene.growth, scene.grown))
    told = how_it_grows(scene.growth, scene.grown)
    return draft(_C.POOL_READY, _T, Reason.POOL_READY, f"{CATALOGUE[Reason.POOL_READY].tenant} {told}".strip())


def _exhausted(scene: Scene) -> int:
    """Claims that wait for a slot."""
    waiting = (Reason.POOL_EXHAUSTED, Reason.POOL_GROWING)
    return sum(1 for each in scene.claims if each.conditions[-1].reason in waiting)


def _capacity(scene: Scene) -> ConditionDraft:
    pool = scene.pool
    if pool is None:
        return draft(_C.CAPACITY_AVAILABLE, _U, Reason.GRANT_INVALID)
    missing = _exhausted(scene)
    if missing and scene.growth is not None:
        return draft(_C.CAPACITY_AVAILABLE, _F, *missing_slots(missing, scene.growth, scene.grown, pool))
    if missing:
        text = f"{missing} slot(s) are missing: add an identity to spec.identities (20 slots each)."
        return draft(_C.CAPACITY_AVAILABLE, _F, Reason.POOL_EXHAUSTED, text)
    if pool.unread:
        return draft(_C.CAPACITY_AVAILABLE, _U, Reason.AWAITING_LIST)
    return draft(_C.CAPACITY_AVAILABLE, _T, Reason.CAPACITY_AVAILABLE, headroom(scene.growth, scene.grown))


def _adoption(scene: Scene, grant: Grant) -> tuple[ConditionDraft, ...]:
    """What the admin's word on adoption came to, where there is one."""
    if not grant.adopt:
        return ()
    word = read_word(grant.adopt)
    if word.problem:
        return (draft(_C.ADOPTION_VALID, _F, Reason.ADOPTION_INVALID, word.problem),)
    count = sum(1 for each in scene.snapshot.federations if each.adopted and not each.deleting)
    text = f"{count} credential(s) of others are taken over; see `keystead adopt {grant.name}` for the rest."
    return (draft(_C.ADOPTION_VALID, _T, Reason.VALID, text),)


def _issuer(scene: Scene) -> ConditionDraft:
    """Whether Entra accepts this cluster's tokens, as the exchanges of this grant have shown."""
    refused = None
    for federation in scene.snapshot.federations:
        last = scene.proofs.of(federation).newest
        if last is None:
            continue
        reason = Reason.VERIFIED if last.ok else codes.meaning(last).reason
        # Whatever Entra says about the subject, it says of a token whose issuer it knows.
        if last.ok or reason in (Reason.VAULT_FORBIDDEN, Reason.VAULT_CLOSED, Reason.VAULT_UNREACHABLE):
            return draft(_C.ISSUER_TRUSTED, _T, Reason.VERIFIED)
        if reason in _ISSUER_TROUBLE:
            refused = min((codes.said(last), reason), refused or (codes.said(last), reason))
    if refused is not None:
        told, reason = refused
        text = f"{CATALOGUE[reason].admin} Issuer: {scene.snapshot.cluster.issuer} ({told})"
        return draft(_C.ISSUER_TRUSTED, _F, reason, text)
    return draft(_C.ISSUER_TRUSTED, _U, Reason.AWAITING_VERIFICATION)


def _identities(scene: Scene, grant: Grant) -> tuple[IdentityVerdict, ...]:
    pool = scene.pool
    if pool is None:  # what was proven stays so while the grant makes no sense
        return tuple(_remembered(each) for each in grant.proofs)
    proven = scene.growth.proven if scene.growth is not None else {}
    principals = {each.id: each.principal_id for each in (scene.growth.found if scene.growth is not None else ())}
    rows = {}
    for member in pool.members:
        state, used = pool.states[member.identity], pool.occupancy[member.identity]
        error = f"{state.problem}: {state.problem_detail}" if state.problem is not None else ""
        rows[member.identity.key] = IdentityVerdict(
            str(member.identity),
            state.client_id,
            principals.get(member.identity) or state.principal_id,
            state.tenant_id,
            used.ours,
            used.foreign,
            member.reserved,
            used.room,
            error,
            scene.parity.assigned(member) if scene.parity is not None else None,
            proven.get(member.identity),
        )
    if scene.growth is not None and scene.snapshot.made.at is None:
        # Nobody knows yet which identities there are: what status says of them is kept until the group is read.
        told = {each.resource_id.lower(): each for each in grant.proofs if each.proven_at is not None}
        for key, proof in sorted(told.items()):
            row = rows.get(key) or _remembered(proof)
            rows[key] = replace(row, principal_id=proof.principal_id, proven_at=proof.proven_at)
    return tuple(rows.values())


def _remembered(proof: IdentityProof) -> IdentityVerdict:
    return IdentityVerdict(proof.resource_id, "", proof.principal_id, "", 0, 0, 0, 0, proven_at=proof.proven_at)
