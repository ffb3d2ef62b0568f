"""The order rules of docs/architecture.md, each by its number, read from the sandbox's journal."""

import itertools

import pytest

from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.journal import Entry
from world import OPERATOR_NAME, Trap, World

pytestmark = pytest.mark.looptime


async def _working(world: World, *names: str) -> None:
    world.grant("team", world.identity("one"))
    for name in names or ("shop",):
        world.namespace(name, labels={"team": "team"})
    world.start()
    await world.until(lambda: world.ready(*(names or ("shop",))))


def _first(entries: list[Entry]) -> int:
    return entries[0].seq


async def test_rule_1_the_ledger_is_written_before_azure_is_touched() -> None:
    async with World() as world:
        await _working(world)

        assert _first(world.entries("kube", "POST", "/federations")) < _first(world.azure_writes())


async def test_rule_2_a_revocation_overtakes_the_grants_that_wait() -> None:
    async with World() as world:
        names = [f"shop-{number:02}" for number in range(12)]
        await _working(world, names[0])
        for name in names[1:]:
            world.namespace(name, labels={"team": "team"})
        await world.until(lambda: len(world.objects("federations")) >= 2)

        world.delete("vaultclaims", "team", names[0])
        await world.until(lambda: not world.trusted(names[0]))
        await world.until(lambda: world.ready(*names[1:]))

        deleted = world.entries("arm", "DELETE")[0]
        assert len([entry for entry in world.entries("arm", "PUT") if entry.at > deleted.at]) >= 6


async def test_rule_2_on_a_full_identity_the_freed_slot_waits_for_the_confirmed_delete() -> None:
    async with World() as world:
        one = world.identity("one")
        for number in range(19):
            world.azure.add_credential(one, f"foreign-{number:02}", "https://other", f"subject-{number}")
        world.grant("team", one)
        world.namespace("first", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("first"))
        world.namespace("second", labels={"team": "team"})
        await world.until(lambda: world.claim("second")[1] == "PoolExhausted")

        world.delete("namespaces", "first")
        await world.until(lambda: world.ready("second"))

        deleted, written = world.entries("arm", "DELETE")[0], world.entries("arm", "PUT")[-1]
        assert written.at >= deleted.at + deleted.seconds
        assert {entry.status for entry in world.azure_writes()} <= {200, 201}


async def test_rule_3_nobody_asks_entra_before_the_wait_is_over_and_annotates_before_the_proof() -> None:
    async with World() as world:
        await _working(world)

        written = world.azure_writes()[0]
        exchanges = [entry for entry in world.entries("entra", "POST") if entry.code == ""]
        annotated = world.entries("kube", "PATCH", "/namespaces/shop/serviceaccounts/keystead")[0]
        store = world.entries("kube", "PATCH", "/secretstores/")[0]
        assert exchanges[0].at >= written.at + written.seconds + 20
        assert exchanges[1].at - exchanges[0].at >= 1
        assert exchanges[1].seq < annotated.seq < store.seq
        assert [entry.code for entry in world.entries("entra") if entry.code] == []


async def test_rule_4_with_the_namespace_alive_the_annotation_goes_before_the_credential() -> None:
    async with World() as world:
        await _working(world)
        world.disown("serviceaccounts", "keystead", "shop")  # an account that outlives its claim

        world.delete("vaultclaims", "team", "shop")
        await world.until(lambda: not world.trusted("shop"))

        withdrawn = world.entries("kube", "PATCH", "/namespaces/shop/serviceaccounts/keystead")[-1]
        assert withdrawn.seq < world.entries("arm", "DELETE")[0].seq
        left = world.object("serviceaccounts", "keystead", "shop") or {}
        assert "azure.workload.identity/client-id" not in (left["metadata"].get("annotations") or {})


async def test_rule_4_with_the_namespace_going_esos_finalizers_get_a_bounded_time() -> None:
    async with World() as world:
        await _working(world)
        store = world.object("secretstores", "azure-store", "shop") or {}
        finalizer = {"finalizers": ["secretstore.externalsecrets.io/finalizer"]}
        held = {
            "apiVersion": store["apiVersion"],
            "kind": "SecretStore",
            "metadata": {"name": "azure-store", "namespace": "shop", **finalizer},
        }
        world.put(held)
        await world.pass_time(5)
        began = world.clock.now()

        world.delete("namespaces", "shop")
        await world.until(lambda: not world.trusted("shop"))

        waited = world.entries("arm", "DELETE")[0].at - began
        assert 25 - 15 * world.grain <= waited <= 45 + 60 * world.grain


async def test_rule_5_nothing_of_ours_holds_what_is_not_ours() -> None:
    async with World() as world:
        await _working(world)

        for plural in ("namespaces", "serviceaccounts", "secretstores", "vaultclaims", "vaultgrants"):
            assert [each for each in world.objects(plural) if each["metadata"].get("finalizers")] == []
        assert [each["metadata"]["finalizers"] for each in world.objects("federations")] == [["keystead.dev/revoke"]]


async def test_rule_6_a_recreated_namespace_waits_for_the_end_of_the_old_trust() -> None:
    async with World() as world:
        await _working(world)
        world.azure.faults.add(Fault(service="arm", method="DELETE", status=503, seconds=120))

        world.delete("namespaces", "shop")
        world.namespace("shop", labels={"team": "team"})
        await world.pass_time(60)

        assert len(world.entries("arm", "PUT")) == 1
        await world.until(lambda: world.ready("shop"))
        deletes = [entry for entry in world.entries("arm", "DELETE") if entry.status == 200]
        assert deletes[0].seq < world.entries("arm", "PUT")[-1].seq


async def test_rule_7_only_the_leader_writes() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.start()
        world.start()
        await world.pass_time(5)
        for number in range(6):
            world.namespace(f"shop-{number}", labels={"team": "team"})

        await world.until(lambda: world.ready(*(f"shop-{number}" for number in range(6))))

        assert len(world.azure_writes()) == 6
        holders = {entry.caller for entry in world.entries("kube", "PUT", "/leases/")}
        assert holders == {OPERATOR_NAME}


@pytest.mark.virtual  # on real time it is the lease's own fifteen seconds that pass
async def test_rule_7_a_standby_takes_over_when_the_leader_dies_and_at_once_when_it_stops() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        trap = Trap()
        world.start(trap=trap)
        await world.pass_time(3)
        world.start()
        await world.pass_time(3)

        trap.dead = True
        world.operators[0][0].cancel()
        world.namespace("shop", labels={"team": "team"})
        began = world.clock.now()

        await world.until(lambda: world.ready("shop"))
        assert world.clock.now() - began < 60


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"namespaces": {}}, "GrantInvalid"), ({"identities": []}, "GrantInvalid")],
    ids=["no namespace rule", "no identities"],
)
async def test_rule_8_empty_is_never_permission(spec: dict[str, object], reason: str) -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), **spec)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.condition("vaultgrants", "team", "Valid")[0] == "False")
        await world.pass_time(60)

        assert world.condition("vaultgrants", "team", "Valid")[1] == reason
        assert world.credentials() == {}


async def test_rule_9_a_credential_that_is_not_provably_ours_is_never_deleted() -> None:
    async with World(drift_interval=30.0) as world:
        one = world.identity("one")
        world.azure.add_credential(one, "theirs", world.issuer, "system:serviceaccount:gone:keystead")
        world.azure.add_credential(one, "ks-ffffffff-gone-keystead", world.issuer, "system:serviceaccount:gone:other")
        world.grant("team", one)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        world.delete("namespaces", "shop")
        await world.until(lambda: world.objects("federations") == [])
        await world.pass_time(300)

        assert sorted(each.name for each in one.credentials.values()) == ["ks-ffffffff-gone-keystead", "theirs"]


async def test_rule_10_a_taken_trust_is_never_written_over() -> None:
    async with World() as world:
        one = world.identity("one")
        world.azure.add_credential(one, "terraform-made", world.issuer, "system:serviceaccount:shop:keystead")
        world.grant("team", one)
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.claim("shop")[1] == "TupleTaken")
        await world.pass_time(120)

        assert "terraform-made" in world.claim("shop")[2]
        assert world.azure_writes() == []


async def test_writes_of_one_identity_never_overlap_and_keep_their_pace() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), world.identity("two"))
        world.azure.faults.add(
            Fault(
                service="arm",
                method="PUT",
                effect=Effect.ANSWER,
                status=429,
                code="TooManyRequests",
                retry_after=10,
                times=2,
            )
        )
        for number in range(10):
            world.namespace(f"shop-{number}", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready(*(f"shop-{number}" for number in range(10))))

        for name in ("one", "two"):
            lane = [entry for entry in world.azure_writes() if f"/{name}/" in entry.path]
            for before, after in itertools.pairwise(lane):
                assert after.at >= before.at + before.seconds
                assert after.at - before.at >= 3.99 - world.grain
                assert before.status != 429 or after.at - before.at >= 10
