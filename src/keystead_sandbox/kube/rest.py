"""The verbs on objects: what a create, an update, an apply or a delete does to the store."""

import base64
import copy
import datetime
import random
import re
import string
from typing import Any

from keystead_sandbox.clock import Clock
from keystead_sandbox.kube import cel, errors, ownership, patches, schema
from keystead_sandbox.kube.kinds import BUILT_IN, Kind
from keystead_sandbox.kube.lifecycle import NAMESPACES, Lifecycle, new_uid
from keystead_sandbox.kube.store import Store

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_RBAC_NAME = re.compile(r"^[^/%]+$")
_SUFFIX = string.ascii_lowercase + string.digits
Object = dict[str, Any]


class Rest:
    """Operations on one cluster's objects. Whatever it returns must not be changed by the caller."""

    def __init__(self, clock: Clock) -> None:
        self.store = Store()
        self.kinds: dict[tuple[str, str, str], Kind] = {
            (each.group, each.version, each.plural): each for each in BUILT_IN
        }
        self.ca_pem = ""
        self._clock = clock
        self._lifecycle = Lifecycle(self)
        self._random = random.Random(0)  # noqa: S311 - suffixes of generated names

    def now(self) -> datetime.datetime:
        return self._clock.wall()

    def instant(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # Verbs -------------------------------------------------------------------------------------------------------

    def create(
        self, kind: Kind, namespace: str, given: Object, *, manager: str, dry: bool, warnings: list[str]
    ) -> Object:
        """A new object."""
        item = copy.deepcopy(given)
        metadata = self._metadata(kind, namespace, item)
        self._check_namespace(kind, namespace, metadata["name"])
        if self.store.get(_stored(kind), metadata.get("namespace", ""), metadata["name"]) is not None:
            raise errors.already_exists(kind.group, kind.plural, metadata["name"])
        if kind.status:
            item.pop("status", None)
        item = self._admit(kind, item, None, warnings)
        ownership.update(None, item, kind, manager=manager, now=self.instant(), sub="")
        return self._insert(kind, item, dry=dry, warnings=warnings)

    def update(
        self, kind: Kind, current: Object, given: Object, *, manager: str, sub: str, dry: bool, warnings: list[str]
    ) -> Object:
        """Replace an object, or its status alone."""
        version = (given.get("metadata") or {}).get("resourceVersion")
        name = current["metadata"]["name"]
        if not version and kind.custom:
            problem = (
                "metadata.resourceVersion",
                "FieldValueInvalid",
                "Invalid value: 0x0: must be specified for an update",
            )
            raise errors.invalid(kind.group, kind.kind, name, [problem])
        if version and version != current["metadata"]["resourceVersion"]:
            raise errors.conflict(kind.group, kind.plural, name)
        return self._replace(kind, current, copy.deepcopy(given), manager=manager, sub=sub, dry=dry, warnings=warnings)

    def patch(
        self,
        kind: Kind,
        current: Object,
        patch: Any,
        *,
        how: str,
        manager: str,
        sub: str,
        dry: bool,
        warnings: list[str],
    ) -> Object:
        """Merge, JSON or strategic merge patch."""
        if how == "application/json-patch+json":
            changed = patches.json_patch(current, patch)
        elif how == "application/strategic-merge-patch+json":
            if kind.custom:
                text = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
                raise errors.ApiError(415, "UnsupportedMediaType", text)
            changed = patches.strategic(current, patch)
        else:
            changed = patches.merge(current, patch)
        version = (changed.get("metadata") or {}).get("resourceVersion")
        if version and version != current["metadata"]["resourceVersion"]:
            raise errors.conflict(kind.group, kind.plural, current["metadata"]["name"])
        return self._replace(
            kind, current, copy.deepcopy(changed), manager=manager, sub=sub, dry=dry, warnings=warnings
        )

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
    ) -> tuple[Object, bool]:
        """Server-side apply; the object, and whether it is new."""
        current = self.store.get(_stored(kind), namespace, name)
        wanted = copy.deepcopy(given)
        metadata = wanted.setdefault("metadata", {})
        self._check_apply(kind, name, metadata, current)
        if current is None and sub:
            raise errors.not_found(kind.group, kind.plural, name)
        wanted = self._applied_part(kind, wanted, sub)
        merged = ownership.apply(current, wanted, kind, manager=manager, force=force, now=self.instant(), sub=sub)
        if current is None:
            merged["metadata"]["name"] = name
            managed = merged["metadata"].pop("managedFields")
            self._metadata(kind, namespace, merged)
            self._check_namespace(kind, namespace, name)
            if kind.status:
                merged.pop("status", None)
            merged = self._admit(kind, merged, None, warnings)
            merged["metadata"]["managedFields"] = managed
            return self._insert(kind, merged, dry=dry, warnings=warnings), True
        managed = merged["metadata"]["managedFields"]
        return self._replace(
            kind, current, merged, manager=manager, sub=sub, dry=dry, warnings=warnings, managed=managed
        ), False

    def delete(self, kind: Kind, item: Object, options: Object, *, dry: bool = False) -> Object:
        """Begin, and where nothing holds it finish, the end of an object; returns what is left, or what was."""
        wanted = options.get("preconditions") or {}
        metadata = item["metadata"]
        for field in ("uid", "resourceVersion"):
            if wanted.get(field) not in (None, metadata[field]):
                why = f"Precondition failed: {field.upper()} in precondition: {wanted[field]}, {field.upper()} in object meta: {metadata[field]}"
                raise errors.conflict(kind.group, kind.plural, metadata["name"], why)
        if dry:
            return item
        return self.remove(_stored(kind), item)

    # Used by the life cycle too ----------------------------------------------------------------------------------

    def install(self, resource: tuple[str, str], item: Object) -> None:
        """Store an object of the cluster's own, unless it is there."""
        metadata = item["metadata"]
        if self.store.get(resource, metadata.get("namespace", ""), metadata["name"]) is None:
            metadata |= {"uid": new_uid(), "creationTimestamp": self.instant()}
            self.store.put(resource, item)

    def remove(self, resource: tuple[str, str], item: Object) -> Object:
        """Mark an object as going, and drop it when nothing holds it."""
        metadata = item["metadata"]
        held = bool(metadata.get("finalizers")) or resource == NAMESPACES
        if not held:
            return self.drop(resource, item)
        if not metadata.get("deletionTimestamp"):
            item = copy.deepcopy(item)
            item["metadata"] |= {"deletionTimestamp": self.instant(), "deletionGracePeriodSeconds": 0}
            if resource == NAMESPACES:
                item["status"] = {**(item.get("status") or {}), "phase": "Terminating"}
            item = self.store.put(resource, item)
            if resource == NAMESPACES:
                self._lifecycle.terminate(item["metadata"]["name"])
        return item

    def drop(self, resource: tuple[str, str], item: Object) -> Object:
        """The object is gone; what depended on it follows."""
        metadata = item["metadata"]
        gone = self.store.remove(resource, metadata.get("namespace") or "", metadata["name"])
        self._lifecycle.removed(resource, gone)
        return gone

    def learn_kinds(self, kinds: list[Kind]) -> None:
        for kind in kinds:
            self.kinds[kind.group, kind.version, kind.plural] = kind

    def forget_kinds(self, crd: Object) -> None:
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        for item in list(self.store.all((group, plural))):
            self.remove((group, plural), item)
        self.kinds = {key: kind for key, kind in self.kinds.items() if kind.key != (group, plural)}

    # Parts of the above ------------------------------------------------------------------------------------------

    def _metadata(self, kind: Kind, namespace: str, item: Object) -> Object:
        metadata: Object = item.setdefault("metadata", {})
        for system in ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "selfLink", "managedFields"):
            metadata.pop(system, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(self._random.choices(_SUFFIX, k=5))
        name = metadata.get("name")
        if not name:
            problem = ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
            raise errors.invalid(kind.group, kind.kind, "", [problem])
        pattern = _RBAC_NAME if kind.group == "rbac.authorization.k8s.io" else _NAME
        if not pattern.match(name) or len(name) > 253:  # noqa: PLR2004 - the longest DNS subdomain
            text = f"Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
            raise errors.invalid(kind.group, kind.kind, name, [("metadata.name", "FieldValueInvalid", text)])
        if kind.namespaced:
            if metadata.get("namespace") not in (None, "", namespace):
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        metadata |= {"uid": new_uid(), "creationTimestamp": self.instant()}
        if kind.custom or kind.key in (
            ("rbac.authorization.k8s.io", "roles"),
            ("apiextensions.k8s.io", "customresourcedefinitions"),
        ):
            metadata["generation"] = 1
        return metadata

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.namespaced:
            return
        found = self.store.get(NAMESPACES, "", namespace)
        if found is None:
            raise errors.not_found("", "namespaces", namespace)
        if found["metadata"].get("deletionTimestamp"):
            text = f'{kind.plural} "{name}" is forbidden: unable to create new content in namespace {namespace} because it is being terminated'
            causes = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise errors.ApiError(403, "Forbidden", text, details={"name": name, "kind": kind.plural, "causes": causes})

    def _check_apply(self, kind: Kind, name: str, metadata: Object, current: Object | None) -> None:
        if metadata.get("name", name) != name:
            raise errors.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if metadata.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        wanted = metadata.get("uid")
        if wanted and (current is None or current["metadata"]["uid"] != wanted):
            raise errors.conflict(kind.group, kind.plural, name, "Precondition failed: UID in precondition differs")
        version = metadata.pop("resourceVersion", None)
        if version and (current is None or current["metadata"]["resourceVersion"] != version):
            raise errors.conflict(kind.group, kind.plural, name)

    def _applied_part(self, kind: Kind, wanted: Object, sub: str) -> Object:
        """Through a subresource only its own part counts, on the object itself everything but that part."""
        wanted["apiVersion"], wanted["kind"] = kind.api_version, kind.kind
        if sub == "status":
            name = {"name": wanted["metadata"].get("name")}
            return {key: wanted[key] for key in ("apiVersion", "kind", "status") if key in wanted} | {"metadata": name}
        if kind.status:
            wanted.pop("status", None)
        return wanted

    def _admit(self, kind: Kind, item: Object, before: Object | None, warnings: list[str]) -> Object:
        """Defaults, pruning, validation: what stands between a request and the store."""
        item["apiVersion"], item["kind"] = kind.api_version, kind.kind
        if kind.key == NAMESPACES:
            item.setdefault("spec", {"finalizers": ["kubernetes"]})
            item.setdefault("status", {"phase": "Active"})
            item["metadata"]["labels"] = {
                **(item["metadata"].get("labels") or {}),
                "kubernetes.io/metadata.name": item["metadata"]["name"],
            }
        if kind.key == ("", "secrets"):
            _encode_secret(item)
        if kind.schema is None:
            return item
        dropped: list[str] = []
        item = schema.prune(item, kind.schema, root=True, dropped=dropped)
        warnings += [f'unknown field "{path}"' for path in dropped]
        item = schema.default(item, kind.schema)
        problems = schema.validate(item, kind.schema) or cel.check(kind.schema, item, before)
        if problems:
            raise errors.invalid(kind.group, kind.kind, item["metadata"]["name"], problems)
        return item

    def _insert(self, kind: Kind, item: Object, *, dry: bool, warnings: list[str]) -> Object:
        if dry:
            return item
        stored = self.store.put(_stored(kind), item)
        warnings += self._lifecycle.created(_stored(kind), stored)
        return (
            self.store.get(_stored(kind), stored["metadata"].get("namespace") or "", stored["metadata"]["name"])
            or stored
        )

    def _replace(
        self,
        kind: Kind,
        current: Object,
        changed: Object,
        *,
        manager: str,
        sub: str,
        dry: bool,
        warnings: list[str],
        managed: list[Object] | None = None,
    ) -> Object:
        metadata = self._kept_metadata(kind, current, changed, sub)
        changed = {**changed, "metadata": metadata}
        if sub == "status":
            changed = {**copy.deepcopy(current), "status": changed.get("status"), "metadata": metadata}
        elif kind.status:
            changed.pop("status", None)
            if "status" in current:
                changed["status"] = copy.deepcopy(current["status"])
        changed = self._admit(kind, changed, current, warnings)
        if kind.custom and {**changed, "metadata": 0, "status": 0} != {**current, "metadata": 0, "status": 0}:
            changed["metadata"]["generation"] = int(current["metadata"].get("generation", 1)) + 1
        if managed is not None:
            changed["metadata"]["managedFields"] = managed
        else:
            ownership.update(current, changed, kind, manager=manager, now=self.instant(), sub=sub)
        if changed == current or dry:
            return changed  # nothing changed: no new version, no event
        return self._store_change(kind, changed, warnings)

    def _kept_metadata(self, kind: Kind, current: Object, changed: Object, sub: str) -> Object:
        """Metadata of an update: what the system owns stays as it is."""
        old = current["metadata"]
        if sub == "status":
            return copy.deepcopy(old)
        new = {key: value for key, value in (changed.get("metadata") or {}).items() if value not in (None, {}, [])}
        if new.get("name", old["name"]) != old["name"]:
            raise errors.bad_request("the name of the object does not match the name on the URL")
        if new.get("uid", old["uid"]) != old["uid"]:
            raise errors.conflict(
                kind.group, kind.plural, old["name"], "Precondition failed: UID in object meta differs"
            )
        for system in (
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
            "managedFields",
        ):
            new.pop(system, None)
            if system in old:
                new[system] = copy.deepcopy(old[system])
        if old.get("deletionTimestamp") and set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()):
            text = "Forbidden: no new finalizers can be added if the object is being deleted"
            raise errors.invalid(
                kind.group, kind.kind, old["name"], [("metadata.finalizers", "FieldValueForbidden", text)]
            )
        return new

    def _store_change(self, kind: Kind, changed: Object, warnings: list[str]) -> Object:
        resource, metadata = _stored(kind), changed["metadata"]
        finished = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
        stored = self.store.put(resource, changed)
        if finished and resource != NAMESPACES:
            return self.drop(resource, stored)
        if finished:
            self._lifecycle.terminate(metadata["name"])
        warnings += self._lifecycle.changed(resource, stored)
        return stored


def _stored(kind: Kind) -> tuple[str, str]:
    """Events of both groups are one."""
    return ("events.k8s.io", "events") if kind.plural == "events" else kind.key


def _encode_secret(item: Object) -> None:
    plain = item.pop("stringData", None)
    if plain:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        item["data"] = {**(item.get("data") or {}), **data}
    item.setdefault("type", "Opaque")
