"""What happens by itself: namespaces begin and end, dependents go with their owners, CRDs add kinds.

All of it happens within the request that caused it, until nothing more follows; no task runs beside.
"""

import copy
import uuid
from typing import TYPE_CHECKING, Any

from keystead_sandbox.kube import cel
from keystead_sandbox.kube.kinds import of_crd

if TYPE_CHECKING:
    from keystead_sandbox.kube.rest import Rest

NAMESPACES = ("", "namespaces")
CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")
ACCOUNTS = ("", "serviceaccounts")
CONFIG_MAPS = ("", "configmaps")


class Lifecycle:
    """Reacts to changes of the store."""

    def __init__(self, rest: "Rest") -> None:
        self._rest = rest

    def created(self, resource: tuple[str, str], item: dict[str, Any]) -> list[str]:
        """Follow up on a new object; returns warnings for the client."""
        if resource == NAMESPACES:
            self._furnish(item["metadata"]["name"])
        if resource == CRDS:
            return self._establish(item)
        return []

    def changed(self, resource: tuple[str, str], item: dict[str, Any]) -> list[str]:
        """Follow up on a changed object."""
        if resource == CRDS and not item["metadata"].get("deletionTimestamp"):
            return self._establish(item)
        return []

    def removed(self, resource: tuple[str, str], item: dict[str, Any]) -> None:
        """Follow up on the end of an object."""
        if resource == CRDS:
            self._rest.forget_kinds(item)
        self._collect(item["metadata"]["uid"])
        self._finish_namespaces(item["metadata"].get("namespace"))

    def terminate(self, name: str) -> None:
        """A namespace was deleted: its contents go, then it."""
        store = self._rest.store
        for resource in store.resources():
            for item in list(store.all(resource, name)):
                self._rest.remove(resource, item)
        self._finish_namespaces(name)

    def _furnish(self, name: str) -> None:
        """Every namespace has a default account and the cluster's CA."""
        self._rest.install(ACCOUNTS, {"metadata": {"name": "default", "namespace": name}})
        ca = {"metadata": {"name": "kube-root-ca.crt", "namespace": name}, "data": {"ca.crt": self._rest.ca_pem}}
        self._rest.install(CONFIG_MAPS, ca)

    def _finish_namespaces(self, name: str | None) -> None:
        namespace = self._rest.store.get(NAMESPACES, "", name) if name else None
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return
        store = self._rest.store
        if any(True for resource in store.resources() for _ in store.all(resource, str(name))):
            return
        if namespace["metadata"].get("finalizers"):
            return
        self._rest.drop(NAMESPACES, namespace)

    def _collect(self, uid: str) -> None:
        """Objects whose last owner is gone go too."""
        store = self._rest.store
        for resource in store.resources():
            for item in list(store.all(resource)):
                owners = item["metadata"].get("ownerReferences") or []
                if not any(owner["uid"] == uid for owner in owners):
                    continue
                if any(owner["uid"] != uid and self._alive(owner["uid"]) for owner in owners):
                    continue
                if store.get(resource, item["metadata"].get("namespace") or "", item["metadata"]["name"]) is not None:
                    self._rest.remove(resource, item)

    def _alive(self, uid: str) -> bool:
        store = self._rest.store
        return any(item["metadata"]["uid"] == uid for resource in store.resources() for item in store.all(resource))

    def _establish(self, crd: dict[str, Any]) -> list[str]:
        kinds = of_crd(crd)
        self._rest.learn_kinds(kinds)
        conditions = [
            {
                "type": type_,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": self._rest.instant(),
            }
            for type_, reason, message in (
                ("NamesAccepted", "NoConflicts", "no conflicts found"),
                ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            )
        ]
        if not (crd.get("status") or {}).get("conditions"):
            named = copy.deepcopy(crd)
            stored = [each["name"] for each in crd["spec"]["versions"] if each.get("storage")]
            named["status"] = {
                "conditions": conditions,
                "acceptedNames": crd["spec"]["names"],
                "storedVersions": stored,
            }
            self._rest.store.put(CRDS, named)
        return [warning for kind in kinds if kind.schema is not None for warning in cel.unsupported(kind.schema)]


def new_uid() -> str:
    return str(uuid.uuid4())
