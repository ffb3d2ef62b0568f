"""Pure: what the reviewers have said about a claim.

A word counts only while all it is bound to is still true: namespace UID, subject, grant and vault. Denied wins over
Approved; the approver must not be the requester, whom every claim names that the operator did not make itself.
"""

from collections.abc import Collection
from typing import NamedTuple

from keystead.model.conditions import ConditionDraft, ConditionType, Status, draft
from keystead.model.ids import NamespaceUid
from keystead.model.reasons import Reason
from keystead.model.records import Approval, ApprovalMode, Claim, Decision, Grant


class Review(NamedTuple):
    """Whether a claim may go on, the word it rests on, and what to say."""

    passed: bool
    denied: bool
    approval_name: str
    condition: ConditionDraft


_NOT_REQUIRED = Review(True, False, "", draft(ConditionType.APPROVED, Status.TRUE, Reason.APPROVAL_NOT_REQUIRED))


def review(grant: Grant, claim: Claim, subject: str, uid: NamespaceUid, approvals: Collection[Approval]) -> Review:
    """The decision on one claim."""
    if not approvals and grant.approval is ApprovalMode.AUTOMATIC:
        return _NOT_REQUIRED
    bound = sorted(
        (
            each
            for each in approvals
            if not each.deleting
            and (each.grant_name, each.namespace, each.namespace_uid) == (grant.name, claim.namespace, uid)
            and each.subject == subject
            and each.vault_url.rstrip("/").lower() == grant.vault_url.rstrip("/").lower()
        ),
        key=lambda each: each.name,
    )
    denial = next((each for each in bound if each.decision is Decision.DENIED), None)
    if denial is not None:
        text = f"{denial.by} said no{': ' + denial.message if denial.message else ''}. Talk to them."
        return _no(Reason.DENIED, text, denied=True)
    if grant.approval is ApprovalMode.AUTOMATIC:
        return _NOT_REQUIRED
    if not claim.automatic and not claim.requested_by:
        text = (
            f"spec.requestedBy: nobody is named, so nobody can say that the approver is somebody else. Delete claim "
            f"{claim.key} and make it again with your own name (`kubectl auth whoami`)."
        )
        return _no(Reason.REQUESTER_UNKNOWN, text)
    # A word without a name could be the requester's own; it counts for nobody.
    word = next((each for each in bound if each.by and each.by != claim.requested_by), None)
    if word is not None:
        text = f"{word.by} agreed{': ' + word.message if word.message else ''}."
        return Review(True, False, word.name, draft(ConditionType.APPROVED, Status.TRUE, Reason.APPROVED, text))
    if any(each.by for each in bound):
        return _no(
            Reason.APPROVER_IS_REQUESTER,
            f"{claim.requested_by} asked for it and cannot approve it; somebody else has to.",
        )
    text = f"Waits for a reviewer: `keystead approve {claim.key}` or `keystead deny {claim.key}`."
    return _no(Reason.AWAITING_REVIEW, text)


def _no(reason: Reason, text: str, *, denied: bool = False) -> Review:
    return Review(False, denied, "", draft(ConditionType.APPROVED, Status.FALSE, reason, text))
