"""Pure: the way of an admitted claim from nothing to a working store.

Ledger, credential, account, proof, annotation, store, nudges: in this order, each left out once it is true. Where the
credential goes is decided in ``placement``; what people are told about it in ``verdicts``.
"""

import datetime
from typing import NamedTuple

from keystead.model.conditions import ConditionType, find
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY, IdentityState
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Claim, Federation, ServiceAccount, Store
from keystead.plan.admission import Admission
from keystead.plan.adoption import Adoptions, command, taken_text
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
from keystead.plan.stores import HINTS, Claimant, Standing, Wanted, dress, hint, judge_account, judge_store, taken_store
from keystead.plan.validation import Validated
from keystead.plan.verification import Proof, Proofs

TOKEN_ROLE_MARK = "keystead.dev/token-role"  # noqa: S105 - the name of an annotation
"""Annotation of a store: External Secrets Operator has been given a Role for this account."""


class Progress(NamedTuple):
    """How far a claim is, what remains, and what stops it. A tuple, since one is made for each of ten thousand claims."""

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
    hint: tuple[Reason, str] | None = None
    """Something to know about a store that works."""
    wake: datetime.datetime | None = None
    obsolete: tuple[str, ...] = ()
    """Names of Federations that this claim needs no more."""


def standing(snapshot: Snapshot, holdings: Holdings, proofs: Proofs, federation: Federation) -> Progress:
    """How far a claim is whose way nobody plans on (frozen, held back): it keeps what it has."""
    federated, verified = _stands(snapshot, holdings, proofs.of(federation), federation)
    return Progress(federation=federation, federated=federated, verified=verified)


def _stands(snapshot: Snapshot, holdings: Holdings, proof: Proof, federation: Federation) -> tuple[bool, bool]:
    """Whether Azure has the credential, and whether it is proven."""
    held, state = holdings.of(federation), snapshot.identities.get(federation.identity)
    if state is not None and state.problem is Reason.IDENTITY_NOT_FOUND:
        return False, False
    federated = held is Holding.PRESENT or (held is Holding.UNKNOWN and proof.federated_since is not None)
    return federated, federated and proof.verified_at is not None


class _Finish(NamedTuple):
    """How account and store stand."""

    annotated: bool = False
    store: Reason | None = None
    conflict: Reason | None = None
    message: str = ""
    hint: tuple[Reason, str] | None = None


class Granting:
    """Advances claims that have a place, or are just given one."""

    def __init__(
        self,
        snapshot: Snapshot,
        valid: Validated,
        holdings: Holdings,
        proofs: Proofs,
        adoptions: Adoptions,
        withheld: frozenset[IdentityId] = frozenset(),
    ) -> None:
        self._snapshot = snapshot
        self._withheld = withheld
        self._valid = valid
        self._vault = str(valid.vault)
        self._holdings = holdings
        self._proofs = proofs
        self._adoptions = adoptions
        self._stores: dict[str, Wanted] = {}

    def onward(self, admission: Admission, federation: Federation, *, new: bool = False) -> Progress:
        """The rest of the way on this identity."""
        snapshot, key = self._snapshot, admission.claim.key
        proof = self._proofs.of(federation)
        federated, verified = _stands(snapshot, self._holdings, proof, federation)
        state = snapshot.identities.get(federation.identity) or IdentityState(federation.identity)
        if not federated:
            stop = self._stop(federation, state)
            if stop is not None:
                return Progress(federation=federation, waiting=stop[0], message=stop[1])
        steps: list[Step] = [RecordFederation(key, federation)] if new else []
        if not federated:
            steps.append(_write(key, federation))
        if not verified or proof.due <= snapshot.now:
            steps += self._prove(admission, federation, state, proof.due)
        elif (federation.namespace, federation.service_account_name) not in snapshot.service_accounts:
            steps.append(_ensure(admission, federation))
        finish = self._finish(admission, federation, state, steps, verified=verified) if state.client_id else _Finish()
        failure = self._failure(steps, key) if steps else None
        return Progress(
            steps=resume(steps, failure, snapshot.now) if steps else (),
            federation=federation,
            conflict=finish.conflict,
            conflict_message=finish.message,
            failure=failure,
            federated=federated,
            verified=verified,
            annotated=finish.annotated,
            store=finish.store,
            hint=finish.hint,
            wake=proof.due if federated else None,
        )

    def _failure(self, steps: list[Step], unit: str) -> Failure | None:
        """What stopped a step that still remains."""
        failure = self._snapshot.failures.get(unit)
        return failure if failure is not None and any(type(step).__name__ == failure.step for step in steps) else None

    def _stop(self, federation: Federation, state: IdentityState) -> tuple[Reason, str] | None:
        """Why the credential cannot be written now."""
        identity, credential = federation.identity.name, federation.credential
        if state.problem is not None and not usable(state):
            return state.problem, f"Identity {identity}: {CATALOGUE[state.problem].tenant}"
        if federation.identity in self._withheld:
            return Reason.POOL_GROWING, f"Identity {identity} has to be proven anew before anything is written there."
        match self._holdings.of(federation):
            case Holding.UNKNOWN:
                return Reason.AWAITING_LIST, CATALOGUE[Reason.AWAITING_LIST].tenant
            case Holding.DIFFERENT:
                text = (
                    f"A credential named {credential.name} exists on identity {identity} with another issuer, subject "
                    "or audience. Delete it in Azure."
                )
                return Reason.TUPLE_TAKEN, text
            case Holding.ABSENT if state.full or len(state.credentials) >= CREDENTIALS_PER_IDENTITY:
                # It moves (plan.causes), but not before what is under way there has ended.
                return Reason.IDENTITY_FULL, CATALOGUE[Reason.IDENTITY_FULL].tenant
            case _:
                finding = self._adoptions.of(credential.subject, federation.identity)
                if finding is None:
                    return None
                name = self._valid.grant.name
                return Reason.TUPLE_TAKEN, taken_text(name, federation.namespace, credential.subject, finding)

    def _prove(
        self, admission: Admission, federation: Federation, state: IdentityState, due: datetime.datetime
    ) -> list[Step]:
        claim, account = admission.claim, federation.service_account_name
        steps: list[Step] = []
        if (federation.namespace, account) not in self._snapshot.service_accounts:
            steps.append(_ensure(admission, federation))
        if state.client_id:
            place = (federation.namespace, account, self._vault)
            steps.append(
                Verify(claim.key, federation.name, state.tenant_id, state.client_id, *place, due, federation.credential)
            )
        return steps

    def _finish(
        self,
        admission: Admission,
        federation: Federation,
        state: IdentityState,
        steps: list[Step],
        *,
        verified: bool,
    ) -> _Finish:
        """Annotation, store and nudges, as far as they are missing, onto *steps*."""
        snapshot = self._snapshot
        place = (federation.namespace, federation.service_account_name)
        found: ServiceAccount | None = snapshot.service_accounts.get(place)
        existing: Store | None = snapshot.stores.get((federation.namespace, admission.store))
        claimant = Claimant(command(self._valid.grant.name, place[0]), self._adoptions.word.covers(*place))
        account = judge_account(found, state.client_id, state.tenant_id, claimant)
        wanted = self._wanted(place[1])
        holder = admission.store_holder
        store = taken_store(admission.store, holder) if holder else judge_store(existing, wanted, claimant)
        annotated = not account.apply and account.conflict is None
        conflict = account if account.conflict is not None else store
        if conflict.conflict is not None:
            return _Finish(annotated, None, conflict.conflict, conflict.message)
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
                    force=account.force,
                )
            )
        if store.apply:
            steps.append(self._apply(admission, federation, store, dress(existing, wanted)))
        touched = account.apply or store.apply
        says = None if touched or not verified else _engine_says(existing)
        if touched or says is not None:
            steps += self._nudges(admission, existing, touched=account.apply, applied=store.apply, says=says)
        known = hint(existing, snapshot.sharing.get(place, ())) if says is Reason.STORE_READY else None
        return _Finish(annotated, says, hint=known)

    def _wanted(self, account: str) -> Wanted:
        """What the store should say, by the grant's template; the same for all whose account is of this name."""
        known = self._stores.get(account)
        if known is not None:
            return known
        template = self._valid.grant.template
        # So that a template that begins to ask for the role reaches stores that stand already, and their accounts.
        marks = {TOKEN_ROLE_MARK: account} if template.token_role else {}
        wanted = self._stores[account] = Wanted(
            self._vault,
            account,
            template.store_controller,
            template.store_refresh_interval,
            template.labels,
            {**template.annotations, **marks} if marks else template.annotations,
        )
        return wanted

    def _apply(self, admission: Admission, federation: Federation, store: Standing, wanted: Wanted) -> ApplyStore:
        claim = admission.claim
        return ApplyStore(
            claim.key,
            federation.namespace,
            admission.store,
            self._vault,
            federation.service_account_name,
            wanted.controller,
            wanted.refresh_interval,
            tuple(sorted(wanted.labels.items())),
            tuple(sorted(wanted.annotations.items())),
            claim.name,
            claim.uid,
            own=store.own,
            force=store.force,
            drop=store.drop,
            token_role=self._valid.grant.template.token_role,
        )

    def _nudges(
        self, admission: Admission, existing: Store | None, *, touched: bool, applied: bool, says: Reason | None
    ) -> list[Step]:
        """Once each: what the claim already says about its store tells whether that was done."""
        claim = admission.claim
        if says is not None and self._is_told(claim, says):
            return []
        place = (claim.key, claim.namespace, admission.store)
        if touched or applied:
            nudged: list[Step] = [NudgeStore(*place)] if existing is not None and not applied else []
            return [*nudged, NudgeExternalSecrets(*place)]
        if says is Reason.STORE_NOT_READY:
            # With a controller of its own the store is not External Secrets Operator's.
            suspect = "" if self._valid.grant.template.store_controller else admission.service_account
            return [NudgeStore(*place, suspect)]
        # ExternalSecrets that failed before the store worked wait minutes by their own back-off.
        if says is Reason.STORE_READY:
            return [NudgeExternalSecrets(*place)]
        return []

    def _is_told(self, claim: Claim, says: Reason) -> bool:
        """Whether the claim says of its store what there is to say, and nothing about it went wrong."""
        carried = find(claim.conditions, ConditionType.STORE_READY)
        if carried is None:
            return False
        if says is Reason.STORE_NOT_READY:
            failure = self._snapshot.failures.get(claim.key)
            return carried.reason == says and (failure is None or failure.step != NudgeStore.__name__)
        return carried.reason == says or (carried.reason in HINTS and says is Reason.STORE_READY)


def _write(unit: str, federation: Federation) -> WriteCredential:
    if federation.adopted:
        raise ValueError("what others named is theirs to write")
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
