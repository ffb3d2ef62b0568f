"""Keeps a cache of one kind: paged list, then watch, for ever.

Rules:
- Bookmarks keep the version fresh; the server is asked to end each watch after a jittered time; a connection that says
  nothing for longer than that is given up, since load balancers drop connections silently.
- 410, an ERROR event or a lost watch with an expired version lead to a new list, and what the list lacks is reported as
  deleted: no delete is ever missed.
- Objects are decoded as they arrive, one by one: what cannot be decoded is logged and left out, the rest goes on. The
  cache holds the decoded records only.
- Handlers get (old, new); they must not block.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from keystead.kube.client import Api
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError

log = structlog.get_logger("keystead.informer")
R = TypeVar("R")
Key = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""

_PAGE = "500"
_GONE = 410


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    server: float = 300.0
    """How long the server may keep a watch open; jittered upwards by half."""
    silence: float = 80.0
    """Bookmarks come every minute: longer silence means a dead connection."""
    first_retry: float = 0.5
    longest_retry: float = 30.0


class _Expired(Exception):
    """The version we hold is too old for the server."""


@dataclass
class Informer(Generic[R]):
    """The cache of one kind."""

    api: Api
    clock: Clock
    path: str
    decode: Callable[[dict[str, Any]], R]
    on_change: Callable[[R | None, R | None], None]
    patience: Patience = Patience()
    label_selector: str = ""
    field_selector: str = ""
    objects: dict[Key, R] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    lists: int = 0
    """How many times everything was listed; for tests and metrics."""

    async def run(self) -> None:
        """List and watch until cancelled."""
        version, failures = "", 0
        while True:
            try:
                if not version:
                    version = await self._list()
                async for seen in self._watch(version):
                    version, failures = seen, 0
            except _Expired:
                version = ""
            except KeysteadError as error:
                failures += 1
                log.info("watch interrupted", path=self.path, error=str(error), failures=failures)
                await self.clock.sleep(self._back_off(failures))
            else:
                failures = 0

    def in_namespace(self, namespace: str) -> Iterable[R]:
        return [record for (place, _), record in self.objects.items() if place == namespace]

    def _back_off(self, failures: int) -> float:
        longest = min(self.patience.longest_retry, self.patience.first_retry * float(2 ** min(failures - 1, 10)))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, so that clients do not come back in step

    def _selectors(self) -> dict[str, str]:
        given = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in given.items() if value}

    async def _list(self) -> str:
        """Read everything, in pages; what is not there any more is reported as deleted."""
        seen: set[Key] = set()
        params = {"limit": _PAGE, **self._selectors()}
        while True:
            page = await self.api.get(self.path, params=params)
            if page is None:
                page = {"items": [], "metadata": {"resourceVersion": "0"}}  # the kind is not served (yet)
            for item in page.get("items") or ():
                seen.add(_key(item))
                self._put(item)
            token = page["metadata"].get("continue")
            if not token:
                break
            params["continue"] = token
        for key in self.objects.keys() - seen:
            self._drop(key)
        self.lists += 1
        self.synced.set()
        return str(page["metadata"].get("resourceVersion") or "0")

    async def _watch(self, version: str) -> AsyncIterator[str]:
        """Apply one watch's events; yields the version after each."""
        jitter = random.uniform(1.0, 1.5)  # noqa: S311 - jitter, so that watches do not end in step
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(int(self.patience.server * jitter)),
            **self._selectors(),
        }
        try:
            async with self.api.stream(self.path, params, silence=self.patience.silence) as lines:
                async for line in lines:
                    if line:
                        yield self._event(line, version)
        except KeysteadError as error:
            if error.code in (str(_GONE), "Expired", "Gone"):
                raise _Expired from error
            if error.code in ("404", "NotFound"):
                await self.clock.sleep(self.patience.longest_retry)
                raise _Expired from error
            raise

    def _event(self, line: str, version: str) -> str:
        event = msgspec.json.decode(line)
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            log.info("watch ended by the server", path=self.path, code=item.get("code"))
            raise _Expired
        if kind in ("ADDED", "MODIFIED"):
            self._put(item)
        elif kind == "DELETED":
            self._drop(_key(item))
        return str(item.get("metadata", {}).get("resourceVersion") or version)

    def _put(self, item: dict[str, Any]) -> None:
        key = _key(item)
        try:
            record = self.decode(item)
        except (msgspec.ValidationError, ValueError, KeyError, TypeError) as error:
            log.warning("object left out: it cannot be decoded", path=self.path, object="/".join(key), error=str(error))
            return
        old = self.objects.get(key)
        if old != record:
            self.objects[key] = record
            self.on_change(old, record)

    def _drop(self, key: Key) -> None:
        old = self.objects.pop(key, None)
        if old is not None:
            self.on_change(old, None)


def _key(item: dict[str, Any]) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


async def run_all(informers: Iterable[Informer[Any]]) -> None:
    """Run all until cancelled; one that fails unexpectedly ends them all."""
    async with asyncio.TaskGroup() as tasks:
        for informer in informers:
            tasks.create_task(informer.run(), name=f"informer:{informer.path}")
