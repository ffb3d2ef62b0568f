"""Entra's refusals: one catalogue of codes, and the shape that every one of them has on the wire.

- Statuses, OAuth errors and wordings follow what Entra answers: "Microsoft Entra authentication and authorization
  error codes", the Azure workload identity troubleshooting page, and refusals quoted in public reports. Clients must
  decide by ``error_codes``; Entra's documentation promises nothing about the texts.
- Every row here is produced by some request. 70021 is what Entra answered before the codes were told apart; a rule
  brings it back. When exactly 90061 is answered, and the words of 700223 and 700238, are inferred.
- A refusal quotes what the client claimed (issuer, subject, audience), never an assertion or a secret.
"""

import datetime
import hashlib
import uuid
from dataclasses import dataclass

_FEDERATION = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
_FEDERATION_OLD = "https://docs.microsoft.com/azure/active-directory/develop/workload-identity-federation"
_CERTIFICATES = (
    "Review the documentation at"
    " https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials ."
)
_CHECK = "Check your federated identity credential Subject, Audience and Issuer against the presented assertion."
_NO_MATCH = "No matching federated identity record found for presented assertion"


@dataclass(frozen=True, slots=True)
class Row:
    """One AADSTS code."""

    status: int
    error: str
    template: str


CODES: dict[int, Row] = {
    50027: Row(400, "invalid_request", "JWT token is invalid or malformed."),
    50049: Row(400, "invalid_instance", "Unknown or invalid instance."),
    50059: Row(
        400,
        "invalid_request",
        "No tenant-identifying information found in either the request or implied by any provided credentials.",
    ),
    50166: Row(400, "invalid_request", "Request to External OIDC endpoint failed."),
    70003: Row(400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant_type}'."),
    70011: Row(
        400,
        "invalid_scope",
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter"
        " 'scope' is not valid. The scope {scope} is not valid.",
    ),
    70021: Row(
        401,
        "invalid_client",
        f"{_NO_MATCH}. Assertion Issuer: '{{issuer}}'. Assertion Subject: '{{subject}}'. Assertion Audience:"
        f" '{{audience}}'. {_FEDERATION_OLD}",
    ),
    70023: Row(
        400,
        "invalid_request",
        "External OIDC Provider token must have a lifetime of less than or equal to 1.01:00:00."
        " Token issued at {issued}. Token expires on {expires}.",
    ),
    70025: Row(
        401, "invalid_client", "The client '{client_id}'({name}) has no configured federated identity credentials."
    ),
    90002: Row(
        400,
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the"
        " correct cloud. Check with your subscription administrator, this may happen if there are no active"
        " subscriptions for the tenant.",
    ),
    90013: Row(400, "invalid_request", "Invalid input received from the user: '{parameter}' was sent more than once."),
    90061: Row(400, "invalid_request", "Request to External OIDC endpoint failed."),
    500011: Row(
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You might have sent your authentication request to the wrong tenant.",
    ),
    501661: Row(400, "invalid_request", "Request to External OIDC endpoint failed. {detail}"),
    700016: Row(
        400,
        "unauthorized_client",
        "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You may have sent your authentication request to the wrong tenant.",
    ),
    700021: Row(
        401,
        "invalid_client",
        f"Client assertion application identifier doesn't match 'client_id' parameter. {_CERTIFICATES}",
    ),
    700023: Row(401, "invalid_client", f"Client assertion audience claim does not match Realm issuer. {_CERTIFICATES}"),
    700024: Row(
        401,
        "invalid_client",
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {begins},"
        f" expiry time of assertion {{ends}}. {_CERTIFICATES}",
    ),
    700027: Row(401, "invalid_client", "Client assertion contains an invalid signature. [Reason - {reason}]"),
    700211: Row(
        401,
        "invalid_client",
        f"{_NO_MATCH} issuer '{{issuer}}'. Please {_CHECK[0].lower()}{_CHECK[1:]} {_FEDERATION_OLD}",
    ),
    700212: Row(
        401,
        "invalid_client",
        f"{_NO_MATCH} audience '{{audience}}'. Please {_CHECK[0].lower()}{_CHECK[1:]} {_FEDERATION_OLD}",
    ),
    700213: Row(
        401,
        "invalid_client",
        f"{_NO_MATCH} subject '{{subject}}'. Please note that the matching is done using a case-sensitive comparison."
        f" {_CHECK} {_FEDERATION}",
    ),
    700222: Row(
        400, "invalid_request", "AAD-issued tokens may not be used for federated identity flows: issuer '{issuer}'."
    ),
    700223: Row(
        400, "invalid_request", "The tenant '{tenant}' does not allow sign-in with federated identity credentials."
    ),
    700238: Row(
        400,
        "invalid_request",
        "The tenant '{tenant}' does not allow federated identity credentials of the issuer '{issuer}'.",
    ),
    900023: Row(
        400,
        "invalid_request",
        "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.",
    ),
    900144: Row(400, "invalid_request", "The request body must contain the following parameter: '{parameter}'."),
    900561: Row(400, "invalid_request", "The endpoint only accepts {accepted} requests. Received a {method} request."),
    1000502: Row(401, "invalid_client", "The provided certificate is not within its specified validity period."),
    1002012: Row(
        400,
        "invalid_scope",
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with"
        " /.default suffixed to the resource identifier (application ID URI).",
    ),
    5002727: Row(
        400,
        "invalid_request",
        "Invalid JWT header type specified, must be 'JWT' or 'http://openid.net/specs/jwt/1.0'.",
    ),
    7000215: Row(
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not"
        " the client secret ID, for a secret added to app '{client_id}'.",
    ),
    7000218: Row(
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    7002121: Row(
        401,
        "invalid_client",
        f"{_NO_MATCH} audience '{{audience}}', or no federated identity credential expression matched. {_CHECK}"
        f" {_FEDERATION}",
    ),
    7002131: Row(
        401,
        "invalid_client",
        f"{_NO_MATCH} subject '{{subject}}', or no federated identity credential expression matched. {_CHECK}"
        f" {_FEDERATION}",
    ),
    7002138: Row(
        401,
        "invalid_client",
        f"{_NO_MATCH} subject '{{subject}}'. The subject matches with case-insensitive comparison, but not with"
        f" case-sensitive comparison. {_CHECK} {_FEDERATION}",
    ),
}


class RefusedError(Exception):
    """A request that Entra turns down, by its AADSTS code."""

    def __init__(self, code: int, **values: str) -> None:
        row = CODES[code]
        super().__init__(f"AADSTS{code}")
        self.code = code
        self.status = row.status
        self.error = row.error
        self.message = row.template.format(**values)


def wire(
    refused: RefusedError, *, now: datetime.datetime, trace: str, correlation: str, host: str
) -> dict[str, object]:
    """The JSON body of a refusal."""
    timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ")
    return {
        "error": refused.error,
        "error_description": f"AADSTS{refused.code}: {refused.message} Trace ID: {trace}"
        f" Correlation ID: {correlation} Timestamp: {timestamp}",
        "error_codes": [refused.code],
        "timestamp": timestamp,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://{host}/error?code={refused.code}",
    }


def digest_guid(text: str) -> str:
    """A GUID that only *text* decides, so that a run can be repeated."""
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))
