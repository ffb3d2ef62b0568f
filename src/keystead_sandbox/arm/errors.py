"""Azure Resource Manager's errors: ``{"error": {"code", "message"}}``.

Codes and texts are those of the documentation and of answers recorded in public issues; where only the beginning of a
text is known, ours says nothing more than that. What Resource Manager's gateway refuses by itself, before any provider
is asked, carries ``x-ms-failure-cause: gateway``.
"""

import datetime
from collections.abc import Collection
from typing import Any

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
        self.more: dict[str, Any] = {}

    def response(self) -> JSONResponse:
        """As ARM answers it."""
        body = {"error": {"code": self.code, "message": self.message, **self.more}}
        return JSONResponse(body, status_code=self.status, headers=self.headers)


def _gateway(status: int, code: str, message: str) -> Refusal:
    """A refusal of Resource Manager itself."""
    return Refusal(status, code, message, headers={"x-ms-failure-cause": "gateway"})


def unauthenticated(login: str, tenant: str) -> Refusal:
    """401: no token at all."""
    text = "Authentication failed. The 'Authorization' header is missing."
    return _unsigned(login, tenant, "AuthenticationFailed", text)


def bad_header(login: str, tenant: str) -> Refusal:
    """401: an Authorization header that is no Bearer token."""
    text = "Authentication failed. The 'Authorization' header is provided in an invalid format."
    return _unsigned(login, tenant, "AuthenticationFailedInvalidHeader", text)


def bad_token(login: str, tenant: str) -> Refusal:
    """401: a token that is none, or not ours."""
    return _unsigned(login, tenant, "InvalidAuthenticationToken", "The access token is invalid.")


def expired_token(login: str, tenant: str, now: datetime.datetime) -> Refusal:
    """401: a token that is not in its time."""
    text = f"The access token expiry UTC time is earlier than current UTC time '{now:%m/%d/%Y %I:%M:%S %p}'."
    return _unsigned(login, tenant, "ExpiredAuthenticationToken", text)


def wrong_audience(login: str, tenant: str, found: str, allowed: Collection[str]) -> Refusal:
    """401: a token for another service."""
    names = ",".join(f"'{each}'" for each in allowed)
    return _unsigned(
        login,
        tenant,
        "InvalidAuthenticationTokenAudience",
        f"The access token has been obtained for wrong audience or resource '{found}'. It should exactly match with one "
        f"of the allowed audiences {names}.",
    )


def wrong_tenant(login: str, wanted: str, issuers: tuple[str, str]) -> Refusal:
    """401: a token of another tenant than the subscription's."""
    return _unsigned(
        login,
        wanted,
        "InvalidAuthenticationTokenTenant",
        f"The access token is from the wrong issuer '{issuers[0]}'. It must match the tenant '{issuers[1]}' associated "
        f"with this subscription. Please use the authority (URL) 'https://{login}/{wanted}' to get the token.",
    )


def _unsigned(login: str, tenant: str, code: str, message: str) -> Refusal:
    refusal = _gateway(401, code, message)
    refusal.headers["WWW-Authenticate"] = (
        f'Bearer authorization_uri="https://{login}/{tenant}", error="invalid_token", '
        "error_description=\"The authentication failed because of missing or invalid 'Authorization' header.\""
    )
    return refusal


def forbidden(client: str, object_id: str, action: str, scope: str) -> Refusal:
    """403 of Azure RBAC; whoever assigns roles is told of conditions too, whether or not there is one."""
    assigns = action.lower().startswith("microsoft.authorization/roleassignments/") and not action.endswith("/read")
    also = " or an ABAC condition not fulfilled" if assigns else ""
    return _gateway(
        403,
        "AuthorizationFailed",
        f"The client '{client}' with object id '{object_id}' does not have authorization{also} to perform action "
        f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your "
        "credentials.",
    )


def locked(scope: str, operation: str, locked_scopes: Collection[str]) -> Refusal:
    """409: a management lock stands in the way; *operation* is write or delete."""
    names = ",".join(f"'{each}'" for each in locked_scopes)
    return _gateway(
        409,
        "ScopeLocked",
        f"The scope '{scope}' cannot perform {operation} operation because following scope(s) are locked: {names}. "
        "Please remove the lock and try again.",
    )


def disallowed(name: str, identifiers: str, info: list[dict[str, Any]]) -> Refusal:
    """403: a policy denies the resource; *identifiers* is JSON in the text, as Azure puts it there."""
    refusal = _gateway(
        403,
        "RequestDisallowedByPolicy",
        f"Resource '{name}' was disallowed by policy. Policy identifiers: '{identifiers}'.",
    )
    refusal.more = {"target": name, "additionalInfo": info}
    return refusal


def not_registered(namespace: str) -> Refusal:
    """409: the subscription has not registered the provider; SDKs take the last quoted word for its name."""
    text = (
        f"The subscription is not registered to use namespace '{namespace}'. See https://aka.ms/rps-not-found for how "
    )
    return _gateway(409, "MissingSubscriptionRegistration", text + "to register subscriptions.")


def still_used(namespace: str) -> Refusal:
    """409: a provider whose resources are there is not unregistered."""
    text = f"Cannot unregister the resource namespace '{namespace}': there are resources of it in the subscription."
    return _gateway(409, "CannotUnregisterResourceProvider", text)


def not_found(kind: str, name: str, group: str) -> Refusal:
    """404 of the gateway."""
    return _gateway(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )


def no_subscription(name: str) -> Refusal:
    """404: the subscription."""
    return _gateway(404, "SubscriptionNotFound", f"The subscription '{name}' could not be found.")


def bad_subscription(name: str) -> Refusal:
    """400: the subscription's id is no GUID."""
    text = f"The provided subscription identifier '{name}' is malformed or invalid."
    return _gateway(400, "InvalidSubscriptionId", text)


def no_type(namespace: str, kind: str, version: str) -> Refusal:
    """404: a resource type that is not there, or not in the sandbox."""
    text = f"The resource type '{kind}' could not be found in the namespace '{namespace}' for api version '{version}'."
    return _gateway(404, "InvalidResourceType", text)


def no_namespace(namespace: str) -> Refusal:
    """404: a provider that nobody offers."""
    return _gateway(404, "InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid.")


def no_provider() -> Refusal:
    """404: a path that leads to no provider at all."""
    text = "The request did not have a subscription or a valid tenant level resource provider."
    return _gateway(404, "MissingSubscription", text)


def bad_method(method: str) -> Refusal:
    """405: the path is served, the method is not."""
    return _gateway(405, "MethodNotAllowed", f"The requested resource does not support http method '{method}'.")


def bad_content() -> Refusal:
    """400: the body is no JSON object."""
    text = "The request content was invalid and could not be deserialized."
    return _gateway(400, "InvalidRequestContent", text)


def too_large() -> Refusal:
    """413: a body of more than four megabytes."""
    return _gateway(413, "RequestContentTooLarge", "Request content size exceeds the maximum size of 4 MB.")


def bad_filter(text: str) -> Refusal:
    """400: a ``$filter`` that this list does not have."""
    return Refusal(400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string.")


def no_location() -> Refusal:
    """400: a resource without a place."""
    return _gateway(400, "LocationRequired", "The location property is required for this definition.")


def unknown_location(location: str, kind: str, known: Collection[str]) -> Refusal:
    """400: a place that Azure does not have."""
    return _gateway(
        400,
        "LocationNotAvailableForResourceType",
        f"The provided location '{location}' is not available for resource type '{kind}'. List of available regions for "
        f"the resource type is '{','.join(known)}'.",
    )


def bad_tags(problem: str) -> Refusal:
    """400: tags beyond what a resource may have."""
    return _gateway(400, "InvalidTags", problem)


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


def request_throttled(holder: str, kind: str, name: str, object_id: str, seconds: int) -> Refusal:
    """429 of Resource Manager itself; *holder* is subscription or tenant."""
    return Refusal(
        429,
        f"{holder.title()}RequestsThrottled",
        f"Number of '{kind}' requests for {holder} '{name}' actor '{object_id}' exceeded. Please try again "
        f"after '{seconds}' seconds.",
        headers={"Retry-After": str(seconds)},
    )


def bad_version(version: str, kind: str, known: Collection[str]) -> Refusal:
    """400 for an api-version that the type does not have."""
    return _gateway(
        400,
        "InvalidResourceType",
        f"The resource type '{kind}' could not be found in the namespace 'Microsoft.ManagedIdentity' for api version "
        f"'{version}'. The supported api-versions are '{','.join(sorted(known))}'.",
    )


def no_version() -> Refusal:
    """400: no api-version."""
    text = "The api-version query parameter (?api-version=) is required for all requests."
    return _gateway(400, "MissingApiVersionParameter", text)


def odd_version(version: str) -> Refusal:
    """400: an api-version that does not look like one."""
    return _gateway(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")


def no_group(name: str) -> Refusal:
    """404: the resource group."""
    return _gateway(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")


def group_going(name: str) -> Refusal:
    """409: the resource group is being deleted."""
    text = f"The resource group '{name}' is in deprovisioning state and cannot perform this operation."
    return _gateway(409, "ResourceGroupBeingDeleted", text)


def bad_group_name(name: str) -> Refusal:
    """400: the resource group's name. The real text is not known."""
    text = f"The resource group name '{name[:100]}' is not valid."
    return _gateway(400, "InvalidResourceGroup", text)


def group_elsewhere(location: str, standing: str) -> Refusal:
    """409: a resource group does not move."""
    return _gateway(
        409,
        "InvalidResourceGroupLocation",
        f"Invalid resource group location '{location}'. The Resource group already exists in location '{standing}'.",
    )


def no_credential(name: str, identity: Identity) -> Refusal:
    """404: the credential under an identity that is there. The real text is not known."""
    return Refusal(404, "NotFound", f"The federated identity credential '{name}' of '{identity.name}' was not found.")


def region_unsupported() -> Refusal:
    """405: the identity's region knows no federated credentials."""
    return Refusal(
        405,
        "MethodNotAllowed",
        "The request format was unexpected : Support for federated identity credentials not enabled",
    )


def location_taken(name: str, standing: str, group: str, wanted: str) -> Refusal:
    """409: a resource does not move."""
    return _gateway(
        409,
        "InvalidResourceLocation",
        f"The resource '{name}' already exists in location '{standing}' in resource group '{group}'. "
        f"A resource with the same name cannot be created in location '{wanted}'. Please select a new resource name.",
    )
