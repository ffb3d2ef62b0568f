"""How objects are asked for and shown: whole, as metadata alone, as a table; in pages, at a version.

A list's pages are read one by one from what is there; all carry the version of the first, so that a watch from it tells
whatever changed in between. A page whose version the log no longer reaches has expired, as in the real server.

Source: Kubernetes docs, "Kubernetes API Concepts" (receiving resources as tables, metadata-only fetches, resource
versions, retrieving large results sets in chunks).
"""

import base64
import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request

from keystead_sandbox.kube import events, tables
from keystead_sandbox.kube.errors import (
    ApiError,
    bad_request,
    expired,
    invalid,
    invalid_options,
    no_such_form,
    not_acceptable,
)
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.log import Log
from keystead_sandbox.kube.store import Store

Object: TypeAlias = dict[str, Any]
_META = "meta.k8s.io/v1"
_ANY = ("*/*", "application/*", "application/json")
YAML = "application/yaml"
_INCLUDES = ("None", "Metadata", "Object")


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer: ``Table``, ``PartialObjectMetadata``, or the objects themselves."""

    name: str = ""
    include: str = "Metadata"

    @property
    def plain(self) -> bool:
        return not self.name

    def one(self, kind: Kind, item: Object, now: datetime.datetime) -> Object:
        """One object."""
        if self.name == "Table":
            version = {"resourceVersion": item["metadata"]["resourceVersion"]}
            return tables.table(kind, [item], now, metadata=version, include=self.include)
        return _partial(item) if self.name else events.shown(kind, item)

    def many(self, kind: Kind, items: Iterable[Object], metadata: Object, now: datetime.datetime) -> Object:
        """A list of objects."""
        if self.name == "Table":
            metadata = {name: value for name, value in metadata.items() if value != ""}
            return tables.table(kind, items, now, metadata=metadata, include=self.include)
        if self.name:
            metadata = {name: value for name, value in metadata.items() if value != ""}
            listed = [_partial(item) for item in items] or None  # an empty list of Go's is null
            return {"kind": "PartialObjectMetadataList", "apiVersion": _META, "metadata": metadata, "items": listed}
        listed = [events.shown(kind, item, listed=True) for item in items]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": listed}

    def bookmark(self, kind: Kind, metadata: Object) -> Object:
        """An object that carries a version alone."""
        if self.name == "Table":
            return {"kind": "Table", "apiVersion": _META, "metadata": metadata, "columnDefinitions": [], "rows": []}
        if self.name:
            return _partial({"metadata": metadata})
        return events.empty(kind, metadata)


def _partial(item: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": item["metadata"]}


def form(request: Request, *, lists: bool = False) -> Form:
    """The first acceptable form that is served; ApiError 406 when none is. *lists* may be watched, too."""
    served = False
    for each in request.headers.get("accept", "*/*").split(","):
        type_, *parameters = (part.strip() for part in each.split(";"))
        if type_ == YAML and not parameters:
            return Form()
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        name = given.get("as", "").removesuffix("List")
        if type_ not in _ANY:
            continue
        served = True
        if given.get("v", "v1") != "v1" or name not in ("", "Table", "PartialObjectMetadata"):
            continue
        include = request.query_params.get("includeObject") or "Metadata"
        if name == "Table" and include not in _INCLUDES:
            text = f"Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
            raise bad_request(f"Unable to convert to Table as requested: includeObject: {text}")
        return Form(name, include)
    raise no_such_form() if served else not_acceptable(lists=lists)


def check_one(request: Request, kind: Kind) -> None:
    """One object has not the form of a list."""
    for each in request.headers.get("accept", "").split(","):
        if "as=PartialObjectMetadataList" in each.replace(" ", "").split(";"):
            text = "you requested PartialObjectMetadataList, but the requested object is not a list"
            what = "unstructured.Unstructured" if kind.custom else f"core.{kind.kind}"
            raise ApiError(406, "NotAcceptable", f"{text} (*{what})")


def check(query: Mapping[str, str], newest: int) -> None:
    """What a list may ask for of versions."""
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    if query.get("sendInitialEvents"):
        raise _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if match:
        _check_match(version, match, query)
    if query.get("continue") and version not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")
    number = _number(version)
    if number > newest:
        raise too_large(number, newest)


def _check_match(version: str, match: str, query: Mapping[str, str]) -> None:
    if not version:
        raise _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
    if query.get("continue"):
        raise _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
    if match not in ("Exact", "NotOlderThan"):
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        raise invalid_options("ListOptions", "resourceVersionMatch", text)
    if match == "Exact" and version == "0":
        raise _forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def check_watch(query: Mapping[str, str]) -> None:
    """What a watch may ask for of versions."""
    match, initial = query.get("resourceVersionMatch", ""), query.get("sendInitialEvents")
    if initial is None and match:
        raise _forbidden(
            "resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        )
    if initial is not None and not match:
        text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise _forbidden("resourceVersionMatch", text)
    if initial is not None and match != "NotOlderThan":
        needs = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        text = f'Unsupported value: "{match}": supported values: "NotOlderThan"'
        field = "resourceVersionMatch"
        problems = [(field, "FieldValueForbidden", needs), (field, "FieldValueNotSupported", text)]
        raise invalid("meta.k8s.io", "ListOptions", "", problems)
    try:
        _number(query.get("resourceVersion", ""))
    except ApiError as error:
        raise ApiError(500, "", error.message.removeprefix("invalid resource version: ")) from None


def _forbidden(field: str, text: str) -> ApiError:
    return invalid_options("ListOptions", field, f"Forbidden: {text}", "FieldValueForbidden")


def _number(version: str) -> int:
    if version and not version.isdigit():
        text = f'strconv.ParseUint: parsing "{version}": invalid syntax'
        raise bad_request(f'invalid resource version: resourceVersion: Invalid value: "{version}": {text}')
    return int(version or 0)


def too_large(asked: int, version: int) -> ApiError:
    """As the real server's watch cache refuses a version that it has not seen (apiserver's storage errors)."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    text = f"Timeout: Too large resource version: {asked}, current: {version}"
    return ApiError(504, "Timeout", text, details={"causes": causes, "retryAfterSeconds": 1})


def as_of(version: int, items: Iterable[Object], log: Log, namespace: str) -> list[Object]:
    """*items* as they were at *version*, in order; ApiError 410 when that is too long ago."""
    changes = log.since(version)
    if changes is None:
        raise expired(version, version)
    then = {place(item): item for item in items}
    for change in reversed(changes):
        where = place(change.item)
        if namespace and where[0] != namespace:
            continue
        if change.before is None:
            then.pop(where, None)
        else:
            then[where] = change.before
    return [item for _, item in sorted(then.items(), key=lambda each: each[0])]


def place(item: Object) -> tuple[str, str]:
    """By which lists are ordered."""
    return item["metadata"].get("namespace") or "", item["metadata"]["name"]


def token(version: int, last: Object) -> str:
    """What the next page is asked for by."""
    return base64.urlsafe_b64encode(msgspec.json.encode((version, *place(last)))).decode()


def page(given: str, store: Store, kind: Kind) -> tuple[int, tuple[str, str]]:
    """The version of the whole list, and the place after which its next page begins."""
    if not given:
        return store.version, ("", "")
    try:
        version, namespace, name = msgspec.json.decode(base64.urlsafe_b64decode(given), type=tuple[int, str, str])
    except (ValueError, msgspec.MsgspecError):
        raise bad_request("invalid continue token: continue key is not valid: it was not made by this server") from None
    if store.log(kind.storage).since(version) is None:
        text = (
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
            "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
            "modified, or deleted between the time the first chunk was returned and now may show up in the list."
        )
        error = ApiError(410, "Expired", text)
        error.continue_token = base64.urlsafe_b64encode(msgspec.json.encode((store.version, namespace, name))).decode()
        raise error
    return version, (namespace, name)
