"""One authenticated request, as a provider's handler gets it, and the rows that a provider adds to the table."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors
from keystead_sandbox.clouds import Cloud, cloud_at
from keystead_sandbox.entra.tokens import Caller

SUBSCRIPTION = r"/subscriptions/(?P<subscription>[^/]+)"
GROUP = SUBSCRIPTION + r"/resourcegroups/(?P<group>[^/]+)"
SCOPE = r"(?P<scope>(?:/.+?)?)"  # of an extension resource: a subscription, a group, a resource
_LARGEST_BODY = 4 << 20  # bytes; Azure docs: "Request size limits"
_LARGEST_PAGE = 1000
# As in "X'32'": opaque to clients, with a quote, so that whoever forgets to encode or decode it is found out.
_TOKEN = re.compile(r"X'(?P<start>[0-9]{1,9})'")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, who makes it, and what its path names."""

    request: Request
    caller: Caller
    names: dict[str, str]
    path: str
    """As the client spelled it, without a slash at the end."""
    content: bytes = b""

    @property
    def cloud(self) -> Cloud:
        """The cloud whose Resource Manager was asked."""
        return cloud_at(self.request.headers.get("host", "").lower().partition(":")[0])

    @property
    def query(self) -> dict[str, str]:
        """The query, by names in lower case, since clients spell them in several ways."""
        return {name.lower(): value for name, value in self.request.query_params.items()}

    @property
    def version(self) -> str:
        return self.query.get("api-version", "")

    @property
    def filter(self) -> str:
        """OData's ``$filter``."""
        return self.query.get("$filter", "")

    @property
    def collection(self) -> str:
        """Where a list is authorised: the path without the type, as Azure names it in refusals."""
        return self.path.rpartition("/")[0]

    def tell(self, **detail: str) -> None:
        """Names and ids for the journal; never a secret."""
        self.request.state.note.setdefault("detail", {}).update(detail)

    def body(self) -> dict[str, Any]:
        """The JSON object in the request. Refusal when there is none."""
        if len(self.content) > _LARGEST_BODY:
            raise errors.too_large()
        try:
            body = msgspec.json.decode(self.content)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            body = None
        if not isinstance(body, dict):
            raise errors.bad_content()
        return body

    def properties(self) -> dict[str, Any]:
        """The body's ``properties``; empty when it has none."""
        properties = self.body().get("properties")
        return properties if isinstance(properties, dict) else {}

    async def read(self) -> "Call":
        """The same with its body at hand; no more of it is read than a body may have."""
        parts, size = [], 0
        async for part in self.request.stream():
            size += len(part)
            if size <= _LARGEST_BODY + 1:
                parts.append(part)
        return replace(self, content=b"".join(parts) if size <= _LARGEST_BODY else b" " * (_LARGEST_BODY + 1))

    def page(self, items: Sequence[dict[str, Any]], size: int) -> Response:
        """One page of a list; the link to the next takes the request's own filter and version along."""
        size, start = self.place(size)
        page: dict[str, Any] = {"value": list(items[start : start + size])}
        if start + size < len(items):
            query = {"api-version": self.version, "$filter": self.filter, "$top": self.query.get("$top")}
            text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items() if value)
            host, path = self.request.headers["host"], quote(self.path)
            page["nextLink"] = f"https://{host}{path}?{text}&$skiptoken={quote(_token(start + size), safe='')}"
        return JSONResponse(page)

    def place(self, size: int) -> tuple[int, int]:
        """Page size and start. Refusal when they make no sense."""
        query = self.query
        token = _TOKEN.fullmatch(query.get("$skiptoken") or _token(0))
        top = query.get("$top") or str(size)
        if token is None or re.fullmatch(r"[0-9]{1,9}", top) is None or not 1 <= int(top) <= _LARGEST_PAGE:
            raise errors.bad_request("The value of $top or $skiptoken is not valid.")
        return int(top), int(token["start"])


def _token(start: int) -> str:
    return f"X'{start}'"


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Row:
    """A method and a path that a handler serves; the pattern matches whole paths in any case."""

    method: str
    pattern: str
    handler: Handler

    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern + "/?", re.IGNORECASE | re.ASCII)  # a long s is no s
