"""What happens by itself: namespaces begin and end, dependents go with their owners, CRDs add kinds.

- All of it happens within the request that caused it, until nothing more follows; no task runs beside. Only what every
  namespace has comes back a moment after somebody deleted it.
- A namespace goes when it holds nothing, its own finalizers are gone, and nobody but the server stands in
  ``spec.finalizers``.
- A dependent goes when its last living owner is gone (docs: "Garbage Collection"); in the foreground the owner waits
  for those that block it; orphans lose their reference.
"""

import asyncio
import contextvars
import copy
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from keystead_sandbox.kube import bootstrap
from keystead_sandbox.kube import crd as definitions
from keystead_sandbox.kube.kinds import ACCOUNTS, CLUSTER_ROLES, CONFIG_MAPS, CRDS, NAMESPACES, of_crd

if TYPE_CHECKING:
    from keystead_sandbox.kube.rest import Rest

Resource: TypeAlias = tuple[str, str]
Object: TypeAlias = dict[str, Any]
_DESCRIPTION = "kubernetes.io/description"
_ABOUT_CA = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_ALL_WELL = (
    ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "False",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)
KUBERNETES = "kubernetes"
"""The server's own entry in a namespace's ``spec.finalizers``."""


_CONTROLLER = 0.2  # seconds until a controller reacts, where somebody could tell
_FURNITURE = ((ACCOUNTS, "default"), (CONFIG_MAPS, "kube-root-ca.crt"))
"""What every namespace has, and gets again."""


class Lifecycle:
    """Reacts to changes of the store."""

    def __init__(self, rest: "Rest") -> None:
        self._rest = rest
        self._store = rest.store
        self._ending: set[str] = set()

    def created(self, resource: Resource, item: Object) -> list[str]:
        """Follow up on a new object; returns warnings for the client."""
        if resource == NAMESPACES:
            self.furnish(item["metadata"]["name"])
        if resource == CLUSTER_ROLES:
            bootstrap.gather(self._rest)
        self._check_owners(resource, item)
        return self._establish(item) if resource == CRDS else []

    def changed(self, resource: Resource, item: Object) -> list[str]:
        """Follow up on a changed object."""
        if resource == CLUSTER_ROLES:
            bootstrap.gather(self._rest)
        if resource == NAMESPACES and item["metadata"].get("deletionTimestamp"):
            self.terminate(item["metadata"]["name"])
        self._check_owners(resource, item)
        return self._establish(item) if resource == CRDS else []

    def removed(self, resource: Resource, item: Object) -> None:
        """Follow up on the end of an object."""
        metadata = item["metadata"]
        if resource == CRDS:
            self._rest.forget_kinds(item)
        if resource == CLUSTER_ROLES:
            bootstrap.gather(self._rest)
        self._collect(metadata["uid"])
        for owner in metadata.get("ownerReferences") or ():
            self._unblock(owner["uid"])
        if resource[0] and (crd := self._store.get(CRDS, "", f"{resource[1]}.{resource[0]}")) is not None:
            self._finish_definition(crd)
        if metadata.get("namespace"):
            if (resource, metadata["name"]) in _FURNITURE:
                self._refurnish_soon(metadata["namespace"])
            self._finish_namespace(metadata["namespace"])

    # Namespaces --------------------------------------------------------------------------------------------------

    def furnish(self, name: str) -> None:
        """Every namespace has a default account and the cluster's CA."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        self._rest.install(ACCOUNTS, account)
        metadata = {"name": "kube-root-ca.crt", "namespace": name, "annotations": {_DESCRIPTION: _ABOUT_CA}}
        ca = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": self._rest.ca_pem}}
        self._rest.install(CONFIG_MAPS, ca)

    def _refurnish_soon(self, name: str) -> None:
        """A controller comes a moment later: who deletes, and looks whether it is gone, sees that it is."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nobody looks
            self._refurnish(name)
        else:
            loop.call_later(_CONTROLLER, self._refurnish, name, context=contextvars.Context())

    def _refurnish(self, name: str) -> None:
        namespace = self._store.get(NAMESPACES, "", name)
        if namespace is not None and not namespace["metadata"].get("deletionTimestamp"):
            self.furnish(name)

    def terminate(self, name: str) -> None:
        """A namespace was deleted: its contents go, then it."""
        if name in self._ending:
            return
        self._ending.add(name)  # each removal below comes back here
        try:
            for resource, item in self._store.in_namespace(name):
                if self._store.is_alive(item["metadata"]["uid"]):
                    self._rest.remove(resource, item)
        finally:
            self._ending.discard(name)
        self._finish_namespace(name)

    def _finish_namespace(self, name: str) -> None:
        namespace = self._store.get(NAMESPACES, "", name)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp") or name in self._ending:
            return
        if not self._store.is_empty(name):
            self._tell_remaining(namespace)
            return
        others = [each for each in namespace["spec"].get("finalizers") or () if each != KUBERNETES]
        if KUBERNETES in (namespace["spec"].get("finalizers") or ()) and (
            others or namespace["metadata"].get("finalizers")
        ):
            namespace = copy.deepcopy(namespace)
            namespace["spec"] = {"finalizers": others} if others else {}
            namespace = self._store.put(NAMESPACES, namespace)
        if not others and not namespace["metadata"].get("finalizers"):
            self._rest.drop(NAMESPACES, namespace)

    def _tell_remaining(self, namespace: Object) -> None:
        """Conditions that say what a namespace waits for, as the real controller writes them."""
        held = self._store.in_namespace(namespace["metadata"]["name"])
        finalizers = Counter(each for _, item in held for each in set(item["metadata"].get("finalizers") or ()))
        kinds = Counter(f"{plural}.{group}" for (group, plural), _ in held)
        resources = ", ".join(f"{each} has {count} resource instances" for each, count in sorted(kinds.items()))
        holding = ", ".join(f"{each} in {count} resource instances" for each, count in sorted(finalizers.items()))
        told = (
            *_ALL_WELL,
            ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {resources}"),
            (
                "NamespaceFinalizersRemaining",
                "True",
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {holding}",
            ),
        )
        old = {each["type"]: each for each in (namespace.get("status") or {}).get("conditions") or ()}
        conditions = [
            {
                "type": type_,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": (old.get(type_) or {}).get("lastTransitionTime") or self._rest.instant(),
            }
            for type_, status, reason, message in told
        ]
        if conditions != list(old.values()):
            namespace = copy.deepcopy(namespace)
            namespace["status"]["conditions"] = conditions
            self._store.put(NAMESPACES, namespace)

    # Owners ------------------------------------------------------------------------------------------------------

    def _collect(self, uid: str) -> None:
        """Objects whose last owner is gone go too; others lose the reference."""
        for resource, namespace, name in self._store.dependents(uid):
            item = self._store.get(resource, namespace, name)
            if item is None or all(each["uid"] != uid for each in item["metadata"].get("ownerReferences") or ()):
                continue
            if any(self._store.is_alive(owner["uid"]) for owner in item["metadata"].get("ownerReferences") or ()):
                self._disown(resource, item, uid)
            else:
                self._rest.remove(resource, item)

    def _check_owners(self, resource: Resource, item: Object) -> None:
        """An object none of whose owners ever was goes at once."""
        metadata = item["metadata"]
        owners = metadata.get("ownerReferences") or ()
        if (
            owners
            and not metadata.get("deletionTimestamp")
            and not any(self._store.is_alive(each["uid"]) for each in owners)
        ):
            current = self._store.get(resource, metadata.get("namespace") or "", metadata["name"])
            if current is not None:
                self._rest.remove(resource, current)

    def orphan(self, uid: str) -> None:
        """Dependents stay, and forget their owner; then it may go."""
        for resource, namespace, name in self._store.dependents(uid):
            item = self._store.get(resource, namespace, name)
            if item is not None:
                self._disown(resource, item, uid)
        self._release(uid, ORPHAN)

    def foreground(self, uid: str) -> None:
        """Dependents go first."""
        for resource, namespace, name in self._store.dependents(uid):
            item = self._store.get(resource, namespace, name)
            owners = item["metadata"].get("ownerReferences") or () if item is not None else ()
            if item is not None and not any(
                each["uid"] != uid and self._store.is_alive(each["uid"]) for each in owners
            ):
                self._rest.remove(resource, item, policy="Foreground")
        self._unblock(uid)

    def _unblock(self, uid: str) -> None:
        """An owner that waits in the foreground goes once nothing blocks it."""
        place = self._store.place_of(uid)
        owner = self._store.get(*place) if place is not None else None
        if owner is None or FOREGROUND not in (owner["metadata"].get("finalizers") or ()):
            return
        for resource, namespace, name in self._store.dependents(uid):
            item = self._store.get(resource, namespace, name)
            references = item["metadata"].get("ownerReferences") or () if item is not None else ()
            if any(each["uid"] == uid and each.get("blockOwnerDeletion") for each in references):
                return
        self._release(uid, FOREGROUND)

    def _release(self, uid: str, finalizer: str) -> None:
        """What the collector held is held no more."""
        place = self._store.place_of(uid)
        held = self._store.get(*place) if place is not None else None
        if place is None or held is None or finalizer not in (held["metadata"].get("finalizers") or ()):
            return
        held = copy.deepcopy(held)
        held["metadata"]["finalizers"].remove(finalizer)
        held = self._store.put(place[0], held)
        if not held["metadata"]["finalizers"]:
            self._rest.drop(place[0], held)

    def _disown(self, resource: Resource, before: Object, uid: str) -> None:
        item = copy.deepcopy(before)
        owners = [each for each in item["metadata"]["ownerReferences"] if each["uid"] != uid]
        item["metadata"]["ownerReferences"] = owners
        if not owners:
            del item["metadata"]["ownerReferences"]
        self._rest.note(resource, before, item)
        self._store.put(resource, item)

    # Definitions -------------------------------------------------------------------------------------------------

    def empty_definition(self, crd: Object) -> None:
        """A definition was deleted: its objects go, then it."""
        resource = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        for item in self._store.all(resource):
            if self._store.is_alive(item["metadata"]["uid"]):
                self._rest.remove(resource, item)
        current = self._store.get(CRDS, "", crd["metadata"]["name"])
        if current is not None:
            self._finish_definition(current)

    def _finish_definition(self, crd: Object) -> None:
        metadata = crd["metadata"]
        if definitions.CLEANUP not in (metadata.get("finalizers") or ()) or not metadata.get("deletionTimestamp"):
            return
        if any(True for _ in self._store.all((crd["spec"]["group"], crd["spec"]["names"]["plural"]))):
            return
        crd = copy.deepcopy(crd)
        crd["metadata"]["finalizers"].remove(definitions.CLEANUP)
        crd = self._store.put(CRDS, crd)
        if not crd["metadata"]["finalizers"]:
            self._rest.drop(CRDS, crd)

    def _establish(self, crd: Object) -> list[str]:
        if crd["metadata"].get("deletionTimestamp"):
            return []
        taken = self._taken(crd)
        status = definitions.observed(crd, self._rest.instant(), taken)
        if status != crd.get("status"):
            self._store.put(CRDS, {**copy.deepcopy(crd), "status": status})
        if taken is not None:
            return []
        self._rest.learn_kinds(crd, of_crd(crd))
        return definitions.warnings(crd)

    def _taken(self, crd: Object) -> Object | None:
        """Another definition of the same group that has the kind or one of the names."""
        spec = crd["spec"]
        mine = _names(spec["names"])
        for other in self._store.all(CRDS):
            same = other["metadata"]["name"] == crd["metadata"]["name"] or other["spec"]["group"] != spec["group"]
            if not same and mine & _names((other.get("status") or {}).get("acceptedNames") or {}):
                return other
        return None


def _names(names: Object) -> set[tuple[str, str]]:
    """Kinds share one name space, everything that is typed another."""
    kinds = {("kind", names.get(each)) for each in ("kind", "listKind")}
    typed = {("name", each) for each in (names.get("plural"), names.get("singular"), *(names.get("shortNames") or ()))}
    return {(space, name) for space, name in kinds | typed if name}
