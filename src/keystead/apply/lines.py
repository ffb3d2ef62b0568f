"""Pure: what waits at each identity, and whose turn it is when several could write.

- Revocations first, the longest line of them before others, so that none is left with more to do than the rest.
- Of the writes of one grant the one whose identity has most slots free: as they are placed, so that no identity is left
  at the end with more writes than the others have time.
- Of several grants the one whose write has waited longest.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
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
    wanted: bool = True
    """Its grant still plans it: what is under way goes on all the same, and is then tried again or not."""

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

    def withdraw(self, grant: str, keys: Collection[tuple[str, str]]) -> list[Entry]:
        """Take out, and return, what *grant* has here under none of these keys; what is under way learns that it is left."""
        left = [each for each in self.entries if each.grant == grant and each.key not in keys]
        if left:
            self.entries = [each for each in self.entries if each.grant != grant or each.key in keys]
        if self.busy is not None and self.busy.grant == grant:
            self.busy.wanted = self.busy.key in keys
        return left


def first_served(rivals: Mapping[IdentityId, Line], free: Callable[[IdentityId], int]) -> IdentityId:
    """To whom of the *rivals*, who could all start now, the turn is due; *free* tells how many slots an identity has."""
    waiting = {identity: line.at_turn for identity, line in rivals.items() if line.at_turn is not None}
    deletes = [identity for identity, entry in waiting.items() if entry.deletes]
    if deletes:
        return min(deletes, key=lambda each: (-len(rivals[each].entries), waiting[each].since, each.key))
    best: dict[str, IdentityId] = {}
    for identity in sorted(waiting, key=lambda each: (-free(each), waiting[each].since, each.key)):
        best.setdefault(waiting[identity].grant, identity)
    return min(best.values(), key=lambda each: (waiting[each].since, each.key))
