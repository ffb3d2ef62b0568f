"""Pure: the way of an admitted claim from nothing to a working store.

Ledger, credential, account, proof, annotation, store, nudges: in this order, each left out once it is true. Where the
credential goes is decided in ``placement``; what people are told about it in ``verdicts``.
"""

import datetime
from typing import NamedTuple

from keystead.model.conditions import ConditionType, find
from keystead.model.credentials import IdentityState
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Federation, ServiceAccount, Store
from keystead.plan.admission import Admission
from keystead.plan.failures import resume
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.pool import usable
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
from keystead.plan.stores import Standing, judge_account, judge_store
from keystead.plan.validation import Validated
from keystead.plan.verification import Proofs


class Progress(NamedTuple):
    """How far a claim is, what remains, and what stops it. A tuple: three are made for every claim of ten thousand."""

    steps: tuple[Step, ...] = ()
    federation: Federation | None = None
    waiting: Reason | None = None
    """Why the credential cannot be written now."""
    message: str = ""
    conflict: Reason | None = None
    """The store or the account belongs to somebody who disagrees."""
    conflict_message: str = ""
    failure: Failure | None = None
    """What stopped a step that still remains."""
    federated: bool = False
    verified: bool = False
    annotated: bool = False
    store: Reason | None = None
    """How the store stands once everything is applied; ``None`` before."""
    wake: datetime.datetime | None = None
    obsolete: tuple[IdentityId, ...] = ()
    """Identities whose Federation this claim needs no more."""


def standing(snapshot: Snapshot, holdings: Holdings, proofs: Proofs, federation: Federation) -> Progress:
    """How far a claim is whose way nobody plans on (frozen, held back): it keeps what it has."""
    held, state = holdings.of(federation), snapshot.identities.get(federation.identity)
    if state is not None and state.problem is Reason.IDENTITY_NOT_FOUND:
        return Progress(federation=federation)
    proof = proofs.of(federation)
    federated = held is Holding.PRESENT or (held is Holding.UNKNOWN and proof.federated_since is not None)
    verified = federated and proof.verified_at is not None
    return Progress(federation=federation, federated=federated, verified=verified)


class Granting:
    """Advances claims that have a place, or are just given one."""

    def __init__(self, snapshot: Snapshot, valid: Validated, holdings: Holdings, proofs: Proofs) -> None:
        self._snapshot = snapshot
        self._valid = valid
        self._vault = str(valid.vault)
        self._holdings = holdings
        self._proofs = proofs

    def onward(self, admission: Admission, federation: Federation, *, new: bool = False) -> Progress:
        """The rest of the way on this identity."""
        snapshot, key = self._snapshot, admission.claim.key
        progress = standing(snapshot, self._holdings, self._proofs, federation)
        state = snapshot.identities.get(federation.identity) or IdentityState(federation.identity)
        if not progress.federated:
            stop = self._stop(federation, state)
            if stop is not None:
                return progress._replace(waiting=stop[0], message=stop[1])
        steps: list[Step] = [RecordFederation(key, federation)] if new else []
        if not progress.federated:
            steps.append(_write(key, federation))
        due = self._proofs.of(federation).due
        if not progress.verified or due <= snapshot.now:
            steps += self._prove(admission, federation, state, due)
        elif (federation.namespace, federation.service_account_name) not in snapshot.service_accounts:
            steps.append(_ensure(admission, federation))
        if not state.client_id:
            return self._remaining(progress, steps, due, key)
        return self._remaining(self._finish(admission, progress, federation, state, steps), steps, due, key)

    def _remaining(self, progress: Progress, steps: list[Step], due: datetime.datetime, unit: str) -> Progress:
        failure = self._snapshot.failures.get(unit)
        pending = failure if any(type(step).__name__ == failure.step for step in steps if failure) else None
        left = resume(steps, pending, self._snapshot.now) if steps else ()
        return progress._replace(steps=left, failure=pending, wake=due if progress.federated else None)

    def _stop(self, federation: Federation, state: IdentityState) -> tuple[Reason, str] | None:
        """Why the credential cannot be written now."""
        identity, credential = federation.identity.name, federation.credential
        if state.problem is not None and not usable(state):
            return state.problem, f"Identity {identity}: {CATALOGUE[state.problem].tenant}"
        match self._holdings.of(federation):
            case Holding.UNKNOWN:
                return Reason.AWAITING_LIST, CATALOGUE[Reason.AWAITING_LIST].tenant
            case Holding.DIFFERENT:
                text = (
                    f"A credential named {credential.name} exists on identity {identity} with another issuer, subject "
                    "or audience. Delete it in Azure."
                )
                return Reason.TUPLE_TAKEN, text
            case _:
                return taken(self._holdings, credential.subject, federation.identity)

    def _prove(
        self, admission: Admission, federation: Federation, state: IdentityState, due: datetime.datetime
    ) -> list[Step]:
        claim, account = admission.claim, federation.service_account_name
        steps: list[Step] = []
        if (federation.namespace, account) not in self._snapshot.service_accounts:
            steps.append(_ensure(admission, federation))
        if state.client_id:
            place = (federation.namespace, account, self._vault)
            steps.append(Verify(claim.key, federation.name, state.tenant_id, state.client_id, *place, due))
        return steps

    def _finish(
        self,
        admission: Admission,
        progress: Progress,
        federation: Federation,
        state: IdentityState,
        steps: list[Step],
    ) -> Progress:
        """Annotation, store and nudges, as far as they are missing, onto *steps*."""
        snapshot, grant = self._snapshot, self._valid.grant
        place = (federation.namespace, federation.service_account_name)
        found: ServiceAccount | None = snapshot.service_accounts.get(place)
        existing: Store | None = snapshot.stores.get((federation.namespace, admission.store))
        account = judge_account(found, state.client_id, state.tenant_id)
        store = judge_store(existing, self._vault, place[1], grant.template.store_controller)
        conflict = next((each for each in (account, store) if each.conflict is not None), None)
        annotated = not account.apply and account.conflict is None
        if conflict is not None:
            return progress._replace(conflict=conflict.conflict, conflict_message=conflict.message, annotated=annotated)
        claim = admission.claim
        if account.apply:
            named = (claim.name, claim.uid)
            steps.append(
                AnnotateServiceAccount(
                    claim.key,
                    *place,
                    state.client_id,
                    state.tenant_id,
                    *named,
                    own=account.own,
                    namespace_uid=federation.namespace_uid,
                    account_uid=found.uid if found is not None else "",
                )
            )
        if store.apply:
            steps.append(self._apply(admission, federation, store))
        touched = account.apply or store.apply
        says = None if touched or not progress.verified else _engine_says(existing)
        if touched or says is not None:
            steps += self._nudges(admission, existing, touched=account.apply, applied=store.apply, says=says)
        return progress._replace(annotated=annotated, store=says)

    def _apply(self, admission: Admission, federation: Federation, store: Standing) -> ApplyStore:
        claim, template = admission.claim, self._valid.grant.template
        return ApplyStore(
            claim.key,
            federation.namespace,
            admission.store,
            self._vault,
            federation.service_account_name,
            template.store_controller,
            template.store_refresh_interval,
            tuple(sorted(template.labels.items())),
            tuple(sorted(template.annotations.items())),
            claim.name,
            claim.uid,
            own=store.own,
        )

    def _nudges(
        self, admission: Admission, existing: Store | None, *, touched: bool, applied: bool, says: Reason | None
    ) -> list[Step]:
        """Once each: what the claim already says about its store tells whether that was done."""
        claim, place = admission.claim, (admission.claim.key, admission.claim.namespace, admission.store)
        if touched or applied:
            nudged: list[Step] = [NudgeStore(*place)] if existing is not None and not applied else []
            return [*nudged, NudgeExternalSecrets(*place)]
        carried = find(claim.conditions, ConditionType.STORE_READY)
        told = carried.reason if carried is not None else None
        if says is Reason.STORE_NOT_READY and told != says:
            return [NudgeStore(*place)]
        # ExternalSecrets that failed before the store worked wait minutes by their own back-off.
        if says is Reason.STORE_READY and told != says:
            return [NudgeExternalSecrets(*place)]
        return []


def taken(holdings: Holdings, subject: str, identity: IdentityId | None = None) -> tuple[Reason, str] | None:
    """Somebody else's credential for this very account: theirs to adopt or to delete."""
    for holder, held in holdings.unledgered(subject):
        if identity is None or holder == identity:
            text = (
                f"Credential {held.name} on identity {holder.name} already trusts {subject}. "
                "Delete it in Azure, or let it be adopted."
            )
            return Reason.TUPLE_TAKEN, text
    return None


def _write(unit: str, federation: Federation) -> WriteCredential:
    return WriteCredential(
        unit,
        federation.name,
        federation.identity,
        federation.credential,
        federation.namespace,
        federation.namespace_uid,
    )


def _ensure(admission: Admission, federation: Federation) -> EnsureServiceAccount:
    claim = admission.claim
    return EnsureServiceAccount(claim.key, federation.namespace, federation.service_account_name, claim.name, claim.uid)


def _engine_says(store: Store | None) -> Reason:
    """What ESO (or our engine) reports of the store; before it reports, that it is applied."""
    if store is None or store.ready is None:
        return Reason.STORE_APPLIED
    return Reason.STORE_READY if store.ready else Reason.STORE_NOT_READY
