"""Pure: the whole plan of one grant.

Rules:
- The plan holds the full remaining way of every claim, from what is true now; revocations come before grants.
- Everything is sorted before it is emitted: the same snapshot gives the same plan.
- An invalid grant freezes: nothing new, and only revocations that no edit of the grant caused.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable

from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.model.records import ClaimMode, Federation, Namespace
from keystead.plan import brakes, policy
from keystead.plan.admission import Admission, Admissions
from keystead.plan.granting import Grants, Progress
from keystead.plan.removal import ALWAYS, Removal, namespace_cause, remove
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import ClaimVerdict, CreateClaim, DeleteClaim, Held, Plan, Step
from keystead.plan.sweep import sweep
from keystead.plan.validation import Problem, Validated, check
from keystead.plan.verdicts import claim_verdict, federation_verdict, grant_verdict

_NEVER = datetime.datetime.max.replace(tzinfo=datetime.UTC)
_LONGEST_ABSENCE = datetime.timedelta(hours=1)


def make_plan(snapshot: Snapshot) -> Plan:
    """Everything to do and to say for the snapshot's grant."""
    return _Planner(snapshot).plan()


class _Planner:
    """One planning; holds what its parts share."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.grant = snapshot.grant if snapshot.grant is not None and not snapshot.grant.deleting else None
        checked: Validated | tuple[Problem, ...] = check(self.grant, snapshot.other_grants) if self.grant else ()
        self.valid = checked if isinstance(checked, Validated) else None
        self.problems = () if isinstance(checked, Validated) else checked
        self.admissions = Admissions(snapshot, self.grant, self.valid)
        self.claims = {claim.key: claim for claim in snapshot.claims}
        self.live: dict[str, list[Federation]] = defaultdict(list)
        self.removals: dict[str, tuple[Federation, Reason, Removal]] = {}
        self.wake = _NEVER

    def plan(self) -> Plan:
        snapshot = self.snapshot
        admitted = {key: self.admissions.judge(claim) for key, claim in sorted(self.claims.items())}
        held_back = self._sort_federations(admitted)
        progress = self._grow(admitted)
        swept, unswept = sweep(snapshot, self._allows) if self.valid else ((), ())
        steps: list[Step] = [step for _, _, removal in self._removals() for step in removal.steps]
        steps += swept
        steps += self._claims_to_delete(admitted)
        steps += self._claims_to_create()
        steps += [step for key in sorted(progress, key=self._order) for step in progress[key].steps]
        running, observed = brakes.observe_only(steps, self.grant, snapshot.limits)
        verdicts = tuple(self._verdict(admitted[key], progress.get(key)) for key in sorted(admitted))
        entries = (*(each for group in self.live.values() for each in group), *(f for f, _, _ in self._removals()))
        return Plan(
            grant_name=snapshot.grant_name,
            steps=running,
            held=(*held_back, *unswept, *observed),
            claims=verdicts,
            federations=tuple(
                federation_verdict(snapshot, each, self.removals.get(each.name))
                for each in sorted(entries, key=lambda f: f.name)
            ),
            grant=grant_verdict(snapshot, self.grant, self.valid, self.problems, verdicts, held_back)
            if self.grant
            else None,
            look_again=self._look_again(progress.values()),
        )

    def _order(self, key: str) -> tuple[datetime.datetime, str]:
        return (self.claims[key].created_at or _NEVER, key)

    def _allows(self, namespace: Namespace) -> bool:
        return self.grant is not None and policy.judge(self.grant.namespaces, namespace).allowed

    def _removals(self) -> list[tuple[Federation, Reason, Removal]]:
        return [self.removals[name] for name in sorted(self.removals)]

    def _sort_federations(self, admitted: dict[str, Admission]) -> tuple[Held, ...]:
        """Into those that live and those that go; returns what the mass brake holds back."""
        causes = {each.name: self._cause(each, admitted.get(each.claim_key)) for each in self.snapshot.federations}
        ending = {name: cause for name, cause in causes.items() if cause is not None}
        fresh = [ending[each.name] for each in self.snapshot.federations if each.name in ending and not each.deleting]
        braked = brakes.mass_revocation(fresh, len(causes), self.grant, self.snapshot.limits)
        held: list[Held] = []
        for federation in sorted(self.snapshot.federations, key=lambda each: each.name):
            cause = ending.get(federation.name)
            if cause is None:
                self.live[federation.claim_key].append(federation)
                continue
            removal = remove(self.snapshot, federation, cause, self.grant)
            if braked and cause not in ALWAYS and not federation.deleting:
                self.live[federation.claim_key].append(federation)
                held += [Held(step, Reason.AWAITING_CONFIRMATION) for step in removal.steps]
                continue
            self.removals[federation.name] = (federation, cause, removal)
        return tuple(held)

    def _cause(self, federation: Federation, admission: Admission | None) -> Reason | None:
        """Why this entry has to go; ``None`` when it stays."""
        if federation.deleting:
            return (
                namespace_cause(federation, self.snapshot.namespaces.get(federation.namespace))
                or Reason.FEDERATION_DELETED
            )
        if self.grant is None:
            return Reason.GRANT_DELETED
        by_namespace = namespace_cause(federation, self.snapshot.namespaces.get(federation.namespace))
        if by_namespace is not None:
            return by_namespace
        if admission is None or admission.claim.deleting:
            return Reason.CLAIM_DELETED
        if admission.service_account != federation.service_account_name:
            return Reason.CLAIM_CHANGED
        if admission.review is not None and admission.review.denied:
            return Reason.DENIED
        if self.valid is None:
            return None  # frozen: the ledger is the last good state
        if not admission.allowed:
            return admission.reason
        if admission.review is not None and not admission.review.passed:
            return Reason.APPROVAL_WITHDRAWN
        failure = self.snapshot.failures.get(federation.claim_key)
        state = self.snapshot.identities.get(federation.identity)
        absent = state is not None and state.known and state.named(federation.credential.name) is None
        if (
            failure is not None
            and failure.reason is Reason.IDENTITY_FULL
            and absent
            and state is not None
            and state.full
        ):
            return Reason.IDENTITY_FULL
        return None

    def _grow(self, admitted: dict[str, Admission]) -> dict[str, Progress]:
        if self.valid is None:
            return {}
        grants = Grants(self.snapshot, self.valid, {f.credential.subject for f, _, _ in self.removals.values()})
        progress: dict[str, Progress] = {}
        drained: dict[str, list[IdentityId]] = {}
        for key in sorted(admitted, key=self._order):
            admission = admitted[key]
            if not admission.passed:
                continue
            progress[key] = grants.advance(admission, tuple(self.live.get(key, ())))
            drained[key] = list(progress[key].obsolete)
        for key, identities in drained.items():
            for federation in [each for each in self.live.get(key, ()) if each.identity in identities]:
                self.live[key].remove(federation)
                removal = remove(self.snapshot, federation, Reason.IDENTITY_REMOVED, self.grant)
                self.removals[federation.name] = (federation, Reason.IDENTITY_REMOVED, removal)
        return progress

    def _claims_to_create(self) -> list[Step]:
        if self.valid is None or self.valid.grant.claims is not ClaimMode.AUTOMATIC:
            return []
        served = {claim.namespace for claim in self.snapshot.claims}
        steps: list[Step] = []
        for name, namespace in sorted(self.snapshot.namespaces.items()):
            if name in served or namespace.terminating or not self._allows(namespace):
                continue
            back = self._comes_back(name)
            if back is not None and back > self.snapshot.now:
                self.wake = min(self.wake, back)
                continue
            grant = self.valid.grant.name
            steps.append(CreateClaim(f"{name}/{grant}", name, namespace.uid, grant, grant))
        return steps

    def _comes_back(self, namespace: str) -> datetime.datetime | None:
        """When a claim that somebody deleted may come back: ever later."""
        count, last = self.snapshot.claim_deletions.get(namespace, (0, None))
        if not count or last is None:
            return None
        return last + min(_LONGEST_ABSENCE, self.snapshot.limits.recreate_delay * 2 ** min(count - 1, 20))

    def _claims_to_delete(self, admitted: dict[str, Admission]) -> list[Step]:
        """Automatic claims whose namespace is allowed no more, once nothing stands behind them."""
        if self.valid is None:
            return []
        behind = {each.claim_key for each in self.snapshot.federations}
        return [
            DeleteClaim(key, admission.claim.namespace, admission.claim.name, admission.claim.uid)
            for key, admission in sorted(admitted.items())
            if admission.claim.automatic
            and not admission.claim.deleting
            and key not in behind
            and admission.reason in (Reason.NOT_ALLOWED, Reason.RANCHER_PROJECT_DISAGREES)
        ]

    def _verdict(self, admission: Admission, progress: Progress | None) -> ClaimVerdict:
        return claim_verdict(
            self.snapshot, admission, progress, self.valid, tuple(self.live.get(admission.claim.key, ()))
        )

    def _look_again(self, progress: Iterable[Progress]) -> datetime.datetime | None:
        times = [self.wake]
        times += [each.wake for each in progress if each.wake is not None]
        times += [removal.wake for _, _, removal in self._removals() if removal.wake is not None]
        times += [each.retry_at for each in self.snapshot.failures.values() if each.retry_at is not None]
        earliest = min((time for time in times if time > self.snapshot.now), default=_NEVER)
        return None if earliest == _NEVER else earliest
