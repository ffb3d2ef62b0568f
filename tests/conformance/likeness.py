"""Answers made comparable: what differs by nature between two clusters gets a name that depends on order alone.

UIDs and resource versions are numbered as they first appear, so equality between them is still compared; instants,
ages, tokens and generated names become words. Column descriptions are prose, and are left out.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_AGE = re.compile(r"^(\d+[smhdy])+$")
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
_GENERATED = re.compile(r"\bgen-[a-z0-9]{5}\b")
_VERSIONS = re.compile(r"((?:too old|Too large) resource version: )\d+(?:( \(|, current: )\d+)?")
_PATCHED = re.compile(r'patch: Invalid value: "(\\.|[^"\\])*"')
_QUOTED = re.compile(r'^Invalid value: "\{(\\.|[^"\\])*"')
_IDENTITIES = re.compile(r"(the ResourceVersion in the precondition \(|the ResourceVersion in record \()(\d+)")


class Likeness:
    """Names for one case's answers."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words
        self._uids: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def of(self, value: Any, key: str = "") -> Any:
        """*value*, comparable."""
        if isinstance(value, dict):
            return self._map(value, key)
        if isinstance(value, list):
            if key in ("managedFields", "causes"):
                value = sorted(value, key=_order)
            if key == "resources" and all(isinstance(each, dict) for each in value):
                value = sorted(value, key=lambda each: each.get("name", ""))  # discovery has no order either
            if key in ("resourceRules", "nonResourceRules"):
                value = sorted(value, key=_by_content)  # roles are visited in no order
            if key == "cells":
                return ["<age>" if isinstance(each, str) and _AGE.match(each) else self.of(each) for each in value]
            return [self.of(each, key) for each in value]
        if isinstance(value, str):
            return self._text(value, key)
        return value

    def _map(self, value: Mapping[str, Any], key: str) -> dict[str, Any]:
        if value.get("kind") == "Status":
            value = _in_order(value)
        if str(value.get("kind", "")).endswith(("List", "Table")) and "resourceVersion" in (
            value.get("metadata") or {}
        ):
            # Other writers move a list's version on.
            value = {**value, "metadata": {**value["metadata"], "resourceVersion": "<version>"}}
        left_out = ("description",) if key == "columnDefinitions" else ()
        return {
            self._text(name, ""): self.of(inner, name) for name, inner in sorted(value.items()) if name not in left_out
        }

    def _text(self, value: str, key: str) -> str:
        if key == "resourceVersion" and value.isdigit():
            return self._version(value)
        if key == "continue" and value:
            return "<continue>"
        for word, given in self._words.items():
            value = value.replace(given, word)
        value = _PATCHED.sub('patch: Invalid value: "<object>"', value)
        value = _QUOTED.sub('Invalid value: "<object>"', value)
        value = _INSTANT.sub(lambda found: "<micro>" if found[1] else "<time>", value)
        value = _TOKEN.sub("<token>", value)
        value = _GENERATED.sub("gen-<name>", value)
        value = _VERSIONS.sub(
            lambda found: found[1] + "<version>" + (found[2] + "<version>" if found[2] else ""), value
        )
        value = _IDENTITIES.sub(lambda found: found[1] + self._version(found[2]), value)
        return _UID.sub(lambda found: self._uids.setdefault(found[0], f"uid-{len(self._uids) + 1}"), value)

    def _version(self, value: str) -> str:
        return self._versions.setdefault(value, f"rv-{len(self._versions) + 1}")


def _by_content(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)


def _order(entry: Any) -> list[str]:
    """Managed fields without the time that they are sorted by, and conflicts, which come in no order."""
    if not isinstance(entry, dict) or entry.get("reason", "FieldManagerConflict") != "FieldManagerConflict":
        return []
    return [str(entry.get(name, "")) for name in ("operation", "manager", "subresource", "message", "field")]


def _in_order(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The causes of a refusal sorted: validation visits maps in no order."""
    causes = (status.get("details") or {}).get("causes") or []
    told = [f"{each.get('field')}: {each.get('message')}" for each in causes]
    if len(told) < 2 or not status.get("message", "").endswith(f"[{', '.join(told)}]"):
        return status
    message = status["message"].removesuffix(f"[{', '.join(told)}]") + f"[{', '.join(sorted(told))}]"
    ordered = sorted(causes, key=lambda each: f"{each.get('field')}: {each.get('message')}")
    return {**status, "message": message, "details": {**status["details"], "causes": ordered}}


def without(value: Any, places: list[str]) -> Any:
    """*value* without some places, ``a.b.*.c``."""
    for place in places:
        value = _without(value, place.split("."))
    return value


def _without(value: Any, path: list[str]) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_without(each, rest if head == "*" else path) if rest or head != "*" else None for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _without(inner, rest) if head in (name, "*") else inner
        for name, inner in value.items()
        if rest or head not in (name, "*")
    }
