"""A watch: what is there (when asked), then every change, bookmarks in between, until its time is over."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from keystead_sandbox.clock import Clock
from keystead_sandbox.kube import selectors, tables
from keystead_sandbox.kube.errors import ApiError
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.store import Change, Store

_BOOKMARKS = 60.0  # wall seconds between bookmarks, as the real server
_GRAIN = 1e-5  # seconds: a wait below the clock's own grain need not move it
_LONGEST = 1800.0  # wall seconds of a watch that names none


class Watch:
    """One client's watch on one resource."""

    def __init__(
        self,
        store: Store,
        resource: tuple[str, str],
        kind: Kind,
        namespace: str,
        query: Mapping[str, str],
        clock: Clock,
        *,
        as_table: str = "",
    ) -> None:
        self._store = store
        self._resource = resource
        self._kind = kind
        self._namespace = namespace
        self._clock = clock
        self._as_table = as_table
        self._bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self._initial = query.get("sendInitialEvents") in ("true", "1")
        self._seconds = float(query.get("timeoutSeconds") or _LONGEST)
        self._plain = not query.get("labelSelector") and not query.get("fieldSelector")
        self._by_label = selectors.labels(query.get("labelSelector", ""))
        self._by_field = selectors.fields(query.get("fieldSelector", ""))
        asked = query.get("resourceVersion", "")
        self._everything = asked in ("", "0") or self._initial
        self._version = store.version if self._everything else int(asked) if asked.isdigit() else 0
        if not self._everything and store.since(resource, self._version) is None:
            text = f"too old resource version: {asked} ({store.version})"
            raise ApiError(410, "Expired", text)

    def _matches(self, item: dict[str, Any]) -> bool:
        return self._by_label(item) and self._by_field(item)

    async def lines(self) -> AsyncIterator[bytes]:
        """Newline-ended JSON events."""
        if self._everything:
            for item in self._store.all(self._resource, self._namespace):
                if self._matches(item):
                    yield self._line("ADDED", item)
            if self._initial and self._bookmarks:
                yield self._bookmark(initial=True)
        loop = asyncio.get_running_loop()
        end, bookmark = loop.time() + self._seconds, loop.time() + _BOOKMARKS
        while loop.time() < end - _GRAIN:
            changes = self._store.since(self._resource, self._version)
            if changes is None:
                error = ApiError(410, "Expired", f"too old resource version: {self._version} ({self._store.version})")
                yield msgspec.json.encode({"type": "ERROR", "object": error.status()}) + b"\n"
                return
            for change in changes:
                self._version = change.version
                line = self._changed(change)
                if line is not None:
                    yield line
            if self._bookmarks and loop.time() >= bookmark - _GRAIN:
                bookmark = loop.time() + _BOOKMARKS
                self._version = max(self._version, self._store.version)
                yield self._bookmark()
            if not changes:
                await self._pause(min(end, bookmark) - loop.time())

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._store.wait()
        except TimeoutError:
            return

    def _changed(self, change: Change) -> bytes | None:
        """The event as this watch sees it: an object may begin or cease to match."""
        if self._namespace and change.item["metadata"].get("namespace") != self._namespace:
            return None
        if self._plain and not self._as_table:
            return self._shared(change)
        now = self._matches(change.item) and change.type != "DELETED"
        before = change.before is not None and self._matches(change.before)
        if not now and not before:
            return None
        type_ = "DELETED" if not now else "MODIFIED" if before else "ADDED"
        return self._line(type_, change.item)

    def _shared(self, change: Change) -> bytes:
        line = change.encoded.get(self._kind.api_version)
        if line is None:
            line = change.encoded[self._kind.api_version] = self._line(change.type, change.item)
        return line

    def _line(self, type_: str, item: dict[str, Any]) -> bytes:
        shown: Any = {**item, "apiVersion": self._kind.api_version, "kind": self._kind.kind}
        if self._as_table:
            version = item["metadata"]["resourceVersion"]
            shown = tables.table(self._kind, [item], self._clock.wall(), version=version, include=self._as_table)
        return msgspec.json.encode({"type": type_, "object": shown}) + b"\n"

    def _bookmark(self, *, initial: bool = False) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(self._store.version), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        item = {"apiVersion": self._kind.api_version, "kind": self._kind.kind, "metadata": metadata}
        return msgspec.json.encode({"type": "BOOKMARK", "object": item}) + b"\n"
