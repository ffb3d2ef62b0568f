"""Pure: filters over a finished plan. Each takes steps and returns fewer, with what it held back and why."""

from collections.abc import Iterable, Sequence

from keystead.model.reasons import Reason
from keystead.model.records import Grant
from keystead.plan.removal import Cause
from keystead.plan.snapshot import Limits
from keystead.plan.steps import Held, Step

_OF_AN_EDIT = frozenset(
    {
        Reason.NOT_ALLOWED,
        Reason.RANCHER_PROJECT_DISAGREES,
        Reason.SERVICE_ACCOUNT_NAME_NOT_ALLOWED,
        Reason.SUBJECT_TAKEN,
        Reason.TOO_MANY_CLAIMS,
    }
)
"""Causes that only an edit of the grant, of labels or of settings leads to."""


def observes_only(grant: Grant | None, limits: Limits) -> bool:
    """Whether the operator or the grant says: look, do not touch."""
    return limits.observe_only or (grant is not None and grant.observe_only)


def observe_only(
    steps: Sequence[Step], grant: Grant | None, limits: Limits
) -> tuple[tuple[Step, ...], tuple[Held, ...]]:
    """Plan and report, write nothing."""
    if observes_only(grant, limits):
        return (), tuple(Held(step, Reason.OBSERVE_ONLY) for step in steps)
    return tuple(steps), ()


def mass_revocation(
    causes: Iterable[Cause], begun: Iterable[Cause], standing: int, grant: Grant | None, limits: Limits
) -> bool:
    """Whether an edit would take away so much at once that somebody has to confirm it for this very generation.

    What has *begun* and is not over counts with it: labels of many namespaces are taken away one after the other.
    """
    if grant is None or grant.confirmed_generation == grant.generation:
        return False
    under_way = sum(1 for cause in begun if cause.reason in _OF_AN_EDIT)
    by_edit = sum(1 for cause in causes if cause.by_edit) + under_way
    return by_edit > limits.mass_revocation_count and by_edit > limits.mass_revocation_share * (standing + under_way)
