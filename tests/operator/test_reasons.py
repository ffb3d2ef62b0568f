"""Reasons that no other suite comes across: each is provoked, and told where people look for it."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from keystead_sandbox.faults import Fault
from world import Trap, World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]


async def _granted(world: World, *names: str) -> None:
    world.grant("team", world.identity("one"))
    for name in names or ("shop",):
        world.namespace(name, labels={"team": "team"})
    world.start()


async def test_a_claim_says_what_it_waits_for_from_beginning_to_end() -> None:
    async with World() as world:
        await _granted(world, "a", "b")
        await world.until(lambda: "AwaitingWrite" in {world.claim(each, "Federated")[1] for each in ("a", "b")})
        assert world.claim("a", "Approved")[:2] == ("True", "ApprovalNotRequired")

        await world.until(lambda: world.claim("a", "Verified")[1] == "AwaitingPropagation")
        assert world.condition("vaultgrants", "team", "IssuerTrusted")[:2] == ("Unknown", "AwaitingVerification")

        await world.until(lambda: world.ready("a", "b"))
        assert world.condition("vaultgrants", "team", "IssuerTrusted")[:2] == ("True", "Verified")


async def test_an_operator_that_cannot_sign_in_says_so_at_the_grant() -> None:
    async with World() as world:
        world.azure.faults.add(Fault(service="arm", status=401, code="InvalidAuthenticationToken", seconds=120))
        await _granted(world)

        await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[1] == "AzureSignInFailed")
        await world.until(lambda: world.ready("shop"))


async def test_lists_that_are_throttled_are_named_and_stop_nothing() -> None:
    async with World(drift_interval=60.0) as world:
        await _granted(world)
        await world.until(lambda: world.ready("shop"))
        world.azure.faults.add(Fault(service="arm", method="GET", status=429, retry_after=30, times=2))

        await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[1] == "AzureThrottled")
        world.namespace("mill", labels={"team": "team"})

        await world.until(lambda: world.ready("mill"))


@pytest.mark.parametrize("reason", ["ClientUnknown", "TenantUnknown"])
async def test_what_the_directory_does_not_know_is_named(reason: str) -> None:
    async with World() as world:
        await _granted(world)
        await world.until(lambda: len(world.credentials()) == 1)
        identity = next(iter(world.azure.identities.values()))
        if reason == "ClientUnknown":
            world.azure.identities_by_client.pop(identity.client_id)
        else:
            world.azure.tenants.clear()

        await world.until(lambda: world.claim("shop", "Verified")[1] == reason)


async def test_a_vault_that_does_not_answer_is_named_before_anything_was_proven() -> None:
    async with World() as world:
        world.azure.faults.add(Fault(service="keyvault", status=503, seconds=300))
        await _granted(world)

        await world.until(lambda: world.claim("shop", "Verified")[1] == "VaultUnreachable")
        await world.until(lambda: world.ready("shop"), seconds=1500)


async def test_entra_that_does_not_answer_is_not_taken_for_the_vault() -> None:
    async with World() as world:
        world.azure.faults.add(Fault(service="entra", status=503, seconds=300))
        await _granted(world)

        await world.until(lambda: world.claim("shop", "Verified")[1] == "AzureUnavailable")
        await world.until(lambda: world.ready("shop"), seconds=1500)


async def test_a_refusal_of_entra_that_nobody_has_heard_of_is_shown_by_its_number() -> None:
    async with World() as world:
        body = '{"error": "invalid_request", "error_codes": [999123], "error_description": "AADSTS999123: new"}'
        world.azure.faults.add(Fault(service="entra", method="POST", path="/token", status=400, body=body, seconds=200))
        await _granted(world)

        await world.until(lambda: world.claim("shop", "Verified")[1] == "ExchangeRefused")
        assert "AADSTS999123" in world.claim("shop", "Verified")[2]
        await world.until(lambda: world.ready("shop"), seconds=1500)


async def test_an_api_server_that_is_away_or_will_not_take_something_holds_that_step_alone() -> None:
    async with World() as world:
        await _granted(world)
        await world.until(lambda: world.ready("shop"))
        assert world.built[0].controller is not None
        for plural in ("secretstores", "externalsecrets"):
            for item in world.objects("customresourcedefinitions"):
                if item["spec"]["names"]["plural"] == plural:
                    world.cluster.rest.remove(
                        next(k for k in world.cluster.rest.kinds.values() if k.kind == "CustomResourceDefinition").key,
                        item,
                    )
        world.namespace("mill", labels={"team": "team"})

        await world.until(lambda: world.claim("mill", "StoreReady")[1] == "KubernetesRefused")
        assert world.claim("mill", "Verified")[0] == "True"


class _Away(Trap):
    """An API server that takes no new ServiceAccounts while it is away."""

    away = True

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if self.away and scope["method"] == "POST" and scope["path"].endswith("/serviceaccounts"):
            raise ConnectionResetError("away")
        await super().__call__(app, scope, receive, send)


async def test_an_api_server_that_does_not_answer_is_named_and_asked_again() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        trap = _Away()
        world.start(trap=trap)

        await world.until(lambda: world.claim("shop", "Verified")[1] == "KubernetesUnavailable")
        trap.away = False
        await world.until(lambda: world.ready("shop"))


async def test_overlapping_writes_are_counted_and_nobody_is_troubled_with_them() -> None:
    async with World() as world:
        code = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
        world.azure.faults.add(Fault(service="arm", method="PUT", status=409, code=code, times=2))
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        operator = world.start()
        await world.until(lambda: world.ready("shop"))

        labels = {"identity": "one", "verb": "write", "outcome": "ConcurrentWrite"}
        assert operator.metrics.registry.get_sample_value("keystead_azure_writes_total", labels) == 2
        assert not [each for each in world.objects("events") if each["reason"] == "ConcurrentWrite"]


async def test_a_moved_claim_names_why_its_old_trust_ends() -> None:
    async with World() as world:
        one, two = world.identity("one"), world.identity("two")
        world.grant("team", one)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        seen: list[str] = []

        async def watch() -> None:
            while True:
                names = [each["metadata"]["name"] for each in world.objects("federations")]
                seen.extend(world.condition("federations", name, "Revoking")[1] for name in names)
                await asyncio.sleep(0.2)

        watching = asyncio.create_task(watch())
        world.grant("team", two)
        await world.until(lambda: not one.credentials)
        await world.until(lambda: len(world.objects("federations")) == 1)
        watching.cancel()

        assert set(seen) == {"", "IdentityRemoved"}


@pytest.mark.parametrize("cause", ["NotAllowed", "ApprovalWithdrawn"])
async def test_an_end_goes_on_saying_why_it_began(cause: str) -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), approval="Required")
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "AwaitingReview")
        world.approve("shop")
        await world.until(lambda: world.ready("shop"))
        world.azure.faults.add(Fault(service="arm", method="DELETE", status=503, seconds=60))
        name = world.objects("federations")[0]["metadata"]["name"]
        if cause == "NotAllowed":
            labelled = {"name": "shop", "labels": {"team": "none"}}
            world.put({"apiVersion": "v1", "kind": "Namespace", "metadata": labelled})
        else:
            world.delete("vaultapprovals", "shop-approved-reviewer")

        await world.pass_time(30)

        assert world.condition("federations", name, "Revoking")[1] == cause
        told = [each for each in world.objects("events") if each["involvedObject"]["kind"] == "Federation"]
        assert {each["reason"] for each in told} == {cause}
