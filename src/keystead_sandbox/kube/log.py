"""The changes of one resource, in order, as far back as a watch may begin.

Nothing polls: whoever reads waits for the next change of this resource, and is not woken by any other.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

REMEMBERED = 4000
"""Changes of one resource that a watch may still catch up on."""


@dataclass(slots=True)
class Change:
    """One entry; ``before`` is what the object was."""

    version: int
    type: str
    item: dict[str, Any]
    before: dict[str, Any] | None
    encoded: dict[str, bytes] = field(default_factory=dict)
    """By api version: the watch line, made once for all who watch."""


class Log:
    """Bounded; knows the last version that it has forgotten."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._changes: deque[Change] = deque()
        self._remembered = remembered
        self._forgotten = 0
        self._grown = asyncio.Event()

    def note(self, change: Change) -> None:
        """Append, and wake all who wait."""
        self._changes.append(change)
        if len(self._changes) > self._remembered:
            self._forgotten = self._changes.popleft().version
        self._grown.set()
        self._grown = asyncio.Event()

    def since(self, version: int) -> list[Change] | None:
        """Changes after *version*, oldest first; ``None`` when some of them are forgotten."""
        if version < self._forgotten:
            return None
        newer: list[Change] = []
        for change in reversed(self._changes):
            if change.version <= version:
                break
            newer.append(change)
        newer.reverse()
        return newer

    def compact(self) -> None:
        """Forget everything, as etcd's compaction does: older watches and list pages have expired."""
        if self._changes:
            self._forgotten = self._changes[-1].version
            self._changes.clear()

    async def grown(self) -> None:
        """Until the next change."""
        await self._grown.wait()
