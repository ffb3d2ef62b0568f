"""Merge, JSON and strategic merge patches."""

import contextlib
import copy
from types import MappingProxyType
from typing import Any

import jsonpatch

from keystead_sandbox.kube.errors import ApiError, bad_request

_MERGE_KEYS = {"ownerReferences": "uid", "secrets": "name", "conditions": "type"}
"""Lists of built-in kinds that a strategic merge patch merges by key."""
_SETS = ("finalizers",)


def decoded(patch: Any) -> Any:
    """A merge patch, which is an object."""
    if not isinstance(patch, dict):
        kind = {list: "array", str: "string", bool: "bool", type(None): "null"}.get(type(patch), "number")
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
    return patch


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class _Replace(jsonpatch.ReplaceOperation):
    """As the real server's library: an entry of a map may be replaced that is not there."""

    def apply(self, obj: Any) -> Any:
        place, part = self.pointer.to_last(obj)
        if part is not None and isinstance(place, dict):
            place[part] = self.operation["value"]
            return obj
        return super().apply(obj)


class _Remove(jsonpatch.RemoveOperation):
    """As the real server's library: a negative place counts from the end."""

    def apply(self, obj: Any) -> Any:
        with contextlib.suppress(jsonpatch.JsonPointerException, ValueError, IndexError):
            place = jsonpatch.JsonPointer.from_parts(self.pointer.parts[:-1]).resolve(obj)
            last = self.pointer.parts[-1]
            if isinstance(place, list) and last[:1] == "-" and last[1:].isdigit():
                del place[int(last)]
                return obj
        return super().apply(obj)


class _Test(jsonpatch.TestOperation):
    """As the real server's library: what is not there is null."""

    def apply(self, obj: Any) -> Any:
        if self.operation.get("value") is None and self.pointer.resolve(obj, None) is None:
            return obj
        return super().apply(obj)


class _Patch(jsonpatch.JsonPatch):
    operations = MappingProxyType(
        {**jsonpatch.JsonPatch.operations, "replace": _Replace, "remove": _Remove, "test": _Test}
    )


def json_patch(target: dict[str, Any], patch: Any) -> dict[str, Any]:
    """RFC 6902."""
    if not isinstance(patch, list):
        kind = "object" if isinstance(patch, dict) else "string"
        text = f"json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp"
        raise bad_request(f"error decoding patch: {text}")
    patch = [_rooted(each) for each in patch]
    try:
        wanted = jsonpatch.JsonPatch(patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, AttributeError):
        raise _refused() from None
    try:
        changed: dict[str, Any] = _Patch(wanted.patch).apply(copy.deepcopy(target))
    except jsonpatch.JsonPatchTestFailed:
        raise _refused() from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError):
        raise _refused() from None
    return changed


def _rooted(operation: Any) -> Any:
    """An operation whose places begin with a slash: what stands before the first one counts for nothing."""
    if not isinstance(operation, dict):
        raise _refused()
    changed = dict(operation)
    for name in ("path", "from"):
        text = operation.get(name)
        if isinstance(text, str) and not text.startswith("/"):
            if text and "/" not in text:
                raise _refused()
            changed[name] = text[text.index("/") :] if text else ""
    return changed


def _refused() -> ApiError:
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", details={})


def strategic(target: Any, patch: Any, name: str = "") -> Any:
    """Kubernetes' own: lists with a merge key merge, ``$patch`` deletes or replaces, order directives are dropped."""
    if isinstance(patch, dict):
        return _strategic_map(target if isinstance(target, dict) else {}, patch)
    if isinstance(patch, list):
        held = target if isinstance(target, list) else []
        if name in _SETS:
            return [*patch, *(each for each in held if each not in patch)]
        key = _MERGE_KEYS.get(name)
        if key is not None:
            return _strategic_list(held, patch, key)
    return copy.deepcopy(patch)


def _strategic_map(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = dict(target)
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            result[name] = [each for each in result.get(name) or () if each not in value]
        elif key == "$retainKeys":
            result = {name: held for name, held in result.items() if name in value}
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, key)
    return result


def _strategic_list(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    """Items of the patch in its order, then those that only the target has."""
    if any(isinstance(each, dict) and each.get("$patch") == "replace" for each in patch):
        return [copy.deepcopy(each) for each in patch if "$patch" not in each]
    held = {each.get(key): each for each in target}
    named = {each.get(key) for each in patch}
    kept = [each for each in patch if each.get("$patch") != "delete"]
    result = [strategic(held[each[key]], each) if each.get(key) in held else copy.deepcopy(each) for each in kept]
    return result + [each for each in target if each.get(key) not in named]
