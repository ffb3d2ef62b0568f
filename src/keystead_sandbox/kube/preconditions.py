"""What a write must say of the object that it means, and what of an object no write changes."""

import copy
from typing import Any, TypeAlias

import msgspec

from keystead_sandbox.kube import errors
from keystead_sandbox.kube.admission import Writing
from keystead_sandbox.kube.kinds import LEASES, Kind
from keystead_sandbox.kube.requests import check_kind

Object: TypeAlias = dict[str, Any]
_SET_ONCE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_LARGEST = 3 * 512 * 1024  # bytes
SYSTEM = (*_SET_ONCE, "generation", "resourceVersion", "managedFields", "selfLink")


def expect_version(kind: Kind, name: str, given: Object) -> None:
    """An update of a custom object, or of a Lease, says which version it is of."""
    if not (given.get("metadata") or {}).get("resourceVersion") and (kind.custom or kind.key == LEASES):
        text = "Invalid value: 0: must be specified for an update"
        problem = ("metadata.resourceVersion", "FieldValueInvalid", text)
        raise errors.invalid(kind.group, kind.plural, name, [problem])


def expect(kind: Kind, current: Object, given: Object) -> None:
    """Preconditions that an object carries itself."""
    metadata, old = given.get("metadata") or {}, current["metadata"]
    if metadata.get("uid") not in (None, "", old["uid"]):
        place = "/".join(filter(None, (kind.group, kind.plural, old.get("namespace"), old["name"])))
        why = (
            f"StorageError: invalid object, Code: 4, Key: /registry/{place}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {old['uid']}"
        )
        raise errors.conflict(kind.group, kind.plural, old["name"], why)
    if metadata.get("resourceVersion") not in (None, "", old["resourceVersion"]):
        raise errors.conflict(kind.group, kind.plural, old["name"])


def check_patched(kind: Kind, current: Object, changed: Object) -> None:
    """A patch changes neither what an object is nor where it is."""
    old, new = current["metadata"], changed["metadata"]
    if new.get("name") != old["name"]:
        text = f"the name of the object ({new.get('name')}) does not match the name on the URL ({old['name']})"
        raise errors.bad_request(text)
    if new.get("namespace") not in (None, "", old.get("namespace")):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    try:
        check_kind(changed, kind)
    except errors.ApiError as error:
        if kind.custom:
            raise
        raise errors.not_patched(error.message.partition(f"cannot be handled as a {kind.kind}: ")[2]) from None


def check_size(item: Object, how: Writing) -> None:
    """The store behind the real server takes requests of a mebibyte and a half."""
    if how.large and len(msgspec.json.encode(item)) > _LARGEST:
        raise errors.ApiError(500, "", "etcdserver: request is too large")


def _immutable_uid(kind: Kind, current: Object, uid: Any) -> None:
    if uid not in (None, "", current["metadata"]["uid"]):
        problem = ("metadata.uid", "FieldValueInvalid", f'Invalid value: "{uid}": field is immutable')
        raise errors.invalid(kind.group, kind.kind, current["metadata"]["name"], [problem, problem])


def check_apply(kind: Kind, name: str, metadata: Object, current: Object | None) -> None:
    """What an applied object must say of itself; its name is that of the path where it says none and is there already."""
    if current is None and not metadata.get("name"):
        text = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        raise errors.bad_request(text)
    metadata["name"] = metadata.get("name") or name
    if metadata["name"] != name:
        text = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        raise errors.bad_request(text)
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    wanted, version = metadata.get("uid"), metadata.pop("resourceVersion", None)
    if current is None and wanted:
        why = f"uid mismatch: the provided object specified uid {wanted}, and no existing object was found"
        raise errors.conflict(kind.group, kind.plural, name, why)
    if current is not None:
        _immutable_uid(kind, current, wanted)
        expect(kind, current, {"metadata": {"resourceVersion": version}})


def applied_part(kind: Kind, wanted: Object, sub: str) -> Object:
    """Through a subresource only its own part counts, on the object itself everything but that part."""
    wanted["apiVersion"], wanted["kind"] = kind.api_version, kind.kind
    if sub == "status":
        name = {"name": wanted["metadata"].get("name")}
        return {key: wanted[key] for key in ("apiVersion", "kind", "status") if key in wanted} | {"metadata": name}
    if kind.status:
        wanted.pop("status", None)
    return wanted


def kept_metadata(kind: Kind, current: Object, changed: Object, sub: str) -> Object:
    """Metadata of an update: what the system owns stays as it is."""
    old = current["metadata"]
    if sub == "status":
        return copy.deepcopy(old)
    new = {key: value for key, value in (changed.get("metadata") or {}).items() if value not in (None, {}, [])}
    _immutable_uid(kind, current, new.get("uid"))
    given = new.get("deletionTimestamp")
    if given not in (None, old.get("deletionTimestamp")):
        problem = ("metadata.deletionTimestamp", "FieldValueInvalid", f'Invalid value: "{given}": field is immutable')
        raise errors.invalid(kind.group, kind.kind, old["name"], [problem, problem])
    for system in SYSTEM:
        new.pop(system, None)
        if system in old:
            new[system] = copy.deepcopy(old[system])
    if old.get("deletionTimestamp") and set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()):
        added = [each for each in new["finalizers"] if each not in (old.get("finalizers") or ())]
        shown = "{" + ", ".join(f'"{each}"' for each in sorted(added)) + "}"
        text = (
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{shown}"
        )
        problem = ("metadata.finalizers", "FieldValueForbidden", text)
        raise errors.invalid(kind.group, kind.kind, old["name"], [problem, problem])
    return new
