"""Who deletes an automatic claim again and again waits ever longer; what the operator took away itself counts for nothing."""

from functools import partial

import pytest

from world import World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]


async def _served(world: World) -> None:
    world.grant("team", world.identity("one"))
    world.namespace("shop", labels={"team": "team"})
    world.start()
    await world.until(lambda: world.ready("shop"))


async def _absence(world: World) -> float:
    """Delete the claim; seconds until it is back."""
    world.delete("vaultclaims", "team", "shop")
    start = world.clock.now()
    await world.until(lambda: world.objects("vaultclaims") != [], seconds=8000)
    return world.clock.now() - start


async def test_a_claim_comes_back_ever_later_and_after_three_quiet_hours_soon() -> None:
    async with World(drift_interval=86400.0, lease_duration=3600.0) as world:
        await _served(world)
        absences = [await _absence(world) for _ in range(3)]
        assert [round(each / 60) for each in absences] == [1, 2, 4]

        await world.pass_time(3.2 * 3600)

        assert round(await _absence(world) / 60) == 1


async def test_a_namespace_that_leaves_and_comes_back_does_not_wait() -> None:
    async with World() as world:
        await _served(world)
        for _ in range(3):
            for label in ("none", "team"):
                metadata = {"name": "shop", "labels": {"team": label}}
                world.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
                await world.until(partial(_stand, world, int(label == "team")), seconds=30)


def _stand(world: World, claims: int) -> bool:
    return len(world.objects("vaultclaims")) == claims
