"""Azure Resource Manager's errors: ``{"error": {"code", "message"}}``.

Codes and texts are those of the documentation and of answers recorded in public issues; where only the beginning of a
text is known, ours says nothing more than that.
"""

from collections.abc import Collection

from starlette.responses import JSONResponse

from keystead_sandbox.resources import Identity


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


def unauthenticated(login: str, tenant: str) -> Refusal:
    """401: no token at all."""
    text = "Authentication failed. The 'Authorization' header is missing or not Bearer."
    return _unsigned(login, tenant, "AuthenticationFailed", text)


def bad_token(login: str, tenant: str) -> Refusal:
    """401: a token that is not for here, not ours, or not in its time."""
    return _unsigned(login, tenant, "InvalidAuthenticationToken", "The access token is invalid.")


def wrong_tenant(login: str, wanted: str, issuers: tuple[str, str]) -> Refusal:
    """401: a token of another tenant than the subscription's."""
    return _unsigned(
        login,
        wanted,
        "InvalidAuthenticationTokenTenant",
        f"The access token is from the wrong issuer '{issuers[0]}'. It must match the tenant '{issuers[1]}' associated "
        "with this subscription.",
    )


def _unsigned(login: str, tenant: str, code: str, message: str) -> Refusal:
    challenge = f'Bearer authorization_uri="https://{login}/{tenant}", error="invalid_token"'
    return Refusal(401, code, message, headers={"WWW-Authenticate": challenge})


def forbidden(client: str, object_id: str, action: str, scope: str) -> Refusal:
    """403 of Azure RBAC."""
    return Refusal(
        403,
        "AuthorizationFailed",
        f"The client '{client}' with object id '{object_id}' does not have authorization to perform action '{action}' "
        f"over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your "
        "credentials.",
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
        f"'{resource_id.lower()}'. Concurrent Federated Identity Credentials writes under the same managed identity "
        "are not supported.",
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


def request_throttled(kind: str, subscription: str, object_id: str, seconds: int) -> Refusal:
    """429 of Resource Manager itself."""
    return Refusal(
        429,
        "SubscriptionRequestsThrottled",
        f"Number of '{kind}' requests for subscription '{subscription}' actor '{object_id}' exceeded. Please try again "
        f"after '{seconds}' seconds.",
        headers={"Retry-After": str(seconds)},
    )


def bad_version(version: str, kind: str, known: Collection[str]) -> Refusal:
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


def no_group(name: str) -> Refusal:
    """404: the resource group."""
    return Refusal(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")


def no_credential(name: str, identity: Identity) -> Refusal:
    """404: the credential under an identity that is there. The real text is not known."""
    return Refusal(404, "NotFound", f"The federated identity credential '{name}' of '{identity.name}' was not found.")


def no_assignment(name: str) -> Refusal:
    """404: the role assignment."""
    return Refusal(404, "RoleAssignmentNotFound", f"The role assignment '{name}' is not found.")


def assignment_exists(name: str) -> Refusal:
    """409: this principal has this role at this scope, under whatever name."""
    text = f"The role assignment already exists. The ID of the existing role assignment is {name.replace('-', '')}."
    return Refusal(409, "RoleAssignmentExists", text)


def no_principal(principal: str, tenant: str) -> Refusal:
    """400: the directory does not show this principal, or not yet."""
    return Refusal(
        400,
        "PrincipalNotFound",
        f"Principal {principal.replace('-', '')} does not exist in the directory {tenant}. Check that you have the "
        "correct principal ID. If you are creating this principal and then immediately assigning a role, this error "
        "might be related to a replication delay. In this case, set the role assignment principalType property to a "
        "value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
    )


def region_unsupported() -> Refusal:
    """405: the identity's region knows no federated credentials."""
    return Refusal(
        405,
        "MethodNotAllowed",
        "The request format was unexpected : Support for federated identity credentials not enabled",
    )


def location_taken(identity: Identity, group: str, wanted: str) -> Refusal:
    """409: an identity does not move."""
    return Refusal(
        409,
        "InvalidResourceLocation",
        f"The resource '{identity.name}' already exists in location '{identity.location}' in resource group '{group}'. "
        f"A resource with the same name cannot be created in location '{wanted}'. Please select a new resource name.",
    )
