"""The metadata service's refusals.

Shapes and wordings follow "How to use managed identities on a VM: error handling" and the instance metadata service's
reference; they are OAuth's ``error`` and ``error_description``, except where the api-version is at fault.
"""


class RefusedError(Exception):
    """A request that the metadata service turns down."""

    def __init__(self, status: int, error: str, description: str = "", *, retry_after: int = 0) -> None:
        super().__init__(f"{error}: {description}" if description else error)
        self.status = status
        self.error = error
        self.description = description
        self.retry_after = retry_after
        self.versions: tuple[str, ...] = ()

    def wire(self) -> dict[str, object]:
        """The JSON body."""
        body: dict[str, object] = {"error": self.error}
        if self.description:
            body["error_description"] = self.description
        if self.versions:
            body["newest-versions"] = list(self.versions)
        return body


def no_header() -> RefusedError:
    """Without ``Metadata: true`` a request may have been forged through a server that follows URLs."""
    return RefusedError(400, "invalid_request", "Required metadata header not specified")


def forwarded() -> RefusedError:
    """A request that passed a proxy is not from this machine."""
    return RefusedError(400, "invalid_request", "Requests with an X-Forwarded-For header are not served")


def no_version(newest: tuple[str, ...]) -> RefusedError:
    """No api-version."""
    refused = RefusedError(400, "Bad request. api-version was not specified in the request")
    refused.versions = newest
    return refused


def bad_version(version: str, newest: tuple[str, ...]) -> RefusedError:
    """An api-version that the service never had."""
    refused = RefusedError(400, f"Bad request. api-version is invalid: {version[:40]}")
    refused.versions = newest
    return refused


def no_resource() -> RefusedError:
    """Nothing to have a token for."""
    return RefusedError(400, "invalid_request", "Required query variable 'resource' is missing")


def unknown_resource(resource: str, tenant: str) -> RefusedError:
    """Entra's refusal, handed through."""
    return RefusedError(
        400,
        "invalid_resource",
        f"AADSTS500011: The resource principal named {resource} was not found in the tenant named {tenant}. This can"
        " happen if the application has not been installed by the administrator of the tenant or consented to by any"
        " user in the tenant. You might have sent your authentication request to the wrong tenant.",
    )


def not_found() -> RefusedError:
    """No such identity on this machine."""
    return RefusedError(400, "invalid_request", "Identity not found")


def ambiguous() -> RefusedError:
    """Several identities, and none named."""
    return RefusedError(
        400,
        "invalid_request",
        "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the"
        " token request",
    )


def two_names() -> RefusedError:
    """Named in more than one way."""
    return RefusedError(400, "invalid_request", "Only one of client_id, object_id and msi_res_id may be specified")


def throttled(seconds: int) -> RefusedError:
    """Too many requests of this machine."""
    return RefusedError(429, "too_many_requests", "Too many requests", retry_after=seconds)
