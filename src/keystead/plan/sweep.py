"""Pure: credentials of ours that nothing stands behind.

Ours beyond doubt: the name carries our prefix and this cluster's id, and the issuer is this cluster's. Never one whose
namespace exists and is allowed, nor one that any ledger entry names. Two separate lists must have shown it, and above a
handful nobody deletes anything unasked.
"""

from collections.abc import Callable

from keystead.model.reasons import Reason
from keystead.model.records import Namespace
from keystead.plan.naming import is_ours
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import Held, Step, SweepCredential

_SIGHTINGS = 2
_SUBJECT_PARTS = 4


def sweep(snapshot: Snapshot, allowed: Callable[[Namespace], bool]) -> tuple[tuple[Step, ...], tuple[Held, ...]]:
    """Steps for the orphans of this grant's identities, or the same steps held back by the brake."""
    ledger = {each.credential.name.lower() for each in (*snapshot.federations, *snapshot.other_federations)}
    steps: list[Step] = []
    for identity, state in sorted(snapshot.identities.items()):
        for held in sorted(state.credentials):
            if not is_ours(held.name, snapshot.cluster) or held.issuer != snapshot.cluster.issuer:
                continue
            if held.name.lower() in ledger or held.name in snapshot.in_flight:
                continue
            if snapshot.orphan_sightings.get((identity, held), 0) < _SIGHTINGS or _stands(
                snapshot, held.subject, allowed
            ):
                continue
            steps.append(SweepCredential(f"sweep/{identity.key}/{held.name}", identity, held))
    if len(steps) > snapshot.limits.sweep_limit:
        return (), tuple(Held(step, Reason.AWAITING_CONFIRMATION) for step in steps)
    return tuple(steps), ()


def _stands(snapshot: Snapshot, subject: str, allowed: Callable[[Namespace], bool]) -> bool:
    parts = subject.split(":")
    namespace = snapshot.namespaces.get(parts[2]) if len(parts) == _SUBJECT_PARTS else None
    return namespace is not None and not namespace.terminating and allowed(namespace)
