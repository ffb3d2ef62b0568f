"""Pure: whether every identity of the pool has the role that the vault is read with.

- What a growing pool assigns is what its own identities must have; people's identities may read secrets by any role.
- Elsewhere the built-in roles that read secrets count, and where nobody has one, the roles that most of the pool has.
- *No* is only said of an identity that has less than the others. One with a role of its own may read by that (what a
  custom role allows is not looked up), and one without any may be a member of a group that has the role.
- Nobody knows where assignments may not be read, nor where no identity has a role (the vault may go by access policies).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from keystead.model.credentials import IdentityState
from keystead.model.growth import SECRETS_USER, Look, RoleHolders
from keystead.model.ids import IdentityId
from keystead.plan.validation import Member

READS_SECRETS = frozenset(
    {
        SECRETS_USER,
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",  # Key Vault Secrets Officer
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",  # Key Vault Administrator
        "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",  # Key Vault Certificate User
    }
)
"""Built-in roles whose data actions read a secret and list names (Azure, "Built-in roles for security")."""


class Parity:
    """Answers for the members of one pool; *role* is what the operator gives to identities of its own making."""

    def __init__(
        self,
        members: Sequence[Member],
        states: Mapping[IdentityId, IdentityState],
        roles: Look[RoleHolders],
        role: str = "",
    ) -> None:
        self._roles = roles
        self._role = role
        self._held = {
            each.identity: self.of_principal(states[each.identity].principal_id)
            for each in members
            if each.identity in states and states[each.identity].principal_id
        }
        self._suitable = READS_SECRETS | ({role} if role else set())
        common = Counter(each for held in self._held.values() for each in held)
        usual = frozenset(each for each, count in common.items() if count * 2 > len(members) > 1)
        equipped = any(held & self._suitable for held in self._held.values())
        self._reference = self._suitable if equipped else usual
        holders = [held for held in self._held.values() if held & self._reference]
        self._usual = frozenset().union(*holders)

    def of_principal(self, principal: str) -> frozenset[str]:
        """Roles that are the principal's own."""
        return self._roles.value.held.get(principal.lower(), frozenset()) if principal else frozenset()

    def assigned(self, member: Member) -> bool | None:
        """Whether the member has the role; ``None``: nobody knows."""
        ours = not member.where
        wanted = frozenset({self._role}) if ours else self._suitable
        held = self._held.get(member.identity)
        if held is not None and held & wanted:
            return True
        reference = wanted if ours else self._reference
        if held is None or self._roles.at is None or reference & self._roles.value.through_groups:
            return None
        if ours:
            return False
        return None if not self._usual or held & reference or held - self._usual else False
