"""Pure: may this claim have what it asks for? All that can be said before Azure is looked at."""

from collections import defaultdict
from dataclasses import dataclass

from keystead.model.ids import service_account_subject
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Claim, Grant, Namespace
from keystead.plan import policy
from keystead.plan.approvals import Review, review
from keystead.plan.snapshot import Snapshot
from keystead.plan.validation import Validated


@dataclass(frozen=True, slots=True)
class Admission:
    """The judgement on one claim."""

    claim: Claim
    namespace: Namespace | None
    service_account: str
    store: str
    subject: str
    allowed: bool
    reason: Reason
    message: str
    review: Review | None = None

    @property
    def passed(self) -> bool:
        """Allowed by policy and by the reviewers."""
        return self.allowed and self.review is not None and self.review.passed


class Admissions:
    """Judges the claims of one grant; holds the indexes that judging needs."""

    def __init__(self, snapshot: Snapshot, grant: Grant | None, valid: Validated | None) -> None:
        self._snapshot = snapshot
        self._grant = grant
        self._valid = valid
        self._rank: dict[str, int] = {}
        self._first: dict[tuple[str, str], str] = {}
        ours: dict[str, list[Claim]] = defaultdict(list)
        for claim in snapshot.claims:
            ours[claim.namespace].append(claim)
        for namespace, claims in ours.items():
            everyone = [*claims, *snapshot.other_claims.get(namespace, ())]
            # Who came first counts; a claim that is served already never loses its place to a newcomer.
            ordered = sorted(
                everyone,
                key=lambda each: (not each.federation_name, each.created_at is None, each.created_at, each.key),
            )
            for rank, claim in enumerate(each for each in ordered if not each.deleting):
                self._rank[claim.uid] = rank
                self._first.setdefault((namespace, self._account(claim)), claim.uid)

    def _account(self, claim: Claim) -> str:
        default = self._grant.template.service_account_name if self._grant is not None else ""
        return claim.service_account_name or default

    def judge(self, claim: Claim) -> Admission:
        """Policy first, then names and numbers, then the reviewers."""
        grant, namespace = self._grant, self._snapshot.namespaces.get(claim.namespace)
        account = self._account(claim)
        store = claim.secret_store_name or (grant.template.secret_store_name if grant is not None else "")
        subject = service_account_subject(claim.namespace, account)
        reason, message = self._refusal(claim, namespace, account)
        word = None
        if grant is not None and namespace is not None:
            word = review(grant, claim, subject, namespace.uid, self._snapshot.approvals)
        return Admission(
            claim, namespace, account, store, subject, reason is None, reason or Reason.ACCEPTED, message, word
        )

    def _refusal(self, claim: Claim, namespace: Namespace | None, account: str) -> tuple[Reason | None, str]:
        grant = self._grant
        if grant is None:
            return Reason.GRANT_DELETED, CATALOGUE[Reason.GRANT_DELETED].tenant
        if namespace is None or namespace.terminating:
            return Reason.NAMESPACE_DELETED, CATALOGUE[Reason.NAMESPACE_DELETED].tenant
        if claim.deleting:
            return Reason.CLAIM_DELETED, CATALOGUE[Reason.CLAIM_DELETED].tenant
        allowed = policy.judge(grant.namespaces, namespace)
        if self._valid is not None and not allowed.allowed:
            return allowed.reason, allowed.message
        if account not in self._snapshot.limits.service_account_names:
            names = ", ".join(sorted(self._snapshot.limits.service_account_names))
            text = f"spec.serviceAccountName: {account!r} is not one of the allowed names: {names}."
            return Reason.SERVICE_ACCOUNT_NAME_NOT_ALLOWED, text
        if self._first.get((claim.namespace, account)) != claim.uid:
            text = f"Another claim in this namespace serves ServiceAccount {account} already; use another name or delete it."
            return Reason.SUBJECT_TAKEN, text
        if self._rank.get(claim.uid, 0) >= grant.max_claims_per_namespace:
            text = f"The grant allows {grant.max_claims_per_namespace} claim(s) in a namespace; delete one."
            return Reason.TOO_MANY_CLAIMS, text
        return None, allowed.message
