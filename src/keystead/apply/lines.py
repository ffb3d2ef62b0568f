"""Pure: what waits at each identity, and whose turn it is when several could write.

- Revocations first.
- Then the lane whose end is furthest away: what waits there at the identity's pace, or in its subscription at the
  subscription's. Whoever has more to do than time is left is never kept waiting by one that has time to spare.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from keystead.apply.pacing import Paces
from keystead.model.ids import IdentityId
from keystead.plan.steps import DeleteCredential, LaneStep, WriteCredential


@dataclass
class Entry:
    """A step in line."""

    grant: str
    step: LaneStep
    attempts: int = 0
    uncertain: bool = False
    not_before: float = float("-inf")

    @property
    def key(self) -> tuple[str, str]:
        return type(self.step).__name__, self.step.credential.name

    @property
    def deletes(self) -> bool:
        return not isinstance(self.step, WriteCredential)

    @property
    def looks(self) -> bool:
        """The identity is listed just before the write."""
        return self.uncertain or (isinstance(self.step, DeleteCredential) and self.step.adopted)


@dataclass
class Line:
    """What waits at one identity, and what is being done there."""

    subscription: str
    entries: list[Entry] = field(default_factory=list)
    at_turn: Entry | None = None
    """All but the pace is settled: it is carried out as soon as the turn is this lane's."""
    busy: Entry | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    worker: asyncio.Task[None] | None = None


def furthest_behind(rivals: Mapping[IdentityId, Line], lines: Mapping[IdentityId, Line], paces: Paces) -> IdentityId:
    """To whom of the *rivals*, who could all start now, the turn is due; *lines* are all there are."""
    if len(rivals) == 1:
        return next(iter(rivals))
    waiting: dict[str, int] = defaultdict(int)
    for line in lines.values():
        waiting[line.subscription] += len(line.entries)

    def rank(identity: IdentityId) -> tuple[bool, float, int, str]:
        line = rivals[identity]
        deletes = line.at_turn is not None and line.at_turn.deletes
        left = max(len(line.entries) * paces.identity, waiting[line.subscription] * paces.subscription)
        return (not deletes, -left, -len(line.entries), identity.key)

    return min(rivals, key=rank)
