"""Pure: what a remembered failure leaves of a unit's steps until it may be tried again.

Steps before the one that failed go on. The failing one waits for its time: a step that carries a time gets it, for any
other the unit ends there. A failure of a step that is not needed any more means nothing.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from keystead.plan.snapshot import Failure
from keystead.plan.steps import DeleteCredential, Step, Verify, WriteCredential


def resume(steps: Sequence[Step], failure: Failure | None, now: datetime.datetime) -> tuple[Step, ...]:
    """The steps of one unit, as far as *failure* allows."""
    if failure is None:
        return tuple(steps)
    for index, step in enumerate(steps):
        if type(step).__name__ != failure.step:
            continue
        retry = failure.retry_at
        if retry is None:
            return tuple(steps[:index])
        if retry <= now or failure.at > now:  # a clock that was set back tells nobody to wait
            return tuple(steps)
        match step:
            case WriteCredential() | DeleteCredential():
                waiting: Step = dataclasses.replace(step, not_before=retry)
            case Verify():
                waiting = dataclasses.replace(step, not_before=max(step.not_before, retry))
            case _:
                return tuple(steps[:index])
        return (*steps[:index], waiting, *steps[index + 1 :])
    return tuple(steps)


def resume_each(steps: Iterable[Step], failures: Mapping[str, Failure], now: datetime.datetime) -> tuple[Step, ...]:
    """The same for the steps of several units, which stand together."""
    kept: list[Step] = []
    for unit, group in groupby(steps, key=lambda step: step.unit):
        kept += resume(tuple(group), failures.get(unit), now)
    return tuple(kept)
