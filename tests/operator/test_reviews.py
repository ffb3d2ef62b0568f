"""Peer review: nobody gets a vault without a second pair of eyes, and a word counts only while all it names is true."""

import pytest

from world import World

pytestmark = pytest.mark.looptime


async def _waiting(world: World) -> None:
    world.grant("team", world.identity("one"), approval="Required")
    world.namespace("shop", labels={"team": "team"})
    world.start()
    await world.until(lambda: world.claim("shop", "Approved")[1] == "AwaitingReview")


async def test_a_claim_waits_visibly_and_holds_no_slot() -> None:
    async with World() as world:
        await _waiting(world)
        await world.pass_time(300)

        assert world.objects("federations") == []
        assert world.credentials() == {}
        assert "keystead approve shop" in world.claim("shop", "Approved")[2]
        assert [event["reason"] for event in world.objects("events")].count("AwaitingReview") == 1


async def test_an_approval_lets_it_in() -> None:
    async with World() as world:
        await _waiting(world)

        world.approve("shop")

        await world.until(lambda: world.ready("shop"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"namespaceUID": "another"},
        {"subject": "system:serviceaccount:shop:other"},
        {"vaultUrl": "https://other-kv.vault.azure.net"},
        {"grantName": "other"},
        {"namespace": "other"},
    ],
    ids=["another namespace's UID", "another account", "another vault", "another grant", "another namespace"],
)
async def test_an_approval_of_something_else_counts_for_nothing(wrong: dict[str, str]) -> None:
    async with World() as world:
        await _waiting(world)

        world.approve("shop", **wrong)
        await world.pass_time(120)

        assert world.claim("shop", "Approved")[1] == "AwaitingReview"
        assert world.credentials() == {}


async def test_the_requester_cannot_approve() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), approval="Required", claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        world.put(
            {
                "apiVersion": "keystead.dev/v1alpha1",
                "kind": "VaultClaim",
                "metadata": {"name": "team", "namespace": "shop"},
                "spec": {"grantName": "team", "requestedBy": "dev"},
            }
        )
        world.start()
        world.approve("shop", by="dev")
        await world.pass_time(60)

        assert world.claim("shop", "Approved")[1] == "ApproverIsRequester"
        assert world.credentials() == {}


async def test_a_denial_wins_and_takes_access_away() -> None:
    async with World() as world:
        await _waiting(world)
        world.approve("shop")
        await world.until(lambda: world.ready("shop"))

        world.approve("shop", decision="Denied", by="security")

        await world.until(lambda: not world.trusted("shop"))
        await world.until(lambda: world.claim("shop")[1] == "Denied")


async def test_a_withdrawn_approval_takes_access_away() -> None:
    async with World() as world:
        await _waiting(world)
        world.approve("shop")
        await world.until(lambda: world.ready("shop"))

        world.delete("vaultapprovals", "shop-approved-reviewer")

        await world.until(lambda: not world.trusted("shop"))
        await world.until(lambda: world.claim("shop", "Approved")[1] == "AwaitingReview")


async def test_a_recreated_namespace_is_a_new_request() -> None:
    async with World() as world:
        await _waiting(world)
        world.approve("shop")
        await world.until(lambda: world.ready("shop"))

        world.delete("namespaces", "shop")
        world.namespace("shop", labels={"team": "team"})

        await world.until(lambda: not world.trusted("shop"))
        await world.until(lambda: world.claim("shop", "Approved")[1] == "AwaitingReview")
        await world.pass_time(300)
        assert not world.trusted("shop")
