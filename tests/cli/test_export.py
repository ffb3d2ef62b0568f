"""``keystead export terraform``: what the ledger records and Azure has, and nothing else."""

import pytest

from cli.test_plan import claim, viewer
from keystead.cli.export import Exported, export_of
from keystead.model.errors import Refused
from keystead.operator.look import Look
from keystead_sandbox.faults import Fault
from world import World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]


async def served(world: World, *namespaces: str) -> None:
    """Claims that the operator has served, and then stopped."""
    for name in namespaces:
        world.namespace(name, labels={"team": "team"})
        claim(world, name)
    world.start()
    await world.until(lambda: world.ready(*namespaces))
    await world.stop()


async def exported(world: World, *grants: str) -> Exported:
    async with Look(world.settings, viewer(world)) as looking:
        return await export_of(looking, grants)


def names(found: Exported) -> tuple[list[str], list[str]]:
    return [each.federation.namespace for each in found.standing], [each.namespace for each in found.absent]


async def test_what_the_ledger_records_and_azure_has_is_exported() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        await served(world, "shop", "office")

        found = await exported(world)

        assert names(found) == (["office", "shop"], [])
        held = {each.name for identity in world.azure.identities.values() for each in identity.credentials.values()}
        assert {each.credential.name for each in found.standing} == held


async def test_what_others_made_is_not() -> None:
    async with World() as world:
        one = world.identity("one")
        world.grant("team", one, claims="OnRequest")
        await served(world, "shop")
        world.azure.add_credential(one, "theirs", "https://other.test", "somebody")

        assert names(await exported(world)) == (["shop"], [])


async def test_an_entry_whose_credential_vanished_or_changed_is_told_and_left_out() -> None:
    async with World() as world:
        one = world.identity("one")
        world.grant("team", one, claims="OnRequest")
        await served(world, "changed", "shop", "vanished")
        for key, held in list(one.credentials.items()):
            if "vanished" in held.subject:
                del one.credentials[key]
            if "changed" in held.subject:
                del one.credentials[key]
                world.azure.add_credential(one, held.name, held.issuer, "somebody-else")

        found = await exported(world)

        assert names(found)[0] == ["shop"]
        assert sorted(names(found)[1]) == ["changed", "vanished"]


async def test_an_entry_that_is_being_revoked_is_neither_exported_nor_missed() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        await served(world, "shop")
        (entry,) = world.objects("federations")
        world.delete("federations", entry["metadata"]["name"])

        assert names(await exported(world)) == ([], [])


async def test_only_the_grants_that_were_named_are_exported() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.grant("sales", world.identity("two"))
        world.namespace("crm", labels={"team": "sales"})
        await served(world, "shop")

        assert names(await exported(world, "sales")) == (["crm"], [])


async def test_an_identity_that_is_gone_leaves_its_entries_out() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        await served(world, "shop")
        world.azure.identities.clear()

        assert names(await exported(world)) == ([], ["shop"])


async def test_half_of_it_is_never_exported() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), world.identity("two"), claims="OnRequest")
        await served(world, "shop")
        world.azure.faults.add(Fault(service="arm", path="/two/", status=403, code="AuthorizationFailed"))

        with pytest.raises(Refused, match="nothing is exported"):
            await exported(world)
