"""Pure: when trust has to go, and in which order.

- With the namespace alive: annotation, credential, ledger entry.
- With the namespace going: External Secrets Operator's own finalizers get a bounded time first; then the credential.
- With the namespace gone, or another one in its place: at once.
- The ledger entry stays until the identity's list shows that the credential is gone, or the identity itself is.
- A credential is deleted only when what Azure shows under its name is exactly what the ledger records.
- What Azure will never delete is let go of on the word of somebody with a name; nothing else is skipped for it.
- An entry that another cluster's operator recorded (a backup restored here) is dropped without touching Azure: that
  cluster may live.
"""

import dataclasses
import datetime
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from keystead.model.reasons import Reason
from keystead.model.records import Federation, Grant, Namespace, Revocation
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.naming import is_ours
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import (
    BeginRevocation,
    DeleteCredential,
    ForgetFederation,
    LeftBehind,
    Step,
    WithdrawAnnotation,
    WriteCredential,
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why trust has to go. ``by_edit``: an edit of the grant (or of labels) made it so, which the mass brake judges."""

    reason: Reason
    by_edit: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """What remains to be done for one ledger entry that has to go."""

    federation: Federation
    cause: Cause
    steps: tuple[Step, ...]
    state: Reason
    wake: datetime.datetime | None = None


def namespace_cause(federation: Federation, namespace: Namespace | None) -> Cause | None:
    """Why the namespace alone ends the trust."""
    if namespace is None:
        return Cause(Reason.NAMESPACE_DELETED)
    if namespace.uid != federation.namespace_uid:
        return Cause(Reason.NAMESPACE_RECREATED)
    return Cause(Reason.NAMESPACE_DELETED) if namespace.terminating else None


def retains(grant: Grant | None, federation: Federation) -> bool:
    """Whether the credential stays in Azure: by the grant, or by what it said last where it is gone.

    A probe never does: it is the operator's own trust, which has served its purpose.
    """
    if federation.probe:
        return False
    return federation.retained if grant is None else grant.revocation is Revocation.RETAIN


class Removals:
    """Plans the end of ledger entries of one grant."""

    def __init__(self, snapshot: Snapshot, holdings: Holdings, grant: Grant | None) -> None:
        self._snapshot = snapshot
        self._holdings = holdings
        self._grant = grant

    def remove(self, federation: Federation, cause: Cause, successors: Collection[str] = ()) -> Removal:
        """The rest of the way from trust to nothing; *successors* are client ids that serve the account from now on."""
        snapshot, steps = self._snapshot, list[Step]()
        if not federation.deleting:
            steps.append(BeginRevocation(federation.name, federation.name, federation.uid, cause.reason))
        namespace = snapshot.namespaces.get(federation.namespace)
        if namespace is not None and namespace.uid == federation.namespace_uid:
            if not namespace.terminating:
                steps.extend(self._withdraw(federation, successors))
            elif snapshot.waiting_finalizers.get(namespace.name, 0) and namespace.terminating_since is not None:
                wait = snapshot.limits.finalizer_wait
                until = namespace.terminating_since + wait
                # The instant is the API server's: of one that is far from our own time nothing can be said.
                if snapshot.now < until <= snapshot.now + 2 * wait:
                    return Removal(federation, cause, tuple(steps), Reason.AWAITING_FINALIZERS, until)
        steps.extend(self._clean(federation))
        return Removal(federation, cause, tuple(steps), Reason.REVOKING)

    def _withdraw(self, federation: Federation, successors: Collection[str]) -> Iterator[Step]:
        account = self._snapshot.service_accounts.get((federation.namespace, federation.service_account_name))
        if account is None or not account.client_id or account.client_id in successors:
            return
        if self._is_served_there(federation):
            return
        state = self._snapshot.identities.get(federation.identity)
        client = state.client_id if state is not None else ""
        # Another client is that of the identity to which the claim has moved, or that this one had before it was made
        # anew; or this one was not read, and nobody knows.
        known = bool(client) and account.client_id == client
        if not known and (account.annotation_managers or self._may_be_anothers(federation, account.client_id)):
            return
        failure = self._snapshot.failures.get(federation.name)
        failed = failure is not None and failure.step == WithdrawAnnotation.__name__
        if failed and failure is not None and (failure.retry_at is None or failure.retry_at > self._snapshot.now):
            return  # a courtesy to ESO: an account that cannot be changed must not keep the trust alive
        yield WithdrawAnnotation(federation.name, federation.namespace, federation.service_account_name)

    def _is_served_there(self, federation: Federation) -> bool:
        """Another entry stands for the same trust on the same identity: one of the two was renamed, or lost its own."""
        return any(
            each.identity == federation.identity
            and each.credential.subject == federation.credential.subject
            and each.name != federation.name
            and not each.deleting
            and not self._holdings.is_void(each)
            for each in self._snapshot.federations
        )

    def _may_be_anothers(self, federation: Federation, client: str) -> bool:
        """Another entry stands for the same account, on an identity that has this client, or that was not read either."""
        for each in (*self._snapshot.federations, *self._snapshot.other_federations):
            same = each.credential.subject == federation.credential.subject and each.name != federation.name
            if not same or each.deleting:
                continue
            state = self._snapshot.identities.get(each.identity)
            if state is None or state.client_id == client:
                return True
            if not state.client_id and state.problem is not Reason.IDENTITY_NOT_FOUND:
                return True
        return False

    def _clean(self, federation: Federation) -> Iterator[Step]:
        forget = ForgetFederation(federation.name, federation.name, federation.uid)
        state = self._snapshot.identities.get(federation.identity)
        gone = state is not None and state.problem is Reason.IDENTITY_NOT_FOUND
        if gone:
            yield forget
            return
        left = self._left_behind(federation)
        if left is not None:
            yield dataclasses.replace(forget, left_behind=left)
            return
        if state is None or federation.place in self._snapshot.in_flight:
            return  # the lane's answer wakes us
        match self._holdings.of(federation):
            case Holding.UNKNOWN:
                return  # the first list wakes us
            case Holding.PRESENT:
                name, adopted = federation.name, federation.adopted
                yield DeleteCredential(name, name, federation.identity, federation.credential, adopted=adopted)
                yield forget
            case Holding.ABSENT:
                if state.problem is None and not self._doubtful(federation, state.listed_at):
                    yield forget
            case Holding.DIFFERENT:
                yield forget  # somebody else's by now: nothing of ours is left to revoke

    def _left_behind(self, federation: Federation) -> LeftBehind | None:
        place = (federation.identity, federation.credential)
        if not is_ours(federation.name, self._snapshot.cluster):
            return LeftBehind(*place, "recorded by another cluster's operator, which may live")
        if federation.abandoned and federation.abandoned_by:
            return LeftBehind(*place, federation.abandoned, federation.abandoned_by)
        if retains(self._grant, federation):
            return LeftBehind(*place, "spec.revocation: Retain")
        return None

    def _doubtful(self, federation: Federation, listed_at: datetime.datetime | None) -> bool:
        """A write whose answer never came may still have taken effect; only a later list tells."""
        failure = self._snapshot.failures.get(federation.unit)
        wrote = failure is not None and failure.step == WriteCredential.__name__
        if failure is None or not wrote or failure.at > self._snapshot.now:
            return False  # a clock that was set back since tells nothing; what may still land is the lane's to know
        return listed_at is None or listed_at <= failure.at
