"""What was asked of the sandbox and what it answered, in order.

- One entry per request, written when its answer has been sent (or its connection dropped); sequence numbers start at 1
  and have no gaps.
- ``at`` is when the request arrived and ``seconds`` how long it took, both in sandbox seconds.
- Never a token, an assertion, a client secret or a secret's value: services put only names and ids into ``detail``.
- Nothing polls: :meth:`Journal.wait` wakes when an entry arrives.
"""

import asyncio
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from keystead_sandbox.clock import Clock

Service: TypeAlias = Literal["arm", "entra", "keyvault", "imds", "kube", "proxy"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer."""

    seq: int
    at: float
    wall: str
    service: Service
    method: str
    host: str
    path: str
    query: str = ""
    status: int
    code: str = ""
    caller: str = ""
    seconds: float = 0.0
    detail: dict[str, str] = msgspec.field(default_factory=dict)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted; what is left out admits all."""

    since: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    service: Service | None = None
    method: str = ""
    path: str = ""
    caller: str | None = None
    code: str | None = None
    status: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.path)
        except re.error as error:
            raise ValueError(f"path: {self.path!r} is not a regular expression: {error}") from None

    def admits(self, entry: Entry) -> bool:
        """Whether *entry* is wanted, as far as it tells."""
        return (
            self.service in (None, entry.service)
            and self.method.upper() in ("", entry.method.upper())
            and re.search(self.path, entry.path, re.IGNORECASE) is not None
            and self.caller in (None, entry.caller)
            and self.code in (None, entry.code)
            and self.status in (None, entry.status)
        )


class Journal:
    """Entries in memory and, when a path is given, as JSON lines on disk."""

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        self._clock = clock
        self._entries: list[Entry] = []
        self._grown = asyncio.Event()
        self._file = path.open("ab") if path is not None else None

    def record(  # noqa: PLR0913 - one keyword per column
        self,
        *,
        service: Service,
        method: str,
        host: str,
        path: str,
        status: int,
        query: str = "",
        code: str = "",
        caller: str = "",
        seconds: float = 0.0,
        detail: Mapping[str, str] | None = None,
    ) -> Entry:
        """Append an entry for a request that took so many sandbox *seconds*."""
        now = self._clock.now()
        entry = Entry(
            seq=len(self._entries) + 1,
            at=now - seconds,
            wall=self._clock.wall().isoformat(),
            service=service,
            method=method,
            host=host,
            path=path,
            query=query,
            status=status,
            code=code,
            caller=caller,
            seconds=seconds,
            detail=dict(detail or {}),
        )
        self._entries.append(entry)
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()  # a reader follows the file while the sandbox runs
        self._grown.set()
        self._grown = asyncio.Event()
        return entry

    def entries(self, since: int = 0, service: Service | None = None) -> list[Entry]:
        """Entries with a sequence number above *since*, oldest first."""
        return [entry for entry in self._entries[max(0, since) :] if service is None or entry.service == service]

    def find(self, query: Query) -> list[Entry]:
        """The entries that *query* means, oldest first."""
        found = (entry for entry in self._entries[query.since :] if query.admits(entry))
        return list(itertools.islice(found, query.limit))

    async def wait(self, since: int) -> list[Entry]:
        """Entries above *since*, as soon as there is one."""
        while len(self._entries) <= since:
            await self._grown.wait()
        return self.entries(since)

    def close(self) -> None:
        """Close the file; entries stay readable."""
        if self._file is not None:
            self._file.close()
            self._file = None
