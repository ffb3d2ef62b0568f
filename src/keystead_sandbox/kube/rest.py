"""The verbs on objects: what a create, an update, an apply or a delete does to the store."""

import copy
import random
import uuid
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

from keystead_sandbox.clock import Clock
from keystead_sandbox.kube import crd as definitions
from keystead_sandbox.kube import errors, events, ownership, patches, schema
from keystead_sandbox.kube.admission import NOBODY, Writing, admit, declared
from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube.kinds import BUILT_IN, CLUSTER_ROLES, CRDS, NAMESPACES, Kind
from keystead_sandbox.kube.lifecycle import FOREGROUND, ORPHAN, Lifecycle
from keystead_sandbox.kube.preconditions import (
    SYSTEM,
    applied_part,
    check_apply,
    check_patched,
    check_size,
    expect,
    expect_version,
    kept_metadata,
)
from keystead_sandbox.kube.store import Store

Object: TypeAlias = dict[str, Any]
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, so no words (Kubernetes API conventions)
PATCHES = ("application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json")


class Guard(Protocol):
    """What may still refuse a write: *item* as it would be stored (None when it goes), *before* as it is."""

    def __call__(self, kind: Kind, item: Object | None, before: Object | None, how: Writing) -> None: ...


def _no_guard(kind: Kind, item: Object | None, before: Object | None, how: Writing) -> None:
    """For a cluster that has no authoriser."""


class Rest:
    """Operations on one cluster's objects. Whatever it returns must not be changed by the caller."""

    def __init__(self, clock: Clock, seed: str | None = None) -> None:
        self.store = Store()
        self.kinds: dict[tuple[str, str, str], Kind] = {
            (each.group, each.version, each.plural): each for each in BUILT_IN
        }
        self.ca_pem = ""
        self.guard: Guard = _no_guard
        """Asked before each write that a client causes; raises ApiError."""
        self._clock = clock
        self._lifecycle = Lifecycle(self)
        self._random = random.Random(seed)  # noqa: S311 - names and UIDs, not secrets; a seed makes a run repeat

    def instant(self) -> str:
        return self._clock.wall().strftime("%Y-%m-%dT%H:%M:%SZ")

    # Verbs -------------------------------------------------------------------------------------------------------

    def create(self, kind: Kind, namespace: str, given: Object, how: Writing) -> Object:
        """A new object."""
        item = events.stored(kind, copy.deepcopy(given))
        metadata = self._new_metadata(kind, namespace, item)
        self._check_room(kind, namespace, metadata["name"])
        if kind.status:
            item.pop("status", None)
        item = admit(kind, item, None, how)
        ownership.update(None, item, kind, manager=how.manager, now=self.instant(), sub="")
        return self._insert(kind, item, how)

    def update(self, kind: Kind, current: Object, given: Object, how: Writing, *, sub: str = "") -> Object:
        """Replace an object, or its status alone."""
        metadata, name = given.get("metadata") or {}, current["metadata"]["name"]
        if metadata.get("name", name) != name:
            text = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            raise errors.bad_request(text)
        expect_version(kind, name, given)
        expect(kind, current, given)
        return self.replace(kind, current, events.stored(kind, copy.deepcopy(given)), how, sub=sub)

    def patch(self, kind: Kind, current: Object, patch: Any, how: Writing, *, type_: str, sub: str = "") -> Object:
        """Merge, JSON or strategic merge patch."""
        if kind.custom and type_ == PATCHES[2]:
            raise errors.unknown_format(PATCHES[1], PATCHES[0], "application/apply-patch+yaml")
        base = {**events.named(kind, current), "apiVersion": kind.api_version, "kind": kind.kind}
        if type_ == PATCHES[1]:
            changed = patches.json_patch(base, patch)
        else:
            patch = patches.decoded(patch)
            changed = patches.strategic(base, patch) if type_ == PATCHES[2] else patches.merge(base, patch)
        if not isinstance(changed.get("metadata"), dict):
            raise errors.bad_request("the patched object has no metadata")
        check_patched(kind, current, changed)
        expect_version(kind, current["metadata"]["name"], changed)
        expect(kind, current, {"metadata": {**changed["metadata"], "uid": None}})
        how = replace(how, patch=True)
        changed = events.stored(kind, copy.deepcopy(changed))
        if changed["metadata"].get("managedFields") in ([], [{}]):
            return self.replace(kind, current, changed, how, sub=sub, managed=[])
        return self.replace(kind, current, changed, how, sub=sub)

    def apply(  # noqa: PLR0913 - one keyword per part of the request
        self,
        kind: Kind,
        namespace: str,
        name: str,
        given: Object,
        *,
        manager: str,
        force: bool,
        sub: str,
        dry: bool,
        warnings: list[str],
        user: User = NOBODY,
        large: bool = False,
    ) -> tuple[Object, bool]:
        """Server-side apply; the object, and whether it is new."""
        how = Writing(manager, dry, "Ignore", user, warnings, large=large, applied=True)
        current = self.store.get(kind.storage, namespace, name)
        wanted = copy.deepcopy(given)
        metadata = wanted.setdefault("metadata", {})
        if current is None and sub:
            raise errors.not_found(kind.group, kind.plural, name)
        check_apply(kind, name, metadata, current)
        wanted = applied_part(kind, wanted, sub)
        declared(kind, wanted)
        merged = ownership.apply(current, wanted, kind, manager=manager, force=force, now=self.instant(), sub=sub)
        managed = merged["metadata"].pop("managedFields")
        if current is not None:
            return self.replace(kind, current, merged, how, sub=sub, managed=managed), False
        merged["metadata"]["name"] = name
        self._new_metadata(kind, namespace, merged)
        self._check_room(kind, namespace, name)
        if kind.status:
            merged.pop("status", None)
        merged = admit(kind, merged, None, how)
        if managed:
            merged["metadata"]["managedFields"] = managed
        return self._insert(kind, merged, how), True

    def delete(self, kind: Kind, item: Object, options: Object, *, dry: bool = False, user: User = NOBODY) -> Object:
        """Begin, and where nothing holds it finish, the end of an object; returns what is left, or what was."""
        wanted = options.get("preconditions") or {}
        metadata = item["metadata"]
        for field, shown, fate in (
            ("uid", "UID", "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "modified"),
        ):
            if wanted.get(field) not in (None, metadata[field]):
                why = (
                    f"the {shown} in the precondition ({wanted[field]}) does not match the {shown} in record "
                    f"({metadata[field]}). The object might have been {fate}"
                )
                raise errors.conflict(kind.group, kind.kind, metadata["name"], why)
        if kind.key == NAMESPACES and metadata["name"] in ("default", "kube-system", "kube-public"):
            raise errors.forbidden("", "namespaces", metadata["name"], "this namespace may not be deleted")
        policy = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "Background")
        if policy not in ("Background", "Foreground", "Orphan"):
            known = 'supported values: "Foreground", "Background", "Orphan", "nil"'
            text = f'Unsupported value: "{policy}": {known}'
            raise errors.invalid_options("DeleteOptions", "propagationPolicy", text)
        if options.get("propagationPolicy") and options.get("orphanDependents") is not None:
            text = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
            raise errors.invalid_options("DeleteOptions", "propagationPolicy", text, "FieldValueInvalid")
        self.guard(kind, None, item, Writing("", dry, user=user))
        return item if dry else self.remove(kind.storage, item, policy=policy)

    def finalize(self, item: Object, given: Object) -> Object:
        """The ``finalize`` subresource of a namespace: its ``spec.finalizers`` alone."""
        changed = copy.deepcopy(item)
        changed["spec"] = {"finalizers": list((given.get("spec") or {}).get("finalizers") or ())}
        stored = self.store.put(NAMESPACES, changed)
        self._lifecycle.changed(NAMESPACES, stored)
        return stored

    def _new_uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    # Used by the life cycle too ----------------------------------------------------------------------------------

    def install(self, resource: tuple[str, str], item: Object) -> None:
        """Store an object of the cluster's own, unless it is there."""
        metadata = item["metadata"]
        if self.store.get(resource, metadata.get("namespace", ""), metadata["name"]) is None:
            metadata |= {"uid": self._new_uid(), "creationTimestamp": self.instant()}
            self.store.put(resource, item)
            self._lifecycle.created(resource, item)

    def note(self, resource: tuple[str, str], before: Object, item: Object) -> None:
        """Fields that a controller of the cluster's own changed."""
        kind = next((each for each in self.kinds.values() if each.storage == resource), None)
        if kind is not None:
            ownership.update(before, item, kind, manager="kube-controller-manager", now=self.instant(), sub="")

    def remove(self, resource: tuple[str, str], item: Object, *, policy: str = "Background") -> Object:
        """Mark an object as going, and drop it when nothing holds it."""
        metadata = item["metadata"]
        going = bool(metadata.get("deletionTimestamp"))
        extra = [definitions.CLEANUP] if resource == CRDS else []
        if policy == "Foreground" and self.store.dependents(metadata["uid"]):
            extra.append(FOREGROUND)
        if policy == "Orphan" and not going:
            extra.append(ORPHAN)
        finalizers = list(dict.fromkeys([*(metadata.get("finalizers") or ()), *extra]))
        if not finalizers and resource != NAMESPACES:
            return self.drop(resource, item)
        if going:
            return item
        item = copy.deepcopy(item)
        grace = {} if resource == NAMESPACES else {"deletionGracePeriodSeconds": 0}
        item["metadata"] |= {"deletionTimestamp": self.instant(), **grace}
        if finalizers:
            item["metadata"]["finalizers"] = finalizers
        if resource == NAMESPACES:
            item["status"] = {**(item.get("status") or {}), "phase": "Terminating"}
        elif "generation" in metadata:
            item["metadata"]["generation"] = metadata["generation"] + 1
        item = self.store.put(resource, item)
        self._begin_end(resource, item, policy)
        return self.store.get(resource, metadata.get("namespace") or "", metadata["name"]) or item

    def drop(self, resource: tuple[str, str], item: Object) -> Object:
        """The object is gone; what depended on it follows."""
        metadata = item["metadata"]
        gone = self.store.remove(resource, metadata.get("namespace") or "", metadata["name"])
        self._lifecycle.removed(resource, gone)
        return gone

    def learn_kinds(self, crd: Object, kinds: list[Kind]) -> None:
        """Serve these versions of a definition, and no other."""
        self.forget_kinds(crd)
        for kind in kinds:
            self.kinds[kind.group, kind.version, kind.plural] = kind
            if kind.version == kind.storage_version:
                for item in self.store.all(kind.storage):
                    shown = schema.default(schema.prune(item, kind.schema, root=True), kind.schema)
                    if shown != item:
                        self.store.reread(kind.storage, shown)

    def forget_kinds(self, crd: Object) -> None:
        resource = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        self.kinds = {key: kind for key, kind in self.kinds.items() if kind.key != resource}

    # Parts of the above ------------------------------------------------------------------------------------------

    def _begin_end(self, resource: tuple[str, str], item: Object, policy: str) -> None:
        if resource == NAMESPACES:
            self._lifecycle.terminate(item["metadata"]["name"])
        if resource == CRDS:
            self._lifecycle.empty_definition(item)
        if policy == "Foreground":
            self._lifecycle.foreground(item["metadata"]["uid"])
        if policy == "Orphan":
            self._lifecycle.orphan(item["metadata"]["uid"])

    def _new_metadata(self, kind: Kind, namespace: str, item: Object) -> Object:
        metadata: Object = item.setdefault("metadata", {})
        if metadata.get("resourceVersion"):
            raise errors.ApiError(500, "", "resourceVersion should not be set on objects to be created")
        left = () if kind.generations else ("generation",)
        for system in (*(each for each in SYSTEM[2:] if each not in left), "namespace"):
            if system == "namespace" and kind.namespaced and metadata.get(system) not in (None, "", namespace):
                text = "the namespace of the provided object does not match the namespace sent on the request"
                raise errors.bad_request(text)
            metadata.pop(system, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generated(kind, namespace, metadata["generateName"])
        name = metadata.get("name")
        if not isinstance(name, str) or not name:
            problem = ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
            raise errors.invalid(kind.group, kind.kind, "", [problem])
        if kind.namespaced:
            metadata["namespace"] = namespace
        metadata |= {"uid": self._new_uid(), "creationTimestamp": self.instant()}
        if kind.generations:
            metadata["generation"] = 1
        return metadata

    def _generated(self, kind: Kind, namespace: str, prefix: str) -> str:
        while True:
            name = prefix[:58] + "".join(self._random.choices(_SUFFIX, k=5))
            if self.store.get(kind.storage, namespace, name) is None:
                return name

    def _check_room(self, kind: Kind, namespace: str, name: str) -> None:
        if kind.namespaced:
            if not namespace:
                raise errors.bad_request("an empty namespace may not be set during creation")
            found = self.store.get(NAMESPACES, "", namespace)
            if found is None:
                raise errors.not_found("", "namespaces", namespace)
            if found["metadata"].get("deletionTimestamp"):
                raise errors.terminating(kind.group, kind.plural, name, namespace)
        existing = self.store.get(kind.storage, namespace if kind.namespaced else "", name)
        if existing is not None:
            if existing["metadata"].get("deletionTimestamp"):
                why = f'object is being deleted: {kind.plural} "{name}" already exists'
                raise errors.ApiError(409, "AlreadyExists", why, details={"name": name, "kind": kind.plural})
            raise errors.already_exists(kind.group, kind.plural, name)

    def _insert(self, kind: Kind, item: Object, how: Writing) -> Object:
        self.guard(kind, item, None, how)
        check_size(item, how)
        if how.dry:
            return item
        stored = self.store.put(kind.storage, item)
        how.warnings.extend(self._lifecycle.created(kind.storage, stored))
        metadata = stored["metadata"]
        if kind.key == CLUSTER_ROLES:
            return stored  # what it gathers comes later
        return self.store.get(kind.storage, metadata.get("namespace") or "", metadata["name"]) or stored

    def replace(
        self,
        kind: Kind,
        current: Object,
        changed: Object,
        how: Writing,
        *,
        sub: str,
        managed: list[Object] | None = None,
    ) -> Object:
        """Store *changed* in the place of *current*, as far as *sub* reaches; for what has passed the preconditions."""
        metadata = kept_metadata(kind, current, changed, sub)
        changed = {**changed, "metadata": metadata}
        if sub == "status":
            status = {"status": changed["status"]} if "status" in changed else {}
            if status == {"status": None} and not (kind.custom and how.applied):
                status = {}
            changed = {name: value for name, value in copy.deepcopy(current).items() if name != "status"}
            changed = {**changed, **status, "metadata": metadata}
        elif kind.status:
            changed.pop("status", None)
            if "status" in current:
                changed["status"] = copy.deepcopy(current["status"])
        if kind.key == NAMESPACES:
            changed["spec"] = copy.deepcopy(current["spec"])  # only the finalize subresource changes it
        changed = admit(kind, changed, current, how)
        head = {"metadata": 0, "status": 0, "apiVersion": 0}
        if kind.generations and {**changed, **head} != {**current, **head}:
            changed["metadata"]["generation"] = int(current["metadata"].get("generation", 1)) + 1
        if managed is not None:
            changed["metadata"].pop("managedFields", None)
            if managed:
                changed["metadata"]["managedFields"] = managed
        else:
            ownership.update(current, changed, kind, manager=how.manager, now=self.instant(), sub=sub)
        self.guard(kind, changed, current, replace(how, sub=sub))
        check_size(changed, how)
        if ownership.is_same(changed, current):
            return current  # nothing changed: no new version, no event
        if how.dry:
            return changed
        return self._store_change(kind, changed, how)

    def _store_change(self, kind: Kind, changed: Object, how: Writing) -> Object:
        resource, metadata = kind.storage, changed["metadata"]
        finished = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
        if finished and resource != NAMESPACES:
            # The last write is the removal itself: nobody sees the object without its finalizers.
            last = self.store.get(resource, metadata.get("namespace") or "", metadata["name"])
            if last is not None:
                self.drop(resource, last)
            return changed
        stored = self.store.put(resource, changed)
        how.warnings.extend(self._lifecycle.changed(resource, stored))
        return self.store.get(resource, metadata.get("namespace") or "", metadata["name"]) or stored
