"""The client of the operator, unmodified, against the embedded server in this process."""

import asyncio

import lightkube
import pytest
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster as KubeCluster
from lightkube.config.models import User as KubeUser
from lightkube.core.exceptions import ApiError
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, ServiceAccountToken

from sandbox_kube.kube_api import ISSUER, Api

pytestmark = pytest.mark.looptime


def _client(api: Api) -> lightkube.AsyncClient:
    config = KubeConfig.from_one(cluster=KubeCluster(server=ISSUER), user=KubeUser(token="t-admin"))
    return lightkube.AsyncClient(config=config.get(), transport=api.transport, field_manager="tests")


async def test_objects_come_and_go(api: Api) -> None:
    client = _client(api)
    await client.create(Namespace(metadata=ObjectMeta(name="shop")))
    made = await client.apply(ConfigMap(metadata=ObjectMeta(name="a", namespace="shop"), data={"k": "v"}))
    assert made.metadata is not None
    assert made.metadata.managedFields is not None
    listed = [each.metadata.name async for each in client.list(ConfigMap, namespace="shop") if each.metadata]
    assert listed == ["a", "kube-root-ca.crt"]

    with pytest.raises(ApiError) as missing:
        await client.get(ConfigMap, "b", namespace="shop")
    assert missing.value.status.code == 404
    await client.delete(Namespace, "shop")
    with pytest.raises(ApiError):
        await client.get(Namespace, "shop")


async def test_a_watch_streams_across_virtual_hours(api: Api) -> None:
    client = _client(api)
    seen: list[str] = []

    async def follow() -> None:
        async for _, item in client.watch(ConfigMap, namespace="default"):
            assert item.metadata is not None
            seen.append(str(item.metadata.name))

    reader = asyncio.create_task(follow())
    for number in range(50):
        await asyncio.sleep(240)
        await api.config(f"c{number}")
    await asyncio.sleep(1)
    reader.cancel()

    assert [name for name in seen if name.startswith("c")] == [f"c{number}" for number in range(50)]


async def test_tokens_are_requested_as_the_operator_does(api: Api) -> None:
    request = ServiceAccountToken(metadata=ObjectMeta(), spec=TokenRequestSpec(audiences=["a"], expirationSeconds=600))
    answer = await _client(api).create(request, "default", namespace="default")

    assert answer.status is not None
    assert (answer.status.token or "").count(".") == 2
