"""Pure: a plan as people read it: by unit, with what is held back, what waits, and whose the slots are.

- The plan is the operator's own, of the same snapshot; nothing is decided here.
- The operator deletes an orphan once two lists have shown it. Whoever looks once cannot wait for the second, and is shown
  what it will lead to.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from keystead.model.conditions import ConditionDraft, ConditionType, Status
from keystead.model.reasons import Reason
from keystead.model.records import Claim
from keystead.plan import naming
from keystead.plan.census import Count, take_census
from keystead.plan.holdings import Holdings
from keystead.plan.planner import make_plan
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import ClaimVerdict, Held, IdentityVerdict, Plan, Step, SweepCredential
from keystead.plan.sweep import SIGHTINGS
from keystead.plan.takeover import Row, State, survey_takeover
from keystead.plan.validation import Validated, check
from keystead.plan.verdicts import orphan_claim_verdict


@dataclass(frozen=True, slots=True)
class Unit:
    """What is planned for one claim, one ledger entry, or one stray credential."""

    name: str
    about: str
    """The same for people: the claim, or the account and where its credential is."""
    steps: tuple[Step, ...]
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A claim that is not served, and for which nothing can be done now."""

    claim: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Preview:
    """One grant."""

    grant: str
    exists: bool
    units: tuple[Unit, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    troubles: tuple[ConditionDraft, ...] = ()
    """What the grant's conditions complain about."""
    identities: tuple[IdentityVerdict, ...] = ()
    counts: tuple[Count, ...] = ()
    others: tuple[Row, ...] = ()
    """What people and other tools made for the grant's namespaces, and how far it can be taken over."""

    @property
    def steps(self) -> int:
        return sum(len(unit.steps) for unit in self.units)

    @property
    def held(self) -> int:
        return sum(len(unit.held) for unit in self.units)


def preview(snapshot: Snapshot) -> Preview:
    """What the operator would do and say now for the snapshot's grant."""
    seen = dataclasses.replace(snapshot, orphan_sightings=dict.fromkeys(snapshot.orphan_sightings, SIGHTINGS))
    plan = make_plan(seen)
    others = _others(seen)
    return Preview(
        grant=plan.grant_name,
        exists=plan.grant is not None,
        units=_units(seen, plan),
        waiting=_waiting(plan.claims, {each.unit for each in _all_steps(plan)}),
        troubles=_troubles(plan.grant.conditions) if plan.grant is not None else (),
        identities=plan.grant.identities if plan.grant is not None else (),
        counts=take_census(seen, others),
        others=others,
    )


def preview_orphans(grant: str, claims: Iterable[Claim]) -> Preview:
    """Claims on a grant that does not exist and has left nothing behind."""
    verdicts = [orphan_claim_verdict(claim) for claim in sorted(claims, key=lambda each: each.key)]
    return Preview(grant, exists=False, waiting=_waiting(verdicts, set()))


def _all_steps(plan: Plan) -> tuple[Step, ...]:
    return (*plan.steps, *(each.step for each in plan.held))


def _others(snapshot: Snapshot) -> tuple[Row, ...]:
    """Without what has been taken over by now, and without our own: that is found again by its name."""
    grant = snapshot.grant
    valid = check(grant, snapshot.other_grants, snapshot.cluster) if grant is not None and not grant.deleting else ()
    if not isinstance(valid, Validated):
        return ()
    rows = survey_takeover(snapshot, valid, Holdings(snapshot)).rows
    return tuple(
        row
        for row in rows
        if row.state is not State.ADOPTED
        and not (row.identity is not None and naming.is_ours(row.name, snapshot.cluster))
    )


def _units(snapshot: Snapshot, plan: Plan) -> tuple[Unit, ...]:
    """In the order in which their first steps stand in the plan."""
    abouts = {each.name: f"{each.claim_key} on {each.identity.name}" for each in snapshot.federations}
    names = dict.fromkeys(each.unit for each in _all_steps(plan))
    units: dict[str, tuple[list[Step], list[Held]]] = {name: ([], []) for name in names}
    for step in plan.steps:
        units[step.unit][0].append(step)
    for held in plan.held:
        units[held.step.unit][1].append(held)
    found = []
    for name, (steps, held_back) in units.items():
        first = (*steps, *(each.step for each in held_back))[0]
        about = f"orphan on {first.identity.name}" if isinstance(first, SweepCredential) else abouts.get(name, name)
        found.append(Unit(name, about, tuple(steps), tuple(held_back)))
    return tuple(found)


def _waiting(verdicts: Iterable[ClaimVerdict], busy: set[str]) -> tuple[Waiting, ...]:
    ready = ((each.claim_key, each.conditions[-1]) for each in verdicts)
    return tuple(
        Waiting(key, says.reason, says.message)
        for key, says in ready
        if says.status is not Status.TRUE and key not in busy
    )


def _troubles(conditions: Iterable[ConditionDraft]) -> tuple[ConditionDraft, ...]:
    """Each complaint once; who guards the approvals is a matter of the installation, not of the plan."""
    found: dict[tuple[Reason, str], ConditionDraft] = {}
    for each in conditions:
        if each.status is Status.FALSE and each.type is not ConditionType.FOUR_EYES_ENFORCED:
            found[each.reason, each.message] = each  # Ready repeats the first of the others, and stands before them
    return tuple(found.values())
