"""Entra's errors: code, HTTP status, OAuth error and text, in one table.

Shapes and codes follow Microsoft's reference of AADSTS error codes and answers recorded in public issues.
"""

import datetime
import uuid
from dataclasses import dataclass

from starlette.responses import JSONResponse

_CHECK = "Please check your federated identity credential Subject, Audience and Issuer against the presented assertion."
_DOCS = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"


@dataclass(frozen=True, slots=True)
class Row:
    """One code."""

    status: int
    error: str
    text: str


CODES: dict[int, Row] = {
    50027: Row(400, "invalid_request", "JWT token is invalid or malformed."),
    50166: Row(400, "invalid_request", "Request to External OIDC endpoint failed."),
    500011: Row(
        400, "invalid_resource", "The resource principal named {resource} was not found in the tenant named {tenant}."
    ),
    70011: Row(400, "invalid_scope", "The provided value for the input parameter 'scope' is not valid: {scope}."),
    70023: Row(
        400,
        "invalid_request",
        "External OIDC Provider token must have a lifetime of less than or equal to 1.01:00:00. "
        "Token issued at {issued}. Token expires on {expires}.",
    ),
    70025: Row(
        401, "invalid_client", "The client '{client}'({name}) has no configured federated identity credentials."
    ),
    700016: Row(
        400,
        "unauthorized_client",
        "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the tenant. "
        "You may have sent your authentication request to the wrong tenant.",
    ),
    700024: Row(
        401,
        "invalid_client",
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {start}, expiry "
        "time of assertion {end}.",
    ),
    700027: Row(401, "invalid_client", "Client assertion contains an invalid signature. [Reason - {reason}]"),
    700211: Row(
        401,
        "invalid_client",
        f"No matching federated identity record found for presented assertion issuer '{{issuer}}'. {_CHECK} {_DOCS}",
    ),
    700212: Row(
        401,
        "invalid_client",
        f"No matching federated identity record found for presented assertion audience '{{audience}}'. {_CHECK} {_DOCS}",
    ),
    700213: Row(
        401,
        "invalid_client",
        f"No matching federated identity record found for presented assertion subject '{{subject}}'. {_CHECK} {_DOCS}",
    ),
    7002138: Row(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion subject '{subject}'. The subject matches with "
        "case-insensitive comparison, but not with case-sensitive comparison.",
    ),
    7000215: Row(
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the "
        "client secret ID, for a secret added to app '{client}'.",
    ),
    7000218: Row(
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    70003: Row(400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."),
    900144: Row(400, "invalid_request", "The request body must contain the following parameter: '{name}'."),
    90002: Row(
        400,
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct "
        "cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the "
        "tenant.",
    ),
}


class Refusal(Exception):
    """An exchange that is refused, with the code that says why."""

    def __init__(self, code: int, **values: str) -> None:
        super().__init__(f"AADSTS{code}")
        self.code = code
        self.values = values

    def response(self, now: datetime.datetime) -> JSONResponse:
        """As Entra answers it."""
        row = CODES[self.code]
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        moment = now.strftime("%Y-%m-%d %H:%M:%SZ")
        text = row.text.format(**self.values)
        return JSONResponse(
            {
                "error": row.error,
                "error_description": f"AADSTS{self.code}: {text} Trace ID: {trace} Correlation ID: {correlation} "
                f"Timestamp: {moment}",
                "error_codes": [self.code],
                "timestamp": moment,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
            },
            status_code=row.status,
        )
