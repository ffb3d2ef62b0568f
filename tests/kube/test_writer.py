"""What the operator writes to Kubernetes is for the object that it means, and for no other of the same name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from keystead.kube.client import Api
from keystead.kube.writer import ClusterWriter
from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.errors import Refused
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.records import Federation
from keystead.operator.clock import LoopClock
from transports import StreamingASGITransport
from world import EPOCH, ISSUER, World, _config

pytestmark = pytest.mark.looptime
GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/pool"
IDENTITY = IdentityId.parse(f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one")
ENTRY = Federation(
    name="ks-shop",
    uid="",
    grant_name="team",
    namespace="shop",
    namespace_uid=NamespaceUid("uid-1"),
    claim_name="team",
    service_account_name="keystead",
    identity=IDENTITY,
    credential=Credential("ks-shop", ISSUER, "system:serviceaccount:shop:keystead", EXCHANGE_AUDIENCE),
)


@asynccontextmanager
async def _writer() -> AsyncIterator[tuple[World, ClusterWriter]]:
    async with World() as world:
        api = Api(_config("operator"), transport=StreamingASGITransport(world.cluster))
        yield world, ClusterWriter(api, LoopClock(EPOCH))
        await api.close()


def _entry(world: World) -> dict[str, Any]:
    return world.object("federations", "ks-shop") or {}


async def test_recording_the_same_entry_again_is_the_same_entry() -> None:
    async with _writer() as (world, writer):
        first = await writer.record_federation(ENTRY)

        assert await writer.record_federation(ENTRY) == first == _entry(world)["metadata"]["uid"]


async def test_an_entry_of_the_name_that_says_otherwise_is_not_taken_for_ours() -> None:
    async with _writer() as (world, writer):
        await writer.record_federation(replace(ENTRY, namespace_uid=NamespaceUid("uid-0")))

        with pytest.raises(Refused):
            await writer.record_federation(ENTRY)
        assert _entry(world)["spec"]["namespaceUID"] == "uid-0"


async def test_an_entry_that_is_going_is_not_taken_for_ours() -> None:
    async with _writer() as (world, writer):
        uid = await writer.record_federation(ENTRY)
        await writer.begin_revocation("ks-shop", uid)

        with pytest.raises(Refused):
            await writer.record_federation(ENTRY)
        assert _entry(world)["metadata"]["deletionTimestamp"]


async def test_an_entry_made_anew_is_neither_revoked_nor_forgotten_for_the_one_before() -> None:
    async with _writer() as (world, writer):
        former = await writer.record_federation(ENTRY)
        await writer.begin_revocation("ks-shop", former)
        await writer.forget_federation("ks-shop", former)
        assert _entry(world) == {}
        await writer.record_federation(ENTRY)

        await writer.begin_revocation("ks-shop", former)
        await writer.forget_federation("ks-shop", former)

        assert "deletionTimestamp" not in _entry(world)["metadata"]
        assert _entry(world)["metadata"]["finalizers"] == ["keystead.dev/revoke"]


async def test_a_namespace_that_is_going_is_none() -> None:
    async with _writer() as (world, writer):
        uid = world.namespace("shop")
        held = {"name": "held", "namespace": "shop", "finalizers": ["example.org/hold"]}
        world.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})

        assert await writer.namespace_uid("shop") == uid
        world.delete("namespaces", "shop")
        assert await writer.namespace_uid("shop") is None
