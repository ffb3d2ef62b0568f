"""Requests about objects: from HTTP to the verbs of :class:`~keystead_sandbox.kube.rest.Rest`, and back.

A list's pages are read one by one from what is there; all carry the version of the first, so that a watch from it tells
whatever changed in between. A page whose version the log no longer reaches has expired, as in the real server.
"""

import datetime
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from keystead_sandbox.clock import Clock
from keystead_sandbox.kube import decoding, events, listing, requests, scales, selectors, tokens
from keystead_sandbox.kube.admission import Writing
from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube.errors import (
    bad_request,
    forbidden_to,
    invalid_options,
    method_not_allowed,
    not_found,
    unknown_patch,
)
from keystead_sandbox.kube.kinds import ACCOUNTS, CREATED_ON_UPDATE, NAMESPACES
from keystead_sandbox.kube.lifecycle import ORPHAN
from keystead_sandbox.kube.rbac import Attributes, Authorizer
from keystead_sandbox.kube.requests import CREATED, Target, answer, body, is_true
from keystead_sandbox.kube.rest import PATCHES, Rest
from keystead_sandbox.kube.tokens import TokenIssuer
from keystead_sandbox.kube.watching import Scope, Watch

Object: TypeAlias = dict[str, Any]
_Handler: TypeAlias = Callable[[Request, Target], Awaitable[Response]]
_VALIDATION = ("Ignore", "Warn", "Strict")
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")


class Objects:
    """Handles every request whose path names a kind."""

    def __init__(self, rest: Rest, tokens: TokenIssuer, clock: Clock, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._rest = rest
        self._tokens = tokens
        self._clock = clock

    async def handle(self, request: Request, target: Target, user: User) -> Response:
        """The answer, or ApiError."""
        request.state.user = user
        kind = target.kind
        if kind.custom and target.sub not in ("", "status" if kind.status else "", "scale" if kind.scale else ""):
            raise not_found(kind.group, kind.plural, target.name)
        if target.sub == "token":
            handlers: dict[str, _Handler] = {"POST": self._token}
        elif target.sub == "scale":
            handlers = dict.fromkeys(("GET", "PUT", "PATCH"), self._scale)
        elif not target.name:
            handlers = {"GET": self._list, "POST": self._create, "DELETE": self._delete_all}
        else:
            handlers = {"GET": self._get, "PUT": self._update, "PATCH": self._patch}
            if not target.sub:
                handlers["DELETE"] = self._delete
        if request.method not in handlers:
            raise method_not_allowed()
        return await handlers[request.method](request, target)

    # Reading -----------------------------------------------------------------------------------------------------

    def _find(self, target: Target) -> Object:
        found = self._rest.store.get(target.kind.storage, target.namespace, target.name)
        if found is None:
            raise not_found(target.kind.group, target.kind.plural, target.name)
        return found

    async def _get(self, request: Request, target: Target) -> Response:
        form = listing.form(request)
        listing.check_one(request, target.kind)
        item = self._find(target)
        warnings = [target.kind.deprecated] if target.kind.deprecated else []
        return answer(form.one(target.kind, item, self._clock.wall()), warnings=warnings)

    async def _list(self, request: Request, target: Target) -> Response:
        query, kind = request.query_params, target.kind
        if is_true(query, "watch"):
            return self._watch(request, target)
        form = listing.form(request, lists=True)
        listing.check(query, self._rest.store.version)
        version, after = listing.page(query.get("continue", ""), self._rest.store, kind)
        exact = query.get("resourceVersionMatch") == "Exact"
        version = int(query["resourceVersion"]) if exact else version
        items: Iterable[Object] = self._rest.store.all(kind.storage, target.namespace)
        if exact or query.get("continue"):
            items = listing.as_of(version, items, self._rest.store.log(kind.storage), target.namespace)
        found = [item for item in self._matching(request, target, items) if listing.place(item) > after]
        limit = requests.limit(query) or len(found)
        shown, rest = found[:limit], len(found) - limit
        metadata: Object = {"resourceVersion": str(version), **({"continue": ""} if kind.custom else {})}
        if rest > 0:
            metadata["continue"] = listing.token(version, shown[-1])
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                metadata["remainingItemCount"] = rest
        warnings = [kind.deprecated] if kind.deprecated else []
        return answer(form.many(kind, shown, metadata, self._clock.wall()), warnings=warnings)

    def _matching(self, request: Request, target: Target, found: Iterable[Object]) -> list[Object]:
        query = request.query_params
        by_label = selectors.labels(query.get("labelSelector", ""))
        by_field = selectors.fields(query.get("fieldSelector", ""), target.kind)
        return [item for item in found if by_label(item) and by_field(item)]

    def _watch(self, request: Request, target: Target) -> Response:
        scope = Scope(target.kind.storage, target.kind, target.namespace, target.name)
        watch = Watch(
            self._rest.store, scope, request.query_params, self._clock, form=listing.form(request, lists=True)
        )
        return StreamingResponse(watch.lines(), media_type="application/json")

    # Writing -----------------------------------------------------------------------------------------------------

    async def _create(self, request: Request, target: Target) -> Response:
        given, how = requests.check_kind(await body(request), target.kind), _writing(request)
        namespace = target.namespace or (given.get("metadata") or {}).get("namespace") or ""
        how = await _twice(request, how)
        item = self._rest.create(target.kind, namespace if target.kind.namespaced else "", given, how)
        return self._written(request, target, item, how, CREATED)

    async def _update(self, request: Request, target: Target) -> Response:
        given, how = requests.check_kind(await body(request), target.kind, target.namespace), _writing(request)
        found = self._rest.store.get(target.kind.storage, target.namespace, target.name)
        if found is None and target.kind.storage in CREATED_ON_UPDATE and not target.sub:
            self._may_create(target, how.user)
            made = self._rest.create(target.kind, target.namespace, given, how)
            return self._written(request, target, made, how, CREATED)
        current = self._find(target)
        if target.sub == "finalize":
            return answer(self._rest.finalize(current, given))
        how = await _twice(request, how)
        changed = self._rest.update(target.kind, current, given, how, sub=target.sub)
        return self._written(request, target, changed, how)

    async def _patch(self, request: Request, target: Target) -> Response:
        type_ = request.headers.get("content-type", "").partition(";")[0].strip()
        if type_ in _APPLY:
            return await self._apply(request, target)
        if "force" in request.query_params:
            text = "Forbidden: may not be specified for non-apply patch"
            raise invalid_options("PatchOptions", "force", text, "FieldValueForbidden")
        if type_ not in PATCHES:
            raise unknown_patch()
        how, given = _writing(request), await body(request)
        item = self._rest.patch(target.kind, self._find(target), given, how, type_=type_, sub=target.sub)
        return self._written(request, target, item, how)

    async def _apply(self, request: Request, target: Target) -> Response:
        if not request.query_params.get("fieldManager"):
            text = "Required value: is required for apply patch"
            raise invalid_options("PatchOptions", "fieldManager", text, "FieldValueRequired")
        given, how = requests.check_applied(await body(request), target.kind, target.namespace), _writing(request)
        absent = self._rest.store.get(target.kind.storage, target.namespace, target.name) is None
        if absent and not target.sub:  # a subresource never makes its object: it is not found, whoever asks
            self._may_create(target, how.user)
        item, fresh = self._rest.apply(
            target.kind,
            target.namespace,
            target.name,
            given,
            manager=how.manager,
            force=is_true(request.query_params, "force"),
            sub=target.sub,
            dry=how.dry,
            warnings=how.warnings,
            user=how.user,
            large=how.large,
        )
        return self._written(request, target, item, how, CREATED if fresh else 200)

    def _may_create(self, target: Target, user: User) -> None:
        """Whoever makes an object by a patch needs the permission to create it too."""
        kind = target.kind
        asked = Attributes("create", kind.group, kind.version, kind.plural, "", target.name, target.namespace)
        verdict = self._authorizer.decide(user, asked)
        if not verdict.allowed:
            raise forbidden_to(user.name, asked, verdict.reason)

    async def _delete(self, request: Request, target: Target) -> Response:
        options, current = await _options(request), self._find(target)
        dry = _dry(request, options)
        left = self._rest.delete(target.kind, current, options, dry=dry, user=request.state.user)
        metadata = current["metadata"]
        still = self._rest.store.get(target.kind.storage, target.namespace, target.name)
        orphaned = ORPHAN in (left["metadata"].get("finalizers") or ())
        if target.kind.key in (NAMESPACES, ACCOUNTS) or ((still is not None or orphaned) and not dry):
            return answer(events.shown(target.kind, still if still is not None else left))
        details = {"name": metadata["name"], "kind": target.kind.plural, "uid": metadata["uid"]}
        if target.kind.group:
            details["group"] = target.kind.group
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return answer(success)

    async def _delete_all(self, request: Request, target: Target) -> Response:
        if target.kind.key == NAMESPACES:
            raise method_not_allowed()
        options, gone = await _options(request), list(self._rest.store.all(target.kind.storage, target.namespace))
        gone = self._matching(request, target, gone)
        version = str(self._rest.store.version)
        for item in gone:
            if self._rest.store.is_alive(item["metadata"]["uid"]):
                self._rest.delete(target.kind, item, options, dry=_dry(request, options), user=request.state.user)
        kind = target.kind
        listed = [events.shown(kind, item, listed=True) for item in gone]
        metadata = {"resourceVersion": version, **({"continue": ""} if kind.custom else {})}
        return answer(
            {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": listed}
        )

    def _written(self, request: Request, target: Target, item: Object, how: Writing, status: int = 200) -> Response:
        if target.kind.deprecated:
            how.warnings.insert(0, target.kind.deprecated)
        form = listing.form(request)
        return answer(form.one(target.kind, item, self._clock.wall()), status, warnings=how.warnings)

    async def _scale(self, request: Request, target: Target) -> Response:
        item = self._find(target)
        if request.method == "GET":
            return answer(scales.shown(target.kind, item))
        given, how = await body(request), _writing(request)
        if request.method == "PUT":
            item = scales.update(self._rest, target.kind, item, given, how)
        else:
            type_ = request.headers.get("content-type", "").partition(";")[0].strip()
            if type_ not in PATCHES:
                raise unknown_patch()
            item = scales.patch(self._rest, target.kind, item, given, how, type_=type_)
        return answer(scales.shown(target.kind, item), warnings=how.warnings)

    async def _token(self, request: Request, target: Target) -> Response:
        account = self._find(target)
        spec = tokens.asked(await body(request), target.name)
        audiences = [str(each) for each in spec.get("audiences") or ()]
        bound = self._tokens.bound(spec.get("boundObjectRef"), self._rest.store, target.namespace)
        token, expires = self._tokens.issue(account, audiences, spec.get("expirationSeconds"), bound)
        moment = datetime.datetime.fromtimestamp(expires, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = {
            "audiences": audiences or [self._tokens.issuer],
            "expirationSeconds": spec.get("expirationSeconds") or 3600,
            "boundObjectRef": spec.get("boundObjectRef"),
        }
        metadata = {"name": target.name, "namespace": target.namespace, "uid": account["metadata"]["uid"]}
        shown = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {**metadata, "creationTimestamp": self._rest.instant()},
            "spec": wanted,
            "status": {"token": token, "expirationTimestamp": moment},
        }
        return answer(shown, CREATED)


_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
_LONGEST_MANAGER = 128
_LARGE = 64 * 1024  # bytes of a request, from which on it is looked at how large its object is


def _writing(request: Request) -> Writing:
    query, options = request.query_params, _OPTIONS[request.method]
    validation = query.get("fieldValidation") or "Warn"
    if validation not in _VALIDATION:
        text = f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
        raise invalid_options(options, "fieldValidation", text)
    manager = requests.manager_of(query, request.headers.get("user-agent", ""))
    if len(manager.encode()) > _LONGEST_MANAGER:
        text = f"Too long: may not be more than {_LONGEST_MANAGER} bytes"
        raise invalid_options(options, "fieldManager", text, "FieldValueTooLong")
    for position, each in enumerate(manager):
        if not each.isprintable():
            shown = msgspec.json.encode(manager).decode()
            text = f"Invalid value: {shown}: invalid character U+{ord(each):04X} (at position {position})"
            raise invalid_options(options, "fieldManager", text, "FieldValueInvalid")
    large = int(request.headers.get("content-length") or _LARGE) >= _LARGE
    return Writing(manager, _dry(request, {}), validation, request.state.user, large=large)


async def _twice(request: Request, how: Writing) -> Writing:
    """With the names that the body gives twice, where the client wants to hear of them."""
    if how.validation == "Ignore":
        return how
    return replace(how, duplicates=decoding.duplicates(await request.body()))


def _dry(request: Request, options: Object) -> bool:
    asked = request.query_params.getlist("dryRun") or options.get("dryRun") or []
    if asked not in ([], ["All"]):
        shown = msgspec.json.encode(asked).decode()
        text = f'Unsupported value: {shown}: supported values: "All"'
        raise invalid_options(_OPTIONS[request.method], "dryRun", text)
    return bool(asked)


async def _options(request: Request) -> Object:
    """DeleteOptions, from the body or the query."""
    given = await body(request)
    options = dict(given) if isinstance(given, dict) else {}
    if options.get("kind") not in (None, "", "DeleteOptions"):
        version = options.get("apiVersion", "")
        scheme = 'in scheme "pkg/runtime/scheme.go:111"'
        raise bad_request(f'no kind "{options["kind"]}" is registered for version "{version}" {scheme}')
    for name in () if given else ("propagationPolicy", "gracePeriodSeconds"):  # a body says it all
        if name in request.query_params:
            text = request.query_params[name]
            options[name] = int(text) if text.isdigit() else text
    if "orphanDependents" in request.query_params and not given:
        options["orphanDependents"] = is_true(request.query_params, "orphanDependents")
    if not isinstance(options.get("gracePeriodSeconds") or 0, int):
        field = "Go struct field DeleteOptions.gracePeriodSeconds of type int64"
        raise bad_request(f"json: cannot unmarshal string into {field}")
    return options
