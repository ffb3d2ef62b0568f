"""Who may do what in a vault, and which requests make sense."""

import re

from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.keyvault.errors import Refusal, bad_parameter
from keystead_sandbox.world import Vault, World

API_VERSIONS = frozenset(
    {"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2016-10-01", "2025-07-01", "2025-06-01-preview", "2026-04-01"}
)
AUDIENCES = ("https://vault.azure.net", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093")
NAME = re.compile(r"^[0-9a-zA-Z-]{1,127}$")
LONGEST_VALUE = 25 * 1024  # bytes

GET, LIST, SET, DELETE = (
    "Microsoft.KeyVault/vaults/secrets/getSecret/action",
    "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
    "Microsoft.KeyVault/vaults/secrets/setSecret/action",
    "Microsoft.KeyVault/vaults/secrets/delete",
)


def check_version(version: str | None) -> None:
    if not version:
        raise bad_parameter("api-version must be specified")
    if version not in API_VERSIONS:
        raise bad_parameter(
            f"The specified version ({version}) is not recognized. Consider using the latest supported version."
        )


def check_name(name: str) -> None:
    if not NAME.match(name):
        raise bad_parameter(f"The request URI contains an invalid name: {name}")


def authorise(world: World, vault: Vault, caller: Caller, action: str, name: str = "") -> None:
    """403, as a vault under Azure RBAC says it, unless a data role at this scope or above allows it."""
    scope = f"{vault.resource_id}/secrets/{name}" if name else vault.resource_id
    if world.may(caller.object_id, action, scope, data=True):
        return
    identity = f"appid={caller.app_id};oid={caller.object_id};iss=https://sts.windows.net/{caller.tenant_id}/"
    if caller.resource_id:
        identity += f";xms_mirid={caller.resource_id}"
    message = (
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        f"definitions were changed recently, please observe propagation time.\r\nCaller: {identity}\r\n"
        f"Action: '{action}'\r\nResource: '{scope.lower()}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n"
        f"DecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: {vault.name};location={vault.location}\r\n"
    )
    raise Refusal(403, "Forbidden", message, inner="ForbiddenByRbac")
