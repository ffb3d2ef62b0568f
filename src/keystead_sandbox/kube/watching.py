"""A watch: what is there (when asked), then every change, bookmarks in between, until its time is over.

- A bookmark promises that everything up to its version was sent, so it is sent only when nothing is waiting.
- A change of a selected object is told as the watch sees it: an object may begin or cease to match.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from keystead_sandbox.clock import Clock
from keystead_sandbox.kube import listing, selectors
from keystead_sandbox.kube.errors import expired
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.listing import Form
from keystead_sandbox.kube.log import Change
from keystead_sandbox.kube.requests import is_true, whole
from keystead_sandbox.kube.store import Store

_BOOKMARKS = 60.0  # wall seconds between bookmarks, as the real server
_GRAIN = 1e-5  # seconds: a wait below the clock's own grain need not move it
_LONGEST = 1800.0  # wall seconds of a watch that names none


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched."""

    resource: tuple[str, str]
    kind: Kind
    namespace: str = ""
    name: str = ""


class Watch:
    """One client's watch on one resource."""

    def __init__(self, store: Store, scope: Scope, query: Mapping[str, str], clock: Clock, *, form: Form) -> None:
        self._store = store
        self._log = store.log(scope.resource)
        self._scope = scope
        self._kind = scope.kind
        self._clock = clock
        self._form = form
        self._bookmarks = is_true(query, "allowWatchBookmarks")
        self._initial = is_true(query, "sendInitialEvents")
        self._seconds = float(whole(query, "timeoutSeconds") or _LONGEST)
        self._plain = not query.get("labelSelector") and not query.get("fieldSelector") and not scope.name
        self._by_label = selectors.labels(query.get("labelSelector", ""))
        self._by_field = selectors.fields(query.get("fieldSelector", ""), scope.kind)
        asked = query.get("resourceVersion", "")
        listing.check_watch(query)
        self._everything = asked in ("", "0") or self._initial
        if query.get("sendInitialEvents") == "false":
            self._everything = False
        self._version = store.version if self._everything or not int(asked or 0) else int(asked)

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Newline-ended JSON events."""
        if self._seconds < 0:
            return  # over before it began
        if self._everything:
            self._version = self._store.version
            for line in self._present():
                yield line
        loop = asyncio.get_running_loop()
        end, bookmark = loop.time() + self._seconds, loop.time() + _BOOKMARKS
        while loop.time() < end - _GRAIN:
            changes = self._log.since(self._version)
            if changes is None:
                error = expired(self._version, self._store.version)
                yield msgspec.json.encode({"type": "ERROR", "object": error.status()}) + b"\n"
                return
            if changes:
                for change in changes:
                    self._version = change.version
                    line = self._changed(change)
                    if line:
                        yield line
                continue  # while those were sent, more may have come
            self._version = self._store.version
            if loop.time() >= bookmark - _GRAIN:
                bookmark = loop.time() + _BOOKMARKS
                if self._bookmarks:
                    yield self._bookmark(self._version)
                continue
            await self._pause(min(end, bookmark) - loop.time())

    def _present(self) -> list[bytes]:
        """What is there, all of one moment."""
        lines = [
            self._line("ADDED", item)
            for item in self._store.all(self._scope.resource, self._scope.namespace)
            if self._matches(item)
        ]
        return [*lines, self._bookmark(self._version, initial=True)] if self._initial and self._bookmarks else lines

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._log.grown()
        except TimeoutError:
            return

    def _matches(self, item: dict[str, Any]) -> bool:
        name = self._scope.name
        return (not name or item["metadata"]["name"] == name) and self._by_label(item) and self._by_field(item)

    def _changed(self, change: Change) -> bytes:
        """The event as this watch sees it; empty when it does not."""
        namespace = self._scope.namespace
        if namespace and change.item["metadata"].get("namespace") != namespace:
            return b""
        if self._plain and self._form.plain:
            return self._shared(change)
        now = self._matches(change.item) and change.type != "DELETED"
        before = change.before is not None and self._matches(change.before)
        if not now and not before:
            return b""
        type_ = "DELETED" if not now else "MODIFIED" if before else "ADDED"
        if type_ == "DELETED" and change.before is not None:  # as it was when the watch last saw it
            version = change.item["metadata"]["resourceVersion"]
            last = {**change.before, "metadata": {**change.before["metadata"], "resourceVersion": version}}
            return self._line(type_, last)
        return self._line(type_, change.item)

    def _shared(self, change: Change) -> bytes:
        line = change.encoded.get(self._kind.api_version)
        if line is None:
            line = change.encoded[self._kind.api_version] = self._line(change.type, change.item)
        return line

    def _line(self, type_: str, item: dict[str, Any]) -> bytes:
        shown = self._form.one(self._kind, item, self._clock.wall())
        return msgspec.json.encode({"type": type_, "object": shown}) + b"\n"

    def _bookmark(self, version: int, *, initial: bool = False) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        item = self._form.bookmark(self._kind, metadata)
        return msgspec.json.encode({"type": "BOOKMARK", "object": item}) + b"\n"
