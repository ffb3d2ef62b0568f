"""The operator's process, killed by SIGKILL at the worst moments on a real control plane: the next one settles all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from real.operator_process import Deadly, Moment, operator_process
from real_world import RealWorld
from world import World

pytestmark = [pytest.mark.real, pytest.mark.process, pytest.mark.looptime(False)]

_PUT, _PUT_DONE = Moment("PUT"), Moment("PUT", after=True)
_EXCHANGE, _EXCHANGE_DONE = Moment("exchange"), Moment("exchange", after=True)
_DELETE, _DELETE_DONE = Moment("DELETE"), Moment("DELETE", after=True)
_STORIES = {
    "between the ledger and the write": (_PUT,),
    "between the write and what was to be noted of it": (_PUT_DONE,),
    "in the middle of the proof": (_EXCHANGE, _EXCHANGE_DONE),
    "before a revocation, and between it and what was to be noted of it": (_DELETE, _DELETE_DONE),
    "again and again": (_PUT, _PUT, _PUT_DONE, _EXCHANGE_DONE, _PUT_DONE, _DELETE, _DELETE, _DELETE_DONE),
}


@pytest.mark.parametrize("moments", _STORIES.values(), ids=_STORIES)
async def test_an_operator_that_is_killed_leaves_nothing_undone_and_nothing_twice(
    tmp_path: Path, moments: tuple[Moment, ...]
) -> None:
    async with World() as world:
        assert isinstance(world, RealWorld)
        world.grant("team", world.identity("one"), world.identity("two"))
        async with operator_process(world, tmp_path, moments) as (processes, azure):
            world.namespace("stays", labels={"team": "team"})
            await _until(world, azure, lambda: world.ready("stays"))
            world.namespace("goes", labels={"team": "team"})
            await _until(world, azure, lambda: world.ready("stays", "goes"))
            world.delete("namespaces", "goes")
            await _until(world, azure, lambda: not world.trusted("goes") and len(world.objects("federations")) == 1)
            await _until(world, azure, lambda: world.ready("stays") and world.object("namespaces", "goes") is None)

            assert azure.moments == []
            assert azure.killed == len(moments) == processes.started - 1
        _is_settled(world, azure)
        assert [line for line in processes.log().splitlines() if "bug:" in line or "Traceback" in line] == []


async def _until(world: RealWorld, azure: Deadly, condition: Callable[[], bool]) -> None:
    await world.until(condition, seconds=600.0 + 600.0 * len(azure.moments))


def _is_settled(world: RealWorld, azure: Deadly) -> None:
    assert list(world.credentials()) == ["system:serviceaccount:stays:keystead"]
    assert azure.most == 1, "two credentials at once for one subject"
    assert [each["spec"]["namespace"] for each in world.objects("federations")] == ["stays"]
    for plural in ("vaultclaims", "secretstores"):
        assert [each["metadata"]["namespace"] for each in world.objects(plural)] == ["stays"]
    account = world.object("serviceaccounts", "keystead", "stays") or {}
    trusting = next(each for each in world.azure.identities.values() if each.credentials)
    assert account["metadata"]["annotations"]["azure.workload.identity/client-id"] == trusting.client_id
    writes = [(entry.method, entry.path, entry.status) for entry in world.azure_writes()]
    assert [each for each in writes if each[2] not in (200, 201, 204)] == []
    done = [each[:2] for each in writes]
    assert sorted(set(done)) == sorted(done), "something was written twice"
