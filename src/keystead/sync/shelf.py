"""Secret versions just read, so that each is read once per refresh however many ExternalSecrets want it.

Rules:
- A caller says how old a value may be; what was asked for earlier than that is read again.
- Many who want the same version at the same time wait for one request.
- Values are shared between accounts of one Azure principal alone, each of which has signed in itself: what Azure lets
  that principal read does not depend on the account.
- Nothing stays longer than a few minutes: the Secret in the cluster is the cache, not this.
"""

import asyncio
from dataclasses import dataclass

from keystead.model.clock import Clock
from keystead.model.ids import VaultUrl
from keystead.sync.ports import Principal, Ticket, Vaults
from keystead.sync.snapshot import ReadResult

_LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value comes from, and who reads it."""

    vault: VaultUrl
    principal: Principal
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class _Entry:
    asked_at: float
    task: asyncio.Task[ReadResult]


class Shelf:
    """All values that were just read."""

    def __init__(self, vaults: Vaults, clock: Clock) -> None:
        self._vaults = vaults
        self._clock = clock
        self._entries: dict[Place, _Entry] = {}

    async def read(self, vault: VaultUrl, name: str, version: str, ticket: Ticket, *, since: float) -> ReadResult:
        """The version, asked for at *since* (monotonic) or later. Key Vault's names do not differ by case."""
        place = Place(vault, ticket.principal, name.lower(), version)
        entry = self._entries.get(place)
        if entry is None or entry.asked_at < since:
            self.sweep()
            self._entries.pop(place, None)
            task = asyncio.create_task(self._vaults.get(vault, name, version, ticket), name=f"read:{vault.name}/{name}")
            entry = _Entry(self._clock.monotonic(), task)
            self._entries[place] = entry
        return await asyncio.shield(entry.task)

    async def close(self) -> None:
        tasks = [entry.task for entry in self._entries.values()]
        self._entries.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def sweep(self) -> None:
        """Let go of everything that is too old to serve anybody."""
        oldest = self._clock.monotonic() - _LONGEST
        # In the order of asking, since a renewed entry is put at the end: stop at the first that is young enough.
        for place, entry in list(self._entries.items()):
            if entry.asked_at >= oldest:
                break
            if entry.task.done():
                del self._entries[place]
