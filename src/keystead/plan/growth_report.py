"""Pure: what to tell the admin about a pool that grows, and about identities without their role.

An identity on its way is no trouble. It is trouble when somebody has to change something, and then what works goes on.
"""

from keystead.model.reasons import CATALOGUE, Reason
from keystead.plan.growth import Growth, GrowthPlan
from keystead.plan.parity import Parity
from keystead.plan.pool import Pool
from keystead.plan.snapshot import Snapshot

_NAMED = 5  # identities that a message names before it only counts


def growing_trouble(snapshot: Snapshot, grown: GrowthPlan | None) -> tuple[Reason, str] | None:
    """What keeps the pool from growing until somebody changes something."""
    if grown is None:
        return None
    if snapshot.made.problem is not None:
        reason = snapshot.made.problem
        return reason, f"spec.provisioning.resourceGroupId: {CATALOGUE[reason].admin} ({snapshot.made.detail})"
    stuck = [each for each in grown.under_way if each.stuck]
    if not stuck:
        return None
    first, more = stuck[0], f" {len(stuck) - 1} more of them wait." if len(stuck) > 1 else ""
    return first.reason, f"spec.provisioning: identity {first.name}: {first.message}{more}"


def roles_missing(pool: Pool, parity: Parity | None) -> tuple[Reason, str] | None:
    """Which identities lack the role; those under way speak for themselves."""
    if parity is None:
        return None
    lacking = [each for each in pool.members if each.identity not in pool.withheld and parity.assigned(each) is False]
    if not lacking:
        return None
    names = ", ".join(f"{each.place}: {each.identity.name}" for each in lacking[:_NAMED])
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    return Reason.ROLE_MISSING, f"{names}{more}. {CATALOGUE[Reason.ROLE_MISSING].admin}"


def how_it_grows(growth: Growth | None, grown: GrowthPlan | None) -> str:
    """Identities under way, and names that others have taken."""
    if growth is None or grown is None:
        return ""
    told = [f"Identity {each.name} {each.message}." for each in grown.under_way[:_NAMED]]
    if len(grown.under_way) > _NAMED:
        told.append(f"{len(grown.under_way) - _NAMED} more are on their way.")
    taken = [each.id.name for each in growth.strangers[:_NAMED]]
    if taken:
        told.append(f"Left alone, since not of this grant: {', '.join(taken)} ({Reason.IDENTITY_NAME_TAKEN}).")
    return " ".join(told)


def missing_slots(missing: int, growth: Growth, grown: GrowthPlan | None, pool: Pool) -> tuple[Reason, str]:
    """Claims wait for slots: what brings them, or what does not."""
    head = f"{missing} slot(s) are missing."
    stuck = growth.stuck
    if stuck is not None:
        return stuck.reason, f"{head} Identity {stuck.name}: {stuck.message}"
    if growth.possible(pool):
        return Reason.POOL_GROWING, f"{head} {how_it_grows(growth, grown)}".strip()
    text = (
        f"{head} The operator has made {len(growth.found)} of {growth.most} identities: raise "
        "spec.provisioning.maxIdentities, or add an identity to spec.identities (20 slots each)."
    )
    return Reason.POOL_EXHAUSTED, text


def headroom(growth: Growth | None, grown: GrowthPlan | None) -> str:
    """That there is room, and when there will be no more of it."""
    told = CATALOGUE[Reason.CAPACITY_AVAILABLE].tenant
    if growth is None or grown is None or not grown.lacking:
        return told
    return (
        f"{told} {grown.lacking} fewer than spec.provisioning.headroom, and maxIdentities ({growth.most}) is reached."
    )
