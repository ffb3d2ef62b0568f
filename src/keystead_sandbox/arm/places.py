"""What stands around the identities: tenants, subscriptions, resource groups, vaults, the cloud's metadata.

Enough for the management clients, and for ``az login``; read only.
"""

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, rules, state
from keystead_sandbox.arm.call import GROUP, SUBSCRIPTION, Call, Row
from keystead_sandbox.clouds import CLOUDS, PUBLIC, Cloud, cloud_at
from keystead_sandbox.world import World

_VAULTS = r"/providers/microsoft\.keyvault/vaults"
_GROUPS_READ = "Microsoft.Resources/subscriptions/resourceGroups/read"
_VAULTS_READ = "Microsoft.KeyVault/vaults/read"


class Places:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        return [
            Row("GET", "/tenants", self._tenants),
            Row("GET", "/subscriptions", self._subscriptions),
            Row("GET", SUBSCRIPTION, self._subscription),
            Row("GET", SUBSCRIPTION + "/resourcegroups", self._groups),
            Row("GET", GROUP, self._group),
            Row("GET", SUBSCRIPTION + _VAULTS, self._vaults),
            Row("GET", GROUP + _VAULTS, self._vaults),
            Row("GET", GROUP + _VAULTS + "/(?P<vault>[^/]+)", self._vault),
            Row("POST", SUBSCRIPTION + "/providers/(?P<namespace>[^/]+)/register", self._register),
        ]

    async def _tenants(self, call: Call) -> Response:
        rules.check_form(call.version)
        tenant = self._world.tenants[call.caller.tenant_id]
        body = {"id": f"/tenants/{tenant.id}", "tenantId": tenant.id, "displayName": tenant.name}
        return JSONResponse({"value": [body]})

    async def _subscriptions(self, call: Call) -> Response:
        """Those where the caller has any role at all, as after ``az login``."""
        rules.check_form(call.version)
        roles = [each for each in self._world.assignments.values() if each.principal_id == call.caller.object_id]
        seen = [
            each
            for each in self._world.subscriptions.values()
            if each.tenant_id == call.caller.tenant_id
            and any(f"{role.scope.lower()}/".startswith(f"/subscriptions/{each.id}/") for role in roles)
        ]
        count = {"type": "Total", "value": len(seen)}
        return JSONResponse({"value": [state.subscription_body(each) for each in seen], "count": count})

    async def _subscription(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.authorise(self._world, call.caller, "Microsoft.Resources/subscriptions/read", call.path)
        return JSONResponse(state.subscription_body(self._world.subscriptions[call.names["subscription"].lower()]))

    async def _groups(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.authorise(self._world, call.caller, _GROUPS_READ, call.path.rpartition("/")[0])
        wanted = call.names["subscription"].lower()
        found = [state.group_body(each) for each in self._world.groups.values() if each.subscription_id == wanted]
        return JSONResponse({"value": found})

    async def _group(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.authorise(self._world, call.caller, _GROUPS_READ, call.path)
        return JSONResponse(state.group_body(rules.group(self._world, call.names["subscription"], call.names["group"])))

    async def _vaults(self, call: Call) -> Response:
        rules.check_form(call.version)
        scope = call.path.lower().partition("/providers/")[0]
        rules.authorise(self._world, call.caller, _VAULTS_READ, scope)
        if call.names.get("group"):
            rules.group(self._world, call.names["subscription"], call.names["group"])
        found = [each for each in self._world.vaults.values() if each.resource_id.lower().startswith(f"{scope}/")]
        return JSONResponse({"value": [state.vault_body(each, call.cloud.vault_suffix) for each in found]})

    async def _vault(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.authorise(self._world, call.caller, _VAULTS_READ, call.path)
        vault = self._world.vault(call.names["vault"])
        if vault is None or vault.resource_id.lower() != call.path.lower():
            raise errors.not_found("Microsoft.KeyVault/vaults", call.names["vault"], call.names["group"])
        return JSONResponse(state.vault_body(vault, call.cloud.vault_suffix))

    async def _register(self, call: Call) -> Response:
        """Providers are registered here; clients may ask for it all the same."""
        scope = re.split("/providers/", call.path, maxsplit=1, flags=re.IGNORECASE)[0]
        namespace = call.names["namespace"]
        rules.authorise(self._world, call.caller, f"{namespace}/register/action", scope)
        return JSONResponse(
            {"id": f"{scope}/providers/{namespace}", "namespace": namespace, "registrationState": "Registered"}
        )


def metadata(request: Request) -> Response:
    """The clouds' endpoints, which ``az cloud register`` and others read without signing in; the asked one first."""
    asked = cloud_at(request.headers.get("host", "").lower().partition(":")[0])
    described = [_described(cloud) for cloud in (asked, *(each for each in CLOUDS if each is not asked))]
    # Older versions answer one object; from 2019-05-01 on, a list of clouds, unless 2022-09-01 asks for this one.
    one = request.query_params.get("api-version", "") in ("2015-01-01", "2022-09-01")
    return JSONResponse(described[0] if one else described)


def _described(cloud: Cloud) -> dict[str, object]:
    return {
        "name": cloud.name,
        "portal": cloud.portal,
        "authentication": {
            "loginEndpoint": f"https://{cloud.login_host}/",
            "audiences": [f"{cloud.classic}/", f"{cloud.arm_resource}/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": f"{cloud.arm_resource}/",
        "graphAudience": "https://graph.windows.net/" if cloud is PUBLIC else f"{cloud.graph}/",
        "microsoftGraphResourceId": f"{cloud.graph}/",
        "suffixes": {"keyVaultDns": cloud.vault_suffix[1:], "storage": cloud.storage_suffix},
    }
