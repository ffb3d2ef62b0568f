"""Keeps a cache of one kind: what is there, then every change, for ever.

Rules:
- What is there is streamed by the watch itself where the server can (``sendInitialEvents``), else listed in pages.
- Bookmarks keep the version fresh; the server is asked to end each watch after a jittered time; a connection that says
  nothing for longer than bookmarks allow is given up, since load balancers drop connections silently.
- A version that the server does not know any more, or not yet (it went back in time), leads to a new reading, and what
  that lacks is told as deleted: no delete is ever missed. So does a second silence in a row, and garbage thrice.
- Nothing is asked for in a hot loop: what fails, or ends at once, is tried again ever later, and no sooner than the
  server said.
- A kind that is not served is empty only where it may be absent, and is believed gone only after a while; a kind that
  must be there is waited for.
- Handlers get (old, new); they must not block.

Source of the protocol: Kubernetes documentation, "API Concepts" (efficient detection of changes, streaming lists).
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from keystead.kube.cache import Cache, Changed, Decode, Index
from keystead.kube.client import LIST_DEADLINE, Api
from keystead.kube.errors import VERSION_AHEAD, unreadable
from keystead.kube.wire import Event, Key, Lines, Unreadable, read_event, read_page
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError, Refused, Retryable
from keystead.model.reasons import Reason

log = structlog.get_logger("keystead.informer")
R = TypeVar("R")

_PAGE = "500"
_PARTIAL = "application/json;as={};v=v1;g=meta.k8s.io,application/json"
_SHORTEST = 1.0  # seconds; a watch that ends sooner was not worth its request
_EXPIRED = frozenset({"410", "Expired", "Gone", VERSION_AHEAD})
_ABSENT = frozenset({"404", "NotFound"})
_CANNOT_STREAM = frozenset({"400", "BadRequest", "422", "Invalid"})
_SILENT = "Silent"
_UNREADABLE = "Unreadable"
_STALE = 3  # times the longest silence
_LOUD = 3  # failures in a row from which they are warnings


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    server: float = 300.0
    """How long the server may keep a watch open; jittered upwards by half."""
    silence: float = 80.0
    """Bookmarks come every minute: longer silence means a dead connection."""
    initial: float = 10.0
    """A server that streams what is there never pauses so long before it says that this was all."""
    absent: float = 120.0
    """A kind that was served and is not any more is gone after so long."""
    first_retry: float = 0.5
    longest_retry: float = 30.0


@dataclass
class Informer(Generic[R]):
    """The cache of one kind."""

    api: Api
    clock: Clock
    path: str
    decode: Decode[R]
    on_change: Changed[R]
    patience: Patience = Patience()
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False
    """Ask for PartialObjectMetadata; a server that has none sends the whole objects."""
    optional: bool = False
    """The kind may be absent."""
    locate: Callable[[], Awaitable[str]] | None = None
    """Says where the kind lies now, when it is not where it was."""
    streams: bool = True
    """Try ``sendInitialEvents``; unset once the server has refused."""
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    lists: int = 0
    """How many times everything was read; for tests and metrics."""
    failures: int = 0
    """In a row."""
    heard: float = float("-inf")
    """When the server last said anything about this kind (monotonic)."""

    def __post_init__(self) -> None:
        self.cache: Cache[R] = Cache(self.path, self.decode, self.on_change)
        self._version = ""
        self._paged = True
        self._dead_ends = 0
        self._absent_since: float | None = None

    @property
    def objects(self) -> dict[Key, R]:
        """By namespace and name."""
        return self.cache.objects

    @property
    def left_out(self) -> int:
        """How many objects cannot be understood."""
        return len(self.cache.misunderstood)

    @property
    def is_fresh(self) -> bool:
        """The server has said something about this kind lately."""
        return self.clock.monotonic() - self.heard <= _STALE * self.patience.silence

    def index(self, words: Callable[[R], Iterable[str]]) -> Index[R]:
        """An index over the cache; made before :meth:`run`."""
        return self.cache.index(words)

    async def run(self) -> None:
        """Read and watch until cancelled."""
        while True:
            began = self.clock.monotonic()
            error = await self._turn()
            wait = self._judge(error, self.clock.monotonic() - began)
            if error is not None and error.code in _ABSENT and await self._moved():
                continue
            if wait > 0:
                await self.clock.sleep(wait)

    async def read(self) -> None:
        """Read what is there once, and watch nothing; errors of :mod:`keystead.model.errors`, first of all."""
        try:
            await self._list()
        except Unreadable as error:
            raise unreadable(f"GET {self.path}", error) from error
        except KeysteadError as error:
            if error.code in _EXPIRED and self._paged:
                self._paged = False  # it took too long in pages
                await self.read()
            elif error.code in _ABSENT and await self._moved():
                await self.read()
            elif error.code in _ABSENT and self.optional:
                self.synced.set()
            else:
                raise

    async def _moved(self) -> bool:
        """Whether the kind is to be found elsewhere."""
        before = self.path
        if self.locate is not None:
            with contextlib.suppress(KeysteadError):
                self.path = await self.locate()
        return self.path != before

    async def _turn(self) -> KeysteadError | None:
        """Read what is there, if need be, and watch until the watch ends; what went wrong."""
        try:
            if not self._version and not self.streams:
                await self._list()
            await self._watch()
        except KeysteadError as error:
            return error
        except Unreadable as error:
            return unreadable(f"WATCH {self.path}", error)
        return None

    def _judge(self, error: KeysteadError | None, lived: float) -> float:
        """Seconds to wait before the next turn, and whether that reads everything anew."""
        if lived >= self.patience.longest_retry or (error is None and lived >= _SHORTEST):
            self.failures = 0
        if error is None and lived >= _SHORTEST:
            return 0.0
        if error is None:
            error = Retryable(Reason.KUBERNETES_UNAVAILABLE, f"WATCH {self.path}: ended at once")
        first = self.failures == 0
        self.failures += 1
        if self.streams and not self._version and error.code in _CANNOT_STREAM:
            self.streams = False
            return 0.0 if first else self._back_off(error)
        if error.code in _ABSENT:
            return self._absent(error)
        loud = self.failures >= _LOUD or isinstance(error, Refused)
        (log.warning if loud else log.info)(
            "watch interrupted", path=self.path, error=str(error), failures=self.failures
        )
        if error.code in (_SILENT, _UNREADABLE):
            self._dead_ends += 1
            self.streams = self.streams and (bool(self._version) or self._dead_ends < _LOUD)
        if error.code in _EXPIRED or self._dead_ends >= (2 if error.code == _SILENT else _LOUD):
            self._forget_version(error)
            return 0.0 if first and error.code in _EXPIRED else self._back_off(error)
        return self._back_off(error)

    def _forget_version(self, error: KeysteadError) -> None:
        """The next turn reads everything; in one piece, if it took too long in pages."""
        self._dead_ends = 0
        self._paged = bool(self._version) or error.code not in _EXPIRED
        self._version = ""

    def _back_off(self, error: KeysteadError) -> float:
        longest = self.patience.longest_retry
        wait = min(longest, self.patience.first_retry * float(2 ** min(self.failures - 1, 10)))
        asked = error.after if isinstance(error, Retryable) and error.after is not None else 0.0
        return max(asked, wait * random.uniform(0.5, 1.0))  # noqa: S311 - so that clients do not come back in step

    def _absent(self, error: KeysteadError) -> float:
        """The kind is not served: what that means depends on whether it must be."""
        now = self.clock.monotonic()
        since = self._absent_since = now if self._absent_since is None else self._absent_since
        self._version = ""
        self.heard = now
        if not self.optional:
            log.warning("kind not served: is its CRD installed?", path=self.path, error=str(error))
            return self._back_off(error)
        if not self.cache.objects or now - since >= self.patience.absent:
            self.cache.keep_only(set())
            self.synced.set()
        return self.patience.longest_retry

    def _selectors(self) -> dict[str, str]:
        given = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in given.items() if value}

    def _accept(self, kind: str) -> str:
        return _PARTIAL.format(kind) if self.metadata_only else "application/json"

    async def _list(self) -> None:
        """Read everything, in pages."""
        seen: set[Key] = set()
        params = {**({"limit": _PAGE} if self._paged else {}), **self._selectors()}
        accept = self._accept("PartialObjectMetadataList")
        while True:
            content = await self.api.request("GET", self.path, params=params, accept=accept, seconds=LIST_DEADLINE)
            page = read_page(content or b"")
            self.heard = self.clock.monotonic()
            for item in page.items:
                seen.add(item.key)
                self.cache.put(item)
            if page.nameless:
                log.warning("objects left out: they have no name", path=self.path, count=page.nameless)
            if not page.more:
                break
            if page.more == params.get("continue"):
                raise Unreadable("a page that leads to itself")
            params["continue"] = page.more
        self._read_all(seen, page.version)

    def _read_all(self, seen: set[Key], version: str) -> None:
        """All that is there was seen: what was not is gone."""
        if not version:
            raise Unreadable("a list without a version")
        self.cache.keep_only(seen)
        self._version = version
        self._paged = True
        self._absent_since = None
        self.lists += 1
        self.synced.set()

    async def _watch(self) -> None:
        """Apply one watch's events until it ends."""
        seen: set[Key] | None = None if self._version else set()
        loop, lines = asyncio.get_running_loop(), Lines()
        quiet = self.patience.silence if self._version else self.patience.initial
        initial_end = loop.time() + LIST_DEADLINE
        accept = self._accept("PartialObjectMetadata")
        async with self.api.stream(self.path, self._asked(), silence=self.patience.silence, accept=accept) as chunks:
            try:
                async with asyncio.timeout(quiet) as patience:
                    async for chunk in chunks:
                        self.heard = self.clock.monotonic()
                        for line in lines.feed(chunk):
                            self._apply(read_event(line), seen)
                        self._dead_ends = 0
                        seen = None if self._version else seen
                        limit = loop.time() + (self.patience.silence if seen is None else self.patience.initial)
                        patience.reschedule(limit if seen is None else min(limit, initial_end))
            except TimeoutError:
                raise self._fell_silent(initial=seen is not None) from None
        if lines.is_cut:
            raise Unreadable("a line was cut off")
        if seen is not None:
            raise Unreadable("a watch that ended before everything was said")

    def _asked(self) -> dict[str, str]:
        jitter = random.uniform(1.0, 1.5)  # noqa: S311 - so that watches do not end in step
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(self.patience.server * jitter)),
            **self._selectors(),
        }
        if self._version:
            return params | {"resourceVersion": self._version}
        return params | {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}

    def _fell_silent(self, *, initial: bool) -> KeysteadError:
        if initial:
            self.streams = False
            text = f"WATCH {self.path}: the server does not say when all that is there was sent; listing instead"
            return Retryable(Reason.KUBERNETES_UNAVAILABLE, text)
        text = f"WATCH {self.path}: silent for {self.patience.silence:g} s"
        return Retryable(Reason.KUBERNETES_UNAVAILABLE, text, code=_SILENT)

    def _apply(self, event: Event, seen: set[Key] | None) -> None:
        """One event; *seen* gathers what is there while that is being sent."""
        if event.type == "ERROR":
            code = event.reason if event.reason in _EXPIRED else str(event.code or event.reason)
            raise Retryable(Reason.KUBERNETES_UNAVAILABLE, f"WATCH {self.path}: ended with {code}", code=code)
        if event.type in ("ADDED", "MODIFIED", "DELETED"):
            self._take(event, seen)
        elif event.ends_initial and seen is not None and not self._version:
            self._read_all(seen, event.version)
        if self._version and event.version:
            self._check_order(event.version)
            self._version = event.version

    def _check_order(self, version: str) -> None:
        """A server that comes back with an older state counts from there; what we hold is then from a lost future."""
        if version.isdigit() and self._version.isdigit() and int(version) < int(self._version):
            text = f"WATCH {self.path}: version {version} after {self._version}"
            raise Retryable(Reason.KUBERNETES_UNAVAILABLE, text, code=VERSION_AHEAD)

    def _take(self, event: Event, seen: set[Key] | None) -> None:
        item = event.item
        if item is None:
            log.warning("event left out: its object has no name", path=self.path, type=event.type)
        elif event.type == "DELETED":
            self.cache.drop(item.key)
            if seen is not None:
                seen.discard(item.key)
        else:
            self.cache.put(item)
            if seen is not None:
                seen.add(item.key)


async def run_all(informers: Iterable[Informer[Any]]) -> None:
    """Run all until cancelled; one that fails unexpectedly ends them all."""
    async with asyncio.TaskGroup() as tasks:
        for informer in informers:
            tasks.create_task(informer.run(), name=f"informer:{informer.path}")
