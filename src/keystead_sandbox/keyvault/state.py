"""What a vault holds, changed as the data plane changes it, and shown as it shows it.

- A secret is its versions, newest last; its name is compared without regard to case and shown as it was first written.
- Deleting is soft: all versions move aside, and the name stays taken until the secret is recovered or purged. Azure
  takes seconds for that; here it is done when the answer is sent.
- Only the body of a get or a set carries a value.
"""

import datetime
import uuid
from collections.abc import Iterable, Sequence

from keystead_sandbox.keyvault import errors, rules
from keystead_sandbox.resources import DeletedSecret, SecretVersion, Vault
from keystead_sandbox.world import World


class Secrets:
    """One vault's secrets, for one request: ``base`` is the URL that the client calls the vault by."""

    def __init__(self, world: World, vault: Vault, base: str) -> None:
        self._world = world
        self._vault = vault
        self._base = base

    # Looking -----------------------------------------------------------------------------------------------------

    def find(self, name: str, version: str = "") -> SecretVersion:
        """A version of a secret, the newest when none is named."""
        versions = self._versions(name)
        if not version:
            return versions[-1]
        for held in versions:
            if held.version == version.lower():
                return held
        raise errors.not_found(f"{name}/{version}")

    def read(self, name: str, version: str = "") -> SecretVersion:
        """A version whose value may be read: disabled ones may not; ``nbf`` and ``exp`` only inform."""
        held = self.find(name, version)
        if not held.enabled:
            raise errors.disabled()
        return held

    def page(self, after: str, size: int) -> tuple[list[dict[str, object]], str]:
        """Secrets in the order of their names, disabled ones too, and where the next page begins."""
        names, following = _page(sorted(self._vault.secrets), after, size)
        return [self.item(name) for name in names], following

    def version_page(self, name: str, after: str, size: int) -> tuple[list[dict[str, object]], str]:
        """A secret's versions."""
        held = {version.version: version for version in self._versions(name)}
        names, following = _page(sorted(held), after, size)
        return [self.bundle(name, held[version], value=False) for version in names], following

    def deleted_page(self, after: str, size: int) -> tuple[list[dict[str, object]], str]:
        """The deleted secrets."""
        names, following = _page(sorted(self._vault.deleted), after, size)
        return [self.deleted_item(name) for name in names], following

    # Changing ----------------------------------------------------------------------------------------------------

    def set(self, name: str, new: rules.NewVersion) -> SecretVersion:
        """A new version, which is what a get without a version now answers."""
        if name.lower() in self._vault.deleted:
            raise errors.deleted_but_recoverable(self._spelled(name))
        made = self._world.set_secret(self._vault, name, new.value or "")
        made.content_type = new.content_type or ""
        _change(made, new)
        return made

    def update(self, name: str, version: str, change: rules.Change) -> SecretVersion:
        """Change what a version carries besides its value."""
        held = self.find(name, version)
        _change(held, change)
        held.updated = self._world.clock.wall()
        return held

    def delete(self, name: str) -> dict[str, object]:
        """Move a secret aside."""
        versions = self._versions(name)
        del self._vault.secrets[name.lower()]
        self._vault.deleted[name.lower()] = DeletedSecret(versions, self._world.clock.wall())
        return self.deleted_bundle(name)

    def recover(self, name: str) -> dict[str, object]:
        """Bring a deleted secret back, with all its versions."""
        deleted = self._deleted(name)
        del self._vault.deleted[name.lower()]
        self._vault.secrets[name.lower()] = deleted.versions
        return self.bundle(name, deleted.versions[-1], value=False)

    def purge(self, name: str) -> None:
        """Forget a deleted secret; its name is free again."""
        self._deleted(name)
        del self._vault.deleted[name.lower()]
        self._vault.spelling.pop(name.lower(), None)

    # Showing -----------------------------------------------------------------------------------------------------

    def bundle(self, name: str, held: SecretVersion, *, value: bool) -> dict[str, object]:
        """A version; the value only where *value* says so."""
        shown: dict[str, object] = {"value": held.value} if value else {}
        return {**shown, "id": f"{self._base}/secrets/{self._spelled(name)}/{held.version}", **_described(held)}

    def item(self, name: str) -> dict[str, object]:
        """A secret in a list: its newest version's attributes, and an id without a version."""
        newest = self._vault.secrets[name.lower()][-1]
        return {"id": f"{self._base}/secrets/{self._spelled(name)}", **_described(newest)}

    def deleted_bundle(self, name: str) -> dict[str, object]:
        """A deleted secret, with its newest version's id."""
        newest = self._deleted(name).versions[-1]
        return {**self._deletion(name), **self.bundle(name, newest, value=False)}

    def deleted_item(self, name: str) -> dict[str, object]:
        """A deleted secret in a list."""
        newest = self._deleted(name).versions[-1]
        identity = f"{self._base}/secrets/{self._spelled(name)}"
        return {**self._deletion(name), "id": identity, **_described(newest)}

    def _deletion(self, name: str) -> dict[str, object]:
        deleted = self._deleted(name).deleted
        purged = deleted + datetime.timedelta(days=rules.RECOVERABLE_DAYS)
        return {
            "recoveryId": f"{self._base}/deletedsecrets/{self._spelled(name)}",
            "deletedDate": int(deleted.timestamp()),
            "scheduledPurgeDate": int(purged.timestamp()),
        }

    def _versions(self, name: str) -> list[SecretVersion]:
        versions = self._vault.secrets.get(name.lower())
        if not versions:
            raise errors.not_found(name)
        return versions

    def _deleted(self, name: str) -> DeletedSecret:
        deleted = self._vault.deleted.get(name.lower())
        if deleted is None:
            raise errors.deleted_not_found(name)
        return deleted

    def _spelled(self, name: str) -> str:
        return self._vault.spelling.get(name.lower(), name)


def trace(world: World, count: int) -> str:
    """A GUID for one answer, which only the order of answers decides."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{sorted(world.vaults)}/{count}"))


def _change(held: SecretVersion, change: rules.Change) -> None:
    if change.content_type is not None:
        held.content_type = change.content_type
    if change.tags is not None:
        held.tags = dict(change.tags)
    attributes = change.attributes or rules.Attributes()
    if attributes.enabled is not None:
        held.enabled = attributes.enabled
    if attributes.nbf is not None:
        held.not_before = attributes.not_before
    if attributes.exp is not None:
        held.expires = attributes.expires


def _described(held: SecretVersion) -> dict[str, object]:
    attributes: dict[str, object] = {"enabled": held.enabled}
    if held.not_before is not None:
        attributes["nbf"] = int(held.not_before.timestamp())
    if held.expires is not None:
        attributes["exp"] = int(held.expires.timestamp())
    attributes["created"] = int(held.created.timestamp())
    attributes["updated"] = int(held.updated.timestamp())
    attributes["recoveryLevel"] = "Recoverable+Purgeable"
    attributes["recoverableDays"] = rules.RECOVERABLE_DAYS
    described: dict[str, object] = {"contentType": held.content_type} if held.content_type else {}
    described["attributes"] = attributes
    if held.tags:
        described["tags"] = dict(held.tags)
    return described


def _page(keys: Iterable[str], after: str, size: int) -> tuple[Sequence[str], str]:
    """The keys after *after*, and the last of them when more follow; keys that vanish meanwhile do no harm."""
    rest = [key for key in keys if key > after]
    return rest[:size], rest[size - 1] if len(rest) > size else ""
