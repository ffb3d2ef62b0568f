"""The runtime on a real API server: what it streams, and half a minute in which etcd, or the server itself, stands still."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest

from control_plane_fixture import RealCluster, real_cluster
from keystead.kube import decode
from keystead.kube.client import Api, load_config
from keystead.kube.events import Recorder, Said
from keystead.kube.informer import Informer, Patience
from keystead.kube.lease import Lease
from keystead.model.records import Namespace
from keystead.operator.clock import LoopClock

pytestmark = [pytest.mark.real, pytest.mark.process, pytest.mark.looptime(False)]
_STANDSTILL = 30.0  # seconds: twice what a lease lasts


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """One of our own: its programs are stopped."""
    with real_cluster(tmp_path_factory.mktemp("runtime")) as made:
        yield made


class Following:
    """Namespaces as an informer sees them, and what it told."""

    def __init__(self, api: Api, **how: Any) -> None:
        self.deleted: list[str] = []
        self.changed = asyncio.Event()
        self.informer: Informer[Namespace] = Informer(
            api, LoopClock(), "/api/v1/namespaces", decode.namespace, self._told, Patience(silence=20.0), **how
        )

    def _told(self, old: Namespace | None, new: Namespace | None) -> None:
        if old is not None and new is None:
            self.deleted.append(old.name)
        self.changed.set()

    async def until(self, name: str, *, there: bool) -> None:
        async with asyncio.timeout(120):
            while (("", name) in self.informer.objects) != there:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def _following(cluster: RealCluster, **how: Any) -> AsyncIterator[tuple[Api, Following]]:
    api = Api(load_config(str(cluster.kubeconfig), None))
    following = Following(api, **how)
    running = asyncio.create_task(following.informer.run())
    try:
        async with asyncio.timeout(60):
            await following.informer.synced.wait()
        yield api, following
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await api.close()


async def _make(api: Api, name: str) -> str:
    made = await api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    return str(made["metadata"]["uid"])


def _names(cluster: RealCluster) -> set[str]:
    with cluster.admin() as admin:
        answer: httpx2.Response = admin.get("/api/v1/namespaces")
        return {each["metadata"]["name"] for each in answer.json()["items"]}


@pytest.mark.parametrize("metadata_only", [False, True], ids=["whole objects", "metadata alone"])
@pytest.mark.parametrize("streams", [False, True], ids=["listed", "streamed"])
async def test_what_is_there_and_what_changes_is_seen(cluster: RealCluster, streams: bool, metadata_only: bool) -> None:
    name = f"seen-{streams}-{metadata_only}".lower()
    async with _following(cluster, streams=streams, metadata_only=metadata_only) as (api, following):
        uid = await _make(api, name)
        await following.until(name, there=True)
        record = following.informer.objects["", name]
        await api.delete(f"/api/v1/namespaces/{name}", uid=uid)
        await following.until(name, there=False)

        assert record.uid == uid
        assert record.labels["kubernetes.io/metadata.name"] == name
        assert {each for _, each in following.informer.objects} == _names(cluster)
        assert following.informer.streams is streams
        assert following.informer.lists == 1


# A TLS handshake that is given up leaves its socket to the collector, in httpcore2; it is closed there.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("program", ["etcd", "kube-apiserver"])
async def test_half_a_minute_of_standstill_loses_no_delete(cluster: RealCluster, program: str) -> None:
    goes, comes = f"goes-{program}", f"comes-{program}"
    async with _following(cluster) as (api, following):
        uid = await _make(api, goes)
        await following.until(goes, there=True)
        clock, lost = LoopClock(), asyncio.Event()
        lease = Lease(api, clock, namespace="default", name=f"lease-{program}", identity="one")
        await lease.acquire()
        keeping = asyncio.create_task(lease.keep(lost.set))
        os.kill(cluster.pid(program), signal.SIGSTOP)
        try:
            await asyncio.sleep(_STANDSTILL)
        finally:
            os.kill(cluster.pid(program), signal.SIGCONT)
        assert lost.is_set()
        assert not lease.may_write(0.0)
        await keeping
        await lease.acquire()
        await api.delete(f"/api/v1/namespaces/{goes}", uid=uid)
        await _make(api, comes)
        await following.until(comes, there=True)
        await following.until(goes, there=False)

        assert following.deleted.count(goes) == 1
        assert {each for _, each in following.informer.objects} == _names(cluster)
        assert following.informer.lists <= 3
        await lease.release()


async def test_events_are_counted_up_also_by_a_process_that_forgot(cluster: RealCluster) -> None:
    api = Api(load_config(str(cluster.kubeconfig), None))
    found = await api.get("/api/v1/namespaces/default")
    said = Said("v1", "Namespace", "", "default", found["metadata"]["uid"], "Ready", "Serve", "it is so")
    for number in range(3):
        recorder = Recorder(api, LoopClock(), controller="keystead.dev/test", instance=f"i-{number}", manager="test")
        await recorder.say(said)
    event = await api.get(f"{said.folder}/{said.event_name}")
    await api.close()

    assert event["series"]["count"] == 3
    assert event["reportingInstance"] == "i-0"


async def test_priority_levels_are_named_in_answers(cluster: RealCluster) -> None:
    with cluster.admin() as admin:
        answer = admin.get("/api/v1/namespaces/default")

    assert answer.headers["X-Kubernetes-PF-PriorityLevel-UID"]
    assert msgspec.json.decode(answer.content)["metadata"]["name"] == "default"
