"""One authenticated request, as a provider's handler gets it, and the rows that a provider adds to the table."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from keystead_sandbox.arm import errors
from keystead_sandbox.clouds import Cloud, cloud_at
from keystead_sandbox.entra.tokens import Caller

SUBSCRIPTION = r"/subscriptions/(?P<subscription>[^/]+)"
GROUP = SUBSCRIPTION + r"/resourcegroups/(?P<group>[^/]+)"


@dataclass(frozen=True, slots=True)
class Call:
    """A request, who makes it, and what its path names."""

    request: Request
    caller: Caller
    names: dict[str, str]

    @property
    def path(self) -> str:
        """As the client spelled it, without a slash at the end."""
        return str(self.request.scope["path"]).rstrip("/")

    @property
    def cloud(self) -> Cloud:
        """The cloud whose Resource Manager was asked."""
        return cloud_at(self.request.headers.get("host", "").lower().partition(":")[0])

    @property
    def version(self) -> str:
        return self.request.query_params.get("api-version", "")

    @property
    def filter(self) -> str:
        """OData's ``$filter``."""
        return self.request.query_params.get("$filter", "")

    def tell(self, **detail: str) -> None:
        """Names and ids for the journal; never a secret."""
        self.request.state.note.setdefault("detail", {}).update(detail)

    async def body(self) -> dict[str, Any]:
        """The JSON object in the request. Refusal when there is none."""
        try:
            body = msgspec.json.decode(await self.request.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise errors.Refusal(
                400, "InvalidRequestContent", "The request content was invalid and could not be deserialized."
            )
        return body


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Row:
    """A method and a path that a handler serves; the pattern matches whole paths in any case."""

    method: str
    pattern: str
    handler: Handler

    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern + "/?", re.IGNORECASE)
