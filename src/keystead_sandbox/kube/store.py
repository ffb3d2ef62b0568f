"""Objects, by resource and namespace, with their owners at hand: no request looks at more objects than it asks about.

One version counter serves all; what changed goes into the :class:`~keystead_sandbox.kube.log.Log` of its resource.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, TypeAlias

from keystead_sandbox.kube.log import Change, Log

Resource: TypeAlias = tuple[str, str]
"""Group and plural."""
Key: TypeAlias = tuple[str, str]
Object: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[Resource, str, str]
"""Resource, namespace, name."""


class Store:
    """All objects of a cluster. Callers must not change what they get, but put a new one."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[str, dict[str, Object]]] = defaultdict(dict)
        self._logs: dict[Resource, Log] = defaultdict(Log)
        self._dependents: dict[str, set[Place]] = defaultdict(set)
        self._alive: dict[str, Place] = {}
        self._inhabited: dict[str, set[Resource]] = defaultdict(set)
        self._changed: dict[Resource, int] = defaultdict(int)
        self._version = 1

    @property
    def version(self) -> int:
        return self._version

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects[resource].get(namespace, {}).get(name)

    def all(self, resource: Resource, namespace: str = "") -> Iterator[Object]:
        """In order of namespace and name; what is there now, whatever changes while it is read."""
        rooms = self._objects[resource]
        wanted = [namespace] if namespace else sorted(rooms)
        return iter([held for room in wanted for _, held in sorted(rooms.get(room, {}).items())])

    def resources(self) -> list[Resource]:
        return list(self._objects)

    def in_namespace(self, namespace: str) -> list[tuple[Resource, Object]]:
        """Everything in one namespace."""
        return [(each, item) for each in sorted(self._inhabited[namespace]) for item in self.all(each, namespace)]

    def is_empty(self, namespace: str) -> bool:
        """Whether a namespace holds nothing."""
        return not self._inhabited[namespace]

    def dependents(self, uid: str) -> list[Place]:
        """What names *uid* as an owner."""
        return sorted(self._dependents[uid])

    def is_alive(self, uid: str) -> bool:
        """Whether an object of this UID exists."""
        return uid in self._alive

    def place_of(self, uid: str) -> Place | None:
        """Where the object of a UID is."""
        return self._alive.get(uid)

    def put(self, resource: Resource, item: Object) -> Object:
        """Store *item* under a new version; it becomes the store's."""
        self._version += 1
        metadata = item["metadata"]
        metadata["resourceVersion"] = str(self._version)
        namespace, name = metadata.get("namespace") or "", metadata["name"]
        before = self.get(resource, namespace, name)
        if before is not None:
            self._forget(resource, before)
        self._objects[resource].setdefault(namespace, {})[name] = item
        self._remember(resource, item)
        self._changed[resource] = self._version
        self._logs[resource].note(
            Change(self._version, "MODIFIED" if before is not None else "ADDED", item, before),
        )
        return item

    def reread(self, resource: Resource, item: Object) -> None:
        """Show an object otherwise from now on: a new schema changes what is read, and writes nothing."""
        metadata = item["metadata"]
        self._objects[resource][metadata.get("namespace") or ""][metadata["name"]] = item

    def remove(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object as it was, under the version of its end."""
        room = self._objects[resource][namespace]
        before = room.pop(name)
        if not room:
            del self._objects[resource][namespace]
        self._forget(resource, before)
        self._version += 1
        self._changed[resource] = self._version
        last = copy.deepcopy(before)
        last["metadata"]["resourceVersion"] = str(self._version)
        self._logs[resource].note(Change(self._version, "DELETED", last, before))
        return last

    def changed(self, resource: Resource) -> int:
        """The version of the last change of a resource."""
        return self._changed[resource]

    def log(self, resource: Resource) -> Log:
        """The changes of one resource."""
        return self._logs[resource]

    def _remember(self, resource: Resource, item: Object) -> None:
        metadata = item["metadata"]
        place = (resource, metadata.get("namespace") or "", metadata["name"])
        self._alive[metadata["uid"]] = place
        if place[1]:
            self._inhabited[place[1]].add(resource)
        for owner in metadata.get("ownerReferences") or ():
            self._dependents[owner["uid"]].add(place)

    def _forget(self, resource: Resource, item: Object) -> None:
        metadata = item["metadata"]
        place = (resource, metadata.get("namespace") or "", metadata["name"])
        self._alive.pop(metadata["uid"], None)
        if place[1] and not self._objects[resource].get(place[1]):
            self._inhabited[place[1]].discard(resource)
        for owner in metadata.get("ownerReferences") or ():
            self._dependents[owner["uid"]].discard(place)
            if not self._dependents[owner["uid"]]:
                del self._dependents[owner["uid"]]
