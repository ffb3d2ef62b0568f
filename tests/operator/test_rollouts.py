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


@pytest.mark.virtual  # it counts seconds
@pytest.mark.parametrize(
    "rooms",
    [[1] * 6 + [7] * 3, [1, 1, 2, 2, 2, 2, 2, 2, 2, 6, 8, 8], [12, 12, 2]],
    ids=["small rooms beside large ones", "a crowded subscription and uneven rooms", "hardly any room in one"],
)
async def test_a_rollout_takes_no_longer_than_azures_rates_make_it(rooms: list[int]) -> None:
    async with World(propagation_wait=3600.0) as world:
        pool = _pool(world, rooms)
        _appear(world, sum(rooms))
        world.grant("team", *pool)
        world.start()
        await world.until(lambda: sum(_ours(each) for each in pool) == sum(rooms))

        assert _makespan(world) <= 1.05 * optimum(sum(rooms), [Slots("one", room) for room in rooms]) + 1.0


@pytest.mark.virtual
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


@pytest.mark.virtual
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


def _line(
    name: str, *, waiting: int = 1, since: float = 0.0, deletes: bool = False, grant: str = "team"
) -> tuple[IdentityId, Line]:
    identity, credential = _identity(name), Credential("ks-1", ISSUER, "subject", "audience")
    write = WriteCredential("unit", "ks-1", identity, credential, "shop", NamespaceUid("uid"))
    step: LaneStep = DeleteCredential("unit", "ks-1", identity, credential) if deletes else write
    first = Entry(grant, step, since)
    return identity, Line([first] * waiting, at_turn=first)


FREE = {"full": 1, "empty": 20, "empty-too": 20}


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        ([_line("empty", waiting=5), _line("full", deletes=True)], "full"),
        ([_line("empty", waiting=2, deletes=True), _line("full", waiting=5, deletes=True, since=9.0)], "full"),
        ([_line("full", since=1.0), _line("empty", since=3.0)], "empty"),
        ([_line("empty", since=3.0), _line("empty-too", since=1.0)], "empty-too"),
        ([_line("empty-too"), _line("empty")], "empty"),
        ([_line("empty", since=3.0), _line("full", since=1.0, grant="other")], "full"),
        (
            [_line("full", since=1.0), _line("empty", since=5.0), _line("empty-too", since=3.0, grant="other")],
            "empty-too",
        ),
    ],
    ids=[
        "a revocation before any write",
        "the longest line of revocations",
        "of one grant the identity with most slots free",
        "then who has waited longest",
        "the same each time",
        "of several grants who has waited longest",
        "no grant keeps another waiting by what it passes over itself",
    ],
)
def test_whose_turn_it_is_when_several_could_write(lines: list[tuple[IdentityId, Line]], first: str) -> None:
    assert first_served(dict(lines), lambda identity: FREE[identity.name]) == _identity(first)
