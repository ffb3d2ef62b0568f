"""One admitted request, as an operation gets it, and the rows that a collection adds to the table."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from keystead_sandbox.keyvault import errors, rules
from keystead_sandbox.keyvault.access import Right
from keystead_sandbox.resources import Vault
from keystead_sandbox.world import World

HTTPS_PORT = 443
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose caller is known and may do what it asks; ``base`` is the URL it calls the vault by."""

    request: Request
    world: World
    vault: Vault
    base: str
    api_version: str
    name: str
    version: str

    async def octets(self) -> bytes:
        """The body, as long as bodies may be."""
        read = bytearray()
        async for chunk in self.request.stream():
            read += chunk
            if len(read) > rules.LONGEST_BODY:
                raise errors.too_large(rules.LONGEST_BODY)
        return bytes(read)

    async def body(self, kind: type[T]) -> T:
        """The JSON body. RefusedError when it does not fit *kind*."""
        return rules.read(await self.octets(), kind)


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


class Cost(StrEnum):
    """The kinds of transactions that Key Vault counts apart."""

    ANY = "any"
    SET = "set"  # of secrets
    CREATE = "create"  # of keys and certificates


@dataclass(frozen=True, slots=True)
class Row:
    """An operation: ``{name}`` and ``{version}`` in its path are any segment, the rest matches in any case."""

    method: str
    path: str
    right: Right
    handler: Handler
    cost: Cost = Cost.ANY

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))


def answer(content: object, status: int = 200) -> Response:
    """JSON, as Key Vault answers it."""
    return Response(msgspec.json.encode(content), status)


Page: TypeAlias = Callable[[str, int], tuple[Sequence[dict[str, object]], str]]


def paged(call: Call, page: Page) -> Response:
    """One page, and the link to the next, null at the end."""
    query = call.request.query_params
    token, size = query.get("$skiptoken", ""), rules.page_size(query.get("maxresults", ""))
    items, following = page(rules.skipped(token), size)
    link = None
    if following:
        host = call.base.removeprefix("https://")
        # Key Vault writes the port out, even the usual one.
        authority = host if ":" in host else f"{host}:{HTTPS_PORT}"
        link = (
            f"https://{authority}{quote(call.request.scope['path'])}?api-version={call.api_version}"
            f"&$skiptoken={quote(rules.skip_token(following))}&maxresults={size}"
        )
    return answer({"value": items, "nextLink": link})


Names: TypeAlias = Callable[[str, int], tuple[Sequence[str], str]]


def listed(call: Call, names: Names, item: Callable[[str], dict[str, object] | None]) -> Response:
    """A page of *names*, each as *item* shows it; what it does not show leaves the page shorter."""

    def page(after: str, size: int) -> tuple[list[dict[str, object]], str]:
        found, following = names(after, size)
        return [shown for name in found if (shown := item(name)) is not None], following

    return paged(call, page)
