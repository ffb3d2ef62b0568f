"""Pure: credentials of ours that nothing stands behind.

Ours beyond doubt: the issuer is this cluster's, and the name is one that we would give to exactly this subject. Never
one that any ledger entry names, nor one whose namespace exists and is allowed by any grant, nor anything under a grant
that retains. Two separate lists must have shown it, and above a handful nobody deletes anything unasked.
"""

from collections.abc import Callable

from keystead.model.credentials import Credential
from keystead.model.growth import PROBE_ACCOUNT
from keystead.model.ids import IdentityId, service_account_subject
from keystead.model.reasons import Reason
from keystead.model.records import Namespace, Revocation
from keystead.plan import naming
from keystead.plan.holdings import Holdings
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import Held, Step, SweepCredential
from keystead.plan.validation import Validated

SIGHTINGS = 2
"""Separate lists that must have shown a credential before it counts as an orphan."""
_SUBJECT_PARTS = 4


def sweep_unit(identity: IdentityId) -> str:
    """What the units of an identity's orphans begin with."""
    return f"sweep/{identity.key}/"


def sweep(
    snapshot: Snapshot, valid: Validated, holdings: Holdings, allowed: Callable[[Namespace], bool]
) -> tuple[tuple[Step, ...], tuple[Held, ...]]:
    """Steps for the orphans of this grant's identities, or the same steps held back by the brake."""
    grant = valid.grant
    if grant.revocation is Revocation.RETAIN:
        return (), ()
    pool = {member.identity for member in valid.pool}
    seen = [each for each, count in snapshot.orphan_sightings.items() if count >= SIGHTINGS and each[0] in pool]
    steps: list[Step] = []
    for identity, held in sorted(seen):
        state = snapshot.identities.get(identity)
        if state is None or not state.known or held not in state.credentials:
            continue
        known = (identity.key, held.name.lower()) in holdings.ledger or (identity, held.name) in snapshot.in_flight
        if not known and _abandoned(snapshot, held, allowed):
            steps.append(SweepCredential(f"{sweep_unit(identity)}{held.name}", identity, held))
    if len(steps) > snapshot.limits.sweep_limit and grant.confirmed_generation != grant.generation:
        return (), tuple(Held(step, Reason.AWAITING_CONFIRMATION) for step in steps)
    return tuple(steps), ()


def _abandoned(snapshot: Snapshot, held: Credential, allowed: Callable[[Namespace], bool]) -> bool:
    parts = held.subject.split(":")
    if len(parts) != _SUBJECT_PARTS or service_account_subject(parts[2], parts[3]) != held.subject:
        return False
    if held.issuer != snapshot.cluster.issuer or not naming.fits(held.name, snapshot.cluster, parts[2], parts[3]):
        return False
    if held.subject == service_account_subject(snapshot.limits.own_namespace, PROBE_ACCOUNT):
        return True  # our own probe, which nothing stands behind any more
    namespace = snapshot.namespaces.get(parts[2])
    return namespace is None or namespace.terminating or not allowed(namespace)
