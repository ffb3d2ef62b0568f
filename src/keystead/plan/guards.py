"""Pure: whether the admission guards hold people to their roles, as far as one grant depends on them.

- Who asks and who decides matters where a review is required.
- Who may label a namespace, or put it into a Rancher project, matters where either lets a namespace in. Exact names are
  the grant's own, and whoever reviewed the grant has reviewed them.
"""

from keystead.model.conditions import ConditionDraft, ConditionType, Status, draft
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import ApprovalMode, Grant
from keystead.plan.snapshot import Snapshot

_UNKNOWN = "whether the admission policies are installed is not known yet"


def lacking(grant: Grant, snapshot: Snapshot) -> str:
    """What this grant's four eyes lack; empty when they are enforced."""
    needed = []
    if grant.approval is ApprovalMode.REQUIRED:
        needed.append(snapshot.guards.decisions)
    if grant.namespaces.selector is not None or grant.namespaces.rancher_projects:
        needed.append(snapshot.guards.entries)
    if needed and not snapshot.guards.known:
        return _UNKNOWN
    return "; ".join(each for each in needed if each)


def closed(grant: Grant, snapshot: Snapshot) -> bool:
    """Nothing new is granted for want of guards."""
    return snapshot.limits.require_guards and bool(lacking(grant, snapshot))


def four_eyes(grant: Grant, snapshot: Snapshot) -> ConditionDraft:
    """The condition on the grant."""
    missing = lacking(grant, snapshot)
    if not missing:
        return draft(ConditionType.FOUR_EYES_ENFORCED, Status.TRUE, Reason.GUARDS_IN_FORCE)
    status = Status.UNKNOWN if missing == _UNKNOWN else Status.FALSE
    text = f"{missing}. {CATALOGUE[Reason.GUARDS_ABSENT].admin}"
    if snapshot.limits.require_guards:
        text += " Until then nothing new is granted (KEYSTEAD_REQUIRE_GUARDS)."
    return draft(ConditionType.FOUR_EYES_ENFORCED, status, Reason.GUARDS_ABSENT, text)
