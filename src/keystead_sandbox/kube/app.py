"""The embedded API server as an ASGI app."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from keystead_sandbox.clock import Clock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube import discovery, requests, selectors, tables
from keystead_sandbox.kube.auth import User, authenticate
from keystead_sandbox.kube.errors import ApiError, bad_request, not_found
from keystead_sandbox.kube.lifecycle import ACCOUNTS, CONFIG_MAPS, NAMESPACES
from keystead_sandbox.kube.requests import Target
from keystead_sandbox.kube.rest import Rest
from keystead_sandbox.kube.tokens import TokenIssuer
from keystead_sandbox.kube.watching import Watch

_OWN_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0-keystead-sandbox",
    "platform": "sandbox",
    "goVersion": "none",
}
_GROUP_ONLY = 2  # parts of /apis/GROUP
_CREATED, _EVENTS = 201, ("events.k8s.io", "events")


class Cluster:
    """One cluster: its objects, its users, its tokens."""

    def __init__(
        self, clock: Clock, journal: Journal | None, *, issuer: str, users: Mapping[str, User], ca_pem: str = ""
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._users = users
        self.tokens = TokenIssuer(clock, issuer)
        self.rest = Rest(clock)
        self.rest.ca_pem = ca_pem
        for name in _OWN_NAMESPACES:
            item = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            }
            self.rest.install(NAMESPACES, item)
            self.rest.install(
                ACCOUNTS,
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}},
            )
            self.rest.install(
                CONFIG_MAPS,
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "kube-root-ca.crt", "namespace": name},
                    "data": {"ca.crt": ca_pem},
                },
            )

    @property
    def store(self) -> Any:
        """For tests: the objects, to look at."""
        return self.rest.store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        began, who = self._clock.now(), ""
        try:
            user = authenticate(request.headers, request.url.path, self._users, self.tokens)
            who = user.name
            response = await self._answer(request, user)
            code = ""
        except ApiError as error:
            response, code = _json(error.status(), error.code, error.headers), error.reason
        await response(scope, receive, send)
        if self._journal is not None:
            self._journal.record(
                service="kube",
                method=request.method,
                host="",
                path=request.url.path,
                query=request.url.query,
                status=response.status_code,
                code=code,
                caller=who,
                at=began,
            )

    async def _answer(self, request: Request, user: User) -> Response:
        target = requests.parse(request.url.path, self.rest.kinds)
        if target is None:
            return await self._other(request, user)
        verb = request.method
        if target.name:
            if verb == "GET":
                return self._get(request, target)
            return await self._change(request, target)
        if verb == "GET":
            return self._list(request, target)
        if verb == "POST":
            return await self._create(request, target)
        if verb == "DELETE":
            return self._delete_all(request, target)
        raise ApiError(405, "MethodNotAllowed", f"the server does not allow {verb} on the requested resource")

    # Reading -----------------------------------------------------------------------------------------------------

    def _find(self, target: Target) -> dict[str, Any]:
        found = self.rest.store.get(_resource(target), target.namespace, target.name)
        if found is None:
            raise not_found(target.kind.group, target.kind.plural, target.name)
        return dict(found)

    def _get(self, request: Request, target: Target) -> Response:
        item = self._find(target)
        if "as=Table" in request.headers.get("accept", ""):
            include = request.query_params.get("includeObject", "Metadata")
            version = item["metadata"]["resourceVersion"]
            return _json(tables.table(target.kind, [item], self._clock.wall(), version=version, include=include))
        return _json(_shown(target, item))

    def _list(self, request: Request, target: Target) -> Response:
        query, accept = request.query_params, request.headers.get("accept", "")
        include = query.get("includeObject", "Metadata") if "as=Table" in accept else ""
        if query.get("watch") in ("true", "1"):
            watch = Watch(
                self.rest.store, _resource(target), target.kind, target.namespace, query, self._clock, as_table=include
            )
            return StreamingResponse(watch.lines(), media_type="application/json")
        by_label, by_field = (
            selectors.labels(query.get("labelSelector", "")),
            selectors.fields(query.get("fieldSelector", "")),
        )
        found = [
            item
            for item in self.rest.store.all(_resource(target), target.namespace)
            if by_label(item) and by_field(item)
        ]
        start = _start(query.get("continue", ""))
        limit = int(query.get("limit") or 0) or len(found)
        page, rest = found[start : start + limit], len(found) - start - limit
        token = base64.urlsafe_b64encode(str(start + limit).encode()).decode() if rest > 0 else ""
        version = str(self.rest.store.version)
        if include:
            return _json(
                tables.table(target.kind, page, self._clock.wall(), version=version, include=include, token=token)
            )
        metadata: dict[str, Any] = {"resourceVersion": version}
        if token:
            metadata |= {"continue": token, "remainingItemCount": rest}
        items = [_shown(target, item) for item in page]
        kind = target.kind
        return _json({"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": items})

    # Writing -----------------------------------------------------------------------------------------------------

    async def _create(self, request: Request, target: Target) -> Response:
        given = requests.check_kind(await _body(request), target.kind)
        warnings: list[str] = []
        namespace = target.namespace or (given.get("metadata") or {}).get("namespace") or ""
        item = self.rest.create(
            target.kind,
            namespace if target.kind.namespaced else "",
            given,
            manager=_manager(request),
            dry=_dry(request),
            warnings=warnings,
        )
        _strict(request, warnings)
        return _json(_shown(target, item), _CREATED, _warn(warnings))

    async def _change(self, request: Request, target: Target) -> Response:
        if target.sub == "token":
            return await self._token(request, target)
        if request.method == "DELETE":
            options = await _body(request)
            gone = self.rest.delete(
                target.kind, self._find(target), options if isinstance(options, dict) else {}, dry=_dry(request)
            )
            return _json(_shown(target, gone))
        warnings: list[str] = []
        manager, dry = _manager(request), _dry(request)
        if request.method == "PUT":
            given = requests.check_kind(await _body(request), target.kind)
            if target.sub == "finalize":
                return self._finalize(target)
            item = self.rest.update(
                target.kind, self._find(target), given, manager=manager, sub=target.sub, dry=dry, warnings=warnings
            )
            return _json(_shown(target, item), headers=_warn(warnings))
        if request.method != "PATCH":
            raise ApiError(
                405, "MethodNotAllowed", f"the server does not allow {request.method} on the requested resource"
            )
        how = request.headers.get("content-type", "").partition(";")[0]
        if how == "application/apply-patch+yaml":
            return await self._apply(request, target, warnings)
        item = self.rest.patch(
            target.kind,
            self._find(target),
            await _body(request),
            how=how,
            manager=manager,
            sub=target.sub,
            dry=dry,
            warnings=warnings,
        )
        return _json(_shown(target, item), headers=_warn(warnings))

    async def _apply(self, request: Request, target: Target, warnings: list[str]) -> Response:
        if not request.query_params.get("fieldManager"):
            raise ApiError(
                422,
                "Invalid",
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
            )
        given = requests.check_kind(await _body(request), target.kind)
        item, fresh = self.rest.apply(
            target.kind,
            target.namespace,
            target.name,
            given,
            manager=_manager(request),
            force=request.query_params.get("force") in ("true", "1"),
            sub=target.sub,
            dry=_dry(request),
            warnings=warnings,
        )
        return _json(_shown(target, item), _CREATED if fresh else 200, _warn(warnings))

    def _delete_all(self, request: Request, target: Target) -> Response:
        by_label, by_field = (
            selectors.labels(request.query_params.get("labelSelector", "")),
            selectors.fields(request.query_params.get("fieldSelector", "")),
        )
        for item in list(self.rest.store.all(_resource(target), target.namespace)):
            if by_label(item) and by_field(item):
                self.rest.delete(target.kind, item, {}, dry=_dry(request))
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _finalize(self, target: Target) -> Response:
        """The embedded server ends namespaces by itself; nobody else's word is needed."""
        return _json(_shown(target, self._find(target)))

    async def _token(self, request: Request, target: Target) -> Response:
        account = self._find(target)
        given = await _body(request)
        spec = (given or {}).get("spec") or {}
        audiences = [str(each) for each in spec.get("audiences") or ()]
        token, expires = self.tokens.issue(account, audiences, int(spec.get("expirationSeconds") or 0))
        moment = self._clock.wall().fromtimestamp(expires, self._clock.wall().tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "spec": {
                "audiences": audiences or [self.tokens.issuer],
                "expirationSeconds": spec.get("expirationSeconds") or 3600,
            },
            "status": {"token": token, "expirationTimestamp": moment},
        }
        return _json(answer, _CREATED)

    # Everything that is not an object ----------------------------------------------------------------------------

    async def _other(self, request: Request, user: User) -> Response:
        path = request.url.path.rstrip("/") or "/"
        if path in ("/healthz", "/livez", "/readyz"):
            return Response("ok", media_type="text/plain")
        simple = {
            "/version": lambda: _VERSION,
            "/.well-known/openid-configuration": self.tokens.configuration,
            "/openid/v1/jwks": self.tokens.jwks,
        }
        if path in simple:
            return _json(simple[path]())
        if request.method == "POST":
            return await self._review(request, user, path)
        found = self._discovery(path, request.headers.get("accept", ""))
        if found is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return found

    def _discovery(self, path: str, accept: str) -> Response | None:
        kinds = list(self.rest.kinds.values())
        parts = path.strip("/").split("/")
        if path in ("/api", "/apis") and "APIGroupDiscoveryList" in accept:
            return Response(
                msgspec.json.encode(discovery.aggregated(kinds, core=path == "/api")), media_type=discovery.AGGREGATED
            )
        answer: dict[str, Any] | None = None
        if path == "/api":
            answer = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        elif path == "/apis":
            answer = discovery.group_list(kinds)
        elif path == "/openapi/v3":
            answer = discovery.openapi_index(kinds)
        elif path.startswith("/openapi/v3/"):
            answer = discovery.openapi(kinds, path.removeprefix("/openapi/v3/"))
        elif parts[0] == "api":
            answer = discovery.resources(kinds, "", "/".join(parts[1:]))
        elif parts[0] == "apis":
            answer = (
                discovery.group(kinds, parts[1])
                if len(parts) == _GROUP_ONLY
                else discovery.resources(kinds, parts[1], "/".join(parts[2:]))
            )
        return None if answer is None else _json(answer)

    async def _review(self, request: Request, user: User, path: str) -> Response:
        given = await _body(request)
        if path.endswith("/selfsubjectreviews"):
            status: dict[str, Any] = {"userInfo": user.info()}
        elif path.endswith("/selfsubjectaccessreviews"):
            status = {
                "allowed": True,
                "reason": "the embedded server does not authorise: whoever is known may do everything",
            }
        else:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        if not isinstance(given, dict):
            raise bad_request("the request's body is not an object")
        return _json({**given, "metadata": {}, "status": status}, _CREATED)


def _resource(target: Target) -> tuple[str, str]:
    return _EVENTS if target.kind.plural == "events" else target.kind.key


def _shown(target: Target, item: dict[str, Any]) -> dict[str, Any]:
    """At the version that was asked for; v1 Events get their old fields."""
    shown = {
        "kind": target.kind.kind,
        "apiVersion": target.kind.api_version,
        **{key: value for key, value in item.items() if key not in ("kind", "apiVersion")},
    }
    if target.kind.key == ("", "events") and "regarding" in shown:
        seen = (shown.get("series") or {}).get("lastObservedTime") or shown.get("eventTime")
        shown |= {
            "involvedObject": shown["regarding"],
            "message": shown.get("note", ""),
            "count": (shown.get("series") or {}).get("count", 1),
            "firstTimestamp": shown.get("eventTime"),
            "lastTimestamp": seen,
            "source": {"component": shown.get("reportingController", "")},
            "reportingComponent": shown.get("reportingController", ""),
        }
    return shown


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, {"Content-Type": "application/json", **(headers or {})})


async def _body(request: Request) -> Any:
    return requests.body_of(await request.body(), request.headers.get("content-type", "application/json"))


def _manager(request: Request) -> str:
    return requests.manager_of(request.query_params, request.headers.get("user-agent", ""))


def _dry(request: Request) -> bool:
    return request.query_params.get("dryRun") == "All"


def _strict(request: Request, warnings: list[str]) -> None:
    unknown = [each for each in warnings if each.startswith("unknown field")]
    if unknown and request.query_params.get("fieldValidation") == "Strict":
        raise bad_request(f"strict decoding error: {', '.join(unknown)}")


def _warn(warnings: list[str]) -> dict[str, str]:
    return {"Warning": ", ".join(f'299 - "{each.replace(chr(34), chr(39))}"' for each in warnings)} if warnings else {}


def _start(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token)) if token else 0
    except ValueError:
        raise ApiError(410, "Expired", "the provided continue parameter is too old or malformed") from None
