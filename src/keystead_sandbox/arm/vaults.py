"""Vaults as Resource Manager manages them: Microsoft.KeyVault/vaults, deletedVaults, checkNameAvailability.

- A name is taken in all of Azure, by deleted vaults too until they are purged; what is in a vault is not managed here.
- A vault made without saying so is under Azure RBAC from api-version 2026-02-01 on, and under access policies before.
- Deleting is soft: the vault is out of reach, may be recovered (``createMode: recover``) and is gone after its retention.
"""

import re

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, rules, vault_rules
from keystead_sandbox.arm import vault_errors as refusals
from keystead_sandbox.arm.call import GROUP, SUBSCRIPTION, Call, Row
from keystead_sandbox.arm.regions import normal, region
from keystead_sandbox.arm.vault_state import deleted_body, policies_body, vault_body
from keystead_sandbox.resources import ResourceGroup, Vault
from keystead_sandbox.world import World

_PROVIDER = r"/providers/microsoft\.keyvault"
_ONE = GROUP + _PROVIDER + "/vaults/(?P<vault>[^/]+)"
_DELETED = SUBSCRIPTION + _PROVIDER + "/locations/(?P<location>[^/]+)/deletedvaults/(?P<vault>[^/]+)"
_DELETED_READ = "Microsoft.KeyVault/locations/deletedVaults/read"
_NAME = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]", re.ASCII)


class Vaults:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self) -> list[Row]:
        return [
            Row("GET", SUBSCRIPTION + _PROVIDER + "/vaults", self._list),
            Row("GET", GROUP + _PROVIDER + "/vaults", self._list),
            Row("GET", _ONE, self._get),
            Row("PUT", _ONE, self._put),
            Row("PATCH", _ONE, self._patch),
            Row("DELETE", _ONE, self._delete),
            Row("PUT", _ONE + "/accesspolicies/(?P<operation>add|replace|remove)", self._policies),
            Row("POST", SUBSCRIPTION + _PROVIDER + "/checknameavailability", self._check_name),
            Row("GET", SUBSCRIPTION + _PROVIDER + "/deletedvaults", self._list_deleted),
            Row("GET", _DELETED, self._get_deleted),
            Row("POST", _DELETED + "/purge", self._purge),
        ]

    def _enter(self, call: Call, verb: str) -> None:
        rules.check_form(call.version)
        scope = call.path if "vault" in call.names else call.collection
        rules.admit(self._world, call.caller, f"{rules.VAULTS}/{verb}", scope)
        self._expire()

    def _expire(self) -> None:
        """Deleted vaults are purged by themselves at the end of their retention."""
        now = self._world.clock.wall()
        for name, vault in list(self._world.deleted_vaults.items()):
            if vault_rules.purge_date(vault) <= now:
                del self._world.deleted_vaults[name]

    async def _list(self, call: Call) -> Response:
        self._enter(call, "read")
        scope = call.path.lower().partition("/providers/")[0]
        if call.names.get("group"):
            rules.group(self._world, call.names["subscription"], call.names["group"])
        found = [each for each in self._world.vaults.values() if each.resource_id.lower().startswith(f"{scope}/")]
        return call.page([vault_body(each, call.cloud.vault_suffix) for each in found], self._world.rules.page_size)

    async def _get(self, call: Call) -> Response:
        self._enter(call, "read")
        return JSONResponse(vault_body(self._found(call), call.cloud.vault_suffix))

    async def _put(self, call: Call) -> Response:
        self._enter(call, "write")
        body, name = call.body(), call.names["vault"]
        rules.check_policies(self._world, rules.VAULTS, call.path, body)
        if _NAME.fullmatch(name) is None:
            raise refusals.bad_vault_name(name)
        location = region(body, rules.VAULTS)
        group = rules.open_group(self._world, call.names["subscription"], call.names["group"])
        standing = self._world.vault(name)
        if standing is not None and standing.resource_id.lower() != call.path.lower():
            raise refusals.vault_taken(name)
        if standing is not None and normal(standing.location) != location:
            raise errors.location_taken(name, standing.location, group.name, location)
        tenant = self._world.subscriptions[group.subscription_id].tenant_id
        settings = vault_rules.settings(body, call.version, tenant, standing)
        vault = standing or self._made(group, name, location, recover=settings.recover)
        if not settings.recover:
            settings.apply(vault)
        return JSONResponse(vault_body(vault, call.cloud.vault_suffix))

    def _made(self, group: ResourceGroup, name: str, location: str, *, recover: bool) -> Vault:
        deleted = self._world.deleted_vaults.get(name.lower())
        own = f"{group.id}/providers/{rules.VAULTS}/{name}".lower()
        if not recover:
            if deleted is not None:
                raise refusals.vault_deleted()
            return self._world.add_vault(name, group.name, location=location, subscription_id=group.subscription_id)
        if deleted is None or deleted.resource_id.lower() != own:
            raise refusals.no_deleted_vault(name)
        del self._world.deleted_vaults[name.lower()]
        deleted.deleted_on = None
        self._world.vaults[name.lower()] = deleted
        return deleted

    async def _patch(self, call: Call) -> Response:
        self._enter(call, "write")
        body, vault = call.body(), self._found(call)
        rules.check_policies(self._world, rules.VAULTS, call.path, {"location": vault.location, **body})
        vault_rules.settings(body, call.version, vault.tenant_id, vault).apply(vault)
        return JSONResponse(vault_body(vault, call.cloud.vault_suffix))

    async def _delete(self, call: Call) -> Response:
        self._enter(call, "delete")
        vault = self._world.vault(call.names["vault"])
        if vault is None or vault.resource_id.lower() != call.path.lower():
            return Response(status_code=204)
        delete(self._world, vault)
        return Response(status_code=200)

    async def _policies(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, f"{rules.VAULTS}/accessPolicies/write", call.path)
        operation = call.names["operation"].lower()
        path = call.path.rpartition("/")[0].rpartition("/")[0]
        vault = self._world.vault(call.names["vault"])
        if vault is None or vault.resource_id.lower() != path.lower():
            raise errors.not_found(rules.VAULTS, call.names["vault"], call.names["group"])
        given = vault_rules.access_policies(call.properties().get("accessPolicies"), vault.tenant_id)
        vault.access_policies = vault_rules.merged(vault.access_policies, given, operation)
        return JSONResponse(policies_body(vault), status_code=201 if operation == "add" else 200)

    async def _check_name(self, call: Call) -> Response:
        rules.check_form(call.version)
        action, scope = "Microsoft.KeyVault/checkNameAvailability/read", call.collection
        rules.admit(self._world, call.caller, action, scope)
        self._expire()
        name = call.body().get("name")
        if not isinstance(name, str):
            raise refusals.bad_vault("The parameter 'name' is required.")
        refused = None
        if _NAME.fullmatch(name) is None:
            refused = ("AccountNameInvalid", refusals.bad_vault_name(name[:100]).message)
        elif self._world.vault(name) is not None:
            refused = ("AlreadyExists", refusals.vault_taken(name).message)
        elif name.lower() in self._world.deleted_vaults:
            refused = ("AlreadyExists", refusals.vault_deleted().message)
        if refused is None:
            return JSONResponse({"nameAvailable": True})
        return JSONResponse({"nameAvailable": False, "reason": refused[0], "message": refused[1]})

    async def _list_deleted(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, "Microsoft.KeyVault/deletedVaults/read", call.collection)
        self._expire()
        scope = f"/subscriptions/{call.names['subscription']}/".lower()
        found = [each for each in self._world.deleted_vaults.values() if each.resource_id.lower().startswith(scope)]
        return call.page([deleted_body(each) for each in found], self._world.rules.page_size)

    def _deleted(self, call: Call) -> Vault:
        self._expire()
        vault = self._world.deleted_vaults.get(call.names["vault"].lower())
        place = (call.names["subscription"].lower(), normal(call.names["location"]))
        if vault is None or (vault.resource_id.split("/")[2].lower(), normal(vault.location)) != place:
            raise refusals.no_deleted_vault(call.names["vault"])
        return vault

    async def _get_deleted(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, _DELETED_READ, call.path)
        return JSONResponse(deleted_body(self._deleted(call)))

    async def _purge(self, call: Call) -> Response:
        rules.check_form(call.version)
        rules.admit(self._world, call.caller, "Microsoft.KeyVault/locations/deletedVaults/purge/action", call.path)
        vault = self._deleted(call)
        if vault.purge_protection:
            raise refusals.purge_protected(vault.name)
        del self._world.deleted_vaults[vault.name.lower()]
        return Response(status_code=200)

    def _found(self, call: Call) -> Vault:
        vault = self._world.vault(call.names["vault"])
        if vault is None or vault.resource_id.lower() != call.path.lower():
            rules.group(self._world, call.names["subscription"], call.names["group"])
            raise errors.not_found(rules.VAULTS, call.names["vault"], call.names["group"])
        return vault


def delete(world: World, vault: Vault) -> None:
    """Take a vault out of reach; it can be recovered."""
    world.vaults.pop(vault.name.lower(), None)
    vault.deleted_on = world.clock.wall()
    world.deleted_vaults[vault.name.lower()] = vault
