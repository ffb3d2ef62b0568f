"""Many namespaces at once: how soon all is written, and how often it is looked at."""

import pytest

from keystead.apply.lines import Entry, Line, first_served
from keystead.model.credentials import Credential
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.plan.steps import DeleteCredential, LaneStep, WriteCredential
from keystead_sandbox.faults import Fault
from keystead_sandbox.resources import Identity
from keystead_sandbox.schedule import Slots, optimum
from world import ISSUER, World

pytestmark = pytest.mark.looptime
CONCURRENT = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
LIMIT = 20


def _appear(world: World, count: int) -> list[str]:
    names = [f"shop-{number:03}" for number in range(count)]
    for name in names:
        world.namespace(name, labels={"team": "team"})
    return names


def _pool(world: World, rooms: list[int]) -> list[Identity]:
    """Identities with so much room; the other slots are somebody else's."""
    pool = [world.identity(f"identity-{number:02}") for number in range(len(rooms))]
    for identity, room in zip(pool, rooms, strict=True):
        for number in range(LIMIT - room):
            world.azure.add_credential(identity, f"theirs-{number}", "https://other", f"subject-{number}")
    return pool


def _ours(identity: Identity) -> int:
    return sum(each.issuer == ISSUER for each in identity.credentials.values())


def _makespan(world: World) -> float:
    starts = [entry.at for entry in world.azure_writes()]
    return max(starts) - min(starts)


@pytest.mark.parametrize(
    "rooms",
    [[1] * 6 + [7] * 3, [3] * 10, [12, 12, 2]],
    ids=["small rooms beside large ones", "as much room everywhere", "hardly any room in one"],
)
async def test_a_rollout_takes_no_longer_than_azures_rates_make_it(rooms: list[int]) -> None:
    async with World(propagation_wait=3600.0) as world:
        pool = _pool(world, rooms)
        _appear(world, sum(rooms))
        world.grant("team", *pool)
        world.start()
        await world.until(lambda: sum(_ours(each) for each in pool) == sum(rooms))

        assert _makespan(world) <= 1.05 * optimum(sum(rooms), [Slots("one", room) for room in rooms]) + 1.0


async def test_what_an_identity_cannot_take_that_others_hold_up_goes_to_the_rest_of_the_pool() -> None:
    async with World(propagation_wait=3600.0) as world:
        pool = _pool(world, [20, 20])
        _appear(world, 12)
        world.grant("team", *pool)
        world.azure.faults.add(
            Fault(service="arm", method="PUT", path="identity-00/", status=409, code=CONCURRENT, seconds=30.0)
        )
        world.start()
        await world.until(lambda: sum(_ours(each) for each in pool) == 12)

        assert _ours(pool[1]) >= 9


async def test_a_grant_with_many_claims_is_not_looked_at_at_every_event() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        for number in range(200):
            name = f"stranger-{number:03}"
            world.namespace(name)
            world.put(
                {
                    "apiVersion": "keystead.dev/v1alpha1",
                    "kind": "VaultClaim",
                    "metadata": {"name": "mine", "namespace": name},
                    "spec": {"grantName": "team"},
                }
            )
        operator = world.start()
        await world.settled()
        assert operator.controller is not None
        before = operator.controller.passes

        for number in range(100):
            world.namespace("stranger-000", labels={"team": "team" if number % 2 else "other"})
            await world.pass_time(0.02)

        assert 2 <= operator.controller.passes - before <= 15


def _identity(name: str) -> IdentityId:
    group = "/subscriptions/11111111-2222-4333-8444-555555555555/resourceGroups/pool"
    return IdentityId.parse(f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}")


def _line(name: str, *, waiting: int = 1, since: float = 0.0, deletes: bool = False) -> Line:
    identity, credential = _identity(name), Credential("ks-1", ISSUER, "subject", "audience")
    write = WriteCredential("unit", "ks-1", identity, credential, "shop", NamespaceUid("uid"))
    step: LaneStep = DeleteCredential("unit", "ks-1", identity, credential) if deletes else write
    first = Entry("team", step, since)
    return Line([first] * waiting, at_turn=first)


@pytest.mark.parametrize(
    ("one", "two", "first"),
    [
        (_line("one", waiting=5), _line("two", deletes=True), "two"),
        (_line("one", waiting=2, since=3.0), _line("two", since=1.0), "one"),
        (_line("one", since=3.0), _line("two", since=1.0), "two"),
        (_line("one"), _line("two"), "one"),
    ],
    ids=["a revocation before any line", "the longest line", "who has waited longest", "the same each time"],
)
def test_whose_turn_it_is_when_several_could_write(one: Line, two: Line, first: str) -> None:
    assert first_served({_identity("two"): two, _identity("one"): one}) == _identity(first)
