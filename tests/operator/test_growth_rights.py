"""The rights that docs/growing-pools.md names are enough for a pool that grows, none is left over, and the condition holds."""

import re
from pathlib import Path

import pytest

from keystead_sandbox.roles import Role
from world import VAULT, World

pytestmark = pytest.mark.looptime
PAGE = (Path(__file__).parents[2] / "docs/growing-pools.md").read_text()
CONDITION = next(iter(re.findall(r"```\n(\(\(!\(ActionMatches.*?)```", PAGE, re.DOTALL)))
ACTIONS = re.findall(r"^\| `(Microsoft\.[\w./]+)` \|", PAGE, re.MULTILINE)
ROLE = "00000000-0000-4000-8000-00000000000{}"


def _rights(world: World, actions: list[str], condition: str = "") -> None:
    """The operator may do exactly *actions*: those of identities in their group, those of roles on the vault."""
    for assignment in list(world.azure.assignments.values()):
        if assignment.principal_id == world.application.object_id:
            world.azure.remove_assignment(assignment)
    group = next(each for each in world.azure.groups.values() if each.name == "identities")
    for number, (scope, prefix) in enumerate(
        ((group.id, "Microsoft.ManagedIdentity/"), (world.vault.resource_id, "Microsoft.Authorization/"))
    ):
        held = tuple(each for each in actions if each.startswith(prefix))
        role = Role(ROLE.format(number), f"keystead-{number}", "", held, tenant_id=world.vault.tenant_id)
        world.azure.custom_roles[role.id] = role
        given = world.azure.assign_role(world.application.object_id, role.id, scope)
        if condition and number:
            given.condition, given.condition_version = condition, "2.0"


def _grow(world: World, role: str = "") -> None:
    group = next(each for each in world.azure.groups.values() if each.name == "identities")
    provisioning = {
        "resourceGroupId": group.id,
        "location": "westeurope",
        "namePrefix": "ks-pool",
        "maxIdentities": 2,
        **({"roleDefinitionId": role} if role else {}),
    }
    world.grant("team", vault={"url": VAULT, "resourceId": world.vault.resource_id}, provisioning=provisioning)
    world.namespace("shop", labels={"team": "team"})
    world.start()


def _pool(world: World) -> tuple[str, str, str]:
    return world.condition("vaultgrants", "team", "PoolReady")


def test_the_page_names_four_actions_for_fixed_pools_and_three_more() -> None:
    assert len(ACTIONS) == 7
    assert len(set(ACTIONS)) == 7


async def test_a_pool_grows_serves_and_lets_go_with_the_named_actions_under_the_condition() -> None:
    async with World() as world:
        _rights(world, ACTIONS, CONDITION)
        _grow(world)
        await world.until(lambda: world.ready("shop"))

        world.delete("namespaces", "shop")

        await world.until(lambda: world.credentials() == {})
        assert [each.path for each in world.entries("arm") if each.status == 403] == []


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("Microsoft.ManagedIdentity/userAssignedIdentities/read", "GrowthForbidden"),
        ("Microsoft.ManagedIdentity/userAssignedIdentities/write", "GrowthForbidden"),
        ("Microsoft.Authorization/roleAssignments/write", "RoleForbidden"),
        ("Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read", "AzureForbidden"),
        ("Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write", "AzureForbidden"),
    ],
)
async def test_each_action_is_needed_and_its_lack_is_told_by_name(action: str, reason: str) -> None:
    async with World() as world:
        _rights(world, [each for each in ACTIONS if each != action], CONDITION)
        _grow(world)

        await world.until(lambda: _pool(world)[1] == reason)

        assert not world.ready("shop")


async def test_only_to_see_which_roles_there_are_is_optional() -> None:
    async with World() as world:
        _rights(world, [each for each in ACTIONS if not each.endswith("roleAssignments/read")], CONDITION)
        _grow(world)

        await world.until(lambda: world.ready("shop"))

        assert _pool(world)[0] == "True"


async def test_under_the_condition_no_other_role_can_be_handed_out() -> None:
    async with World() as world:
        _rights(world, ACTIONS, CONDITION)
        _grow(world, role="00482a5a-887f-4fb3-b363-3b7fe8e74483")

        await world.until(lambda: _pool(world)[1] == "RoleForbidden")

        assert not [each for each in world.azure.assignments.values() if each.role_definition_id.startswith("00482a5a")]
