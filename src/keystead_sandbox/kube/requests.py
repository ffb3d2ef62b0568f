"""Pure: what a path and its query ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from keystead_sandbox.kube import protobuf
from keystead_sandbox.kube.errors import ApiError, bad_request
from keystead_sandbox.kube.kinds import Kind

_SUBRESOURCES = ("status", "token", "finalize")
_API_DEPTH, _GROUP_DEPTH = 2, 3


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
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _SUBRESOURCES:  # noqa: PLR2004 - namespaces/NAME/PLURAL
        namespace, rest = rest[1], rest[2:]
    kind = kinds.get((group, version, rest[0]))
    if kind is None:
        return None
    if len(rest) > 2 and rest[2] not in _SUBRESOURCES:  # noqa: PLR2004 - PLURAL/NAME/SUBRESOURCE
        return None
    return Target(kind, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else "")  # noqa: PLR2004 - as above


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
        return msgspec.json.decode(content) if content else {}
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"the request's body cannot be read: {str(error).splitlines()[0]}") from None


def check_kind(body: Any, kind: Kind) -> dict[str, Any]:
    """The object, if it is one of this kind."""
    if not isinstance(body, dict):
        raise bad_request("the request's body is not an object")
    given = body.get("kind")
    if given and given != kind.kind:
        raise ApiError(
            400, "BadRequest", f'the object provided is unrecognized: kind "{given}" does not match {kind.kind}'
        )
    version = body.get("apiVersion")
    if version and version != kind.api_version:
        text = f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        raise bad_request(text)
    return body


def manager_of(query: Mapping[str, str], agent: str) -> str:
    """The field manager: as asked, else the client's program."""
    return query.get("fieldManager") or agent.partition("/")[0] or "unknown"
