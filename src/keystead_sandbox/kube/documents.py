"""What is read and is no object: health, version, the token issuer's documents, discovery, OpenAPI."""

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from keystead_sandbox.kube import discovery, openapi
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.requests import answer
from keystead_sandbox.kube.tokens import TokenIssuer

_HEALTH = ("/healthz", "/livez", "/readyz")
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0-keystead-sandbox",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "",
    "goVersion": "none",
    "compiler": "none",
    "platform": "sandbox",
}
_VERSION_TWO = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_GROUP_PARTS = 2  # apis, group


def find(request: Request, kinds: Iterable[Kind], tokens: TokenIssuer) -> Response | None:
    """The document at the request's path."""
    path = request.url.path.rstrip("/") or "/"
    if path in _HEALTH:
        return Response("ok", media_type="text/plain")
    if path == "/version":
        return answer(_VERSION)
    if path == "/.well-known/openid-configuration":
        return answer(tokens.configuration())
    if path == "/openid/v1/jwks":
        return answer(tokens.jwks())
    if path == "/openapi/v2" and "protobuf" in request.headers.get("accept", ""):
        return Response(openapi.version_two(), media_type=_VERSION_TWO)
    known = list(kinds)
    if path in ("/api", "/apis") and "APIGroupDiscoveryList" in request.headers.get("accept", ""):
        content = msgspec.json.encode(discovery.aggregated(known, core=path == "/api"))
        return Response(content, media_type=discovery.AGGREGATED)
    if path.startswith("/openapi/v3/") and _described(path, known) is None:
        return Response(status_code=404)
    found = _described(path, known)
    return None if found is None else answer(found)


def _described(path: str, kinds: list[Kind]) -> dict[str, Any] | None:
    parts = path.strip("/").split("/")
    if path == "/openapi/v2":
        return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "keystead-sandbox"}, "paths": {}}
    if path == "/openapi/v3":
        return openapi.index(kinds)
    if path.startswith("/openapi/v3/"):
        return openapi.document(kinds, path.removeprefix("/openapi/v3/"))
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return discovery.group_list(kinds)
    if parts[0] == "api":
        return discovery.resources(kinds, "", "/".join(parts[1:]))
    if parts[0] == "apis" and len(parts) == _GROUP_PARTS:
        return discovery.group(kinds, parts[1])
    if parts[0] == "apis":
        return discovery.resources(kinds, parts[1], "/".join(parts[2:]))
    return None
