"""What reporting needs from the Kubernetes adapter."""

from typing import Protocol

from keystead.model.records import Claim, Federation, Grant
from keystead.report.status import ClaimStatus, EventDraft, FederationStatus, GrantStatus


class StatusWriter(Protocol):
    """One server-side-apply status patch per call, and Events. Raises errors of :mod:`keystead.model.errors`."""

    async def claim_status(self, claim: Claim, status: ClaimStatus) -> None: ...

    async def federation_status(self, federation: Federation, status: FederationStatus) -> None: ...

    async def grant_status(self, grant: Grant, status: GrantStatus) -> None: ...

    async def event(self, event: EventDraft) -> None: ...
