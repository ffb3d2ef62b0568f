"""What the API server asks for is obeyed; what it fails to say is a failure that passes; every request ends in time."""

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystead.kube.client import Api
from keystead.kube.pressure import LEVEL, route_of
from keystead.model.errors import FieldConflict, KeysteadError, Refused, Retryable
from kube.scripted import answer, config, status
from transports import StreamingASGITransport

pytestmark = pytest.mark.looptime
CLAIM = "/apis/keystead.dev/v1alpha1/namespaces/shop/vaultclaims/team"


class Server:
    """Answers what the test says, by path; remembers what came, and when."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.came: list[tuple[str, str, float]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.came.append((request.method, request.url.path, asyncio.get_running_loop().time()))
        given = self.answers.get(request.url.path.rsplit("/", 1)[-1], {})
        if isinstance(given, list):
            given = given.pop(0) if len(given) > 1 else given[0]
        if given == "hang":
            await asyncio.Event().wait()
        response = given if isinstance(given, Response) else Response(json.dumps(given), media_type="application/json")
        await response(scope, receive, send)

    @property
    def api(self) -> Api:
        return Api(config(), transport=StreamingASGITransport(self))


def _busy(seconds: str, level: str = "") -> Response:
    return answer(429, "TooManyRequests", headers={"Retry-After": seconds, **({LEVEL: level} if level else {})})


async def test_a_busy_server_is_asked_again_when_it_said_and_the_caller_never_knows() -> None:
    server = Server(team=[_busy("2"), _busy("3"), {"kind": "VaultClaim"}])
    assert await server.api.get(CLAIM) == {"kind": "VaultClaim"}

    times = [at for _, _, at in server.came]
    assert times[1] - times[0] >= 2
    assert times[2] - times[1] >= 3


async def test_a_server_that_stays_busy_is_told_to_the_caller_with_its_wait() -> None:
    server = Server(team=_busy("4", "level-7"))
    with pytest.raises(Retryable) as caught:
        await server.api.get(CLAIM)

    assert caught.value.after == 4
    assert "level-7" in str(caught.value)
    assert len(server.came) in (3, 4)  # those held come back spread out


async def test_a_wait_beyond_the_deadline_is_not_waited_for() -> None:
    server = Server(team=_busy("100000000"))
    api = server.api
    with pytest.raises(Retryable) as caught:
        await api.get(CLAIM)

    assert (caught.value.after, asyncio.get_running_loop().time()) == (120, 0)
    with pytest.raises(Retryable):
        await api.get(CLAIM)  # still held: not even sent
    assert len(server.came) == 1


async def test_a_level_is_held_and_the_others_go_on() -> None:
    fine = Response("{}", headers={LEVEL: "calm"})
    server = Server(team=[Response("{}", headers={LEVEL: "full"})], other=_busy("10", "full"), leader=fine)
    api = server.api
    lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/leader"
    await api.get(lease)
    await api.get(CLAIM)
    with pytest.raises(Retryable):
        await api.get("/api/v1/namespaces/shop/secrets/other")
    began = asyncio.get_running_loop().time()
    await api.get(lease)
    free = asyncio.get_running_loop().time()
    with pytest.raises(Retryable):
        await asyncio.gather(*(api.get(CLAIM) for _ in range(20)), api.get("/api/v1/namespaces/shop/secrets/other"))

    assert free == began
    assert sum(path == CLAIM for _, path, at in server.came if began <= at < began + 5) == 0


async def test_a_server_that_hangs_is_given_up_at_the_deadline() -> None:
    with pytest.raises(Retryable, match="Timeout"):
        await Server(team="hang").api.get(CLAIM)

    assert asyncio.get_running_loop().time() == 15


@pytest.mark.parametrize(
    "body", [b"", b"<html>hello</html>", b'{"cut', b"\xff\xfe"], ids=["nothing", "html", "cut", "bytes"]
)
async def test_an_answer_that_is_no_json_passes(body: bytes) -> None:
    server = Server(team=Response(body))
    if not body:
        assert await server.api.get(CLAIM) is None
        return
    with pytest.raises(Retryable) as caught:
        await server.api.get(CLAIM)

    assert "hello" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"kind":"Status","details":null}',
        b'{"kind":"Status","details":[1]}',
        b'{"kind":"Status","details":{"causes":{}},"message":7}',
        b'{"kind":"Status","details":{"causes":[null,1,{"reason":"FieldManagerConflict"}]}}',
        b'{"kind":"Status","code":"x","reason":{}}',
    ],
)
@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422, 429, 500, 502, 503, 504])
async def test_a_refusal_of_any_shape_is_an_error_of_ours(code: int, body: bytes) -> None:
    with pytest.raises(KeysteadError):
        await Server(team=Response(body, code)).api.request("PUT", CLAIM, body={})


async def test_a_conflict_names_the_other_managers_and_their_fields() -> None:
    body = status(409, "Conflict")
    body["details"]["causes"] = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd" using v1', "field": ".spec.provider"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm" using v1', "field": ".spec.controller"},
    ]
    with pytest.raises(FieldConflict) as caught:
        await Server(team=Response(json.dumps(body), 409)).api.apply(CLAIM, {}, manager="keystead")

    assert caught.value.managers == ("argocd", "helm")
    assert caught.value.fields == (".spec.controller", ".spec.provider")


async def test_an_object_of_another_uid_counts_as_deleted() -> None:
    server = Server(team=answer(409, "Conflict"), other=answer(404, "NotFound"), third=answer(403, "Forbidden"))
    await server.api.delete(CLAIM, uid="u")
    await server.api.delete("/x/other", uid="u")
    with pytest.raises(Refused):
        await server.api.delete("/x/third", uid="u")


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/api/v1/namespaces", ("read", "api/v1/namespaces")),
        ("GET", "/api/v1/namespaces/shop", ("read", "api/v1/namespaces")),
        ("GET", "/api/v1/secrets", ("read", "api/v1/secrets")),
        ("PUT", "/api/v1/namespaces/shop/secrets/one", ("write", "api/v1/secrets")),
        ("POST", "/api/v1/namespaces/shop/serviceaccounts/one/token", ("write", "api/v1/serviceaccounts/token")),
        ("PATCH", CLAIM + "/status", ("write", "apis/keystead.dev/v1alpha1/vaultclaims/status")),
        ("GET", "/apis/keystead.dev/v1alpha1/vaultgrants/team", ("read", "apis/keystead.dev/v1alpha1/vaultgrants")),
        ("GET", "/.well-known/openid-configuration", ("read", ".well-known/openid-configuration")),
    ],
)
def test_requests_of_a_kind_share_a_route(method: str, path: str, route: tuple[str, str]) -> None:
    assert route_of(method, path) == route
