"""The grower on the emulated Azure: one write for one wish, only while the lease lasts, never over what is others'."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from azure_transport import ASGIAzureTransport
from keystead.apply.board import Board
from keystead.apply.grower import Grower, GrowerWiring
from keystead.azure.clouds import CLOUDS
from keystead.azure.pool import PoolClient
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.operator.clock import LoopClock
from keystead.plan.steps import CreateIdentity
from world import EPOCH, StaticCredential, World

pytestmark = pytest.mark.looptime
TAGS = (("keystead-cluster", "c1"), ("keystead-grant", "team"))


class Scene:
    """A grower, and a lease that a test holds or loses."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.board = Board()
        self.may_write = True
        self.made: list[str] = []
        self.asked: list[str] = []
        clock = LoopClock(EPOCH)
        self.client = PoolClient(
            StaticCredential(world),  # type: ignore[arg-type] # as much of a credential as the client uses
            CLOUDS["AzureCloud"],
            lambda: ASGIAzureTransport(world.azure_app),
            clock,
        )
        wiring = GrowerWiring(
            pool=self.client,
            clock=clock,
            board=self.board,
            gate=lambda _seconds: self.may_write,
            requeue=self.asked.append,
            moot=lambda _step: False,
            created=lambda step, _found: self.made.append(step.identity.name),
            assigned=lambda _step: None,
            doubted=lambda _step: None,
        )
        self.grower = Grower(wiring)

    def want(self, *names: str) -> None:
        group = next(each.id for each in self.world.azure.groups.values() if each.name == "identities")
        ids = {
            name: IdentityId.parse(f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}")
            for name in names
        }
        self.grower.submit("team", [CreateIdentity(name, id_, "westeurope", TAGS) for name, id_ in ids.items()])

    def stand(self) -> list[str]:
        return sorted(each.name for each in self.world.azure.identities.values())


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    async with World() as world:
        scene = Scene(world)
        try:
            yield scene
        finally:
            await scene.grower.stop()
            await scene.client.close()


async def test_what_is_wanted_is_made_and_told() -> None:
    async with _scene() as scene:
        scene.want("pool-001", "pool-002")
        await scene.world.until(lambda: len(scene.asked) == 2, seconds=60)

        assert scene.stand() == sorted(scene.made) == ["pool-001", "pool-002"]


async def test_nothing_is_made_while_the_lease_would_not_outlast_it() -> None:
    async with _scene() as scene:
        scene.may_write = False
        scene.want("pool-001")
        await scene.world.pass_time(30)
        before = scene.stand()
        scene.may_write = True
        await scene.world.until(lambda: scene.made == ["pool-001"], seconds=60)

        assert before == []


async def test_what_is_wanted_no_more_is_not_made() -> None:
    async with _scene() as scene:
        scene.may_write = False
        scene.want("pool-001")
        await scene.world.pass_time(3)
        scene.want("pool-002")
        scene.may_write = True
        await scene.world.until(lambda: scene.made != [], seconds=60)
        await scene.world.pass_time(10)

        assert scene.stand() == ["pool-002"]


async def test_an_identity_of_the_name_that_is_somebody_elses_is_left_as_it_is() -> None:
    async with _scene() as scene:
        theirs = scene.world.azure.add_identity("pool-001", tags={"owner": "them"})
        scene.want("pool-001")
        await scene.world.until(lambda: scene.asked != [], seconds=60)

        assert theirs.tags == {"owner": "them"}
        assert scene.board.failures["pool-001"].reason is Reason.IDENTITY_NAME_TAKEN
