"""The embedded API server as an ASGI app.

RBAC and admission policies are not enforced: every authenticated user may do everything. Roles and bindings are stored,
and nothing reads them.
"""

import logging
from collections.abc import Mapping
from typing import Any

from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keystead_sandbox.clock import Clock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube import documents, requests, reviews
from keystead_sandbox.kube.auth import User, authenticate
from keystead_sandbox.kube.errors import ApiError, no_such_path
from keystead_sandbox.kube.kinds import ACCOUNTS, NAMESPACES
from keystead_sandbox.kube.objects import Objects
from keystead_sandbox.kube.requests import answer, body, parse
from keystead_sandbox.kube.rest import Rest
from keystead_sandbox.kube.tokens import TokenIssuer

NOT_ENFORCED = "RBAC and admission policies are not enforced"
_OWN_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_log = logging.getLogger(__name__)


class Cluster:
    """One cluster: its objects, its users, its tokens. It is the ASGI app itself."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal | None = None,
        *,
        issuer: str,
        users: Mapping[str, User],
        ca_pem: str = "",
        seed: str | None = None,
        key: RSAKey | None = None,
    ) -> None:
        """*seed* gives the same UIDs each time; *key* signs tokens in place of one of its own."""
        self._clock = clock
        self._journal = journal
        self._users = users
        self.tokens = TokenIssuer(clock, issuer, key)
        self.rest = Rest(clock, seed)
        self.rest.ca_pem = ca_pem
        self._objects = Objects(self.rest, self.tokens, clock)
        for name in _OWN_NAMESPACES:
            item = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            }
            self.rest.install(NAMESPACES, item)

    @property
    def asgi(self) -> ASGIApp:
        """The app."""
        return self

    @property
    def store(self) -> Any:  # a Store; tests look into its objects without asking each time whether they are there
        """For tests: the objects, to look at."""
        return self.rest.store

    @property
    def cluster_id(self) -> str:
        """The UID of kube-system, by which clusters are told apart."""
        found = self.rest.store.get(NAMESPACES, "", "kube-system")
        if found is None:
            raise LookupError("kube-system is gone")
        return str(found["metadata"]["uid"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        record = _Record(self._journal, request, self._clock)
        try:
            response = await self._handle(request, record)

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    record.status = int(message["status"])
                await send(message)

            await response(scope, receive, noted)
        finally:
            record.write()  # a watch is noted when it ends, however it ends

    async def _handle(self, request: Request, record: "_Record") -> Response:
        try:
            user = authenticate(request.headers, request.url.path, self._users, self._is_current)
            record.caller = user.name
            return await self._answer(request, user)
        except ApiError as error:
            record.code = error.reason
            return answer(error.status(), error.code, error.headers)
        except Exception as error:  # noqa: BLE001 - the last line of a server: it answers, whatever happened
            _log.exception("%s %s failed", request.method, request.url.path)
            failure = ApiError(500, "InternalError", f"Internal error occurred: {type(error).__name__}")
            record.code = failure.reason
            return answer(failure.status(), failure.code)

    def _is_current(self, token: str) -> dict[str, Any] | None:
        """The claims of a ServiceAccount's token, while that very account exists."""
        claims = self.tokens.verify(token)
        if claims is None:
            return None
        about = claims["kubernetes.io"]
        account = self.rest.store.get(ACCOUNTS, about["namespace"], about["serviceaccount"]["name"])
        alive = account is not None and account["metadata"]["uid"] == about["serviceaccount"]["uid"]
        return claims if alive else None

    async def _answer(self, request: Request, user: User) -> Response:
        target = parse(request.url.path, self.rest.kinds)
        if target is not None:
            return await self._objects.handle(request, target)
        if request.method == "POST":
            return answer(reviews.answer(request.url.path, await body(request), user), requests.CREATED)
        if request.method != "GET":
            raise no_such_path()
        found = documents.find(request, self.rest.kinds.values(), self.tokens)
        if found is None:
            raise no_such_path()
        return found


class _Record:
    """What the journal is told of one request: never a body, an impersonated name only as the caller."""

    def __init__(self, journal: Journal | None, request: Request, clock: Clock) -> None:
        self._journal = journal
        self._request = request
        self._clock = clock
        self._began = clock.now()
        self.caller = ""
        self.code = ""
        self.status = 0

    def write(self) -> None:
        if self._journal is None:
            return
        self._journal.record(
            service="kube",
            method=self._request.method,
            host="",
            path=self._request.url.path,
            query=self._request.url.query,
            status=self.status,
            code=self.code,
            caller=self.caller,
            seconds=self._clock.now() - self._began,
        )
