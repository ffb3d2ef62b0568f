"""Scopes that assignments, locks and policies are put on: what they name must be there."""

import re

from keystead_sandbox.arm import errors, rules
from keystead_sandbox.world import World

_GUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_GROUP = 5  # parts of a group's path, with the empty one in front
_RESOURCE = 9


def is_guid(text: str) -> bool:
    """Whether *text* is a GUID in the usual form."""
    return _GUID.fullmatch(text) is not None


def check(world: World, scope: str) -> None:
    """404 when the scope's group, or the identity or vault that it is (in), is not there; others are taken as given."""
    parts = scope.split("/")
    if len(parts) < _GROUP or parts[3].lower() != "resourcegroups":
        return
    rules.group(world, parts[2], parts[4])
    if len(parts) < _RESOURCE:
        return
    kind, path = "/".join(parts[6:8]), "/".join(parts[:9])
    if kind.lower() == rules.IDENTITIES.lower() and world.identity(path) is None:
        raise errors.not_found(kind, parts[8], parts[4])
    if kind.lower() == rules.VAULTS.lower():
        vault = world.vault(parts[8])
        if vault is None or vault.resource_id.lower() != path.lower():
            raise errors.not_found(kind, parts[8], parts[4])
