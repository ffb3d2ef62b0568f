"""Pools that grow by themselves: made, given the role, proven, and only then offered; found again whatever happens."""

from typing import Any

import msgspec
import pytest
import structlog.testing

from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.resources import Identity
from world import VAULT, Trap, World

pytestmark = pytest.mark.looptime
RBAC_ADMINISTRATOR = "Role Based Access Control Administrator"
PROBE = "system:serviceaccount:keystead-system:keystead-probe"
ASSIGNMENTS = "/roleassignments/"


def _may_assign(world: World) -> None:
    world.azure.assign_role(world.application.object_id, RBAC_ADMINISTRATOR, world.vault.resource_id)


def _growing(world: World, name: str = "team", *identities: Identity, rights: bool = True, **given: Any) -> None:
    """A grant whose pool grows, and the operator's right to let it."""
    if rights:
        _may_assign(world)
    group = next(each for each in world.azure.groups.values() if each.name == "identities")
    provisioning = {
        "resourceGroupId": group.id,
        "location": "westeurope",
        "namePrefix": "ks-pool",
        "maxIdentities": 3,
        **given.pop("provisioning", {}),
    }
    vault = {"url": VAULT, "resourceId": world.vault.resource_id}
    world.grant(name, *identities, vault=vault, provisioning=provisioning, **given)


def _made(world: World) -> list[Identity]:
    return [each for each in world.azure.identities.values() if each.name.startswith("ks-pool-")]


def _rows(world: World, name: str = "team") -> dict[str, dict[str, Any]]:
    """Rows of the grant's status by the identity's name."""
    status = (world.object("vaultgrants", name) or {}).get("status", {})
    return {each["resourceId"].rpartition("/")[2]: each for each in status.get("identities", ())}


def _proven(world: World, count: int = 1, name: str = "team") -> bool:
    return sum("provenAt" in each for each in _rows(world, name).values()) == count


def _pool(world: World, name: str = "team") -> tuple[str, str, str]:
    return world.condition("vaultgrants", name, "PoolReady")


def _roles_take(world: World, seconds: float) -> None:
    """From now on; those given so far work."""
    for each in world.azure.assignments.values():
        each.created_at -= seconds
    world.azure.rules = msgspec.structs.replace(world.azure.rules, role_delay=seconds)


def _filled(world: World, identity: Identity, count: int = 18) -> Identity:
    for number in range(count):
        world.azure.add_credential(identity, f"foreign-{number:02}", "https://other", f"subject-{number}")
    return identity


async def test_an_empty_pool_grows_an_identity_proves_it_and_serves_with_it() -> None:
    async with World() as world:
        _growing(world)
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready("shop"))
        await world.settled()

        (made,) = _made(world)
        assert world.credentials() == {"system:serviceaccount:shop:keystead": made.name}
        assert made.tags["keystead-grant"] == "team"
        assert [each["spec"]["namespace"] for each in world.objects("federations")] == ["shop"]
        assert _rows(world)[made.name]["roleAssigned"] == "True"
        assert _rows(world)[made.name]["provenAt"]
        await world.until(lambda: _pool(world)[0] == "True")


async def test_a_pool_grows_ahead_of_need_and_no_claim_is_written_before_the_proof() -> None:
    async with World() as world:
        _growing(world, "team", _filled(world, world.identity("one"), 10))
        for number in range(14):
            world.namespace(f"shop-{number:02}", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready(*(f"shop-{number:02}" for number in range(14))), seconds=900)

        (made,) = _made(world)
        writes = [each for each in world.azure_writes() if made.name in each.path and each.method == "PUT"]
        proofs = [each for each in world.entries("keyvault", "GET", "/secrets") if each.status == 200]
        assert "keystead-probe" in writes[0].path
        assert "keystead-probe" not in writes[1].path
        assert min(each.at for each in proofs) < writes[1].at
        assert len(world.credentials()) == 10 + 14


async def test_what_azure_promises_for_roles_is_waited_for_and_told() -> None:
    async with World() as world:
        _growing(world)
        _roles_take(world, 600.0)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: "ForbiddenByRbac" in world.condition("vaultgrants", "team", "CapacityAvailable")[2])

        assert world.claim("shop")[1] == "PoolGrowing"
        await world.until(lambda: world.ready("shop"), seconds=1800)

        looks = world.entries("keyvault", "GET", "/secrets")
        assert len(looks) <= 14, "ever more slowly"
        assert len(_made(world)) == 1


async def test_a_restart_finds_everything_again_and_proves_nothing_twice() -> None:
    async with World() as world:
        _growing(world)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.settled()
        before = len([each for each in world.writes() if _important(each.path)])
        row = _rows(world)

        await world.stop()
        world.start()
        await world.pass_time(900)

        after = [each.path for each in world.writes() if _important(each.path)]
        assert after[before:] == []
        assert _rows(world) == row


WRITES = 10  # until the identity is proven and the probe gone


def _important(path: str) -> bool:
    """The rest of them tell people, and the next pass tells them again."""
    return "/status" not in path and "/events" not in path


@pytest.mark.parametrize("after", [False, True], ids=["before it takes effect", "after it took effect"])
@pytest.mark.parametrize("write", range(1, WRITES + 1))
async def test_a_crash_at_any_write_ends_with_one_proven_identity_and_no_probe(write: int, after: bool) -> None:
    async with World() as world:
        trap = Trap()
        trap.at, trap.after, trap.counts = write, after, _important
        _growing(world)
        world.start(trap=trap)
        restarted = False

        def grown() -> bool:
            nonlocal restarted
            if trap.dead and not restarted:
                restarted = True
                world.start()
            return _proven(world) and not world.objects("federations")

        await world.until(grown)
        await world.pass_time(120)
        grown()
        await world.until(grown)

        (made,) = _made(world)
        assert world.credentials() == {}
        assert [each.principal_id for each in world.azure.assignments.values()].count(made.principal_id) == 1
        assert [each.status for each in world.azure_writes() if each.status >= 400] == []


async def test_the_traps_cover_all_of_it() -> None:
    async with World() as world:
        _growing(world)
        world.start()
        await world.until(lambda: _proven(world) and not world.objects("federations"))

        assert len([each for each in world.writes() if _important(each.path)]) <= WRITES


async def test_an_identity_of_the_next_name_that_is_somebody_elses_is_left_alone() -> None:
    async with World() as world:
        _growing(world)
        world.start()
        await world.until(lambda: _proven(world))
        (first,) = _made(world)
        taken = first.name.replace("-001", "-002")
        stranger = world.azure.add_identity(taken, tags={"owner": "somebody"})
        for number in range(18):
            world.namespace(f"shop-{number:02}", labels={"team": "team"})

        await world.until(lambda: len(_made(world)) == 3, seconds=900)
        await world.until(lambda: _proven(world, 2) and "IdentityNameTaken" in _pool(world)[2], seconds=900)

        assert {each.name[-3:] for each in _made(world)} == {"001", "002", "003"}
        assert stranger.tags == {"owner": "somebody"}
        assert stranger.credentials == {}
        assert not [each for each in world.azure.assignments.values() if each.principal_id == stranger.principal_id]
        assert f"{taken} (IdentityNameTaken)" in _pool(world)[2]


async def test_two_grants_that_share_group_and_prefix_do_not_meet() -> None:
    async with World() as world:
        _growing(world, "team")
        _growing(world, "rival")
        world.namespace("shop", labels={"team": "team"})
        world.namespace("club", labels={"team": "rival"})
        world.start()

        await world.until(lambda: world.ready("shop") and world.ready("club", name="rival"))
        await world.settled()

        made = {each.tags["keystead-grant"]: each.name for each in _made(world)}
        assert len(_made(world)) == 2
        assert world.credentials() == {
            "system:serviceaccount:shop:keystead": made["team"],
            "system:serviceaccount:club:keystead": made["rival"],
        }
        assert list(_rows(world, "team")) == [made["team"]]
        assert list(_rows(world, "rival")) == [made["rival"]]


async def test_two_replicas_make_one_identity() -> None:
    async with World() as world:
        _growing(world)
        world.start()
        world.start()

        await world.until(lambda: _proven(world))
        await world.pass_time(120)

        assert len(_made(world)) == 1
        assert len(world.entries("arm", "PUT", ASSIGNMENTS)) == 1


async def test_while_it_only_observes_nothing_is_made() -> None:
    async with World() as world:
        _growing(world, observeOnly=True)
        world.start()
        await world.until(lambda: world.condition("vaultgrants", "team", "Ready")[1] != "")
        await world.pass_time(300)

        assert _made(world) == []
        assert [each for each in world.writes() if each.service == "arm"] == []


_IDENTITY = r"/userassignedidentities/[^/]+$"


@pytest.mark.parametrize(
    ("fault", "reason", "field"),
    [
        pytest.param(
            Fault(method="PUT", path=_IDENTITY, status=403, code="AuthorizationFailed"),
            "GrowthForbidden",
            "spec.provisioning: identity",
            id="may not make identities",
        ),
        pytest.param(
            Fault(method="PUT", path=_IDENTITY, status=403, code="RequestDisallowedByPolicy"),
            "AzurePolicy",
            "spec.provisioning: identity",
            id="a policy denies the identity",
        ),
        pytest.param(
            Fault(method="PUT", path=_IDENTITY, status=409, code="ScopeLocked"),
            "AzureLocked",
            "spec.provisioning: identity",
            id="a lock on the group",
        ),
        pytest.param(
            Fault(method="PUT", path=_IDENTITY, status=404, code="ResourceGroupNotFound"),
            "ResourceGroupNotFound",
            "spec.provisioning: identity",
            id="no such group",
        ),
        pytest.param(
            Fault(method="PUT", path=_IDENTITY, status=409, code="QuotaExceeded"),
            "AzureQuota",
            "spec.provisioning: identity",
            id="a quota",
        ),
        pytest.param(
            Fault(method="GET", path=r"/userassignedidentities$", status=403, code="AuthorizationFailed"),
            "GrowthForbidden",
            "spec.provisioning.resourceGroupId",
            id="may not list identities",
        ),
        pytest.param(
            Fault(method="PUT", path=ASSIGNMENTS, status=403, code="AuthorizationFailed"),
            "RoleForbidden",
            "spec.provisioning: identity",
            id="may not assign roles",
        ),
        pytest.param(
            Fault(method="PUT", path=ASSIGNMENTS, status=404, code="ResourceNotFound"),
            "VaultNotFound",
            "spec.provisioning: identity",
            id="no such vault",
        ),
        pytest.param(
            Fault(method="PUT", path=ASSIGNMENTS, status=400, code="RoleAssignmentLimitExceeded"),
            "AzureQuota",
            "spec.provisioning: identity",
            id="no more role assignments",
        ),
    ],
)
async def test_what_stops_growth_is_told_with_its_reason_harms_nothing_and_heals_once_mended(
    fault: Fault, reason: str, field: str
) -> None:
    async with World() as world:
        number = world.azure.faults.add(fault)
        _growing(world, "team", _filled(world, world.identity("one"), 16))
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: _pool(world)[1] == reason)
        await world.until(lambda: world.ready("shop"))
        await world.pass_time(1200)

        assert field in _pool(world)[2]
        refused = [each for each in world.entries("arm") if each.status == fault.status and each.method == fault.method]
        assert len(refused) <= 12, "no hot loop"
        assert world.ready("shop")
        world.azure.faults.remove(number)
        await world.until(lambda: _proven(world), seconds=3600)
        await world.until(lambda: _pool(world)[0] == "True")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            Fault(method="PUT", path=ASSIGNMENTS, status=400, code="PrincipalNotFound", times=4),
            id="the directory does not show the principal yet",
        ),
        pytest.param(
            Fault(method="PUT", path=ASSIGNMENTS, effect=Effect.LOST_ANSWER, times=1), id="an answer got lost"
        ),
        pytest.param(Fault(method="PUT", path=_IDENTITY, effect=Effect.LOST_ANSWER, times=1), id="and of the identity"),
        pytest.param(Fault(method="PUT", path=_IDENTITY, status=429, code="TooManyRequests", times=2), id="throttled"),
        pytest.param(Fault(method="PUT", path=_IDENTITY, effect=Effect.HANG, times=1), id="no answer at all"),
        pytest.param(Fault(method="GET", path=r"/roleassignments$", status=503, times=3), id="roles cannot be read"),
        pytest.param(Fault(method="GET", path=r"/userassignedidentities$", status=503, times=3), id="nor the group"),
    ],
)
async def test_what_passes_by_itself_is_tried_again_and_nothing_is_made_twice(fault: Fault) -> None:
    async with World() as world:
        world.azure.faults.add(fault)
        _growing(world)
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready("shop"), seconds=900)

        (made,) = _made(world)
        assert [each.principal_id for each in world.azure.assignments.values()].count(made.principal_id) == 1


async def test_a_role_that_somebody_gave_already_is_as_good() -> None:
    async with World() as world:
        world.azure.faults.add(Fault(method="GET", path=r"/roleassignments$", status=403, code="AuthorizationFailed"))
        world.azure.faults.add(Fault(method="PUT", path=ASSIGNMENTS, status=503, times=2))
        _growing(world)
        world.start()
        await world.until(lambda: len(_made(world)) == 1)
        (made,) = _made(world)
        world.azure.assign_role(made.principal_id, "Key Vault Secrets User", world.vault.resource_id)

        await world.until(lambda: _proven(world))

        statuses = {each.status for each in world.entries("arm", "PUT", ASSIGNMENTS)}
        assert statuses == {503, 409}
        assert [each.principal_id for each in world.azure.assignments.values()].count(made.principal_id) == 1


async def test_roles_that_may_be_assigned_and_not_read_are_assigned() -> None:
    async with World() as world:
        world.azure.faults.add(Fault(method="GET", path=r"/roleassignments$", status=403, code="AuthorizationFailed"))
        _growing(world)
        world.start()

        await world.until(lambda: _proven(world))
        await world.pass_time(1300)
        await world.until(lambda: _pool(world)[0] == "True")

        assert len(world.entries("arm", "PUT", ASSIGNMENTS)) == 1
        assert len(world.entries("arm", "GET", "/roleassignments")) <= 10


async def test_a_grant_that_retains_leaves_no_probe_behind() -> None:
    async with World() as world:
        _growing(world, revocation="Retain")
        world.namespace("shop", labels={"team": "team"})
        with structlog.testing.capture_logs() as lines:
            world.start()
            await world.until(lambda: world.ready("shop"))
            await world.settled()

        (made,) = _made(world)
        assert "credential left behind" not in [each["event"] for each in lines]  # the sweep would find it, later
        assert world.credentials() == {"system:serviceaccount:shop:keystead": made.name}


async def test_a_grant_that_goes_while_its_identity_is_proven_leaves_no_trust_behind() -> None:
    async with World() as world:
        _growing(world)
        world.start()
        await world.until(lambda: PROBE in world.credentials())

        world.delete("vaultgrants", "team")

        await world.until(lambda: world.credentials() == {} and not world.objects("federations"))
        assert len(_made(world)) == 1


@pytest.mark.virtual  # what Azure confirmed is held against its lists for five minutes
async def test_an_identity_whose_tag_is_taken_away_is_drained_and_can_then_be_deleted() -> None:
    async with World() as world:
        _growing(world)
        for name in ("shop", "club"):
            world.namespace(name, labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop", "club"))
        (old,) = _made(world)

        del old.tags["keystead-grant"]
        await world.until(lambda: len(_made(world)) == 2, seconds=900)
        await world.until(lambda: not old.credentials, seconds=900)

        assert world.ready("shop", "club")
        account = world.object("serviceaccounts", "keystead", "shop") or {}
        new = next(each for each in _made(world) if each is not old)
        assert account["metadata"]["annotations"]["azure.workload.identity/client-id"] == new.client_id
        world.azure.remove_identity(old)
        await world.pass_time(1300)
        await world.until(lambda: _pool(world)[0] == "True")
        assert world.ready("shop", "club")


async def test_nothing_is_written_while_nothing_changes() -> None:
    async with World() as world:
        _growing(world)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.settled()
        before = len(world.writes())

        await world.pass_time(3000)

        assert len(world.writes()) == before


async def test_a_pool_of_named_identities_shows_who_lacks_the_role() -> None:
    async with World() as world:
        one, two = world.identity("one"), world.identity("two", reads_vault=False)
        _may_assign(world)
        world.grant("team", two, one, vault={"url": VAULT, "resourceId": world.vault.resource_id})
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: _pool(world)[1] == "RoleMissing")

        assert "spec.identities[0].resourceId: two" in _pool(world)[2]
        assert {name: row["roleAssigned"] for name, row in _rows(world).items()} == {"one": "True", "two": "False"}
        world.azure.assign_role(two.principal_id, "Key Vault Secrets User", world.vault.resource_id)
        await world.until(lambda: _pool(world)[0] == "True", seconds=900)
        assert len(world.entries("arm", "GET", "/roleassignments")) <= 3, "on the drift interval only"


async def test_roles_that_may_not_be_read_are_unknown_and_no_trouble() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), vault={"url": VAULT, "resourceId": world.vault.resource_id})
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready("shop") and _pool(world)[0] == "True")

        assert _rows(world)["one"]["roleAssigned"] == "Unknown"


async def test_an_identity_of_the_operators_making_that_another_grant_names_freezes_both_and_harms_neither() -> None:
    async with World() as world:
        _growing(world)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))

        world.grant("rival", *_made(world))
        await world.until(lambda: world.condition("vaultgrants", "rival", "Valid")[1] == "IdentityShared")
        await world.until(lambda: world.condition("vaultgrants", "team", "Valid")[1] == "IdentityShared")
        await world.pass_time(60)
        assert world.trusted("shop")

        world.delete("vaultgrants", "rival")
        await world.until(lambda: world.condition("vaultgrants", "team", "Valid")[0] == "True", seconds=30)
