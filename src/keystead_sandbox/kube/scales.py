"""The ``scale`` subresource that a definition declares: a few fields of its objects, as an ``autoscaling/v1`` Scale.

Source: Kubernetes docs, "Extend the Kubernetes API with CustomResourceDefinitions" (scale subresource), and a real
server's answers.
"""

import copy
from typing import Any, TypeAlias

from keystead_sandbox.kube import errors, patches, schema
from keystead_sandbox.kube.admission import Writing
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.preconditions import expect
from keystead_sandbox.kube.rest import PATCHES, Rest

Object: TypeAlias = dict[str, Any]
_API = "autoscaling/v1"
_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def shown(kind: Kind, item: Object) -> Object:
    """The Scale of an object. ApiError when its fields hold something else than counts."""
    replicas = _count(item, kind.scale.get("specReplicasPath", ""))
    status: Object = {"replicas": _count(item, kind.scale.get("statusReplicasPath", ""))}
    selector = _at(item, kind.scale.get("labelSelectorPath", ""))
    if selector:
        status["selector"] = selector
    metadata = {name: item["metadata"][name] for name in _KEPT if name in item["metadata"]}
    spec = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": _API, "metadata": metadata, "spec": spec, "status": status}


def update(rest: Rest, kind: Kind, current: Object, given: Any, how: Writing) -> Object:
    """Replace the Scale; the object's status is not touched."""
    if not isinstance(given, dict) or (given.get("kind") or "Scale") != "Scale":
        raise errors.bad_request(f"wrong object passed to Scale update: {type(given).__name__}")
    metadata, name = given.get("metadata") or {}, current["metadata"]["name"]
    if metadata.get("name") not in (None, "", name):
        text = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        raise errors.bad_request(text)
    expect(kind, current, {"metadata": metadata})
    replicas = (given.get("spec") or {}).get("replicas") or 0
    changed = copy.deepcopy(current)
    place = changed
    *above, last = _parts(kind.scale["specReplicasPath"])
    for part in above:
        place = place.setdefault(part, {})
    place[last] = replicas
    if not isinstance(replicas, int) or replicas < 0:
        text = f"Invalid value: {replicas}: should be a non-negative integer"
        problems = [(kind.scale["specReplicasPath"], "FieldValueInvalid", text), *schema.validate(changed, kind.schema)]
        raise errors.invalid(kind.group, kind.kind, name, problems)
    return rest.replace(kind, current, changed, how, sub="scale")


def patch(rest: Rest, kind: Kind, current: Object, given: Any, how: Writing, *, type_: str) -> Object:
    """Patch the Scale: merge, or JSON."""
    base = shown(kind, current)
    if type_ == PATCHES[2]:
        raise errors.unknown_format(PATCHES[1], PATCHES[0], "application/apply-patch+yaml")
    changed = patches.json_patch(base, given) if type_ == PATCHES[1] else patches.merge(base, patches.decoded(given))
    return update(rest, kind, current, changed, how)


def _parts(path: str) -> list[str]:
    return path.removeprefix(".").split(".")


def _at(item: Any, path: str) -> Any:
    for part in _parts(path) if path else ():
        item = item.get(part) if isinstance(item, dict) else None
    return item if path else None


def _count(item: Object, path: str) -> int:
    value = _at(item, path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
