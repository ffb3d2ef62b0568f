"""The inventory reads the emulated Azure rarely, at its pace, and is corrected by what Azure confirmed."""

import asyncio
import itertools

import pytest

from azure_transport import ASGIAzureTransport
from keystead.azure.arm import IdentityClient
from keystead.azure.clouds import CLOUDS
from keystead.model.credentials import Credential
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.observe.inventory import Inventory, ListPaces
from keystead.operator.clock import LoopClock
from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.journal import Entry
from keystead_sandbox.resources import Identity
from world import EPOCH, StaticCredential, World

pytestmark = pytest.mark.looptime
PACES = ListPaces(identity=4.0, subscription=0.2, drift=600.0, retry=15.0)


class Scene:
    """An inventory over a world's Azure, without any operator."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[str] = []
        self.later: list[str] = []
        clock = LoopClock(EPOCH)
        client = IdentityClient(
            StaticCredential(world),  # type: ignore[arg-type] # as much of a credential as the client uses
            CLOUDS["AzureCloud"],
            lambda: ASGIAzureTransport(world.azure_app),
            clock,
        )
        self.inventory = Inventory(client, clock, self._asks, PACES)

    def _asks(self, grant: str, seconds: float) -> None:
        (self.asked if not seconds else self.later).append(grant)

    def look(self, *identities: Identity, grant: str = "team") -> list[tuple[bool, int]]:
        """Known or not, and how many credentials, as the next pass would see it."""
        ids = [IdentityId.parse(each.resource_id) for each in identities]
        states = self.inventory.states(ids, grant)
        return [(states[each].known, len(states[each].credentials)) for each in ids]

    async def learnt(self, times: int = 1) -> None:
        await self.world.until(lambda: len(self.asked) >= times, seconds=120)

    def lists(self) -> list[Entry]:
        return [
            each
            for each in self.world.entries("arm", "GET")
            if each.path.lower().endswith("/federatedidentitycredentials")
        ]


def _credential(name: str) -> Credential:
    return Credential(
        name, "https://issuer.test", f"system:serviceaccount:{name}:keystead", "api://AzureADTokenExchange"
    )


async def test_an_identity_is_read_beside_and_its_grants_are_looked_at_again() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        world.azure.add_credential(one, "other", "https://ib.oic", "someone")

        assert scene.look(one) == [(False, 0)]
        assert scene.look(one, grant="second") == [(False, 0)]
        await scene.learnt(2)

        assert scene.look(one) == [(True, 1)]
        assert sorted(scene.asked) == ["second", "team"]
        assert len(scene.lists()) == 1


async def test_nothing_is_read_again_before_the_drift_interval() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        scene.look(one)
        await scene.learnt()

        await asyncio.sleep(599)
        scene.look(one)
        await asyncio.sleep(0.5)
        before = len(scene.lists())
        await asyncio.sleep(2)
        scene.look(one)
        await asyncio.sleep(2)

        assert (before, len(scene.lists())) == (1, 2)


async def test_a_drift_list_that_shows_what_was_known_brings_nobody_back_before_the_next() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        world.azure.add_credential(one, "other", "https://ib.oic", "someone")
        for _ in range(2):  # an orphan's sightings are news until there are enough of them
            scene.look(one)
            await asyncio.sleep(PACES.drift + 2)
        before = len(scene.asked)

        scene.look(one)
        await asyncio.sleep(PACES.drift + 2)

        assert len(scene.lists()) == 3
        assert (len(scene.asked) - before, scene.later) == (0, ["team"])


@pytest.mark.parametrize("doubt", [False, True], ids=["something changed", "somebody waits for the list"])
async def test_a_list_that_tells_something_brings_its_grants_back_at_once(doubt: bool) -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        scene.look(one)
        await asyncio.sleep(PACES.drift + 2)
        if doubt:
            scene.inventory.doubted(IdentityId.parse(one.resource_id), Reason.AZURE_REFUSED)
        else:
            world.azure.add_credential(one, "other", "https://ib.oic", "someone")
        before = len(scene.asked)

        scene.look(one)
        await asyncio.sleep(5)

        assert len(scene.asked) == before + 1


async def test_lists_that_are_due_nearly_at_once_are_made_together() -> None:
    async with World() as world:
        scene, pool = Scene(world), [world.identity(f"id-{number}") for number in range(3)]
        ids = [IdentityId.parse(each.resource_id) for each in pool]
        for wait, each in zip((50.0, 100.0, 5.0), pool, strict=True):
            scene.look(each)
            await asyncio.sleep(wait)

        due = scene.inventory.next_due(ids)

        assert due == pytest.approx(PACES.drift - 105, abs=2)  # the first two; the third alone


async def test_lists_keep_the_tenants_pace_over_all_subscriptions() -> None:
    async with World() as world:
        for _ in range(5):
            subscription = world.azure.add_subscription()
            group = world.azure.add_group("identities", subscription_id=subscription.id)
            world.azure.assign_role(world.application.object_id, "Managed Identity Contributor", group.id)
        scene = Scene(world)
        pool = [
            world.azure.add_identity(f"id-{number}", subscription_id=list(world.azure.subscriptions)[number // 3])
            for number in range(18)
        ]

        scene.look(*pool)
        await scene.learnt(18)

        starts = sorted(each.at for each in scene.lists())
        assert all(after - before >= PACES.tenant - 0.001 for before, after in itertools.pairwise(starts))
        assert starts[-1] - starts[0] <= 17 * PACES.tenant + 0.1


async def test_lists_keep_the_subscriptions_pace() -> None:
    async with World() as world:
        scene, pool = Scene(world), [world.identity(f"id-{number}") for number in range(6)]

        scene.look(*pool)
        await scene.learnt(6)

        starts = sorted(each.at for each in scene.lists())
        assert len(starts) == 6
        assert min(b - a for a, b in itertools.pairwise(starts)) >= 0.19


async def test_doubts_do_not_outrun_an_identitys_pace() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        identity = IdentityId.parse(one.resource_id)
        for turn in range(1, 4):
            scene.inventory.doubted(identity, Reason.AZURE_REFUSED)
            scene.look(one)
            await scene.learnt(turn)

        starts = [each.at for each in scene.lists()]
        assert len(starts) == 3
        assert min(b - a for a, b in itertools.pairwise(starts)) >= 3.9


async def test_confirmed_writes_correct_what_was_read() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        identity = IdentityId.parse(one.resource_id)
        scene.look(one)
        await scene.learnt()

        scene.inventory.corrected(identity, _credential("a"), True)
        scene.inventory.corrected(identity, _credential("b"), True)
        added = scene.look(one)
        scene.inventory.corrected(identity, _credential("A"), False)

        assert added == [(True, 2)]
        assert scene.look(one) == [(True, 1)]
        assert len(scene.lists()) == 1


async def test_a_list_that_a_write_overtook_is_not_believed() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        identity = IdentityId.parse(one.resource_id)
        scene.look(one)
        await scene.learnt()
        world.azure.faults.add(Fault(service="arm", effect=Effect.DELAY, delay=5.0))
        scene.inventory.doubted(identity, Reason.AZURE_REFUSED)
        scene.look(one)
        await asyncio.sleep(6)  # paced, then under way
        scene.inventory.corrected(identity, _credential("a"), True)
        await scene.learnt(2)

        assert scene.look(one) == [(True, 1)]


async def test_a_full_identity_offers_nothing_until_it_was_listed_again() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        identity = IdentityId.parse(one.resource_id)
        scene.look(one)
        await scene.learnt()

        scene.inventory.doubted(identity, Reason.IDENTITY_FULL)
        doubted = scene.inventory.known(identity)
        scene.look(one)
        await scene.learnt(2)
        listed = scene.inventory.known(identity)

        assert (doubted is not None and doubted.full, listed is not None and listed.full) == (True, False)


async def test_what_cannot_be_read_is_a_problem_and_the_last_list_is_kept() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        world.azure.add_credential(one, "other", "https://ib.oic", "someone")
        identity = IdentityId.parse(one.resource_id)
        scene.look(one)
        await scene.learnt()
        world.azure.faults.add(Fault(service="arm", status=403, code="AuthorizationFailed"))
        scene.inventory.doubted(identity, Reason.AZURE_REFUSED)
        scene.look(one)
        await scene.learnt(2)

        state = scene.inventory.known(identity)
        assert state is not None
        assert (state.problem, len(state.credentials), state.known) == (Reason.AZURE_FORBIDDEN, 1, True)


async def test_an_identity_that_does_not_exist_is_named_and_asked_for_again_later() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        missing = IdentityId.parse(one.resource_id.rsplit("/", 1)[0] + "/missing")
        scene.inventory.states([missing], "team")
        await scene.learnt()

        state, due = scene.inventory.known(missing), scene.inventory.next_due([missing])

        assert state is not None
        assert state.problem is Reason.IDENTITY_NOT_FOUND
        assert due is not None
        assert 0 < due <= PACES.retry


async def test_orphans_count_from_when_the_ledger_stops_naming_them() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        world.azure.add_credential(one, "ks-mine", "https://issuer.test", "someone")
        identity = IdentityId.parse(one.resource_id)
        for turn in range(1, 4):
            scene.inventory.doubted(identity, Reason.AZURE_REFUSED)
            scene.look(one)
            await scene.learnt(turn)
        before = list(scene.inventory.sightings([identity]).values())

        scene.inventory.vouched(identity, ["KS-MINE"])
        vouched = list(scene.inventory.sightings([identity]).values())
        scene.inventory.doubted(identity, Reason.AZURE_REFUSED)
        scene.look(one)
        await scene.learnt(4)
        named = list(scene.inventory.sightings([identity]).values())
        scene.inventory.vouched(identity, [])
        scene.inventory.doubted(identity, Reason.AZURE_REFUSED)
        scene.look(one)
        await scene.learnt(5)

        assert (before, vouched, named) == ([2], [], [])
        assert list(scene.inventory.sightings([identity]).values()) == [1]


async def test_stopping_leaves_no_reading_behind() -> None:
    async with World() as world:
        scene = Scene(world)
        scene.look(*[world.identity(f"id-{number}") for number in range(4)])

        await scene.inventory.stop()
        await asyncio.sleep(60)

        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("list:")] == []


async def test_an_identity_that_was_made_anew_unseen_is_read_anew_once_another_list_shows_it() -> None:
    async with World() as world:
        scene, old = Scene(world), world.identity("one")
        scene.look(old)
        await scene.learnt()
        world.azure.remove_identity(old)
        new = world.identity("one")
        identity = IdentityId.parse(new.resource_id)

        scene.inventory.anew(identity, new.principal_id)
        scene.look(new)
        await scene.learnt(2)

        state = scene.inventory.known(identity)
        assert state is not None
        assert (state.client_id, state.principal_id) == (new.client_id, new.principal_id)


@pytest.mark.parametrize("held", [False, True], ids=["without credentials", "with the same credentials"])
async def test_an_identity_that_was_made_anew_between_two_lists_is_known_by_its_new_client_id(held: bool) -> None:
    async with World() as world:
        scene, old = Scene(world), world.identity("one")
        if held:
            world.azure.add_credential(old, "other", "https://ib.oic", "someone")
        scene.look(old)
        await scene.learnt()
        world.azure.remove_identity(old)
        new = world.identity("one")
        if held:
            world.azure.add_credential(new, "other", "https://ib.oic", "someone")

        await world.pass_time(PACES.drift)
        scene.look(new)
        await scene.learnt(2)

        state = scene.inventory.known(IdentityId.parse(new.resource_id))
        assert state is not None
        assert (state.client_id, state.principal_id) == (new.client_id, new.principal_id)


async def test_where_credentials_vanished_the_identity_itself_is_read_at_once() -> None:
    async with World() as world:
        scene, old = Scene(world), world.identity("one")
        world.azure.add_credential(old, "other", "https://ib.oic", "someone")
        scene.look(old)
        await scene.learnt()
        world.azure.remove_identity(old)
        new = world.identity("one")
        identity = IdentityId.parse(new.resource_id)

        scene.inventory.doubted(identity, Reason.AZURE_REFUSED)
        scene.look(new)
        await scene.learnt(2)

        state = scene.inventory.known(identity)
        assert state is not None
        assert state.client_id == new.client_id


async def test_a_list_that_is_older_than_what_was_read_makes_it_look_once() -> None:
    async with World() as world:
        scene, one = Scene(world), world.identity("one")
        identity = IdentityId.parse(one.resource_id)
        scene.look(one)
        await scene.learnt()

        for times in range(2, 5):
            scene.inventory.anew(identity, "the principal of a time before")
            scene.look(one)
            await world.pass_time(30)
            assert len(scene.asked) == 2, times

        state = scene.inventory.known(identity)
        assert state is not None
        assert state.principal_id == one.principal_id
