"""Pure: the whole plan of one grant.

Rules:
- The plan holds the full remaining way of every claim, from what is true now; revocations come before grants.
- Everything is sorted before it is emitted: the same snapshot gives the same plan.
- An invalid grant freezes: nothing new, and only revocations that no edit of the grant caused.
- What a brake holds back is in the plan too, with the reason.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import attrgetter

from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.model.records import Claim, ClaimMode, Federation, Grant, Namespace
from keystead.plan import brakes, policy
from keystead.plan.admission import Admission, Admissions
from keystead.plan.causes import Causes
from keystead.plan.failures import resume_each
from keystead.plan.granting import Progress, standing
from keystead.plan.growth import Growth, probe_cause
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.overview import Scene, grant_verdict
from keystead.plan.parity import Parity
from keystead.plan.placement import Placement
from keystead.plan.pool import Pool, survey
from keystead.plan.provisioning import growing
from keystead.plan.recollection import Recollection, Rest, Sights, allowed_names, basis_of, recall
from keystead.plan.removal import Cause, Removal, Removals
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import ClaimVerdict, CreateClaim, DeleteClaim, FederationVerdict, Held, Plan, Step
from keystead.plan.sweep import sweep
from keystead.plan.validation import Problem, Validated, check
from keystead.plan.verdicts import ClaimVerdicts, LedgerVerdicts
from keystead.plan.verification import Proofs

_NEVER = datetime.datetime.max.replace(tzinfo=datetime.UTC)
_LONGEST_ABSENCE = datetime.timedelta(hours=1)
_REFUSED_FOR_GOOD = (Reason.NOT_ALLOWED, Reason.RANCHER_PROJECT_DISAGREES, Reason.GRANT_DELETED)


def make_plan(snapshot: Snapshot, recollection: Recollection | None = None) -> Plan:
    """Everything to do and to say for the snapshot's grant; a *recollection* of earlier plans makes it faster, no other."""
    return _Planner(snapshot, recollection or Recollection()).plan()


class _Planner:
    """One planning; holds what its parts share."""

    def __init__(self, snapshot: Snapshot, recollection: Recollection) -> None:
        self.snapshot = snapshot
        self.recollection = recollection
        self.grant: Grant | None = (
            snapshot.grant if snapshot.grant is not None and not snapshot.grant.deleting else None
        )
        checked: Validated | tuple[Problem, ...] = (
            check(self.grant, snapshot.other_grants, snapshot.cluster) if self.grant else ()
        )
        self.valid = checked if isinstance(checked, Validated) else None
        self.problems = () if isinstance(checked, Validated) else checked
        self.holdings = Holdings(snapshot)
        self.proofs = Proofs(snapshot)
        self.growth = self._growth()
        self.pool: Pool | None = self._pool()
        self.parity = Parity(
            self.valid.pool if self.valid is not None else (),
            self.pool.states if self.pool is not None else {},
            snapshot.roles,
            self.growth.role if self.growth is not None else "",
        )
        self.claims: dict[str, Claim] = {claim.key: claim for claim in sorted(snapshot.claims, key=attrgetter("key"))}
        self.sights = Sights(snapshot, self.grant, self.valid.pool if self.valid is not None else ())
        self.basis = basis_of(snapshot, self.grant, self.problems)
        self.rests = dict(recall(recollection, self.basis, self.sights, self.claims, snapshot.now))
        self.live: dict[str, list[Federation]] = defaultdict(list)
        self.removals: dict[str, Removal] = {}
        self.wake = _NEVER

    def _growth(self) -> Growth | None:
        """The growing part of the pool, whose identities become members as those that the grant names."""
        wanted = growing(self.valid.grant, self.snapshot.cluster) if self.valid is not None else None
        if self.valid is None or wanted is None:
            return None
        growth = Growth(self.snapshot, self.valid, wanted, self.holdings, self.proofs)
        self.valid = replace(self.valid, pool=(*self.valid.pool, *growth.members))
        return growth

    def _pool(self) -> Pool | None:
        if self.valid is None:
            return None
        growth = self.growth
        pool = survey(self.valid.pool, self.snapshot, self.holdings, growth.unproven if growth else frozenset())
        if growth is not None:
            pool.unlisted = self.snapshot.made.pending
            pool.growing = growth.possible(pool)
            pool.crowded = growth.crowded
        return pool

    def plan(self) -> Plan:
        snapshot = self.snapshot
        admissions = Admissions(snapshot, self.grant, self.valid)
        admitted = {
            key: self.rests[key].admission if key in self.rests else admissions.judge(claim)
            for key, claim in self.claims.items()
        }
        held_back = self._sort_federations(admitted)
        progress = self._grow(admitted)
        grown = self.growth.plan(self.pool) if self.growth is not None and self.pool is not None else None
        self.wake = min(self.wake, (grown.wake if grown is not None else None) or _NEVER)
        swept, unswept = sweep(snapshot, self.valid, self.holdings, self._allowed_by_any) if self.valid else ((), ())
        units = [step for name in sorted(self.removals) for step in self.removals[name].steps]
        units += [*swept, *self._claims_to_delete(admitted), *self._claims_to_create()]
        steps = list(resume_each(units, snapshot.failures, snapshot.now))
        steps += [step for key in sorted(progress, key=self._order) for step in progress[key].steps]
        steps += grown.steps if grown is not None else ()
        running, observed = brakes.observe_only(steps, self.grant, snapshot.limits)
        held = (*held_back, *unswept, *observed)
        observing = brakes.observes_only(self.grant, snapshot.limits)
        voice = ClaimVerdicts(snapshot, self.grant, self.valid, self.proofs, observing=observing)
        ledger = LedgerVerdicts(snapshot, self.holdings, self.proofs)
        verdicts = {
            key: self.rests[key].verdict if key in self.rests else voice.verdict(admission, progress.get(key))
            for key, admission in admitted.items()
        }
        entries = {
            each.name: self.rests[each.claim_key].entry
            if each.claim_key in self.rests and not each.probe
            else ledger.verdict(each, self.removals.get(each.name))
            for each in sorted(snapshot.federations, key=attrgetter("name"))
        }
        self._remember(admitted, progress, verdicts, entries)
        told = tuple(verdicts.values())
        scene = Scene(
            snapshot, self.proofs, self.valid, self.problems, self.pool, told, held, self.growth, grown, self.parity
        )
        return Plan(
            grant_name=snapshot.grant_name,
            steps=running,
            held=held,
            claims=told,
            federations=tuple(entries.values()),
            grant=grant_verdict(scene, self.grant) if self.grant is not None else None,
            look_again=self._look_again(progress.values()),
        )

    def _remember(
        self,
        admitted: Mapping[str, Admission],
        progress: Mapping[str, Progress],
        verdicts: Mapping[str, ClaimVerdict],
        entries: Mapping[str, FederationVerdict],
    ) -> None:
        """Keep what was said of claims at rest for the next plan."""
        rests: dict[str, Rest] = {}
        for key, made in progress.items():
            known, federation = self.rests.get(key), made.federation
            if known is not None:
                rests[key] = known
            elif federation is not None and made.verified and not made.steps and admitted[key].passed:
                seen = self.sights.of(key, self.claims[key])
                stands = federation.name not in self.removals and self.holdings.of(federation) is Holding.PRESENT
                if seen is not None and stands and made.wake is not None and made.wake > self.snapshot.now:
                    rests[key] = Rest(seen, made.wake, admitted[key], made, verdicts[key], entries[federation.name])
        self.recollection.basis, self.recollection.rests = self.basis, rests

    def _order(self, key: str) -> tuple[datetime.datetime, str]:
        return (self.claims[key].created_at or _NEVER, key)

    def _allows(self, namespace: Namespace) -> bool:
        return self.grant is not None and policy.judge(self.grant.namespaces, namespace).allowed

    def _allowed_by_any(self, namespace: Namespace) -> bool:
        return self._allows(namespace) or any(
            policy.judge(other.namespaces, namespace).allowed for other in self.snapshot.other_grants
        )

    def _sort_federations(self, admitted: Mapping[str, Admission]) -> tuple[Held, ...]:
        """Into those that live and those that go; returns what the mass brake holds back."""
        snapshot = self.snapshot
        pool = {each.identity for each in self.pool.members} if self.pool is not None else set[IdentityId]()
        causes = Causes(snapshot, self.holdings, self.grant, frozen=self.valid is None, pool=pool)
        self._end_probes()
        ordered = sorted((each for each in snapshot.federations if not each.probe), key=attrgetter("name"))
        judged = [
            (each, causes.of(each, admitted.get(key)) if key not in self.rests else None)
            for each in ordered
            for key in (each.claim_key,)
        ]
        fresh = [cause for each, cause in judged if cause is not None and not each.deleting]
        begun = [cause for each, cause in judged if cause is not None and each.deleting]
        standing_now = sum(1 for each in ordered if not each.deleting)
        braked = brakes.mass_revocation(fresh, begun, standing_now, self.grant, snapshot.limits)
        removals = Removals(snapshot, self.holdings, snapshot.grant)
        held: list[Held] = []
        for federation, cause in judged:
            if cause is None:
                self.live[federation.claim_key].append(federation)
                continue
            removal = removals.remove(federation, cause)
            if braked and cause.by_edit and not federation.deleting:
                self.live[federation.claim_key].append(federation)
                held += [Held(step, Reason.AWAITING_CONFIRMATION) for step in removal.steps]
                continue
            self.removals[federation.name] = removal
            self.wake = min(self.wake, removal.wake or _NEVER)
        return tuple(held)

    def _end_probes(self) -> None:
        """The operator's own credentials on new identities end with their purpose, whatever becomes of the grant."""
        removals = Removals(self.snapshot, self.holdings, None)
        probes = [each for each in self.snapshot.federations if each.probe]
        for federation in sorted(probes, key=lambda each: each.name):
            cause = probe_cause(self.growth, federation, deleted=self.grant is None)
            if cause is not None:
                self.removals[federation.name] = removals.remove(federation, cause)

    def _grow(self, admitted: Mapping[str, Admission]) -> dict[str, Progress]:
        """How far each claim is, and its way on where it is admitted; those served elsewhere by now begin to leave."""
        progress: dict[str, Progress] = {}
        placement: Placement | None = None
        if self.valid is not None and self.pool is not None:
            leaving = {each.federation.credential.subject for each in self.removals.values()}
            roleless = {each.identity for each in self.valid.pool if self.parity.assigned(each) is False}
            placement = Placement(
                self.snapshot,
                self.valid,
                self.holdings,
                self.proofs,
                self.pool,
                leaving,
                roleless,
                observing=brakes.observes_only(self.grant, self.snapshot.limits),
            )
        for key in sorted(admitted, key=self._order):
            if key in self.rests:
                progress[key] = self.rests[key].progress
                continue
            admission, live = admitted[key], self.live.get(key, [])
            if placement is not None and admission.passed:
                progress[key] = placement.advance(admission, live)
                self._drain(live, progress[key])
            elif live:
                progress[key] = standing(self.snapshot, self.holdings, self.proofs, live[0])
        return progress

    def _drain(self, live: list[Federation], progress: Progress) -> None:
        if not progress.obsolete or progress.federation is None:
            return
        state = self.snapshot.identities.get(progress.federation.identity)
        successors = {state.client_id} if state is not None else set()
        removals = Removals(self.snapshot, self.holdings, self.snapshot.grant)
        for federation in [each for each in live if each.name in progress.obsolete]:
            live.remove(federation)
            moved = federation.identity != progress.federation.identity
            cause = Cause(Reason.IDENTITY_REMOVED if moved else Reason.CREDENTIAL_REPLACED)
            self.removals[federation.name] = removals.remove(federation, cause, successors)

    def _claims_to_create(self) -> list[Step]:
        if self.valid is None or self.valid.grant.claims is not ClaimMode.AUTOMATIC:
            return []
        grant, served = self.valid.grant.name, {claim.namespace for claim in self.snapshot.claims}
        steps: list[Step] = []
        for name in allowed_names(self.recollection, self.snapshot.namespaces, self.valid.grant.namespaces):
            namespace = self.snapshot.namespaces[name]
            if name in served or namespace.terminating:
                continue
            if any(other.name == grant for other in self.snapshot.other_claims.get(name, ())):
                continue  # a claim of this name on another grant: somebody made it, and it is theirs
            back = self._comes_back(name)
            if back is not None and back > self.snapshot.now:
                self.wake = min(self.wake, back)
                continue
            steps.append(CreateClaim(f"{name}/{grant}", name, namespace.uid, grant, grant))
        return steps

    def _comes_back(self, namespace: str) -> datetime.datetime | None:
        """When a claim that somebody deleted may come back: ever later."""
        count, last = self.snapshot.claim_deletions.get(namespace, (0, None))
        if not count or last is None or last > self.snapshot.now:
            return None
        return last + min(_LONGEST_ABSENCE, self.snapshot.limits.recreate_delay * (1 << min(count - 1, 20)))

    def _claims_to_delete(self, admitted: Mapping[str, Admission]) -> list[Step]:
        """Automatic claims whose namespace is allowed no more, once nothing stands behind them."""
        if self.valid is None and self.grant is not None:
            return []
        behind = {each.claim_key for each in self.snapshot.federations}
        return [
            DeleteClaim(key, admission.claim.namespace, admission.claim.name, admission.claim.uid)
            for key, admission in sorted(admitted.items())
            if admission.claim.automatic
            and not admission.claim.deleting
            and key not in behind
            and admission.reason in _REFUSED_FOR_GOOD
            and admission.namespace is not None
        ]

    def _look_again(self, progress: Iterable[Progress]) -> datetime.datetime | None:
        """The next moment at which something becomes due although nothing changed."""
        times: list[datetime.datetime] = [self.wake]
        times += [each.wake for each in progress if each.wake is not None]
        times += [each.retry_at for each in self.snapshot.failures.values() if each.retry_at is not None]
        return min((time for time in times if self.snapshot.now < time < _NEVER), default=None)
