"""Pure: what waits at each identity, and whose turn it is when several could write.

- Revocations first.
- Then the longest line, so that none is left at the end that has more to do than the others.
- Then whoever has waited longest.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from keystead.model.ids import IdentityId
from keystead.plan.steps import DeleteCredential, LaneStep, WriteCredential


@dataclass
class Entry:
    """A step in line."""

    grant: str
    step: LaneStep
    since: float = 0.0
    """When it came here."""
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

    entries: list[Entry] = field(default_factory=list)
    at_turn: Entry | None = None
    """All but the pace is settled: it is carried out as soon as the turn is this lane's."""
    busy: Entry | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    worker: asyncio.Task[None] | None = None


def first_served(rivals: Mapping[IdentityId, Line]) -> IdentityId:
    """To whom of the *rivals*, who could all start now, the turn is due."""

    def rank(identity: IdentityId) -> tuple[bool, int, float, str]:
        line = rivals[identity]
        deletes, since = (line.at_turn.deletes, line.at_turn.since) if line.at_turn is not None else (False, 0.0)
        return (not deletes, -len(line.entries), since, identity.key)

    return min(rivals, key=rank)
