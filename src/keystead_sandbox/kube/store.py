"""Objects and their history: one version counter, and for each resource a log that watches read.

Nothing polls: a watch waits for the store's next change.
"""

import asyncio
import copy
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]
Object = dict[str, Any]
_REMEMBERED = 4000  # changes of one resource that a watch may still catch up on


@dataclass(slots=True)
class Change:
    """One entry of the log; ``before`` is what the object was."""

    version: int
    type: str
    item: Object
    before: Object | None
    encoded: dict[str, bytes] = field(default_factory=dict)
    """By api version: the watch line, made once for all who watch."""


class Store:
    """All objects of a cluster. Callers must not change what they get, but put a new one."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], dict[Key, Object]] = defaultdict(dict)
        self._log: dict[tuple[str, str], deque[Change]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._version = 1
        self._changed = asyncio.Event()

    @property
    def version(self) -> int:
        return self._version

    def get(self, resource: tuple[str, str], namespace: str, name: str) -> Object | None:
        return self._objects[resource].get((namespace, name))

    def all(self, resource: tuple[str, str], namespace: str = "") -> Iterator[Object]:
        """In order of namespace and name."""
        objects = self._objects[resource]
        for key in sorted(objects):
            if not namespace or key[0] == namespace:
                yield objects[key]

    def resources(self) -> list[tuple[str, str]]:
        return list(self._objects)

    def put(self, resource: tuple[str, str], item: Object) -> Object:
        """Store *item* under a new version; it becomes the store's."""
        self._version += 1
        metadata = item["metadata"]
        metadata["resourceVersion"] = str(self._version)
        key = (metadata.get("namespace") or "", metadata["name"])
        before = self._objects[resource].get(key)
        self._objects[resource][key] = item
        self._note(resource, Change(self._version, "MODIFIED" if before is not None else "ADDED", item, before))
        return item

    def remove(self, resource: tuple[str, str], namespace: str, name: str) -> Object:
        """The object as it was, under the version of its end."""
        before = self._objects[resource].pop((namespace, name))
        self._version += 1
        last = copy.deepcopy(before)
        last["metadata"]["resourceVersion"] = str(self._version)
        self._note(resource, Change(self._version, "DELETED", last, before))
        return last

    def drop_resource(self, resource: tuple[str, str]) -> None:
        self._objects.pop(resource, None)

    def since(self, resource: tuple[str, str], version: int) -> list[Change] | None:
        """Changes after *version*, oldest first; ``None`` when the log does not reach back so far."""
        log = self._log[resource]
        if log and log.maxlen == len(log) and log[0].version > version + 1:
            return None
        if version > self._version:
            return None
        newer = []
        for change in reversed(log):
            if change.version <= version:
                break
            newer.append(change)
        newer.reverse()
        return newer

    async def wait(self) -> None:
        """Until something changes."""
        await self._changed.wait()

    def _note(self, resource: tuple[str, str], change: Change) -> None:
        self._log[resource].append(change)
        self._changed.set()
        self._changed = asyncio.Event()
