"""What NAME.vault.azure.net serves here: dispatch, the challenge, and the checks that every operation shares.

- The checks come in this order: vault, token, api-version, throttling, firewall, operation, name, role or access policy,
  body, existence. So a caller without a right learns nothing about what exists, and one without a token nothing at all.
- The ``WWW-Authenticate`` parameters are separated by a comma and a space: the Go SDK splits at the space.
- Segments of a path match without regard to case, and empty ones do not count: clients ask with a slash at the end where
  they name no version, and some with two at the beginning.
- The journal learns the vault and the thing's kind and name, never a value.
"""

import itertools
import math
from collections.abc import Iterable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystead_sandbox.buckets import Limit
from keystead_sandbox.clouds import Cloud, cloud_at
from keystead_sandbox.entra.tokens import Caller, Fault, TokenAuthority, TokenRefusedError
from keystead_sandbox.keyvault import access, certificates, errors, issuance, key_use, keys, rules, secrets
from keystead_sandbox.keyvault.call import HTTPS_PORT, Call, Cost, Row
from keystead_sandbox.keyvault.state import trace
from keystead_sandbox.resources import Vault
from keystead_sandbox.world import World

_UNAUTHORIZED = 401
_NO_CONTENT = 204
_NAMED = 2  # segments of a path that names a thing and nothing below it
_WILD = ("{name}", "{version}", "{issuer}")
_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "x-ms-keyvault-service-version": "1.9.0.0",
    "x-ms-keyvault-network-info": "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
    "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}


class KeyVaultApp:
    """The ASGI app of every vault; the Host header says which."""

    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority
        self._numbers = itertools.count(1)
        self.rows = (*secrets.rows(), *keys.rows(), *key_use.rows(), *certificates.rows(), *issuance.rows())
        self._table = _Table(self.rows)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request.state.note = {"code": "", "caller": "", "detail": {}}
        host = request.headers.get("host", "").lower().removesuffix(f":{HTTPS_PORT}")
        cloud, vault = cloud_at(host), self._world.vault_of_host(host)
        try:
            if vault is None or not self._world.tenants[vault.tenant_id].is_in(cloud):
                raise errors.no_such_vault(host)
            response = await self._answer(request, vault, cloud, f"https://{host}")
        except errors.RefusedError as refused:
            request.state.note["code"] = refused.inner or refused.code
            response = Response(msgspec.json.encode(refused.wire()), refused.status)
            if refused.retry_after:
                response.headers["Retry-After"] = str(refused.retry_after)
            if refused.status == _UNAUTHORIZED and vault is not None:
                response.headers["WWW-Authenticate"] = (
                    f'Bearer authorization="https://{cloud.login_host}/{vault.tenant_id}",'
                    f' resource="{cloud.vault_resource}"'
                )
        response.headers.update(_HEADERS)
        if response.status_code == _NO_CONTENT:
            del response.headers["Content-Type"]
        response.headers["x-ms-keyvault-region"] = vault.location if vault is not None else "none"
        response.headers["x-ms-request-id"] = trace(next(self._numbers))
        if "x-ms-client-request-id" in request.headers:
            response.headers["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"]
        await response(scope, receive, send)

    async def _answer(self, request: Request, vault: Vault, cloud: Cloud, base: str) -> Response:
        request.state.note["detail"] = {"vault": vault.name}
        caller = self._caller(request, vault, cloud)
        request.state.note["caller"] = caller.name
        version = request.query_params.get("api-version", "")
        rules.check_version(version)
        row, names = self._table.find(request.method, request.scope["path"])
        self._take(vault, row.cost if row is not None else Cost.ANY)
        access.check_network(vault, caller, request.client.host if request.client is not None else "")
        if row is None:
            raise self._table.refusal(request.method, request.scope["path"])
        name = names.get("{name}") or names.get("{issuer}", "")
        if name:
            request.state.note["detail"][row.right.kind.removesuffix("s")] = name[:127]
            rules.check_name(name)
        rules.check_object_version(names.get("{version}", ""), request.method)
        access.check_right(self._world, vault, caller, row.right, names.get("{name}", ""))
        return await row.handler(
            Call(request, self._world, vault, base, version, name, names.get("{version}", "").lower())
        )

    def _caller(self, request: Request, vault: Vault, cloud: Cloud) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise errors.missing_token()
        try:
            return self._authority.check(token, (cloud.vault_resource, rules.APPLICATION), vault.tenant_id)
        except TokenRefusedError as refused:
            found = refused.found[:400]
            if refused.fault is Fault.AUDIENCE:
                raise errors.wrong_audience(cloud.vault_resource, found) from None
            if refused.fault is Fault.ISSUER:
                raise errors.wrong_issuer(self._authority.issuer_of(vault.tenant_id), found) from None
            if refused.fault is Fault.SIGNATURE:
                raise errors.unknown_signature(token.partition(".")[0]) from None
            raise (errors.out_of_time() if refused.fault is Fault.EXPIRED else errors.no_token()) from None

    def _take(self, vault: Vault, cost: Cost) -> None:
        """One transaction of the vault's, and of its subscription's in its region; of neither when one has none left."""
        limits, name = self._world.rules, vault.name.lower()
        factor, region = limits.vault_region_factor, (vault.resource_id.split("/")[2].lower(), vault.location)
        capacity, refill = {
            Cost.ANY: (limits.vault_capacity, limits.vault_refill),
            Cost.SET: (limits.vault_set_capacity, limits.vault_set_refill),
            Cost.CREATE: (limits.vault_create_capacity, limits.vault_create_refill),
        }[cost]
        refusal = self._world.buckets.take(
            [
                (("vault", name, cost), Limit(capacity, refill)),
                (("vaults", *region, cost), Limit(capacity * factor, refill * factor)),
            ]
        )
        if refusal is not None:
            raise errors.throttled(max(1, math.ceil(self._world.clock.to_wall_seconds(refusal.wait))))


class _Table:
    """The operations by method and number of segments; a segment spelled out goes before one that is any."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[tuple[str, str, int], list[Row]] = {}
        for row in rows:
            self._rows.setdefault((row.method, row.segments[0], len(row.segments)), []).append(row)
        self._collections = {collection for _, collection, _ in self._rows}
        for several in self._rows.values():
            several.sort(key=lambda row: [segment in _WILD for segment in row.segments])

    def find(self, method: str, path: str) -> tuple[Row | None, dict[str, str]]:
        """The row for a request, and what its path names."""
        given = [segment for segment in path.split("/") if segment]
        for row in self._rows.get((method, given[0].lower(), len(given)), ()) if given else ():
            names: dict[str, str] = {}
            for wanted, segment in zip(row.segments, given, strict=True):
                if wanted in _WILD:
                    names[wanted] = segment
                elif wanted != segment.lower():
                    break
            else:
                return row, names
        return None, {}

    def refusal(self, method: str, path: str) -> errors.RefusedError:
        """Why there is no row."""
        given = [segment for segment in path.split("/") if segment]
        if not given or given[0].lower() not in self._collections:
            return errors.not_served()
        if len(given) > _NAMED:
            return errors.no_such_operation(method, given[-1])
        return errors.method_not_allowed(method)


def keyvault_app(world: World, authority: TokenAuthority) -> KeyVaultApp:
    """The app, as the other services name theirs."""
    return KeyVaultApp(world, authority)
