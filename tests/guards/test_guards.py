"""The guards on the embedded Kubernetes: every write by whoever may, and by whoever may not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import msgspec
import pytest

from guards.cases import CASES, CLAIM_STATUS, OURS, SET_UP, SHOP, Case
from keystead.kube import guards, rbac
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import ADMINS, User
from sandbox_kube.kube_api import EPOCH, ISSUER
from transports import StreamingASGITransport
from world import custom_resources

pytestmark = pytest.mark.looptime
_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


@asynccontextmanager
async def _guarded() -> AsyncIterator[httpx2.AsyncClient]:
    clock = VirtualClock(EPOCH)
    names = {each.who for each in CASES}
    users = {"admin": User("admin", (ADMINS,)), **{name: User(name, ("system:authenticated",)) for name in names}}
    cluster = Cluster(clock, Journal(clock), issuer=ISSUER, users=users)
    async with httpx2.AsyncClient(transport=StreamingASGITransport(cluster.asgi), base_url=ISSUER) as http:
        for item in (*custom_resources(), *rbac.manifests(), *SET_UP, *guards.manifests()):
            group = item["apiVersion"]
            plural = {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}.get(
                item["kind"], f"{item['kind'].lower()}s"
            )
            metadata = item["metadata"]
            inside = f"namespaces/{metadata['namespace']}/" if "namespace" in metadata else ""
            path = (
                f"/{'api' if '/' not in group else 'apis'}/{group}/{inside}{plural}/{metadata['name']}?fieldManager=m"
            )
            await _checked(http, "PATCH", path, item, _APPLY)
        await _checked(http, "PATCH", f"{OURS}/namespaces/{SHOP}/vaultclaims/team/status", CLAIM_STATUS, _MERGE)
        yield http


async def _checked(http: httpx2.AsyncClient, method: str, path: str, body: object, type_: str) -> None:
    headers = {"Authorization": "Bearer admin", "Content-Type": type_}
    answer = await http.request(method, path, content=msgspec.json.encode(body), headers=headers)
    assert answer.status_code < httpx2.codes.BAD_REQUEST, f"{path}: {answer.text}"


async def _write(http: httpx2.AsyncClient, case: Case) -> httpx2.Response:
    type_ = _MERGE if case.method == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {case.who}", "Content-Type": type_}
    content = msgspec.json.encode(case.body) if case.body else b""
    return await http.request(case.method, f"{case.path}?dryRun=All", content=content, headers=headers)


async def test_the_guards_let_through_and_refuse_what_they_should() -> None:
    wrong = []
    async with _guarded() as http:
        for case in CASES:
            answer = await _write(http, case)
            refused = answer.status_code == httpx2.codes.FORBIDDEN and "ValidatingAdmissionPolicy" in answer.text
            fits = refused and case.denied in answer.json()["message"] if case.denied else answer.is_success
            if not fits:
                wrong.append(f"{case.meaning} ({case.who}): {answer.status_code} {answer.text[:300]}")

    assert wrong == []
