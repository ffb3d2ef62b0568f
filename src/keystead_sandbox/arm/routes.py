"""What management.azure.com serves here: dispatch, authentication, Resource Manager's own limits and headers.

Path segments match without regard to case. In order: authentication, the subscription, Resource Manager's token
buckets, then the provider's handler with its own order of checks.
"""

import re
import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystead_sandbox.arm import errors, rules
from keystead_sandbox.arm.access import Access
from keystead_sandbox.arm.call import SUBSCRIPTION, Call, Row
from keystead_sandbox.arm.credentials import Credentials
from keystead_sandbox.arm.identities import Identities
from keystead_sandbox.arm.places import Places, metadata
from keystead_sandbox.clouds import cloud_at
from keystead_sandbox.entra.tokens import Caller, TokenAuthority
from keystead_sandbox.world import World

_SUBSCRIPTION = re.compile(SUBSCRIPTION + "(/|$)", re.IGNORECASE)
_METADATA = "/metadata/endpoints"


class ArmApp:
    """The ASGI app for management.azure.com."""

    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority
        rows: list[Row] = [
            *Credentials(world).rows(),
            *Identities(world).rows(),
            *Access(world).rows(),
            *Places(world).rows(),
        ]
        self._table = [(row.method, row.compiled(), row.handler) for row in rows]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        headers: dict[str, str] = {}
        try:
            response = await self._answer(request, headers)
        except errors.Refusal as refusal:
            request.state.note["code"] = refusal.code
            response = refusal.response()
        self._decorate(request, response)
        response.headers.update(headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        if request.method == "GET" and request.scope["path"] == _METADATA:
            return metadata(request)  # clients ask before they can sign in
        caller = self._caller(request)
        request.state.note["caller"] = caller.name
        self._admit(request, caller, headers)
        found = False
        for method, pattern, handler in self._table:
            match = pattern.fullmatch(request.scope["path"])
            if match is not None and method == request.method:
                return await handler(Call(request, caller, match.groupdict()))
            found = found or match is not None
        if found:
            raise errors.Refusal(405, "MethodNotAllowed", f"The method {request.method} is not allowed here.")
        raise errors.Refusal(404, "InvalidResourceType", "The resource type could not be found by the sandbox.")

    def _caller(self, request: Request) -> Caller:
        cloud = cloud_at(_host(request))
        match = _SUBSCRIPTION.match(request.scope["path"])
        asked = self._world.subscriptions.get(match["subscription"].lower()) if match is not None else None
        tenant = asked.tenant_id if asked is not None else next(iter(self._world.tenants), "common")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise errors.unauthenticated(cloud.login_host, tenant)
        caller = self._authority.verify(token, (cloud.arm_resource, cloud.classic, rules.APPLICATION))
        if caller is None:
            raise errors.bad_token(cloud.login_host, tenant)
        return caller

    def _admit(self, request: Request, caller: Caller, headers: dict[str, str]) -> None:
        """The subscription must be there, of the caller's tenant, and have requests left for the caller."""
        match = _SUBSCRIPTION.match(request.scope["path"])
        if match is None:
            return
        cloud = cloud_at(_host(request))
        subscription = self._world.subscriptions.get(match["subscription"].lower())
        if subscription is None or not self._world.tenants[subscription.tenant_id].is_in(cloud):
            text = f"The subscription '{match['subscription']}' could not be found."
            raise errors.Refusal(404, "SubscriptionNotFound", text)
        if subscription.tenant_id != caller.tenant_id:
            issuers = caller.issuer, self._authority.issuer_of(subscription.tenant_id)
            raise errors.wrong_tenant(cloud.login_host, subscription.tenant_id, issuers)
        headers.update(rules.take_request(self._world, subscription.id, caller, request.method))

    def _decorate(self, request: Request, response: Response) -> None:
        """Headers that every answer of Resource Manager carries."""
        if "content-type" in response.headers:
            response.headers["Content-Type"] = "application/json; charset=utf-8"
        number = str(uuid.uuid4())
        moment = self._world.clock.wall().strftime("%Y%m%dT%H%M%SZ")
        response.headers.update(
            {
                "Cache-Control": "no-cache",
                "Pragma": "no-cache",
                "Expires": "-1",
                "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
                "X-Content-Type-Options": "nosniff",
                "x-ms-request-id": number,
                "x-ms-correlation-request-id": request.headers.get("x-ms-correlation-request-id", number),
                "x-ms-routing-request-id": f"SANDBOX:{moment}:{number}",
            }
        )


def _host(request: Request) -> str:
    return request.headers.get("host", "").lower().partition(":")[0]
