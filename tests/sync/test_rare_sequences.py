"""What happens seldom: refused tokens, neighbours without rights, servers that quote, writers who come in between."""

import asyncio
from typing import Any

import msgspec
import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from keystead_sandbox.faults import Effect

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]
T1 = "/apis/external-secrets.io/v1/namespaces/t1"
SECRETS = "/api/v1/namespaces/t1/secrets"
SYNCED = ("True", "SecretSynced", "secret synced")
PLANTED = "PLANTED-7f3a9"


def _sign_ins(stage: Any) -> int:
    return len([each for each in stage.calls("entra") if each.method == "POST"])


def _asked(stage: Any, path: str) -> list[int]:
    """How the vault answered for a path."""
    return [each.status for each in stage.azure.journal.entries() if each.service == "keyvault" and path in each.path]


async def test_a_store_that_another_engine_serves_is_left_to_it(stage: Any) -> None:
    await stage.begin()
    await stage.store(controller="other")
    ready = {"type": "Ready", "status": "True", "reason": "Valid", "message": "store validated"}
    await stage.patch(f"{T1}/secretstores/kv/status", {"status": {"conditions": [ready]}})
    await stage.external()
    before = await stage.call("GET", f"{T1}/externalsecrets/es")
    await stage.start()

    await asyncio.sleep(600)

    assert await stage.call("GET", f"{T1}/externalsecrets/es") == before
    assert await stage.secret() is None
    assert stage.azure.journal.entries() == []


async def test_an_identity_without_the_role_gets_nothing_that_another_has_read(stage: Any) -> None:
    await stage.begin()
    stranger = stage.azure.add_identity("pool-two", "rg")
    stage.azure.add_credential(stranger, "t2", "https://kubernetes.sandbox", "system:serviceaccount:t2:eso")
    await stage.namespace("t2", client=stranger.client_id, tenant=stranger.tenant_id)
    for namespace in ("t1", "t2"):
        await stage.store(namespace)
        await stage.external(namespace=namespace)
    await stage.start()

    await asyncio.sleep(60)

    assert await stage.data() == {"password": "s3cr3t"}
    assert (await stage.ready("secretstores/kv", namespace="t2"))[0] == "True"
    assert await stage.secret(namespace="t2") is None


async def test_a_store_signs_in_as_an_account_of_its_own_namespace_alone(stage: Any) -> None:
    await stage.begin()
    await stage.namespace("t2", annotated=False)
    await stage.store("t2", serviceAccountRef={"name": "eso", "namespace": "t1"})
    await stage.external(namespace="t2")
    await stage.start()

    await asyncio.sleep(60)

    assert await stage.secret(namespace="t2") is None
    assert _sign_ins(stage) == 0


async def test_a_token_that_the_vault_refuses_is_not_used_again(stage: Any) -> None:
    await stage.begin()
    stage.fault(service="keyvault", path="/secrets/db", status=401, code="Unauthorized", times=1)
    await stage.store()
    await stage.external()
    await stage.start()

    await asyncio.sleep(30)

    assert _asked(stage, "/secrets/db")[0] == 401
    assert _sign_ins(stage) == 2
    assert await stage.data() == {"password": "s3cr3t"}


async def test_many_that_are_due_when_the_engine_begins_wait_for_one_sign_in(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    for number in range(20):
        await stage.external(f"es-{number}")
    await stage.start()
    await asyncio.sleep(10)
    await stage.stop()
    await asyncio.sleep(4000)
    stage.fault(service="entra", effect=Effect.DELAY, delay=1.0)
    before = _sign_ins(stage)

    await stage.start()
    await asyncio.sleep(30)

    assert _sign_ins(stage) - before == 1


async def test_a_vault_that_asks_for_peace_gets_it_from_those_too_who_come_later(stage: Any) -> None:
    await stage.begin()
    stage.put("other", "0th3r")
    stage.fault(service="keyvault", path="/secrets/db", status=429, code="Throttled", retry_after=20, times=1)
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)

    await stage.external("late", data=[{"secretKey": "k", "remoteRef": {"key": "other"}}])
    await asyncio.sleep(10)
    asked = list(_asked(stage, "/secrets/other"))
    await asyncio.sleep(20)

    assert asked == []
    assert await stage.data("late") == {"k": "0th3r"}


class _Meddler:
    """Somebody who labels the Secret in the very moment between the engine's look and its first replacement."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self.meddled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT" and scope["path"] == f"{SECRETS}/es" and not self.meddled:
            self.meddled = True
            await self._stage.patch(f"{SECRETS}/es", {"metadata": {"labels": {"theirs": "yes"}}})
        await self._stage.cluster(scope, receive, send)


async def test_what_somebody_writes_between_our_look_and_our_write_stays(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    meddler = _Meddler(stage)
    await stage.start(kube=meddler)
    await asyncio.sleep(5)
    stage.put("db", "changed")

    await stage.patch(f"{T1}/externalsecrets/es", {"metadata": {"annotations": {"force-sync": "1"}}})
    await asyncio.sleep(30)

    assert meddler.meddled
    assert await stage.data() == {"password": "changed"}
    assert (await stage.secret())["metadata"]["labels"]["theirs"] == "yes"


class _Quoting:
    """An API server, or a library before it, that quotes a Secret in the complaint about it."""

    def __init__(self, app: ASGIApp, how: str) -> None:
        self._app = app
        self._how = how

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" or scope["path"] != SECRETS:
            await self._app(scope, receive, send)
            return
        body = msgspec.json.decode((await receive())["body"])
        text = f"cannot be written: {body['data']} ({PLANTED})"
        if self._how == "library":
            raise LookupError(text)
        refusal = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "message": text}
        await JSONResponse(refusal, 422)(scope, receive, send)


@pytest.mark.parametrize("how", ["server", "library"])
async def test_whoever_quotes_a_secret_in_a_complaint_is_not_quoted(
    stage: Any, capfd: pytest.CaptureFixture[str], caplog: Any, how: str
) -> None:
    await stage.begin()
    caplog.set_level("DEBUG")
    await stage.store()
    await stage.external()
    await stage.start(kube=_Quoting(stage.cluster, how))

    await asyncio.sleep(30)

    assert await stage.secret() is None
    seen = capfd.readouterr()
    status = await stage.status()
    everything = "\n".join((seen.out, seen.err, caplog.text, str(await stage.events()), str(status)))
    assert ("pass failed unexpectedly" if how == "library" else "UpdateFailed") in everything
    assert PLANTED not in everything
    assert "czNjcjN0" not in everything  # the value, in base64
