"""What a vault holds, as its secrets, keys and certificates have it in common.

- A thing is its versions, newest last; its name is compared without regard to case and shown as it was first written.
- Deleting is soft: all versions move aside, and the name stays taken until the thing is recovered or purged, or its
  retention is over. Azure takes seconds for that; here it is done when the answer is sent.
- Lists go by name, lists of versions by version; a page begins after the last key of the page before, so that whatever
  comes and goes meanwhile, nothing else is left out or shown twice.
"""

import datetime
import uuid
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from keystead_sandbox.keyvault import errors
from keystead_sandbox.resources import Deleted, Vault, Version
from keystead_sandbox.world import World

V = TypeVar("V", bound=Version)
_CUSTOMARY_DAYS = 90


class Shelf(Generic[V]):
    """One kind of things in one vault."""

    def __init__(
        self, world: World, vault: Vault, kind: str, live: dict[str, list[V]], deleted: dict[str, Deleted[V]]
    ) -> None:
        self._world = world
        self._vault = vault
        self.kind = kind
        self.live = live
        self.deleted = deleted

    # Looking -----------------------------------------------------------------------------------------------------

    def versions(self, name: str) -> list[V]:
        """All versions of a thing."""
        versions = self.live.get(name.lower())
        if not versions:
            raise errors.not_found(self.kind, name)
        return versions

    def find(self, name: str, version: str = "") -> V:
        """A version of a thing, the newest when none is named."""
        versions = self.versions(name)
        if not version:
            return versions[-1]
        for held in versions:
            if held.version == version.lower():
                return held
        raise errors.not_found(self.kind, f"{name}/{version}")

    def gone(self, name: str) -> Deleted[V]:
        """A deleted thing."""
        deleted = self.deleted.get(name.lower())
        if deleted is None or self._is_over(name, deleted):
            raise errors.deleted_not_found(self.kind, name)
        return deleted

    def spelled(self, name: str) -> str:
        """The name as it was first written."""
        return self._vault.spelling.get((self.kind, name.lower()), name)

    def names(self, after: str, size: int) -> tuple[Sequence[str], str]:
        """The next names, disabled things too, and where the page after them begins."""
        return _page(sorted(self.live), after, size)

    def gone_names(self, after: str, size: int) -> tuple[Sequence[str], str]:
        """The next names of deleted things."""
        for name, deleted in list(self.deleted.items()):
            self._is_over(name, deleted)
        return _page(sorted(self.deleted), after, size)

    def version_names(self, name: str, after: str, size: int) -> tuple[Sequence[str], str]:
        """The next versions of a thing."""
        return _page(sorted(held.version for held in self.versions(name)), after, size)

    # Changing ----------------------------------------------------------------------------------------------------

    def check_free(self, name: str) -> None:
        """Whether *name* can be written: not while a deleted thing owns it."""
        deleted = self.deleted.get(name.lower())
        if deleted is not None and not self._is_over(name, deleted):
            raise errors.deleted_but_recoverable(self.kind, self.spelled(name))

    def add(self, name: str, version: V) -> V:
        """Make *version* the newest."""
        self._vault.spelling.setdefault((self.kind, name.lower()), name)
        self.live.setdefault(name.lower(), []).append(version)
        return version

    def put_back(self, name: str, versions: list[V]) -> None:
        """Make *versions* all there is of a thing that is not there."""
        self._vault.spelling[self.kind, name.lower()] = name
        self.live[name.lower()] = versions

    def delete(self, name: str) -> None:
        """Move a thing aside."""
        self.deleted[name.lower()] = Deleted(self.versions(name), self._world.clock.wall())
        del self.live[name.lower()]

    def recover(self, name: str) -> V:
        """Bring a deleted thing back, with all its versions."""
        deleted = self.gone(name)
        if name.lower() in self.live:
            raise errors.taken(self.kind, self.spelled(name))
        del self.deleted[name.lower()]
        self.live[name.lower()] = deleted.versions
        return deleted.versions[-1]

    def purge(self, name: str) -> None:
        """Forget a deleted thing; its name is free again."""
        self.gone(name)
        if self._vault.purge_protection:
            raise errors.purge_protected(self._vault)
        self._forget(name)

    def _is_over(self, name: str, deleted: Deleted[V]) -> bool:
        """Whether a deleted thing's retention is over; it is then no more."""
        over = self._purged(deleted) <= self._world.clock.wall()
        if over:
            self._forget(name)
        return over

    def _forget(self, name: str) -> None:
        del self.deleted[name.lower()]
        if name.lower() not in self.live:
            self._vault.spelling.pop((self.kind, name.lower()), None)

    def _purged(self, deleted: Deleted[V]) -> datetime.datetime:
        return deleted.deleted + datetime.timedelta(days=self._vault.retention_days)

    # Showing -----------------------------------------------------------------------------------------------------

    def attributes(self, held: V) -> dict[str, object]:
        """A version's attributes."""
        shown: dict[str, object] = {"enabled": held.enabled}
        if held.not_before is not None:
            shown["nbf"] = int(held.not_before.timestamp())
        if held.expires is not None:
            shown["exp"] = int(held.expires.timestamp())
        shown["created"] = int(held.created.timestamp())
        shown["updated"] = int(held.updated.timestamp())
        days = self._vault.retention_days
        level = "Recoverable" if days >= _CUSTOMARY_DAYS else "CustomizedRecoverable"
        shown["recoveryLevel"] = level if self._vault.purge_protection else f"{level}+Purgeable"
        shown["recoverableDays"] = days
        return shown

    def deletion(self, name: str, base: str) -> dict[str, object]:
        """When a thing was deleted, and how long it can be recovered."""
        deleted = self.gone(name)
        return {
            "recoveryId": f"{base}/deleted{self.kind}/{self.spelled(name)}",
            "deletedDate": int(deleted.deleted.timestamp()),
            "scheduledPurgeDate": int(self._purged(deleted).timestamp()),
        }


def new_version(world: World, kind: str) -> str:
    """A version's name: 32 hexadecimal digits that no other version has."""
    return uuid.UUID(world.new_id(kind)).hex


def trace(count: int) -> str:
    """A GUID for one answer, which only the order of answers decides."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"vault/{count}"))


def _page(keys: Iterable[str], after: str, size: int) -> tuple[Sequence[str], str]:
    """The keys after *after*, and the last of them when more follow; keys that vanish meanwhile do no harm."""
    rest = [key for key in keys if key > after]
    return rest[:size], rest[size - 1] if len(rest) > size else ""
