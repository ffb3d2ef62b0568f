"""Managed identities and their federated credentials, on the official SDK with its own retries off: lanes own them.

Implements :class:`keystead.observe.ports.IdentityReader` and :class:`keystead.apply.ports.Credentials`.
"""

from typing import TYPE_CHECKING, Any

from azure.mgmt.msi.v2024_11_30.aio import ManagedServiceIdentityClient

from keystead.azure.clouds import Cloud
from keystead.azure.errors import FOREIGN, from_arm
from keystead.azure.transport import MakeTransport
from keystead.model.clock import Clock
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY, Credential, IdentityState
from keystead.model.errors import KeysteadError, Refused
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


class IdentityClient:
    """One SDK client for each subscription, all on one kind of transport."""

    def __init__(
        self, credential: "AsyncTokenCredential", cloud: Cloud, make_transport: MakeTransport, clock: Clock
    ) -> None:
        self._credential = credential
        self._cloud = cloud
        self._make_transport = make_transport
        self._clock = clock
        self._clients: dict[str, ManagedServiceIdentityClient] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def identity(self, identity: IdentityId) -> IdentityState:
        try:
            found = await self._client(identity).user_assigned_identities.get(identity.resource_group, identity.name)
            return IdentityState(
                identity,
                client_id=found.client_id or "",
                principal_id=found.principal_id or "",
                tenant_id=found.tenant_id or "",
            )
        except FOREIGN as error:
            raise self._error(error) from error

    async def credentials(self, identity: IdentityId) -> tuple[Credential, ...]:
        listed: list[Credential] = []
        try:
            operations = self._client(identity).federated_identity_credentials
            async for each in operations.list(identity.resource_group, identity.name):
                audiences = each.audiences or [""]
                # Credentials that match by expression have no subject; they take a slot all the same.
                listed.append(Credential(each.name or "", each.issuer or "", each.subject or "", audiences[0]))
        except FOREIGN as error:
            raise self._error(error) from error
        return tuple(sorted(listed))

    async def write(self, identity: IdentityId, credential: Credential) -> None:
        body: Any = {
            "properties": {
                "issuer": credential.issuer,
                "subject": credential.subject,
                "audiences": [credential.audience],
            }
        }
        try:
            await self._client(identity).federated_identity_credentials.create_or_update(
                identity.resource_group, identity.name, credential.name, body
            )
        except FOREIGN as error:
            raise await self._explained(identity, credential, self._error(error, write=True)) from error

    async def delete(self, identity: IdentityId, name: str) -> None:
        try:
            await self._client(identity).federated_identity_credentials.delete(
                identity.resource_group, identity.name, name
            )
        except FOREIGN as error:
            refusal = self._error(error, write=True)
            if refusal.reason is not Reason.IDENTITY_NOT_FOUND:
                raise refusal from error

    async def _explained(self, identity: IdentityId, credential: Credential, error: KeysteadError) -> KeysteadError:
        """A bare BadRequest or Conflict, told apart by what the identity holds.

        Azure has one code for the 21st credential and for malformed ones, and documentation and field reports
        disagree on the status for a taken issuer and subject.
        """
        if not isinstance(error, Refused) or error.reason not in (Reason.AZURE_REFUSED, Reason.TUPLE_TAKEN):
            return error
        try:
            held = await self.credentials(identity)
        except KeysteadError:
            return error
        if any(each.trust == credential.trust and each.name.lower() != credential.name.lower() for each in held):
            return Refused(Reason.TUPLE_TAKEN, str(error), code=error.code)
        if len(held) >= CREDENTIALS_PER_IDENTITY:
            return Refused(Reason.IDENTITY_FULL, str(error), code=error.code)
        return error

    def _client(self, identity: IdentityId) -> ManagedServiceIdentityClient:
        client = self._clients.get(identity.subscription)
        if client is None:
            client = ManagedServiceIdentityClient(
                self._credential,
                identity.subscription,
                base_url=self._cloud.resource_manager,
                credential_scopes=[self._cloud.resource_manager_scope],
                transport=self._make_transport(),
                retry_total=0,
            )
            self._clients[identity.subscription] = client
        return client

    def _error(self, error: Exception, *, write: bool = False) -> KeysteadError:
        return from_arm(error, write=write, now=self._clock.now())
