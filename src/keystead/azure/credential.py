"""How the operator itself signs in to Azure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keystead.azure.clouds import Cloud
from keystead.azure.transport import MakeTransport
from keystead.model.errors import Refused
from keystead.model.reasons import Reason
from keystead.model.secret import Secret

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


@dataclass(frozen=True, slots=True)
class SignIn:
    """What the environment offers; empty fields are absent."""

    tenant_id: str = ""
    client_id: str = ""
    client_secret: Secret | None = None
    token_file: str = ""
    """Of Azure workload identity (AZURE_FEDERATED_TOKEN_FILE)."""


def make_credential(sign_in: SignIn, cloud: Cloud, transport: MakeTransport) -> "AsyncTokenCredential":
    """The most specific that is complete: secret, workload identity, managed identity, else the default chain.

    azure-identity is imported piece by piece: the whole of it costs tens of megabytes.

    Raises:
        Refused: What is offered makes no sense (an empty client id, a tenant that is none), as azure-identity says.

    """
    try:
        return _most_specific(sign_in, cloud, transport)
    except ValueError as error:
        text = f"cannot sign in to Azure: {error}; correct or unset AZURE_TENANT_ID, AZURE_CLIENT_ID and the rest."
        raise Refused(Reason.AZURE_SIGN_IN_FAILED, text) from error


def _most_specific(sign_in: SignIn, cloud: Cloud, transport: MakeTransport) -> "AsyncTokenCredential":
    how: dict[str, Any] = {"authority": cloud.authority, "transport": transport(), "retry_total": 1}
    if sign_in.tenant_id and sign_in.client_id and sign_in.client_secret is not None:
        from azure.identity.aio import ClientSecretCredential  # noqa: PLC0415 - see above

        return ClientSecretCredential(sign_in.tenant_id, sign_in.client_id, sign_in.client_secret.reveal(), **how)
    if sign_in.tenant_id and sign_in.client_id and sign_in.token_file:
        from azure.identity.aio import WorkloadIdentityCredential  # noqa: PLC0415 - see above

        return WorkloadIdentityCredential(
            tenant_id=sign_in.tenant_id, client_id=sign_in.client_id, token_file_path=sign_in.token_file, **how
        )
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 - see above

    return DefaultAzureCredential(managed_identity_client_id=sign_in.client_id or None, **how)
