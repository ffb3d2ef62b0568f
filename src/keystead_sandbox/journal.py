"""What was asked of the sandbox and what it answered, in order.

- One entry per request, written when its answer has been sent (or its connection dropped); sequence numbers start at 1
  and have no gaps.
- ``at`` is when the request arrived and ``seconds`` how long it took, both in sandbox seconds.
- Never a token, an assertion, a client secret or a secret's value. Services put only names and ids into ``detail``; of
  what a client sends where names belong, everything that looks like a token is struck out, and of a query only the values
  of parameters that Azure's own clients send are kept (:data:`PLAIN`).
- At most ``keep`` entries stay in memory, the newest; the file has them all.
- Nothing polls: :meth:`Journal.wait` and :meth:`Journal.matching` wake when an entry arrives.
"""

import asyncio
import contextlib
import itertools
import re
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import unquote_plus

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


#: Parameters whose values say what was asked for and can be no secret.
PLAIN = frozenset(
    {
        "api-version", "$filter", "$top", "$skip", "$skiptoken", "$expand", "maxresults", "resource", "client_id",
        "object_id", "principal_id", "msi_res_id", "mi_res_id", "authorization_endpoint", "resourceversion", "watch",
        "limit", "continue", "labelselector", "fieldselector", "allowwatchbookmarks", "timeoutseconds", "fieldmanager",
        "dryrun", "force", "fieldvalidation", "propagationpolicy", "sendinitialevents", "resourceversionmatch", "timeout",
        "pretty", "graceperiodseconds", "follow", "container", "preconditions", "orphandependents",
    }
)  # fmt: skip
_TOKEN = re.compile(r"eyJ[\w-]{5,}(\.[\w-]*)*|(?i:bearer|basic)(\s|%20|\+)+[^\s&]+", re.ASCII)
_LONGEST = 2048
_STRUCK = "***"


def cleaned(text: str) -> str:
    """*text* without what looks like a token, and no longer than a name can be."""
    text = text.encode("utf-8", "replace").decode()  # half a character could not be written down
    return _TOKEN.sub(_STRUCK, text[:_LONGEST])


def cleaned_query(query: str) -> str:
    """A query string in which only plain parameters have values."""
    if not query:
        return query
    return "&".join(_cleaned_parameter(part) for part in query[:_LONGEST].split("&"))


def _cleaned_parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    if unquote_plus(name).lower() in PLAIN:
        return f"{name}{equals}{cleaned(value)}"
    # A word without a value could be anything; a parameter's name says at least what was sent.
    return f"{name}={_STRUCK}" if equals and _PARAMETER.fullmatch(name) else _STRUCK if part else ""


_PARAMETER = re.compile(r"[$A-Za-z_-]{1,40}")


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

    def __init__(self, clock: Clock, path: Path | None = None, keep: int | None = None) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._last = 0
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
        self._last += 1
        entry = Entry(
            seq=self._last,
            at=now - seconds,
            wall=self._clock.wall().isoformat(),
            service=service,
            method=method if _METHOD.fullmatch(method) else _STRUCK,
            host=cleaned(host),
            path=cleaned(path),
            query=cleaned_query(query),
            status=status,
            code=cleaned(code),
            caller=cleaned(caller),
            seconds=seconds,
            detail={name: cleaned(str(value)) for name, value in (detail or {}).items()},
        )
        self._entries.append(entry)
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()  # a reader follows the file while the sandbox runs
        self._grown.set()
        self._grown = asyncio.Event()
        return entry

    @property
    def last(self) -> int:
        """The newest entry's number; 0 before the first."""
        return self._last

    def entries(self, since: int = 0, service: Service | None = None) -> list[Entry]:
        """Entries with a sequence number above *since*, oldest first."""
        return [entry for entry in self._since(since) if service is None or entry.service == service]

    def find(self, query: Query) -> list[Entry]:
        """The entries that *query* means, oldest first."""
        found = (entry for entry in self._since(query.since) if query.admits(entry))
        return list(itertools.islice(found, min(query.limit or len(self._entries), len(self._entries))))

    async def wait(self, since: int) -> list[Entry]:
        """Entries above *since*, as soon as there is one."""
        while self._last <= since:
            await self._grown.wait()
        return self.entries(since)

    async def matching(self, query: Query, seconds: float) -> list[Entry]:
        """The entries that *query* means, as soon as there is one; none when *seconds* of the loop's time have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (found := self.find(query)):
                    await self._grown.wait()
                return found
        return self.find(query)

    def close(self) -> None:
        """Close the file; entries stay readable."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _since(self, since: int) -> Iterator[Entry]:
        # Entries that were let go have the lowest numbers; what is left stands in order without gaps.
        gone = self._last - len(self._entries)
        return itertools.islice(self._entries, min(max(0, since - gone), len(self._entries)), None)


_METHOD = re.compile(r"[A-Z]{3,10}")
