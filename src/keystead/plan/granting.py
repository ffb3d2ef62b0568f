"""Pure: the way of an admitted claim from nothing to a working store.

ledger, credential, account, proof, annotation, store, nudges: in this order, each left out once it is true.
"""

import datetime
from dataclasses import dataclass, field, replace

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential, IdentityState
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Federation
from keystead.plan import verification
from keystead.plan.admission import Admission
from keystead.plan.naming import credential_name
from keystead.plan.pool import Pool, survey
from keystead.plan.snapshot import Failure, Snapshot
from keystead.plan.steps import (
    AnnotateServiceAccount,
    ApplyStore,
    EnsureServiceAccount,
    NudgeExternalSecrets,
    NudgeStore,
    RecordFederation,
    Step,
    Verify,
    WriteCredential,
)
from keystead.plan.stores import judge_account, judge_store
from keystead.plan.validation import Validated


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a claim is, what remains, and what stops it."""

    steps: tuple[Step, ...] = ()
    federation: Federation | None = None
    state: IdentityState | None = None
    waiting: Reason | None = None
    """Why no Federation could be recorded."""
    message: str = ""
    conflict: Reason | None = None
    """The store or the account belongs to somebody who disagrees."""
    conflict_message: str = ""
    federated: bool = False
    verified: bool = False
    store_applied: bool = False
    wake: datetime.datetime | None = None
    obsolete: tuple[IdentityId, ...] = ()
    """Identities outside the pool whose Federation this claim needs no more."""


@dataclass
class Grants:
    """Advances the claims of one grant, sharing the pool's room among them."""

    snapshot: Snapshot
    valid: Validated
    subjects_leaving: set[str]
    pool: Pool = field(init=False)

    def __post_init__(self) -> None:
        self.pool = survey(self.valid.pool, self.snapshot)
        self._members = {member.identity for member in self.valid.pool}
        # A subject is written nowhere while a ledger entry of another namespace UID for it stands.
        for each in self.snapshot.other_federations:
            namespace = self.snapshot.namespaces.get(each.namespace)
            if each.deleting or namespace is None or namespace.uid != each.namespace_uid:
                self.subjects_leaving = self.subjects_leaving | {each.credential.subject}

    def advance(self, admission: Admission, live: tuple[Federation, ...]) -> Progress:
        """The rest of the way of one admitted claim."""
        inside = [each for each in live if each.identity in self._members]
        outside = [each for each in live if each.identity not in self._members]
        if inside:
            progress = self._onward(admission, inside[0])
            done = progress.verified and not any(isinstance(step, AnnotateServiceAccount) for step in progress.steps)
            return replace(progress, obsolete=tuple(each.identity for each in outside)) if done else progress
        if admission.subject in self.subjects_leaving:
            return Progress(waiting=Reason.AWAITING_REVOCATION, message=CATALOGUE[Reason.AWAITING_REVOCATION].tenant)
        return self._place(admission)

    def _place(self, admission: Admission) -> Progress:
        taken = self._taken(admission.subject)
        if taken is not None:
            return taken
        identity = self.pool.place()
        if identity is None:
            if self.pool.unread:
                return Progress(waiting=Reason.AWAITING_LIST, message=CATALOGUE[Reason.AWAITING_LIST].tenant)
            return Progress(waiting=Reason.POOL_EXHAUSTED, message=CATALOGUE[Reason.POOL_EXHAUSTED].tenant)
        federation = self._record(admission, identity)
        return self._onward(admission, federation, new=True)

    def _taken(self, subject: str) -> Progress | None:
        """Somebody else's credential for this very account: theirs to adopt or to delete."""
        trust = (self.snapshot.cluster.issuer, subject)
        ledger = {
            each.credential.name.lower() for each in (*self.snapshot.federations, *self.snapshot.other_federations)
        }
        for identity, state in self.pool.states.items():
            holder = state.holder_of(trust)
            if holder is not None and holder.name.lower() not in ledger:
                text = (
                    f"credential {holder.name} on identity {identity.name} already trusts {subject}. "
                    "Delete it in Azure, or let it be adopted."
                )
                return Progress(waiting=Reason.TUPLE_TAKEN, message=text)
        return None

    def _record(self, admission: Admission, identity: IdentityId) -> Federation:
        namespace, grant = admission.namespace, self.valid.grant
        if namespace is None:
            raise ValueError("an admitted claim has a namespace")
        name = credential_name(
            self.snapshot.cluster, namespace.uid, namespace.name, admission.service_account, identity
        )
        credential = Credential(name, self.snapshot.cluster.issuer, admission.subject, EXCHANGE_AUDIENCE)
        return Federation(
            name=name,
            uid="",
            grant_name=grant.name,
            namespace=namespace.name,
            namespace_uid=namespace.uid,
            claim_name=admission.claim.name,
            service_account_name=admission.service_account,
            identity=identity,
            credential=credential,
            requested_by=admission.claim.requested_by,
            approval_name=admission.review.approval_name if admission.review is not None else "",
        )

    def _onward(self, admission: Admission, federation: Federation, *, new: bool = False) -> Progress:
        snapshot, key = self.snapshot, admission.claim.key
        state = self.pool.states[federation.identity]
        failure = snapshot.failures.get(key)
        held = state.named(federation.credential.name)
        foreign = held is not None and held.trust != federation.credential.trust
        federated = held is not None and not foreign
        if foreign:
            text = f"a credential named {federation.credential.name} exists with another issuer or subject; delete it in Azure."
            return Progress(federation=federation, state=state, waiting=Reason.TUPLE_TAKEN, message=text)
        steps: list[Step] = [RecordFederation(key, federation)] if new else []
        if not federated and (state.known or not new):
            retry = failure.retry_at if failure is not None and failure.step == WriteCredential.__name__ else None
            steps.append(
                WriteCredential(
                    key,
                    federation.name,
                    federation.identity,
                    federation.credential,
                    federation.namespace,
                    federation.namespace_uid,
                    retry,
                )
            )
        verified = federated and verification.verified_at(snapshot, federation) is not None
        due = verification.due(snapshot, federation) if federated else None
        steps += self._prove(admission, federation, state, verified=verified, due=due)
        conflict, text, finish = self._finish(admission, federation, state)
        steps += finish
        return Progress(
            steps=() if _blocked(failure, snapshot) else tuple(steps),
            federation=federation,
            state=state,
            conflict=conflict,
            conflict_message=text,
            federated=federated,
            verified=verified,
            store_applied=verified and not finish and conflict is None,
            wake=due,
        )

    def _prove(
        self,
        admission: Admission,
        federation: Federation,
        state: IdentityState,
        *,
        verified: bool,
        due: datetime.datetime | None,
    ) -> list[Step]:
        claim, now = admission.claim, self.snapshot.now
        # While federated is not recorded yet, the wait starts now; the next pass sees it recorded.
        start = due if due is not None else now + self.snapshot.limits.propagation_wait
        if verified and start > now:
            return []
        steps: list[Step] = []
        if (federation.namespace, federation.service_account_name) not in self.snapshot.service_accounts:
            steps.append(
                EnsureServiceAccount(
                    claim.key, federation.namespace, federation.service_account_name, claim.name, claim.uid
                )
            )
        if not state.client_id:
            return steps
        steps.append(
            Verify(
                claim.key,
                federation.name,
                state.tenant_id,
                state.client_id,
                federation.namespace,
                federation.service_account_name,
                str(self.valid.vault),
                start,
            )
        )
        return steps

    def _finish(
        self, admission: Admission, federation: Federation, state: IdentityState
    ) -> tuple[Reason | None, str, list[Step]]:
        """Annotation, store and nudges, as far as they are missing."""
        claim, template = admission.claim, self.valid.grant.template
        place = (federation.namespace, federation.service_account_name)
        account = judge_account(self.snapshot.service_accounts.get(place), state.client_id, state.tenant_id)
        existing = self.snapshot.stores.get((federation.namespace, admission.store))
        store = judge_store(existing, self.valid.vault, federation.service_account_name, template.store_controller)
        conflict = next((each for each in (account, store) if each.conflict is not None), None)
        if conflict is not None:
            return conflict.conflict, conflict.message, []
        steps: list[Step] = []
        if account.apply:
            steps.append(
                AnnotateServiceAccount(
                    claim.key, *place, state.client_id, state.tenant_id, claim.name, claim.uid, own=account.own
                )
            )
        if store.apply:
            steps.append(
                ApplyStore(
                    claim.key,
                    federation.namespace,
                    admission.store,
                    str(self.valid.vault),
                    federation.service_account_name,
                    template.store_controller,
                    template.store_refresh_interval,
                    tuple(sorted(template.labels.items())),
                    tuple(sorted(template.annotations.items())),
                    claim.name,
                    claim.uid,
                    own=store.own,
                )
            )
        elif account.apply:
            steps.append(NudgeStore(claim.key, federation.namespace, admission.store))
        if steps:
            steps.append(NudgeExternalSecrets(claim.key, federation.namespace, admission.store))
        return None, "", steps


def _blocked(failure: Failure | None, snapshot: Snapshot) -> bool:
    """A Kubernetes step failed and its time has not come; lane steps carry their own time."""
    if failure is None or failure.step == WriteCredential.__name__:
        return False
    return failure.retry_at is None or failure.retry_at > snapshot.now
