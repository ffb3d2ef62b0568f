"""What a request asks for, and the JSON that answers it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from keystead_sandbox.kube import protobuf
from keystead_sandbox.kube.errors import ApiError, bad_request, invalid, unknown_format
from keystead_sandbox.kube.kinds import ACCOUNTS, NAMESPACES, Kind
from keystead_sandbox.kube.rbac import Attributes
from keystead_sandbox.kube.reviews import REVIEWS

CREATED = 201
_LONGEST = 3 * 1024 * 1024  # bytes of a request's body
_SUBRESOURCES = ("status", "token", "finalize")
_OF_NAMESPACES = ("status", "finalize")
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_NAMED = re.compile(r"^metadata\.name=([^,]+)$")
_IN_NAMESPACE = 6  # apis, group, version, namespaces, name, plural
_API_DEPTH, _GROUP_DEPTH, _PLURAL_DEPTH = 2, 3, 2


@dataclass(frozen=True, slots=True)
class Target:
    """A kind, and as much of a place as the path names."""

    kind: Kind
    namespace: str
    name: str
    sub: str


def parse(path: str, kinds: Mapping[tuple[str, str, str], Kind]) -> Target | None:
    """``None`` for a path that is not about objects."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > _API_DEPTH:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > _GROUP_DEPTH:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > _PLURAL_DEPTH and rest[2] not in _OF_NAMESPACES:
        namespace, rest = rest[1], rest[2:]
    kind = kinds.get((group, version, rest[0]))
    name, sub = [*rest[1:3], "", ""][:2]
    if kind is None or len(rest) > _PLURAL_DEPTH + 1 or not _has(kind, sub):
        return None
    if bool(namespace) > kind.namespaced:
        return None  # a kind of the whole cluster has no place in a namespace
    return Target(kind, namespace, name, sub)


def _has(kind: Kind, sub: str) -> bool:
    """Whether a kind has a subresource."""
    if sub == "status":
        return kind.status
    if kind.custom:
        return True  # what a custom kind has not is told as of an object that is not there
    return not sub or kind.key == {"token": ACCOUNTS, "finalize": NAMESPACES}.get(sub)


def is_served(path: str, kinds: Mapping[tuple[str, str, str], Kind]) -> bool:
    """Whether a path is of a group and version that are served, whatever it names there."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"]:
        return True
    served = {(group, version) for group, version, _ in kinds if group} | {(group, "v1") for group, *_ in REVIEWS}
    return (
        parts[:1] == ["apis"]
        and tuple(parts[1:3]) in served
        and (parts[3:4] != ["namespaces"] or len(parts) < _IN_NAMESPACE)
    )


def attributes(request: Request) -> Attributes:
    """What the authoriser is asked: read off the path alone, whether or not anything is served there."""
    path, query = request.url.path, request.query_params
    parts = [part for part in path.split("/") if part]
    group = version = ""
    if parts[:1] == ["api"] and len(parts) > _API_DEPTH:
        version, rest = parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > _GROUP_DEPTH:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Attributes(request.method.lower(), path=path)
    namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 1 else ""
    if namespace and len(rest) > _PLURAL_DEPTH and rest[2] not in _OF_NAMESPACES:
        rest = rest[2:]
    resource, name, sub = [*rest[:3], "", ""][:3]
    verb = _VERBS.get(request.method, request.method.lower())
    if verb == "get" and not name:
        verb = "watch" if is_true(query, "watch") else "list"
        chosen = _NAMED.match(query.get("fieldSelector", ""))
        name = chosen[1] if chosen else ""
    elif verb == "get" and is_true(query, "watch"):
        verb = "watch"
    elif verb == "delete" and not name:
        verb = "deletecollection"
    return Attributes(verb, group, version, resource, sub, name, namespace)


def is_true(query: Mapping[str, str], name: str) -> bool:
    """A parameter of a query as the real server reads it: anything but ``false`` and ``0`` is a yes."""
    return name in query and query[name].lower() not in ("false", "0")


async def body(request: Request) -> Any:
    """The body as JSON."""
    content = await request.body()
    if len(content) > _LONGEST:
        text = f"Request entity too large: limit is {_LONGEST}"
        raise ApiError(413, "RequestEntityTooLarge", text)
    return body_of(content, request.headers.get("content-type", "application/json"))


def as_asked(request: Request, response: Response) -> Response:
    """The same in YAML, where that is what the client would rather have."""
    wanted = request.headers.get("accept", "").partition(",")[0].strip()
    if wanted != "application/yaml" or response.headers.get("content-type") != "application/json":
        return response
    if isinstance(response, StreamingResponse):
        return response
    text = yaml.safe_dump(msgspec.json.decode(response.body), sort_keys=True, default_flow_style=False)
    return Response(text, response.status_code, {"Content-Type": "application/yaml"})


def answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, warnings: Sequence[str] = ()
) -> Response:
    """JSON; clients compare the content type with exactly this. Warnings are for people (RFC 7234)."""
    response = Response(msgspec.json.encode(value), status, {"Content-Type": "application/json", **(headers or {})})
    for each in dict.fromkeys(warnings):
        text = " ".join(each.replace("\\", "\\\\").replace('"', '\\"').split()).encode("ascii", "replace").decode()
        response.headers.append("Warning", f'299 - "{text}"')
    return response


def limit(query: Mapping[str, str]) -> int:
    """How many objects a list may have; 0 for all of them, as from the cache that answers for version 0."""
    wanted = whole(query, "limit")
    return 0 if query.get("resourceVersion") == "0" else max(wanted, 0)


def whole(query: Mapping[str, str], name: str) -> int:
    """A parameter that is a number; 0 where it is not given."""
    text = query.get(name) or "0"
    if re.fullmatch(r"[+-]?[0-9]+", text) is None:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -(2**63) <= int(text) < 2**63:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def body_of(content: bytes, content_type: str) -> Any:
    """The body as JSON, from JSON, YAML or protobuf."""
    kind = content_type.partition(";")[0].strip()
    if kind == protobuf.CONTENT_TYPE:
        return protobuf.decode(content)
    try:
        if kind in ("application/apply-patch+yaml", "application/yaml"):
            if content.lstrip()[:1] != b"{":
                return yaml.safe_load(content)
            return msgspec.json.decode(content)
        if kind and "json" not in kind:
            raise unknown_format("application/json", "application/yaml", protobuf.CONTENT_TYPE)
        return _json(content) if content else {}
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"the request's body cannot be read: {str(error).splitlines()[0]}") from None


def _json(content: bytes) -> Any:
    """JSON; half a surrogate pair becomes the sign for what cannot be read, as in Go."""
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        if b"\\u" not in content:
            raise
        try:
            whole = _SURROGATE.sub("\ufffd", json.dumps(json.loads(content), ensure_ascii=False))
        except ValueError:
            whole = ""
        if not whole:
            raise
        return msgspec.json.decode(whole)


def check_kind(given: Any, kind: Kind, namespace: str = "") -> dict[str, Any]:
    """The object, if it is one of this kind and place."""
    if not isinstance(given, dict):
        raise bad_request("the request's body is not an object")
    named, version = given.get("kind") or "", given.get("apiVersion") or ""
    name = (given.get("metadata") or {}).get("name") or "" if isinstance(given.get("metadata"), dict) else ""
    if kind.custom:
        if not named or not version:
            missing, shown = ("Kind" if not named else "apiVersion"), msgspec.json.encode(given).decode()
            text = f"Object '{missing}' is missing in '{shown}'"
            raise bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): {text} ({shown})")
        problems = []
        if named != kind.kind:
            problems.append(("kind", "FieldValueInvalid", f'Invalid value: "{named}": must be {kind.kind}'))
        if version != kind.api_version:
            text = (
                f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
            )
            raise bad_request(text)
        if problems:
            raise invalid(version.rpartition("/")[0], named, name, problems)
    elif named and named != kind.kind:
        text = f"converting ({_go(kind)}.{named}) to (core.{kind.kind}): unknown conversion"
        raise bad_request(f'{named} in version "{version or kind.version}" cannot be handled as a {kind.kind}: {text}')
    elif version and version != kind.api_version:
        text = f'no kind "{named or kind.kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        raise bad_request(f'{named or kind.kind} in version "{version}" cannot be handled as a {kind.kind}: {text}')
    _check_place(given, kind, namespace)
    return given


def _go(kind: Kind) -> str:
    return kind.version


def _check_place(given: dict[str, Any], kind: Kind, namespace: str) -> None:
    metadata = given.get("metadata")
    own = metadata.get("namespace") if isinstance(metadata, dict) else None
    if kind.namespaced and namespace and own not in (None, "", namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def check_applied(given: Any, kind: Kind, namespace: str) -> dict[str, Any]:
    """The object of a server-side apply, which names its kind."""
    if not isinstance(given, dict):
        raise bad_request("the request's body is not an object")
    named, version = given.get("kind") or "", given.get("apiVersion") or ""
    if (named, version) != (kind.kind, kind.api_version):
        group, _, short = version.rpartition("/")
        raise bad_request(f"invalid object type: {group}/{short}, Kind={named}")
    _check_place(given, kind, namespace)
    return given


def manager_of(query: Mapping[str, str], agent: str) -> str:
    """The field manager: as asked, else the client's program."""
    return query.get("fieldManager") or agent.partition("/")[0] or "unknown"
