"""Pure: when trust has to go, and in which order.

With the namespace alive: annotation, credential, ledger entry. With the namespace going: External Secrets Operator's own
finalizers get a bounded time first. With the namespace gone: at once. The ledger entry stays until the identity's list
shows that the credential is gone.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from keystead.model.reasons import Reason
from keystead.model.records import Federation, Grant, Namespace, Revocation
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import BeginRevocation, DeleteCredential, ForgetFederation, Step, WithdrawAnnotation

ALWAYS = frozenset(
    {
        Reason.NAMESPACE_DELETED,
        Reason.NAMESPACE_RECREATED,
        Reason.CLAIM_DELETED,
        Reason.CLAIM_CHANGED,
        Reason.DENIED,
        Reason.APPROVAL_WITHDRAWN,
        Reason.GRANT_DELETED,
        Reason.FEDERATION_DELETED,
    }
)
"""Causes that no edit of the grant makes: neither a frozen grant nor the mass brake holds them."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What remains to be done for one ledger entry that has to go."""

    steps: tuple[Step, ...]
    state: Reason
    wake: datetime.datetime | None = None


def namespace_cause(federation: Federation, namespace: Namespace | None) -> Reason | None:
    """Why the namespace alone ends the trust."""
    if namespace is None:
        return Reason.NAMESPACE_DELETED
    if namespace.uid != federation.namespace_uid:
        return Reason.NAMESPACE_RECREATED
    return Reason.NAMESPACE_DELETED if namespace.terminating else None


def remove(snapshot: Snapshot, federation: Federation, cause: Reason, grant: Grant | None) -> Removal:
    """The rest of the way from trust to nothing."""
    steps: list[Step] = []
    if not federation.deleting:
        steps.append(BeginRevocation(federation.name, federation.name, federation.uid, cause))
    namespace = snapshot.namespaces.get(federation.namespace)
    here = namespace is not None and namespace.uid == federation.namespace_uid
    if here and namespace is not None and namespace.terminating:
        until = (namespace.terminating_since or snapshot.now) + snapshot.limits.finalizer_wait
        if snapshot.waiting_finalizers.get(namespace.name, 0) and snapshot.now < until:
            return Removal(tuple(steps), Reason.AWAITING_FINALIZERS, until)
    elif here:
        steps.extend(_withdraw(snapshot, federation))
    steps.extend(_clean(snapshot, federation, retain=grant is not None and grant.revocation is Revocation.RETAIN))
    return Removal(tuple(steps), Reason.REVOKING)


def _withdraw(snapshot: Snapshot, federation: Federation) -> Iterator[Step]:
    state = snapshot.identities.get(federation.identity)
    account = snapshot.service_accounts.get((federation.namespace, federation.service_account_name))
    # After a move to another identity the annotation names the new one, and is not this entry's to take.
    if account is not None and account.client_id and (state is None or account.client_id == state.client_id):
        yield WithdrawAnnotation(federation.name, federation.namespace, federation.service_account_name)


def _clean(snapshot: Snapshot, federation: Federation, *, retain: bool) -> Iterator[Step]:
    forget = ForgetFederation(federation.name, federation.name, federation.uid)
    state = snapshot.identities.get(federation.identity)
    if retain or (state is not None and state.problem is Reason.IDENTITY_NOT_FOUND):
        yield forget
        return
    if state is None or not state.known or federation.credential.name in snapshot.in_flight:
        return  # nobody knows yet what Azure holds; the next list or the lane's answer wakes us
    held = state.named(federation.credential.name)
    if held is not None and held.trust == federation.credential.trust:
        failure = snapshot.failures.get(federation.name)
        yield DeleteCredential(
            federation.name,
            federation.name,
            federation.identity,
            federation.credential,
            failure.retry_at if failure is not None else None,
        )
    yield forget
