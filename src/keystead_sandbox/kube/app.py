"""The embedded API server as an ASGI app.

A request goes the way that it goes in kube-apiserver: who asks, for whom, whether they may, and only then what.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keystead_sandbox.clock import Clock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube import bootstrap, documents, requests, reviews
from keystead_sandbox.kube.auth import User, account, authenticate, impersonate
from keystead_sandbox.kube.certificates import Certificates, Uncertified
from keystead_sandbox.kube.errors import ApiError, forbidden_to, method_not_allowed, no_such_page, no_such_path
from keystead_sandbox.kube.guards import Guards
from keystead_sandbox.kube.kinds import ACCOUNTS, NAMESPACES, SECRETS
from keystead_sandbox.kube.objects import Objects
from keystead_sandbox.kube.rbac import Authorizer
from keystead_sandbox.kube.requests import answer, body, parse
from keystead_sandbox.kube.rest import Rest
from keystead_sandbox.kube.reviews import Reviews
from keystead_sandbox.kube.tokens import TokenIssuer

ENFORCED = "RBAC and ValidatingAdmissionPolicies are enforced; admission webhooks are not served"
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
        """*seed* gives the same UIDs each time; *key* signs tokens in place of one of its own.

        What the authority *ca_pem* has signed for clients is taken as a certificate of theirs.
        """
        self._clock = clock
        self._journal = journal
        self._users = users
        self.tokens = TokenIssuer(clock, issuer, key)
        self.rest = Rest(clock, seed)
        self.rest.ca_pem = ca_pem
        self._certificates = Certificates.of(ca_pem)
        self.authorizer = Authorizer(self.rest.store)
        self._reviews = Reviews(self.authorizer, self._user_of, self.rest.instant)
        self.rest.guard = Guards(self.rest, self.authorizer)
        self._objects = Objects(self.rest, self.tokens, clock, self.authorizer)
        bootstrap.install(self.rest)

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
            user = self._authenticate(request)
            record.caller = user.name
            user = impersonate(request.headers, user, self.authorizer.decide)
            record.caller = user.name
            self._permit(user, request)
            return requests.as_asked(request, await self._answer(request, user))
        except ApiError as error:
            record.code, record.cause = error.reason, error.cause
            if error.plain:
                return Response(error.message, error.code, media_type="text/plain")
            return answer(error.status(), error.code, error.headers)
        except Exception as error:  # noqa: BLE001 - the last line of a server: it answers, whatever happened
            _log.exception("%s %s failed", request.method, request.url.path)
            failure = ApiError(500, "InternalError", f"Internal error occurred: {type(error).__name__}")
            record.code = failure.reason
            return answer(failure.status(), failure.code)

    def _authenticate(self, request: Request) -> User:
        presented = (request.scope.get("extensions") or {}).get("tls", {}).get("client_cert_chain", ())
        peer, uncertified = None, False
        if presented and self._certificates is not None:
            try:
                peer = self._certificates.user(presented[0], self._clock.wall())
            except Uncertified:
                uncertified = True
        return authenticate(request.headers, self._users, self._caller, peer, uncertified=uncertified)

    def _permit(self, user: User, request: Request) -> None:
        asked = requests.attributes(request)
        verdict = self.authorizer.decide(user, asked)
        if not verdict.allowed:
            raise forbidden_to(user.name, asked, verdict.reason)

    def _caller(self, token: str) -> User | None:
        """The user of a token that is meant for this server."""
        found = self._user_of(token, [])
        return None if isinstance(found, str) else found[0]

    def _user_of(self, token: str, audiences: list[str]) -> tuple[User, list[str]] | str:
        """The user of a token, while all that it is bound to exists, and for which of *audiences* it is good."""
        named = self._users.get(token)
        if named is not None:
            return named, audiences or [self.tokens.issuer]
        wanted = audiences or [self.tokens.issuer]
        claims = self.tokens.verify(token)
        if claims is None:
            return "invalid bearer token"
        if not set(wanted) & set(claims["aud"]):
            theirs, ours = (
                json.dumps(each, separators=(",", " ")).replace(",", " ") for each in (claims["aud"], wanted)
            )
            return f"[invalid bearer token, token audiences {theirs} is invalid for the target audiences {ours}]"
        about = claims["kubernetes.io"]
        bound = [(ACCOUNTS, about["serviceaccount"])] + ([(SECRETS, about["secret"])] if "secret" in about else [])
        for resource, reference in bound:
            found = self.rest.store.get(resource, about["namespace"], reference["name"])
            if found is None or found["metadata"]["uid"] != reference["uid"]:
                return f'[invalid bearer token, {resource[1]} "{reference["name"]}" not found]'
        return account(claims), [each for each in wanted if each in claims["aud"]]

    async def _answer(self, request: Request, user: User) -> Response:
        target = parse(request.url.path, self.rest.kinds)
        if target is not None:
            return await self._objects.handle(request, target, user)
        review = reviews.find(request.url.path)
        if review is not None:
            if request.method != "POST":
                raise method_not_allowed()
            return answer(self._reviews.answer(review, await body(request), user), requests.CREATED)
        found = documents.find(request, self.rest.kinds.values(), self.tokens) if request.method == "GET" else None
        if found is None:
            raise no_such_path() if requests.is_served(request.url.path, self.rest.kinds) else no_such_page()
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
        self.cause = ""
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
            detail={"cause": self.cause} if self.cause else {},
            seconds=self._clock.now() - self._began,
        )
