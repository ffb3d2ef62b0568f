"""A pool that grows by itself: what a grant asks for, and what stands of it in Azure.

Facts: names of user-assigned identities have 3 to 128 characters (Azure, "Naming rules and restrictions"); a role
assignment may take ten minutes to work ("Troubleshoot Azure RBAC").
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason

PROBE_ACCOUNT = "keystead-probe"
"""ServiceAccount in the operator's own namespace, as which a new identity is proven. It serves nobody."""
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
"""Built-in role Key Vault Secrets User: reads secrets and their names, nothing else."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Provisioning:
    """``spec.provisioning`` as written."""

    resource_group_id: str
    location: str
    name_prefix: str
    max_identities: int
    headroom: int = 5
    role_definition_id: str = SECRETS_USER


@dataclass(frozen=True, slots=True)
class IdentityProof:
    """From the grant's status: when this very principal was proven to read the vault; ``None``: it is not proven."""

    resource_id: str
    principal_id: str
    proven_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class FoundIdentity:
    """An identity as the list of its resource group shows it."""

    id: IdentityId
    client_id: str = ""
    principal_id: str = ""
    tenant_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoleHolders:
    """Who has which roles on a vault, there or above; ids in lower case, roles by their GUID."""

    held: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By principal: roles that are its own."""
    through_groups: frozenset[str] = frozenset()
    """Roles that some group has: whose members are not to be seen here."""


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """What was last read of something, and what stood in the way since."""

    value: T
    at: datetime.datetime | None = None
    """When it was last read; ``None``: never."""
    problem: Reason | None = None
    detail: str = ""

    @property
    def pending(self) -> bool:
        """Never read, and nothing is known that stands in the way."""
        return self.at is None and self.problem is None
