"""What Azure and Entra answer, and how the operator takes it: waits, refusals, lost answers, replicas that disagree."""

import itertools
from typing import Any

import pytest

from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.journal import Entry
from world import World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]
CONCURRENT = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"


def _begin(world: World, names: list[str], *identities: Any, **spec: Any) -> None:
    world.grant("team", *identities, **spec)
    for name in names:
        world.namespace(name, labels={"team": "team"})
    world.start()


def _fault(world: World, **given: Any) -> None:
    world.azure.faults.add(Fault(**{"service": "arm", "method": "PUT", **given}))


def _exchanges(world: World) -> list[Entry]:
    return [each for each in world.entries("entra", "POST") if "/oauth2/" in each.path]


async def test_writes_that_take_longer_than_the_pace_still_come_one_by_one() -> None:
    names = [f"shop-{number}" for number in range(5)]
    async with World() as world:
        _fault(world, effect=Effect.DELAY, delay=6.0)
        _begin(world, names[:2], world.identity("one"))
        await world.pass_time(5)
        for name in names[2:]:  # each leads to a new plan while a write is under way
            world.namespace(name, labels={"team": "team"})
            await world.pass_time(3)
        await world.until(lambda: world.ready(*names))

        writes = world.azure_writes()
        assert len(writes) == 5
        for before, after in itertools.pairwise(writes):
            assert after.at >= before.at + before.seconds


async def test_overlapping_writes_of_others_are_met_ever_more_patiently_and_nobody_is_alarmed() -> None:
    async with World() as world:
        _fault(world, status=409, code=CONCURRENT, times=4)
        _begin(world, ["shop"], world.identity("one"))
        said = set()
        while not world.ready("shop"):
            said.add(world.claim("shop", "Federated")[1])
            await world.pass_time(0.25)

        writes = world.azure_writes()
        gaps = [after.at - before.at for before, after in itertools.pairwise(writes)]
        assert [each.status for each in writes] == [409, 409, 409, 409, 201]
        assert gaps[2] >= 6  # eight seconds, and a quarter less or more
        assert gaps[3] >= 12
        assert said <= {"", "AwaitingList", "AwaitingWrite", "Federated"}


async def test_a_wait_that_azure_gives_as_a_date_is_kept() -> None:
    async with World() as world:
        when = "Thu, 01 Jan 2026 00:01:30 GMT"
        _fault(world, status=429, code="TooManyRequests", times=1, headers={"Retry-After": when})
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: world.ready("shop"))

        refused, written = world.azure_writes()
        assert (refused.status, written.status) == (429, 201)
        assert written.at >= 90.0 - world.grain


async def test_identities_of_one_subscription_share_its_pace() -> None:
    names = [f"shop-{number}" for number in range(8)]
    async with World() as world:
        _begin(world, names, *(world.identity(f"one-{number}") for number in range(8)))
        await world.until(lambda: world.ready(*names))

        for before, after in itertools.pairwise(world.azure_writes()):
            assert after.at - before.at >= 0.49


async def test_subscriptions_of_one_tenant_share_its_pace() -> None:
    names = [f"shop-{number}" for number in range(8)]
    async with World() as world:
        identities = []
        for number in range(8):
            subscription = world.azure.add_subscription()
            made = world.azure.add_identity(f"one-{number}", subscription_id=subscription.id)
            group = made.resource_id.rpartition("/providers/")[0]
            world.azure.assign_role(world.application.object_id, "Managed Identity Contributor", group)
            world.azure.assign_role(made.principal_id, "Key Vault Secrets User", world.vault.resource_id)
            identities.append(made)
        _begin(world, names, *identities)
        await world.until(lambda: world.ready(*names))

        for before, after in itertools.pairwise(world.azure_writes()):
            assert after.at - before.at >= 0.09


async def test_a_claim_whose_slot_was_taken_by_others_moves_to_another_identity() -> None:
    async with World(drift_interval=3600.0) as world:
        one, two = world.identity("one"), world.identity("two")
        for number in range(19):
            world.azure.add_credential(one, f"theirs-{number}", "https://other", f"s{number}")
        _fault(world, effect=Effect.DELAY, delay=3.0, path="/one/")
        _begin(world, ["shop"], one, two)
        await world.until(lambda: world.objects("federations") != [])
        world.azure.add_credential(one, "theirs-19", "https://other", "s19")
        await world.until(lambda: world.ready("shop"), seconds=120)

        assert world.credentials()["system:serviceaccount:shop:keystead"] == "two"
        assert len(one.credentials) == 20


async def test_a_write_that_azure_failed_and_carried_out_all_the_same_is_not_left_behind() -> None:
    async with World(drift_interval=3600.0) as world:
        _fault(world, effect=Effect.HALF_WRITE, status=500, code="InternalServerError", times=1)
        _fault(world, method="GET", effect=Effect.HANG, after=3.0, seconds=40.0)
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: world.trusted("shop"))

        world.delete("namespaces", "shop")
        await world.until(lambda: world.objects("federations") == [], seconds=300)

        assert not world.trusted("shop")


async def test_a_proof_is_a_row_of_exchanges_and_a_look_at_the_vault() -> None:
    async with World(quorum=3, quorum_interval=2.0) as world:
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: world.ready("shop"))

        exchanges, looks = _exchanges(world), world.entries("keyvault", "GET", "/secrets")
        assert [each.status for each in exchanges] == [200, 200, 200]
        assert all(after.at - before.at >= 1.99 for before, after in itertools.pairwise(exchanges))
        assert looks[-1].at >= exchanges[-1].at


async def test_one_replica_of_entra_that_refuses_breaks_the_row() -> None:
    async with World() as world:
        _fault(world, service="entra", method="POST", status=400, code="AADSTS700213", skip=1, times=1)
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: world.claim("shop", "Verified")[1] == "SubjectMismatch")
        account = world.object("serviceaccounts", "keystead", "shop") or {}
        annotated = account["metadata"].get("annotations")
        await world.until(lambda: world.ready("shop"), seconds=120)

        assert not annotated
        assert [each.status for each in _exchanges(world)] == [200, 400, 200, 200]


@pytest.mark.parametrize(("status", "code"), [(429, "AADSTS90033"), (503, "AADSTS90033")])
async def test_an_entra_that_is_busy_has_refused_nobody(status: int, code: str) -> None:
    async with World() as world:
        _fault(world, service="entra", method="POST", status=status, code=code, times=1)
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: len(_exchanges(world)) == 1)
        await world.pass_time(2)
        told = world.claim("shop", "Verified")[:2]
        await world.until(lambda: world.ready("shop"), seconds=120)

        assert told == ("False", "AzureUnavailable")


@pytest.mark.parametrize(
    ("service", "effect"),
    [("entra", Effect.ANSWER), ("entra", Effect.RESET), ("keyvault", Effect.RESET)],
    ids=["busy Entra", "silent Entra", "silent vault"],
)
async def test_what_does_not_answer_takes_no_proof_away(service: Any, effect: Effect) -> None:
    async with World(heartbeat=60.0) as world:
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: world.ready("shop"))
        proven = len(_exchanges(world))
        _fault(world, service=service, method="", effect=effect, status=503, code="AADSTS90033")

        await world.until(lambda: len(_exchanges(world)) > proven + 2, seconds=300)
        await world.pass_time(5)

        assert world.claim("shop", "Verified")[0] == "True"
        assert world.ready("shop")


async def test_an_exchange_without_an_answer_proves_nothing() -> None:
    async with World() as world:
        _fault(world, service="entra", method="POST", effect=Effect.HANG, times=1)
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: len(_exchanges(world)) == 1)
        await world.until(lambda: world.claim("shop", "Verified")[1] not in ("", "AwaitingPropagation"))

        assert world.claim("shop", "Verified")[:2] == ("False", "AzureUnavailable")
        await world.until(lambda: world.ready("shop"), seconds=120)


async def test_a_row_of_exchanges_that_takes_too_long_proves_nothing() -> None:
    async with World() as world:
        _fault(world, service="entra", method="POST", effect=Effect.DELAY, delay=20.0, times=2)
        _begin(world, ["shop"], world.identity("one"))
        await world.until(lambda: len(_exchanges(world)) == 2)
        await world.until(lambda: world.claim("shop", "Verified")[1] not in ("", "AwaitingPropagation"))

        assert world.claim("shop", "Verified")[:2] == ("False", "AzureUnavailable")


async def test_a_namespace_that_went_just_before_the_write_gets_none() -> None:
    async with World() as world:
        world.namespace("shop", labels={"team": "team"})
        world.put(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "c", "namespace": "shop", "finalizers": ["x.y/z"]},
            }
        )
        _fault(world, effect=Effect.DELAY, delay=3.0, times=1)
        _begin(world, ["first"], world.identity("one"))
        await world.until(lambda: len(world.objects("federations")) == 2)
        world.delete("namespaces", "shop")
        await world.until(lambda: world.ready("first"))
        await world.pass_time(60)

        assert [each for each in world.azure_writes() if each.method == "PUT" and "shop" in each.path] == []
        assert [each["spec"]["namespace"] for each in world.objects("federations")] == ["first"]
