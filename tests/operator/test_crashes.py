"""Killed at each awaited write in turn, before it and after it, the operator comes back to the same good state."""

import pytest

from world import Trap, World, one_goes

pytestmark = pytest.mark.looptime

WRITES = 24  # more than the main job of one namespace and its end take; later ones kill nobody


async def _life(world: World, trap: Trap | None) -> None:
    """A namespace comes, works, and another goes: with a kill somewhere in between when a trap is set."""
    world.grant("team", world.identity("one"), world.identity("two"))
    world.namespace("stays", labels={"team": "team"})
    world.namespace("goes", labels={"team": "team"})
    await one_goes(world, trap)


@pytest.mark.parametrize("after", [False, True], ids=["before it takes effect", "after it took effect"])
@pytest.mark.parametrize("write", range(1, WRITES + 1))
async def test_a_crash_at_any_write_ends_in_the_same_good_state(write: int, after: bool) -> None:
    async with World() as world:
        trap = Trap()
        trap.at, trap.after = write, after

        await _life(world, trap)

        assert list(world.credentials()) == ["system:serviceaccount:stays:keystead"]
        assert [each["spec"]["namespace"] for each in world.objects("federations")] == ["stays"]
        assert [entry.status for entry in world.azure_writes() if entry.method == "PUT" and entry.status >= 400] == []
        account = world.object("serviceaccounts", "keystead", "stays") or {}
        trusting = next(each for each in world.azure.identities.values() if each.credentials)
        assert account["metadata"]["annotations"]["azure.workload.identity/client-id"] == trusting.client_id


async def test_the_traps_cover_the_whole_life() -> None:
    """If the life takes more writes than are tried, the cases above no longer cover it."""
    async with World() as world:
        trap = Trap()

        await _life(world, trap)

        important = [entry for entry in world.writes() if "/status" not in entry.path and "/events" not in entry.path]
        assert len(important) <= WRITES
