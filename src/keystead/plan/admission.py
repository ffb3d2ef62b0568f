"""Pure: may this claim have what it asks for? All that can be said before Azure is looked at.

- Policy first, then names and numbers, then the reviewers.
- What is served already keeps its place; among the others, who came first.
- Of several claims for one store who came first has it: two accounts would be written into it in turn, for ever.
- Defaults are bound with the first ledger entry: a later edit of the template's account moves nobody.
"""

import datetime
from collections import defaultdict
from typing import NamedTuple

from keystead.model.ids import NamespaceUid, service_account_subject
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Approval, Claim, Grant, Namespace
from keystead.plan import policy
from keystead.plan.approvals import Review, review
from keystead.plan.snapshot import Snapshot
from keystead.plan.validation import Validated

_NEVER = datetime.datetime.max.replace(tzinfo=datetime.UTC)


class Admission(NamedTuple):
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
    store_holder: str = ""
    """The claim that has the store already, under another account; empty: nobody."""

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
        self._bound: dict[tuple[str, str], str] = {}
        for entry in (*snapshot.other_federations, *snapshot.federations):
            if not entry.deleting:
                self._bound[entry.grant_name, entry.claim_key] = entry.service_account_name
        self._templates = {each.name: each.template for each in (*snapshot.other_grants, *([grant] if grant else ()))}
        self._approvals: dict[tuple[str, NamespaceUid], list[Approval]] = defaultdict(list)
        for word in snapshot.approvals:
            self._approvals[word.namespace, word.namespace_uid].append(word)
        self._rank: dict[str, int] = {}
        self._first: dict[tuple[str, str], Claim] = {}
        self._stores: dict[tuple[str, str], Claim] = {}
        self._line_up()

    def _line_up(self) -> None:
        ours: dict[str, list[Claim]] = defaultdict(list)
        for claim in self._snapshot.claims:
            ours[claim.namespace].append(claim)
        for namespace, claims in ours.items():
            if len(claims) == 1 and namespace not in self._snapshot.other_claims:
                continue  # alone, as nearly all are
            everyone = sorted((*claims, *self._snapshot.other_claims.get(namespace, ())), key=self._precedence)
            rank = 0
            for claim in everyone:
                account = self._account(claim)
                if claim.deleting or account not in self._snapshot.limits.service_account_names:
                    continue
                first = self._first.setdefault((namespace, account), claim)
                if first is claim:
                    self._stores.setdefault((namespace, self._store(claim)), claim)
                if claim.grant_name == self._snapshot.grant_name:
                    self._rank[claim.uid] = rank
                    rank += 1

    def _precedence(self, claim: Claim) -> tuple[bool, datetime.datetime, str, str]:
        served = (claim.grant_name, claim.key) in self._bound
        return (not served, claim.created_at or _NEVER, claim.key, claim.uid)

    def _account(self, claim: Claim) -> str:
        bound = self._bound.get((claim.grant_name, claim.key), "")
        template = self._templates.get(claim.grant_name)
        return claim.service_account_name or bound or (template.service_account_name if template else "")

    def _store(self, claim: Claim) -> str:
        template = self._templates.get(claim.grant_name)
        return claim.secret_store_name or (template.secret_store_name if template else "")

    def judge(self, claim: Claim) -> Admission:
        """Policy first, then names and numbers, then the reviewers."""
        grant, namespace = self._grant, self._snapshot.namespaces.get(claim.namespace)
        account = self._account(claim)
        store = self._store(claim)
        holder = self._stores.get((claim.namespace, store), claim)
        subject = service_account_subject(claim.namespace, account)
        reason, message = self._refusal(claim, namespace, account)
        word = None
        if grant is not None and namespace is not None:
            words = self._approvals.get((claim.namespace, namespace.uid), ())
            word = review(grant, claim, subject, namespace.uid, words)
        held = holder.name if holder.uid != claim.uid else ""
        return Admission(
            claim, namespace, account, store, subject, reason is None, reason or Reason.ACCEPTED, message, word, held
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
        first = self._first.get((claim.namespace, account), claim)
        if first.uid != claim.uid:
            text = (
                f"VaultClaim {first.name} (grant {first.grant_name}) serves ServiceAccount {account} already; "
                "use another name, or delete that claim."
            )
            return Reason.SUBJECT_TAKEN, text
        if self._rank.get(claim.uid, 0) >= grant.max_claims_per_namespace:
            text = f"The grant allows {grant.max_claims_per_namespace} claim(s) in a namespace; delete one."
            return Reason.TOO_MANY_CLAIMS, text
        return None, allowed.message
