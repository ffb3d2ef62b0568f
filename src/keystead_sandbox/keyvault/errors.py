"""Key Vault's refusals: ``{"error": {"code", "message", "innererror"?}}``.

Codes and wordings follow "Azure Key Vault REST API error codes", recorded traffic of Microsoft's own SDK tests and
refusals quoted in public reports; docs/fidelity.md says which is which. No refusal quotes a secret's value or a token.
"""

from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.resources import Vault

_HELP = "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid={}"
_RECENTLY = (
    "If role assignments, deny assignments or role definitions were changed recently, please observe propagation time."
)
#: What messages call the things of a collection, and the beginning of their codes.
KINDS = {"secrets": "Secret", "keys": "Key", "certificates": "Certificate"}


class RefusedError(Exception):
    """A request that Key Vault turns down."""

    def __init__(self, status: int, code: str, message: str, inner: str = "", *, retry_after: int = 0) -> None:
        super().__init__(inner or code)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.retry_after = retry_after

    def wire(self) -> dict[str, object]:
        """The JSON body."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


# Before anything is known of the caller ----------------------------------------------------------------------------


def no_such_vault(host: str) -> RefusedError:
    """A vault that does not exist; in Azure its name would not even resolve, so no client knows this answer."""
    return RefusedError(
        404, "VaultNotFound", f"The sandbox has no vault at {host}. In Azure this name does not resolve."
    )


def missing_token() -> RefusedError:
    """No bearer token; the answer carries a challenge, as every 401 does."""
    return _unauthorized("AKV10000: Request is missing a Bearer or PoP token.")


def wrong_audience(expected: str, found: str) -> RefusedError:
    """A token for something else."""
    return _unauthorized(f"AKV10022: Invalid audience. Expected {expected}, found: {found}.")


def wrong_issuer(expected: str, found: str) -> RefusedError:
    """A token of another tenant."""
    return _unauthorized(f"AKV10032: Invalid issuer. Expected one of {expected}, found {found}.")


def unknown_signature(header: str) -> RefusedError:
    """A token that no key of the issuer's signed; *header* is its first part, which holds no secret."""
    return _unauthorized(
        f"AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: '{header[:400]}'."
    )


def out_of_time() -> RefusedError:
    """A token whose time is over, or has not begun."""
    return _unauthorized("Error validating token: IDX10223")


def no_token() -> RefusedError:
    """What stands in the header is no token at all."""
    return _unauthorized("Error validating token: malformed.")


def _unauthorized(message: str) -> RefusedError:
    return RefusedError(401, "Unauthorized", message)


# May the caller? ---------------------------------------------------------------------------------------------------


def forbidden(caller: Caller, action: str, resource: str, vault: Vault) -> RefusedError:
    """No role of the caller allows the action."""
    lines = [
        "Caller is not authorized to perform action on resource.",
        _RECENTLY,
        f"Caller: {_who(caller)}",
        f"Action: '{action}'",
        f"Resource: '{resource.lower()}'",
        "Assignment: (not found)",
        "DenyAssignmentId: null",
        "DecisionReason: 'DeniedWithNoValidRBAC' ",
        _where(vault),
        "",
    ]
    return RefusedError(403, "Forbidden", "\r\n".join(lines), "ForbiddenByRbac")


def denied(caller: Caller, kind: str, permission: str, vault: Vault) -> RefusedError:
    """No access policy of the vault gives the caller the permission."""
    who = f"appid={caller.app_id};oid={caller.object_id};iss={caller.issuer}"
    return RefusedError(
        403,
        "Forbidden",
        f"The user, group or application '{who}' does not have {kind} {permission} permission on key vault"
        f" '{vault.name};location={vault.location}'. {_HELP.format(2125287)}",
        "AccessDenied",
    )


def no_public_network(caller: Caller, vault: Vault) -> RefusedError:
    """The vault is reached over private links alone."""
    text = (
        "Public network access is disabled and request is not from a trusted service nor via an approved private link."
    )
    return RefusedError(
        403, "Forbidden", "\r\n".join([text, f"Caller: {_who(caller)}", _where(vault)]), "ForbiddenByConnection"
    )


def firewalled(caller: Caller, address: str, vault: Vault) -> RefusedError:
    """The vault's network rules do not let this address in."""
    lines = [
        "Client address is not authorized and caller is not a trusted service.",
        f"Client address: {address}",
        f"Caller: {_who(caller)}",
        _where(vault),
    ]
    return RefusedError(403, "Forbidden", "\r\n".join(lines), "ForbiddenByFirewall")


def throttled(seconds: int) -> RefusedError:
    """Too many transactions on one vault."""
    return RefusedError(
        429,
        "Throttled",
        "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
        retry_after=seconds,
    )


def purge_protected(vault: Vault) -> RefusedError:
    """Nothing of this vault is purged before its time."""
    return RefusedError(
        403,
        "Forbidden",
        'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service will'
        f" automatically purge it after the retention period has passed. {_where(vault)}",
        "ForbiddenByPolicy",
    )


# What was asked for ------------------------------------------------------------------------------------------------


def bad(message: str) -> RefusedError:
    """The request cannot be understood."""
    return RefusedError(400, "BadParameter", message)


def unsupported_version(version: str) -> RefusedError:
    """The api-version is missing or unknown."""
    if not version:
        return bad("The request must specify an 'api-version' query parameter.")
    return bad(
        f"The specified version ({version[:40]}) is not recognized. Consider using the latest supported version"
        " (2026-04-01)."
    )


def no_such_operation(method: str, name: str) -> RefusedError:
    """What stands where a version would is read as an operation."""
    return bad(f"Method {method} does not allow operation '{name[:127]}'")


def method_not_allowed(method: str) -> RefusedError:
    """A method that the collection, or a thing in it, does not have."""
    return RefusedError(405, "MethodNotAllowed", f"The method {method[:20]} is not allowed here.")


def not_served() -> RefusedError:
    """A path that Key Vault does not have."""
    return RefusedError(404, "NotFound", "The request URI was not found.")


def too_large(limit: int) -> RefusedError:
    """A body that nobody reads to its end."""
    return RefusedError(413, "RequestEntityTooLarge", f"The request body is longer than {limit} bytes.")


def not_found(kind: str, name: str) -> RefusedError:
    """No such thing, or none that is not deleted."""
    thing = KINDS[kind]
    return RefusedError(
        404,
        f"{thing}NotFound",
        f"A {thing.lower()} with (name/id) {name} was not found in this key vault. If you recently deleted this"
        f" {thing.lower()} you may be able to recover it using the correct recovery command. {_HELP.format(2125182)}",
    )


def deleted_not_found(kind: str, name: str) -> RefusedError:
    """No such thing among the deleted ones."""
    return RefusedError(404, f"{KINDS[kind]}NotFound", f"Deleted {KINDS[kind]} not found: {name}")


def pending_not_found(name: str) -> RefusedError:
    """No creation of this certificate."""
    return RefusedError(404, "PendingCertificateNotFound", f"Pending certificate not found: {name}")


def contacts_not_found() -> RefusedError:
    """The vault has no certificate contacts."""
    return RefusedError(404, "ContactsNotFound", "Contacts not found")


def issuer_not_found(name: str) -> RefusedError:
    """The vault has no such certificate issuer."""
    return RefusedError(404, "CertificateIssuerNotFound", f"Issuer not found: {name}")


def deleted_but_recoverable(kind: str, name: str) -> RefusedError:
    """A deleted thing still owns its name."""
    thing = KINDS[kind]
    return RefusedError(
        409,
        "Conflict",
        f"{thing} {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state,"
        f" the {thing.lower()} can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )


def taken(kind: str, name: str) -> RefusedError:
    """A restore, or a certificate, that would overwrite what is there."""
    return RefusedError(
        409, "Conflict", f"{KINDS[kind]} {name} already exists in this key vault.", "ObjectAlreadyExists"
    )


def creation_under_way(name: str) -> RefusedError:
    """A certificate whose last creation waits for its signature."""
    return RefusedError(
        409, "Conflict", f"A pending certificate request for {name} is in progress. Complete or delete it first."
    )


def certificates_own(kind: str, operation: str) -> RefusedError:
    """The key and the secret of a certificate change with the certificate."""
    return RefusedError(
        403,
        "Forbidden",
        f"Operation {operation} is not allowed on a {KINDS[kind].lower()} that is managed by a certificate.",
        f"{KINDS[kind]}ManagedByKeyVault",
    )


# Keys and secrets that may not be used ------------------------------------------------------------------------------


def disabled(kind: str, operation: str) -> RefusedError:
    """The version that was asked for is disabled."""
    thing = KINDS[kind]
    return RefusedError(
        403, "Forbidden", f"Operation {operation} is not allowed on a disabled {thing.lower()}.", f"{thing}Disabled"
    )


def key_out_of_time(operation: str, state: str) -> RefusedError:
    """A key that is not yet valid, or has expired, does no new work."""
    return RefusedError(
        403, "Forbidden", f"Operation {operation} is not allowed on a key that is {state}.", "KeyNotYetValidOrExpired"
    )


def operation_forbidden(operation: str) -> RefusedError:
    """An operation that is not among the key's own."""
    return RefusedError(
        403, "Forbidden", f"Operation {operation} is not permitted on this key.", "KeyOperationForbidden"
    )


def not_exportable() -> RefusedError:
    """A release that the key's policy does not allow, as far as the sandbox can see."""
    return RefusedError(403, "Forbidden", "The target environment attestation does not satisfy the release policy.")


def _who(caller: Caller) -> str:
    who = f"appid={caller.app_id};oid={caller.object_id};iss={caller.issuer}"
    return f"{who};xms_mirid={caller.resource_id}" if caller.resource_id else who


def _where(vault: Vault) -> str:
    return f"Vault: {vault.name};location={vault.location}"
