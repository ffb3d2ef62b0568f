"""What stands around everything: tenants, subscriptions, locations, providers, the cloud's metadata.

A provider that the subscription has not registered refuses writes (:func:`rules.check_registered`); registering is at
once here.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, rules, state
from keystead_sandbox.arm.call import SUBSCRIPTION, Call, Row
from keystead_sandbox.arm.regions import REGIONS
from keystead_sandbox.clouds import CLOUDS, PUBLIC, Cloud, cloud_at
from keystead_sandbox.governance import covers
from keystead_sandbox.world import World

_PROVIDERS = SUBSCRIPTION + "/providers"
_PROVIDER = _PROVIDERS + r"/(?P<namespace>[^/]+)"
_TYPES = {
    "Microsoft.Authorization": (
        "roleAssignments",
        "roleDefinitions",
        "locks",
        "policyAssignments",
        "policyDefinitions",
    ),
    "Microsoft.KeyVault": ("vaults", "vaults/accessPolicies", "deletedVaults", "checkNameAvailability"),
    "Microsoft.ManagedIdentity": ("userAssignedIdentities", "userAssignedIdentities/federatedIdentityCredentials"),
    "Microsoft.Resources": ("subscriptions", "resourceGroups", "tenants", "providers"),
}
_VERSIONS = {
    "Microsoft.Authorization": ("2022-04-01", "2022-05-01-preview", "2020-05-01"),
    "Microsoft.KeyVault": ("2026-05-15", "2026-02-01", "2025-05-01", "2024-11-01", "2023-07-01", "2022-07-01"),
    "Microsoft.ManagedIdentity": tuple(sorted(rules.CREDENTIAL_VERSIONS, reverse=True)),
    "Microsoft.Resources": ("2025-04-01", "2022-12-01", "2021-04-01"),
}


class Places:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        return [
            Row("GET", "/tenants", self._tenants),
            Row("GET", "/subscriptions", self._subscriptions),
            Row("GET", SUBSCRIPTION, self._subscription),
            Row("GET", SUBSCRIPTION + "/locations", self._locations),
            Row("GET", _PROVIDERS, self._providers),
            Row("GET", _PROVIDER, self._provider),
            Row("POST", _PROVIDER + "/register", self._register),
            Row("POST", _PROVIDER + "/unregister", self._unregister),
        ]

    async def _tenants(self, call: Call) -> Response:
        rules.check_form(call.version)
        tenant = self._world.tenants[call.caller.tenant_id]
        body = {"id": f"/tenants/{tenant.id}", "tenantId": tenant.id, "displayName": tenant.name}
        return call.page([body], self._world.rules.page_size)

    async def _subscriptions(self, call: Call) -> Response:
        """Those where the caller has any role at all, as after ``az login``."""
        rules.check_form(call.version)
        roles = [each for each in self._world.assignments.values() if each.principal_id == call.caller.object_id]
        seen = [
            each
            for each in self._world.subscriptions.values()
            if each.tenant_id == call.caller.tenant_id
            and any(covers(f"/subscriptions/{each.id}", role.scope) or not role.scope for role in roles)
        ]
        count = {"type": "Total", "value": len(seen)}
        return JSONResponse({"value": [state.subscription_body(each) for each in seen], "count": count})

    async def _subscription(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.authorise(self._world, call.caller, "Microsoft.Resources/subscriptions/read", call.path)
        return JSONResponse(state.subscription_body(self._world.subscriptions[call.names["subscription"].lower()]))

    async def _locations(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, "Microsoft.Resources/subscriptions/locations/read", call.collection)
        base = f"/subscriptions/{call.names['subscription'].lower()}/locations"
        found = [
            {"id": f"{base}/{name}", "name": name, "type": "Region", "displayName": name, "regionalDisplayName": name}
            for name in REGIONS
        ]
        return JSONResponse({"value": found})

    async def _providers(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, "Microsoft.Resources/subscriptions/providers/read", call.collection)
        return call.page([self._described(call, name) for name in _TYPES], self._world.rules.page_size)

    async def _provider(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, "Microsoft.Resources/subscriptions/providers/read", call.path)
        return JSONResponse(self._described(call, self._named(call)))

    async def _register(self, call: Call) -> Response:
        namespace = self._enter(call, "register")
        self._world.unregistered.discard((call.names["subscription"].lower(), namespace.lower()))
        return JSONResponse(self._described(call, namespace))

    async def _unregister(self, call: Call) -> Response:
        """Refused while something of the provider's is there, as in Azure."""
        namespace = self._enter(call, "unregister")
        scope = f"/subscriptions/{call.names['subscription']}"
        standing = [*self._world.identities, *(each.resource_id for each in self._world.vaults.values())]
        part = f"/providers/{namespace}/".lower()
        if any(covers(scope, each) and part in each.lower() for each in standing):
            raise errors.still_used(namespace)
        self._world.unregistered.add((call.names["subscription"].lower(), namespace.lower()))
        return JSONResponse(self._described(call, namespace))

    def _enter(self, call: Call, verb: str) -> str:
        rules.check_form(call.version)
        namespace = self._named(call)
        rules.authorise(self._world, call.caller, f"{namespace}/{verb}/action", call.collection)
        return namespace

    def _named(self, call: Call) -> str:
        wanted = call.names["namespace"]
        found = next((name for name in _TYPES if name.lower() == wanted.lower()), None)
        if found is None:
            raise errors.no_namespace(wanted)
        return found

    def _described(self, call: Call, namespace: str) -> dict[str, object]:
        subscription = call.names["subscription"].lower()
        missing = (subscription, namespace.lower()) in self._world.unregistered
        return {
            "id": f"/subscriptions/{subscription}/providers/{namespace}",
            "namespace": namespace,
            "registrationPolicy": "RegistrationRequired",
            "registrationState": "NotRegistered" if missing else "Registered",
            "resourceTypes": [
                {"resourceType": each, "locations": list(REGIONS), "apiVersions": list(_VERSIONS[namespace])}
                for each in _TYPES[namespace]
            ],
        }


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
