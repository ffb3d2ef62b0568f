"""Whatever people do to credentials behind our back is repaired where it is ours to repair, and told where it is not."""

from collections.abc import Callable

import pytest

from keystead_sandbox.resources import AUDIENCE, Credential, Identity
from world import World, subject

pytestmark = pytest.mark.looptime
OURS, ADOPTED = "ours", "adopted"


async def _working(world: World, whose: str) -> Identity:
    """One namespace, served by a credential of ours or by one that was taken over; a second identity is in the pool."""
    one, two = world.identity("one"), world.identity("two")
    if whose == ADOPTED:
        world.azure.add_credential(one, "tf-shop", world.issuer, subject("shop"))
    world.namespace("shop", labels={"team": "team"})
    world.grant("team", one, two)
    world.adopt("*")
    world.start()
    await world.until(lambda: world.ready("shop"))
    world.adopt(None)
    await world.pass_time(30)
    return next(each for each in (one, two) if each.credentials)


def _only(identity: Identity) -> Credential:
    (credential,) = identity.credentials.values()
    return credential


def _made(world: World, name: str, issuer: str, of: str, audience: str = AUDIENCE) -> Credential:
    return Credential(name, issuer, of, audience, world.clock.now())


def missing(world: World, identity: Identity) -> None:
    del world
    identity.credentials.clear()


def changed(world: World, identity: Identity) -> None:
    name = _only(identity).name
    identity.credentials[name.lower()] = _made(world, name, "https://ci.example.test", "repo:team/app")


def renamed(world: World, identity: Identity) -> None:
    old = _only(identity)
    identity.credentials.clear()
    identity.credentials["another-name"] = _made(world, "another-name", old.issuer, old.subject)


def foreign(world: World, identity: Identity) -> None:
    other = next(each for each in world.azure.identities.values() if each is not identity)
    other.credentials["by-hand"] = _made(world, "by-hand", world.issuer, subject("shop"))


@pytest.mark.parametrize("whose", [OURS, ADOPTED])
async def test_a_missing_credential_comes_back_under_a_name_of_ours_on_the_same_identity(whose: str) -> None:
    async with World(drift_interval=30.0) as world:
        identity = await _working(world, whose)
        missing(world, identity)
        await world.until(lambda: bool(identity.credentials))
        await world.until(lambda: world.ready("shop"))

        assert _only(identity).name.startswith("ks-")
        assert world.trusted("shop")
        (entry,) = world.objects("federations")
        assert entry["spec"]["credential"]["name"] == _only(identity).name
        assert [each.method for each in world.azure_writes()] == ["PUT"] * (2 if whose == OURS else 1)


async def test_a_credential_of_ours_that_was_changed_is_told_and_left_to_who_changed_it() -> None:
    async with World(drift_interval=30.0) as world:
        identity = await _working(world, OURS)
        changed(world, identity)
        await world.until(lambda: world.claim("shop")[1] == "TupleTaken")
        theirs, message = _only(identity), world.claim("shop")[2]
        assert theirs.name in message
        await world.pass_time(120)
        assert _only(identity) is theirs

        identity.credentials.clear()
        await world.until(lambda: world.ready("shop"))


async def test_an_adopted_credential_that_was_changed_is_followed_by_one_of_ours() -> None:
    async with World(drift_interval=30.0) as world:
        identity = await _working(world, ADOPTED)
        changed(world, identity)
        theirs = _only(identity)
        await world.until(lambda: world.trusted("shop"))
        await world.until(lambda: world.ready("shop"))

        assert identity.credentials["tf-shop"] is theirs
        (entry,) = world.objects("federations")
        assert "adopted" not in entry["spec"] or not entry["spec"]["adopted"]


@pytest.mark.parametrize("whose", [OURS, ADOPTED])
async def test_a_renamed_credential_is_told_with_the_command_and_followed_once_it_is_said(whose: str) -> None:
    async with World(drift_interval=30.0) as world:
        identity = await _working(world, whose)
        writes = len(world.azure_writes())
        annotated = world.object("serviceaccounts", "keystead", "shop")
        renamed(world, identity)
        await world.until(lambda: world.claim("shop")[1] == "TupleTaken")
        assert "another-name on identity" in world.claim("shop")[2]
        assert "`keystead adopt team shop`" in world.claim("shop")[2]
        await world.pass_time(90)

        world.adopt("shop")
        await world.until(lambda: world.ready("shop"))
        await world.pass_time(90)

        (entry,) = world.objects("federations")
        assert entry["spec"]["credential"]["name"] == "another-name"
        assert len(world.azure_writes()) == writes
        assert (world.object("serviceaccounts", "keystead", "shop") or {})["metadata"] == (annotated or {})["metadata"]


@pytest.mark.parametrize("whose", [OURS, ADOPTED])
@pytest.mark.parametrize("word", [None, "*"])
async def test_a_second_trust_elsewhere_in_the_pool_is_counted_as_foreign_and_left_alone(
    whose: str, word: str | None
) -> None:
    async with World(drift_interval=30.0) as world:
        identity = await _working(world, whose)
        writes = len(world.azure_writes())
        foreign(world, identity)
        world.adopt(word)
        await world.pass_time(120)

        assert world.ready("shop")
        assert len(world.azure_writes()) == writes
        rows = (world.object("vaultgrants", "team") or {})["status"]["identities"]
        assert sorted((row.get("used", 0), row.get("foreign", 0)) for row in rows) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("whose", [OURS, ADOPTED])
@pytest.mark.parametrize("how", [missing, changed, renamed, foreign])
async def test_after_any_drift_a_deleted_namespace_leaves_only_what_is_others(
    how: Callable[[World, Identity], None], whose: str
) -> None:
    async with World(drift_interval=30.0) as world:
        identity = await _working(world, whose)
        how(world, identity)
        theirs = {each.name for one in world.azure.identities.values() for each in one.credentials.values()}
        theirs -= {"tf-shop"} if how is foreign else set()
        theirs = {name for name in theirs if not (name.startswith("ks-") and how is foreign)}
        await world.pass_time(100)
        world.delete("namespaces", "shop")
        await world.until(lambda: world.objects("federations") == [])
        await world.pass_time(60)

        left = {each.name for one in world.azure.identities.values() for each in one.credentials.values()}
        assert left == theirs
