"""Azure's answers and azure-core's exceptions as errors of ours: one table, by status and code, never by text.

The text of the 21st credential's refusal and that of overlapping writes begin with the same words; only status and code
tell them apart.
"""

import datetime
import email.utils
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import aiohttp
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from keystead.model.errors import Bug, KeysteadError, Refused, Retryable, Uncertain, Waits
from keystead.model.reasons import Reason

Row: TypeAlias = tuple[type[Retryable | Refused], Reason] | tuple[type[Retryable | Refused], Reason, Waits]
Table: TypeAlias = Mapping[tuple[int, str], Row]

CONCURRENT = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"

ARM: dict[tuple[int, str], Row] = {
    (400, ""): (Refused, Reason.AZURE_REFUSED),
    (401, ""): (Retryable, Reason.AZURE_SIGN_IN_FAILED, Waits.TENANT),
    (403, ""): (Refused, Reason.AZURE_FORBIDDEN),
    (403, "RequestDisallowedByPolicy"): (Refused, Reason.AZURE_POLICY),
    (404, ""): (Refused, Reason.IDENTITY_NOT_FOUND),
    (404, "SubscriptionNotFound"): (Refused, Reason.SUBSCRIPTION_NOT_FOUND),
    (405, ""): (Refused, Reason.REGION_UNSUPPORTED),
    (408, ""): (Retryable, Reason.AZURE_UNAVAILABLE),
    (409, ""): (Refused, Reason.AZURE_REFUSED),
    (409, CONCURRENT): (Retryable, Reason.CONCURRENT_WRITE),
    (409, "Conflict"): (Refused, Reason.TUPLE_TAKEN),
    (409, "MissingSubscriptionRegistration"): (Refused, Reason.PROVIDER_NOT_REGISTERED),
    (409, "ScopeLocked"): (Refused, Reason.AZURE_LOCKED),
    (429, ""): (Retryable, Reason.AZURE_THROTTLED),
    (429, "SubscriptionRequestsThrottled"): (Retryable, Reason.AZURE_THROTTLED, Waits.SUBSCRIPTION),
    (429, "TenantRequestsThrottled"): (Retryable, Reason.AZURE_THROTTLED, Waits.TENANT),
    (499, ""): (Retryable, Reason.AZURE_UNAVAILABLE),
    **{(status, "ReadOnlyDisabledSubscription"): (Refused, Reason.SUBSCRIPTION_DISABLED) for status in (400, 403, 409)},
}
"""(status, code) of Azure Resource Manager; an empty code is any other. 5xx is AZURE_UNAVAILABLE.

Refused: that claim or ledger entry waits, ever longer. Retryable: the lane, or all lanes of the subscription or tenant,
wait for as long as Azure says, or ever longer. No answer, a time-out, 408, 499, 5xx and an answer that cannot be read
leave a write uncertain: the identity is listed before anything is tried again. So does a 404 without a code: it is a
proxy's, and nothing is gone for it. Nor is it where the subscription is not found: that was moved to another tenant, or
the operator signs in to the wrong one, and the trust in it may stand.
"""


class Answer(NamedTuple):
    """What an answer means."""

    kind: type[Retryable | Refused]
    reason: Reason
    waits: Waits = Waits.IDENTITY


IDENTITIES: dict[tuple[int, str], Row] = {
    (403, ""): (Refused, Reason.GROWTH_FORBIDDEN),
    (403, "QuotaExceeded"): (Refused, Reason.AZURE_QUOTA),
    (404, ""): (Refused, Reason.GROUP_NOT_FOUND),
    (409, "InvalidResourceLocation"): (Refused, Reason.IDENTITY_NAME_TAKEN),
    (409, "QuotaExceeded"): (Refused, Reason.AZURE_QUOTA),
}
"""The same where identities are listed and made, as far as it differs."""
ROLES: dict[tuple[int, str], Row] = {
    (400, "PrincipalNotFound"): (Retryable, Reason.PRINCIPAL_UNKNOWN),
    (400, "RoleAssignmentLimitExceeded"): (Refused, Reason.AZURE_QUOTA),
    (403, ""): (Refused, Reason.ROLE_FORBIDDEN),
    (404, ""): (Refused, Reason.VAULT_NOT_FOUND),
    (409, "Conflict"): (Retryable, Reason.AZURE_UNAVAILABLE),
}
"""And where roles are listed and assigned ("Troubleshoot Azure RBAC"). RoleAssignmentExists is no error."""

_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)
FOREIGN = (AzureError, OSError, TimeoutError, *_UNREADABLE)
"""What the SDK raises; and what its models do over a body that is none of what they expect, as from a proxy on the way."""
_LONGEST_MESSAGE = 300  # characters of a foreign text that may go into a log line
_SERVER_ERROR = 500
_ERROR = 400
_NOT_FOUND = 404
_GAVE_UP = (408, 499)
"""Request Timeout and Client Closed Request: somebody on the way stopped waiting for the service behind."""


def from_arm(
    error: Exception, *, write: bool = False, now: datetime.datetime | None = None, table: Table = ARM
) -> KeysteadError:
    """The error of ours for anything that azure-core raises; *write* tells apart what may have happened.

    *table* comes before :data:`ARM`, which stands in for what it leaves out.
    """
    if isinstance(error, KeysteadError):
        return error
    if isinstance(error, ServiceResponseError | TimeoutError):
        if write:
            return Uncertain(Reason.AZURE_UNAVAILABLE, f"no answer from Azure: {type(error).__name__}")
        return Retryable(Reason.AZURE_UNAVAILABLE, f"no answer from Azure: {type(error).__name__}")
    if isinstance(error, ServiceRequestError) and not (write and _may_have_been_sent(error)):
        return Retryable(Reason.AZURE_UNAVAILABLE, f"cannot reach Azure: {str(error)[:_LONGEST_MESSAGE]}")
    if isinstance(error, ClientAuthenticationError) and not _from_resource_manager(error):
        text = f"cannot sign in to Azure: {_first_line(error)}"
        return Retryable(Reason.AZURE_SIGN_IN_FAILED, text, waits=Waits.TENANT)
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return _answered(error, error.status_code, table, write=write, now=now)
    if isinstance(error, FOREIGN):
        kind = Uncertain if write else Retryable
        return kind(Reason.AZURE_UNAVAILABLE, f"Azure: {type(error).__name__}: {_first_line(error)}")
    return Bug(f"{type(error).__name__} from the Azure SDK: {_first_line(error)}")


def _answered(
    error: HttpResponseError, status: int, table: Table, *, write: bool, now: datetime.datetime | None
) -> KeysteadError:
    code = str(getattr(error.error, "code", "") or "")
    text = f"Azure answered {status} {code}: {str(getattr(error.error, 'message', '') or '')[:_LONGEST_MESSAGE]}"
    strange = status == _NOT_FOUND and not code  # Resource Manager says what it has not found
    if status >= _SERVER_ERROR or status < _ERROR or status in _GAVE_UP or strange:
        if write:
            return Uncertain(Reason.AZURE_UNAVAILABLE, text, code=code)
        return Retryable(Reason.AZURE_UNAVAILABLE, text, code=code, after=retry_after(error.response, now))
    answer = meaning(status, code, table)
    if answer.kind is Retryable:
        after = retry_after(error.response, now)
        return Retryable(answer.reason, text, code=code, after=after, waits=answer.waits)
    return Refused(answer.reason, text, code=code)


def meaning(status: int, code: str, table: Table = ARM) -> Answer:
    """Pure: of an answer below 500; what is in no table is a refusal, which is never asked for in a hot loop."""
    found = (each.get(key) for key in ((status, code), (status, "")) for each in (table, ARM))
    return Answer(*next((row for row in found if row is not None), (Refused, Reason.AZURE_REFUSED)))


def retry_after(response: Any, now: datetime.datetime | None) -> float | None:
    """Seconds that the answer asks to wait, given as seconds or as an instant; ``None`` where it asks for no wait."""
    value = str((getattr(response, "headers", None) or {}).get("Retry-After", ""))
    if value.isascii() and value.replace(".", "", 1).isdigit():
        return float(value) or None
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if now is None or moment.tzinfo is None:
        return None
    return max(0.0, (moment - now).total_seconds()) or None


def _may_have_been_sent(error: ServiceRequestError) -> bool:
    """azure-core says so too of a connection that broke once the request was on its way (``transport/_aiohttp.py``)."""
    found: BaseException | None = error.inner_exception or error.__cause__
    broke = isinstance(found, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return broke and not isinstance(found, aiohttp.ClientConnectorError)


def _from_resource_manager(error: HttpResponseError) -> bool:
    """azure-core raises the same class for a refused sign-in and for a 401 of the resource itself."""
    request = getattr(error.response, "request", None)
    return "/subscriptions/" in str(getattr(request, "url", ""))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:_LONGEST_MESSAGE] if str(error) else type(error).__name__
