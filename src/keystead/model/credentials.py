"""Federated identity credentials and identities as Azure shows them, and the arithmetic of free slots.

Facts: 20 credentials per identity, exactly one audience, issuer and subject unique per identity, the name cannot change
(Entra documentation, "Workload identity federation: important considerations and restrictions").
"""

import datetime
from dataclasses import dataclass

from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason

CREDENTIALS_PER_IDENTITY = 20
EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"


@dataclass(frozen=True, slots=True, order=True)
class Credential:
    """A federated identity credential. ``subject`` is empty for those that match by expression."""

    name: str
    issuer: str
    subject: str
    audience: str

    @property
    def trust(self) -> tuple[str, str]:
        """What Azure keeps unique on an identity, compared exactly."""
        return (self.issuer, self.subject)

    def agrees(self, other: "Credential") -> bool:
        """Trusts the same tokens, whatever it is called."""
        return self.trust == other.trust and self.audience == other.audience


@dataclass(frozen=True, slots=True)
class IdentityState:
    """What was last seen of one identity, corrected by the writes that Azure has confirmed since."""

    id: IdentityId
    client_id: str = ""
    principal_id: str = ""
    tenant_id: str = ""
    credentials: tuple[Credential, ...] = ()
    listed_at: datetime.datetime | None = None
    """When the list was last read; ``None`` while it was never read, and then nothing is placed here."""
    problem: Reason | None = None
    """Why the identity cannot be used now (missing, forbidden, unreachable, ...)."""
    problem_detail: str = ""
    full: bool = False
    """Azure refused a 21st credential since the last list: no room whatever the list says."""

    @property
    def known(self) -> bool:
        return self.listed_at is not None

    def holder_of(self, trust: tuple[str, str]) -> Credential | None:
        return next((held for held in self.credentials if held.trust == trust), None)

    def named(self, name: str) -> Credential | None:
        # Azure resource names are compared without regard to case.
        return next((held for held in self.credentials if held.name.lower() == name.lower()), None)


def room(*, foreign: int, reserved: int, ours: int, pending: int) -> int:
    """Pure: free slots on one identity; never negative.

    ``foreign`` are other people's credentials on it, ``reserved`` the slots left to them (whichever is more counts),
    ``ours`` the credentials of ours that the list shows, ``pending`` those the ledger promises and the list lacks.
    """
    return max(0, CREDENTIALS_PER_IDENTITY - max(reserved, foreign) - ours - pending)
