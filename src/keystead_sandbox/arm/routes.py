"""What management.azure.com serves here: dispatch, authentication, Resource Manager's own limits and headers.

Path segments match without regard to case. In order: authentication, the subscription, Resource Manager's token
buckets, the api-version, then the provider's handler with its own order of checks.
"""

import re
import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystead_sandbox.arm import errors, rules, throttling
from keystead_sandbox.arm.assignments import Assignments
from keystead_sandbox.arm.call import Call, Row
from keystead_sandbox.arm.credentials import Credentials
from keystead_sandbox.arm.definitions import Definitions
from keystead_sandbox.arm.governing import Governance
from keystead_sandbox.arm.groups import Groups
from keystead_sandbox.arm.identities import Identities
from keystead_sandbox.arm.places import Places, metadata
from keystead_sandbox.arm.vaults import Vaults
from keystead_sandbox.clouds import cloud_at
from keystead_sandbox.entra.tokens import Caller, Fault, TokenAuthority, TokenRefusedError
from keystead_sandbox.world import World

_SUBSCRIPTION = re.compile("/subscriptions/([^/]+)(/|$)", re.IGNORECASE | re.ASCII)
_PROVIDER = re.compile(r".*/providers/(?P<namespace>[^/]+)(/(?P<rest>.*))?", re.IGNORECASE | re.ASCII | re.DOTALL)
_METADATA = "/metadata/endpoints"


class ArmApp:
    """The ASGI app for management.azure.com."""

    def __init__(self, world: World, authority: TokenAuthority) -> None:
        self._world = world
        self._authority = authority
        rows: list[Row] = [
            *Credentials(world).rows(),
            *Identities(world).rows(),
            *Assignments(world).rows(),
            *Definitions(world).rows(),
            *Governance(world).rows(),
            *Vaults(world).rows(),
            *Groups(world).rows(),
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
        path = str(request.scope["path"])
        if request.method == "GET" and path.rstrip("/").lower() == _METADATA:
            return metadata(request)  # clients ask before they can sign in
        caller = self._caller(request)
        request.state.note["caller"] = caller.name
        self._admit(request, caller, headers)
        if not any(name.lower() == "api-version" and value for name, value in request.query_params.items()):
            raise errors.no_version()
        found = False
        for method, pattern, handler in self._table:
            match = pattern.fullmatch(path)
            if match is not None and method == request.method:
                return await handler(await Call(request, caller, match.groupdict(), path.rstrip("/")).read())
            found = found or match is not None
        if found:
            raise errors.bad_method(request.method)
        raise _unknown(path, request.query_params.get("api-version", ""))

    def _caller(self, request: Request) -> Caller:
        cloud = cloud_at(_host(request))
        match = _SUBSCRIPTION.match(request.scope["path"])
        asked = self._world.subscriptions.get(match[1].lower()) if match is not None else None
        tenant = asked.tenant_id if asked is not None else next(iter(self._world.tenants), "common")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            raise errors.unauthenticated(cloud.login_host, tenant)
        if scheme.lower() != "bearer" or not token:
            raise errors.bad_header(cloud.login_host, tenant)
        audiences = (cloud.classic, cloud.arm_resource, rules.APPLICATION)
        try:
            return self._authority.check(token, audiences)
        except TokenRefusedError as refused:
            if refused.fault is Fault.EXPIRED:
                raise errors.expired_token(cloud.login_host, tenant, self._world.clock.wall()) from None
            if refused.fault is Fault.AUDIENCE:
                allowed = [f"{each}{slash}" for each in audiences[:2] for slash in ("/", "")]
                raise errors.wrong_audience(cloud.login_host, tenant, refused.found, allowed) from None
            raise errors.bad_token(cloud.login_host, tenant) from None

    def _admit(self, request: Request, caller: Caller, headers: dict[str, str]) -> None:
        """The subscription must be there, of the caller's tenant, and have requests left for the caller."""
        match = _SUBSCRIPTION.match(request.scope["path"])
        if match is None:
            headers.update(throttling.take_request(self._world, "", caller, request.method))
            return
        cloud = cloud_at(_host(request))
        subscription = self._world.subscriptions.get(match[1].lower())
        if subscription is None or not self._world.tenants[subscription.tenant_id].is_in(cloud):
            raise errors.no_subscription(match[1]) if _is_guid(match[1]) else errors.bad_subscription(match[1])
        if subscription.tenant_id != caller.tenant_id:
            issuers = caller.issuer, self._authority.issuer_of(subscription.tenant_id)
            raise errors.wrong_tenant(cloud.login_host, subscription.tenant_id, issuers)
        headers.update(throttling.take_request(self._world, subscription.id, caller, request.method))

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
        # Documented: the client's own id comes back where the client asks for that.
        own = request.headers.get("x-ms-client-request-id")
        if own and request.headers.get("x-ms-return-client-request-id", "").lower() == "true":
            response.headers["x-ms-client-request-id"] = own


def _unknown(path: str, version: str) -> errors.Refusal:
    """What Azure says of a path that nothing serves."""
    match = _PROVIDER.fullmatch(path)
    if match is None:
        if _SUBSCRIPTION.match(path) is None:
            return errors.no_provider()
        return errors.no_type("Microsoft.Resources", path.strip("/").rpartition("/")[2], version)
    namespace, parts = match["namespace"], (match["rest"] or "").strip("/").split("/")
    if not namespace.lower().startswith("microsoft."):
        return errors.no_namespace(namespace)
    return errors.no_type(namespace, "/".join(parts[::2]), version)


def _is_guid(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.IGNORECASE | re.ASCII) is not None


def _host(request: Request) -> str:
    return request.headers.get("host", "").lower().partition(":")[0]
