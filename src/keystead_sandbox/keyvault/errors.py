"""Key Vault's refusals: ``{"error": {"code", "message", "innererror"?}}``.

Codes and wordings follow "Azure Key Vault REST API error codes" and refusals quoted in public reports. No refusal
quotes a secret's value or a token.
"""

from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.resources import Vault

_HELP = "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"

_RECENTLY = (
    "If role assignments, deny assignments or role definitions were changed recently, please observe propagation time."
)


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


def unauthorized(message: str) -> RefusedError:
    """The caller is not known; the answer carries a challenge."""
    return RefusedError(401, "Unauthorized", message)


def bad(message: str) -> RefusedError:
    """The request cannot be understood."""
    return RefusedError(400, "BadParameter", message)


def unsupported_version(version: str) -> RefusedError:
    """The api-version is missing or unknown."""
    if not version:
        return bad("The request must specify an 'api-version' query parameter.")
    return bad(
        f"The specified version ({version[:40]}) is not recognized. Consider using the latest supported version."
    )


def not_found(name: str) -> RefusedError:
    """No such secret, or none that is not deleted."""
    return RefusedError(
        404,
        "SecretNotFound",
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may"
        f" be able to recover it using the correct recovery command. {_HELP}",
    )


def deleted_not_found(name: str) -> RefusedError:
    """No such secret among the deleted ones."""
    return RefusedError(404, "SecretNotFound", f"Deleted Secret not found: {name}")


def disabled() -> RefusedError:
    """The version that was asked for is disabled."""
    return RefusedError(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")


def deleted_but_recoverable(name: str) -> RefusedError:
    """A deleted secret still owns its name."""
    return RefusedError(
        409,
        "Conflict",
        f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state,"
        " the secret can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )


def forbidden(caller: Caller, action: str, resource: str, vault: Vault) -> RefusedError:
    """No role of the caller allows the action."""
    who = f"appid={caller.app_id};oid={caller.object_id};iss={caller.issuer}"
    if caller.resource_id:
        who += f";xms_mirid={caller.resource_id}"
    lines = [
        "Caller is not authorized to perform action on resource.",
        _RECENTLY,
        f"Caller: {who}",
        f"Action: '{action}'",
        f"Resource: '{resource.lower()}'",
        "Assignment: (not found)",
        "DenyAssignmentId: null",
        "DecisionReason: 'DeniedWithNoValidRBAC' ",
        f"Vault: {vault.name};location={vault.location}",
        "",
    ]
    return RefusedError(403, "Forbidden", "\r\n".join(lines), "ForbiddenByRbac")


def throttled(vault: Vault, seconds: int) -> RefusedError:
    """Too many transactions on one vault."""
    return RefusedError(
        429,
        "Throttled",
        f"Request was not processed because too many requests were received for vault {vault.name}.",
        retry_after=seconds,
    )


def no_such_vault(host: str) -> RefusedError:
    """A vault that does not exist; in Azure its name would not even resolve, so no client knows this answer."""
    return RefusedError(
        404, "VaultNotFound", f"The sandbox has no vault at {host}. In Azure this name does not resolve."
    )


def not_served(kind: str) -> RefusedError:
    """What Key Vault has and the sandbox has not."""
    return RefusedError(404, "NotFound", f"The sandbox's vaults hold no {kind}, only secrets.")
