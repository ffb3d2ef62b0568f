"""Azure Resource Manager's errors: ``{"error": {"code", "message"}}``.

Codes and texts are those of the documentation and of answers recorded in public issues; where only the beginning of a text
is known, ours says nothing more than that.
"""

from starlette.responses import JSONResponse


class Refusal(Exception):
    """A request that ARM or a resource provider refuses."""

    def __init__(self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        """As ARM answers it."""
        body = {"error": {"code": self.code, "message": self.message}}
        return JSONResponse(body, status_code=self.status, headers=self.headers)


def unauthenticated() -> Refusal:
    """401."""
    return Refusal(
        401,
        "AuthenticationFailed",
        "Authentication failed. The 'Authorization' header is missing or its token is not valid here.",
        headers={
            "WWW-Authenticate": 'Bearer authorization_uri="https://login.microsoftonline.com/", error="invalid_token"'
        },
    )


def forbidden(client: str, object_id: str, action: str, scope: str) -> Refusal:
    """403 of Azure RBAC."""
    return Refusal(
        403,
        "AuthorizationFailed",
        f"The client '{client}' with object id '{object_id}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
    )


def not_found(kind: str, name: str, group: str) -> Refusal:
    """404 of the gateway."""
    return Refusal(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )


def parent_missing() -> Refusal:
    """404 of the provider."""
    return Refusal(404, "ParentResourceNotFound", "The parent user-assigned identity doesn't exist.")


def concurrent(resource_id: str) -> Refusal:
    """409: another write holds the identity."""
    return Refusal(
        409,
        "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
        "Too many Federated Identity Credentials are written concurrently for the managed identity "
        f"'{resource_id.lower()}'. Concurrent Federated Identity Credentials writes under the same managed identity are "
        "not supported.",
    )


def taken() -> Refusal:
    """Issuer and subject stand on the identity under another name."""
    return Refusal(409, "Conflict", "Issuer and subject combination already exists for this Managed Identity.")


def too_many() -> Refusal:
    """The 21st credential; only the beginning of the real text is known."""
    return Refusal(400, "BadRequest", "Too many Federated Identity Credentials.")


def bad_request(message: str) -> Refusal:
    """400."""
    return Refusal(400, "BadRequest", message)


def throttled(resource_id: str, seconds: int) -> Refusal:
    """429 of the identity's provider, with the wait in the client's own seconds."""
    return Refusal(
        429,
        "TooManyRequests",
        f"Request is temporarily throttled because resource {resource_id} has issued too many requests. "
        f"Retry after {seconds} seconds.",
        headers={"Retry-After": str(seconds)},
    )


def bad_version(version: str, kind: str, known: list[str]) -> Refusal:
    """400 for an api-version that the type does not have."""
    if not version:
        return Refusal(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    return Refusal(
        400,
        "InvalidResourceType",
        f"The resource type '{kind}' could not be found in the namespace 'Microsoft.ManagedIdentity' for api version "
        f"'{version}'. The supported api-versions are '{','.join(sorted(known))}'.",
    )
