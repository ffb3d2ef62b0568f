"""Pure: ``spec.provisioning`` parsed, and the names and tags by which the operator's own identities are found again.

- A name is the prefix, a short hash of cluster, grant and vault, and a number: grants and clusters that share a resource
  group and a prefix never reach for the same name, and no identity ever has a role on two vaults.
- The name alone proves nothing. Ours are those whose tags, too, name this cluster and this grant. Whoever takes a tag
  away takes the identity out of the pool.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from keystead.model.credentials import CREDENTIALS_PER_IDENTITY
from keystead.model.growth import FoundIdentity
from keystead.model.ids import GroupId, IdentityId, VaultId, VaultUrl
from keystead.model.records import Cluster, Grant

CLUSTER_TAG, GRANT_TAG, VAULT_TAG = "keystead-cluster", "keystead-grant", "keystead-vault"
MOST_IDENTITIES = 200
_LONGEST_PREFIX = 100
_HASH_LENGTH = 8
_PREFIX = re.compile(rf"^[a-zA-Z0-9][a-zA-Z0-9_-]{{0,{_LONGEST_PREFIX - 1}}}\Z")
_LOCATION = re.compile(r"^[A-Za-z][A-Za-z0-9 ]{1,60}\Z")
_ROLE = re.compile(
    r"^(?:(?:/subscriptions/[0-9a-f-]{36})?/providers/microsoft\.authorization/roledefinitions/)?"
    r"(?P<role>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$"
)


@dataclass(frozen=True, slots=True)
class Growing:
    """How a pool grows, parsed."""

    group: GroupId
    location: str
    stem: str
    """What the names of this grant's identities begin with, in this cluster, for this vault."""
    most: int
    headroom: int
    role: str
    """GUID of the role's definition."""
    vault: VaultId
    tags: tuple[tuple[str, str], ...]

    def identity(self, number: int) -> IdentityId:
        """The identity of this number."""
        return self.group.identity(f"{self.stem}-{number:03}")

    def number(self, identity: IdentityId) -> int | None:
        """Which number of ours the identity's name carries; ``None``: it is no name of ours."""
        head, _, number = identity.name.lower().rpartition("-")
        ours = head == self.stem.lower() and number.isascii() and number.isdigit()
        return int(number) if ours and identity.key.startswith(f"{self.group.key}/") else None

    def owns(self, found: FoundIdentity) -> bool:
        """Name and tags say that it is this grant's."""
        wanted = dict(self.tags)
        # Azure keeps the case of a tag's name, and compares it without regard to case.
        given = {name.lower(): value for name, value in found.tags.items()}
        return self.number(found.id) is not None and all(
            given.get(name) == wanted[name] for name in (CLUSTER_TAG, GRANT_TAG)
        )


def growing(grant: Grant, cluster: Cluster) -> Growing | None:
    """How this grant's pool grows; ``None`` when it does not, or when what it says makes no sense."""
    wanted = grant.provisioning
    if wanted is None or any(True for _ in faults(grant)):
        return None
    vault, role = VaultId.parse(grant.vault_resource_id), _ROLE.match(wanted.role_definition_id.strip().lower())
    if role is None:
        return None
    parts = "\n".join((cluster.id, grant.name, vault.key))
    digest = base64.b32encode(hashlib.sha256(parts.encode()).digest()).decode().lower()[:_HASH_LENGTH]
    tags = ((CLUSTER_TAG, cluster.id), (GRANT_TAG, grant.name), (VAULT_TAG, vault.name))
    return Growing(
        GroupId.parse(wanted.resource_group_id),
        wanted.location.strip(),
        f"{wanted.name_prefix}-{digest}",
        wanted.max_identities,
        wanted.headroom,
        role["role"],
        vault,
        tags,
    )


def may_make(grant: Grant, resource_id: str) -> bool:
    """Whether the identity's name begins as those that the grant's pool makes: true of all of these, and cheap to ask."""
    return grant.provisioning is not None and f"/{grant.provisioning.name_prefix}-".lower() in resource_id.lower()


def makes(grant: Grant, cluster: Cluster, identity: IdentityId) -> bool:
    """Whether the identity goes by a name that the grant's pool gives, made already or not."""
    grows = growing(grant, cluster) if may_make(grant, identity.text) else None
    return grows is not None and grows.number(identity) is not None


def vault_id(grant: Grant) -> VaultId | None:
    """The vault's ARM id; ``None`` when it is not given, or malformed."""
    try:
        return VaultId.parse(grant.vault_resource_id) if grant.vault_resource_id else None
    except ValueError:
        return None


Fault = tuple[str, str, str, str]
"""Field, what was given, what is wrong with it, the cure."""


def faults(grant: Grant) -> Iterator[Fault]:
    """What makes no sense in ``spec.provisioning`` and ``spec.vault.resourceId``."""
    yield from _vault_faults(grant)
    wanted = grant.provisioning
    if wanted is None:
        return
    path = "spec.provisioning"
    try:
        GroupId.parse(wanted.resource_group_id)
    except ValueError as error:
        yield f"{path}.resourceGroupId", repr(wanted.resource_group_id), str(error), "see `az group show --query id`"
    if not _PREFIX.match(wanted.name_prefix):
        cure = f"use letters, digits, '-' and '_', at most {_LONGEST_PREFIX}, the first a letter or digit"
        yield f"{path}.namePrefix", repr(wanted.name_prefix), "begins no name of an identity", cure
    if not _LOCATION.match(wanted.location.strip()):
        yield f"{path}.location", repr(wanted.location), "is not a region", "see `az account list-locations`"
    if not _ROLE.match(wanted.role_definition_id.strip().lower()):
        cure = "give its GUID, or its id /subscriptions/UUID/providers/Microsoft.Authorization/roleDefinitions/GUID"
        yield f"{path}.roleDefinitionId", repr(wanted.role_definition_id), "is not a role definition", cure
    if not 1 <= wanted.max_identities <= MOST_IDENTITIES:
        cure = f"give a number from 1 to {MOST_IDENTITIES}"
        yield f"{path}.maxIdentities", str(wanted.max_identities), "is not a number of identities", cure
    most = CREDENTIALS_PER_IDENTITY * max(1, wanted.max_identities)
    if not 0 <= wanted.headroom <= most:
        cure = f"give a number from 0 to {most}, which is {CREDENTIALS_PER_IDENTITY} for each of maxIdentities"
        yield f"{path}.headroom", str(wanted.headroom), "is more than the pool can ever have free", cure


def _vault_faults(grant: Grant) -> Iterator[Fault]:
    path, given = "spec.vault.resourceId", grant.vault_resource_id
    if not given:
        if grant.provisioning is not None:
            cure = "give the vault's id, see `az keyvault show --query id`"
            yield path, "nothing", "is where spec.provisioning would assign the role", cure
        return
    try:
        vault = VaultId.parse(given)
    except ValueError as error:
        yield path, repr(given), str(error), "see `az keyvault show --query id`"
        return
    try:
        url = VaultUrl.parse(grant.vault_url)
    except ValueError:
        return  # named on its own account
    if url.name != vault.name:
        yield path, repr(given), f"is another vault than {url}", "let both name the same vault"
