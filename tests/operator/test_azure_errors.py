"""Every way in which Azure refuses a credential: what people are told, who waits, and that it heals or is left in peace.

Whatever the emulated Azure can be brought to refuse by itself, it refuses by itself; what is left is scripted.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from keystead.model.reasons import CATALOGUE, Reason
from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.governance import BUILT_IN, Lock, PolicyAssignment
from keystead_sandbox.resources import Identity
from world import ISSUER, VAULT, Trap, World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]
CONCURRENT = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
LONG = 1200.0  # seconds; how often something would have been tried in it by a lane that does not slow down: 300 times
PUT = "/federatedidentitycredentials/"


def _nothing(world: World) -> None:
    del world


@dataclass(frozen=True)
class Cause:
    """A state of Azure in which it refuses a write, and how that state ends."""

    spoil: Callable[[World], object]
    mend: Callable[[World], object]
    reason: Reason
    code: str
    """What Azure calls it."""
    told: str = field(default="")
    """What else the claim's message says."""


def _one(world: World) -> Identity:
    return next(iter(world.azure.identities.values()))


def _group(world: World) -> str:
    return _one(world).resource_id.partition("/providers/")[0]


def _lock(world: World) -> None:
    lock = Lock(f"{_group(world)}/providers/Microsoft.Authorization/locks/keep", _group(world), "ReadOnly")
    world.azure.locks[lock.id.lower()] = lock


def _deny(world: World) -> None:
    definition = next(each for each in BUILT_IN.values() if each.name == "Not allowed resource types")
    denied = ["Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"]
    policy = PolicyAssignment("p", _group(world), definition, "No trust", {"listOfResourceTypesNotAllowed": denied})
    world.azure.policies["p"] = policy


def _read_only(world: World) -> None:
    for assignment in list(world.azure.assignments.values()):
        if assignment.principal_id == world.application.object_id:
            world.azure.remove_assignment(assignment)
    world.azure.assign_role(world.application.object_id, "Reader", _group(world))


def _writer(world: World) -> None:
    world.azure.assign_role(world.application.object_id, "Managed Identity Contributor", _group(world))


def _taken(world: World) -> None:
    world.azure.add_credential(_one(world), "by-hand", ISSUER, "system:serviceaccount:shop:keystead")


def _unregister(world: World) -> None:
    world.azure.unregistered.add((_one(world).resource_id.split("/")[2], "microsoft.managedidentity"))
    # The SDK registers by itself, where it may.
    for assignment in list(world.azure.assignments.values()):
        if assignment.principal_id == world.application.object_id:
            world.azure.remove_assignment(assignment)
    world.azure.assign_role(world.application.object_id, "Managed Identity Contributor", _group(world))


def _scripted(**how: object) -> Callable[[World], object]:
    return lambda world: world.azure.faults.add(Fault(service="arm", method="PUT", path=PUT, **how))  # type: ignore[arg-type]  # a fault's own fields


def _clear(world: World) -> None:
    world.azure.faults.clear()


CAUSES = {
    "another's credential for the account": Cause(
        _taken, lambda world: _one(world).credentials.pop("by-hand"), Reason.TUPLE_TAKEN, "Conflict", "by-hand"
    ),
    "a lock": Cause(_lock, lambda world: world.azure.locks.clear(), Reason.AZURE_LOCKED, "ScopeLocked"),
    "a policy": Cause(
        _deny, lambda world: world.azure.policies.clear(), Reason.AZURE_POLICY, "RequestDisallowedByPolicy"
    ),
    "no right to write": Cause(_read_only, _writer, Reason.AZURE_FORBIDDEN, "AuthorizationFailed"),
    "a provider that is not registered": Cause(
        _unregister,
        lambda world: world.azure.unregistered.clear(),
        Reason.PROVIDER_NOT_REGISTERED,
        "MissingSubscriptionRegistration",
    ),
    "a disabled subscription": Cause(
        _scripted(status=409, code="ReadOnlyDisabledSubscription"),
        _clear,
        Reason.SUBSCRIPTION_DISABLED,
        "ReadOnlyDisabledSubscription",
    ),
    "a request that Azure finds malformed": Cause(
        _scripted(status=400, code="BadRequest"), _clear, Reason.AZURE_REFUSED, "BadRequest"
    ),
    "an answer that nobody has heard of": Cause(
        _scripted(status=418, code="Teapot"), _clear, Reason.AZURE_REFUSED, "Teapot"
    ),
    "a conflict that nobody has heard of": Cause(
        _scripted(status=409, code="Whatever"), _clear, Reason.AZURE_REFUSED, "Whatever"
    ),
    "a group that is going": Cause(
        _scripted(status=409, code="ResourceGroupBeingDeleted"),
        _clear,
        Reason.AZURE_REFUSED,
        "ResourceGroupBeingDeleted",
    ),
}


async def _ready_to_write(world: World, *identities: str) -> None:
    """The pool is listed, and nothing stands there yet."""
    world.grant("team", *(world.identity(name) for name in identities or ("one",)))
    world.start()
    await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[0] == "True")


@pytest.mark.parametrize("name", CAUSES)
async def test_a_refusal_is_told_and_tried_ever_more_rarely_until_its_cause_is_gone(name: str) -> None:
    cause = CAUSES[name]
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world)
        cause.spoil(world)
        world.namespace("shop", labels={"team": "team"})

        await world.until(lambda: world.claim("shop", "Federated")[1] == cause.reason)
        await world.until(lambda: cause.told in world.claim("shop", "Federated")[2])
        assert CATALOGUE[cause.reason].heals is False
        refused = [each for each in world.azure_writes() if each.status >= 400]
        assert [each.code for each in refused[:1]] == [cause.code]
        await world.pass_time(LONG)
        assert len(world.azure_writes()) <= 8

        cause.mend(world)
        await world.until(lambda: world.ready("shop"), seconds=2 * LONG)


@pytest.mark.parametrize("name", [each for each in CAUSES if each != "another's credential for the account"])
async def test_a_refused_delete_holds_the_ledger_entry_and_is_tried_ever_more_rarely(name: str) -> None:
    cause = CAUSES[name]
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world)
        world.namespace("shop", labels={"team": "team"})
        await world.until(lambda: world.ready("shop"))
        if cause.mend is _clear:
            world.azure.faults.add(Fault(service="arm", method="DELETE", path=PUT, status=409, code=cause.code))
        else:
            cause.spoil(world)
        before = len(world.azure_writes())

        world.delete("namespaces", "shop")
        await world.pass_time(LONG)

        if name != "a policy":  # which says nothing about deletes
            (entry,) = world.objects("federations")
            said = world.condition("federations", entry["metadata"]["name"], "Revoking")
            assert said[1] == "NamespaceDeleted"
            assert cause.code in said[2]
            assert 1 <= len(world.azure_writes()) - before <= 8
        cause.mend(world)
        await world.until(lambda: world.objects("federations") == [], seconds=2 * LONG)
        assert world.credentials() == {}


async def test_the_21st_credential_is_placed_elsewhere_and_nothing_is_left_behind() -> None:
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world, "one", "two")
        identity = _one(world)
        for number in range(20):
            world.azure.add_credential(identity, f"by-hand-{number}", "https://ci", f"someone-{number}")
        world.namespace("shop", labels={"team": "team"})

        await world.until(lambda: world.ready("shop"))

        assert world.credentials()["system:serviceaccount:shop:keystead"] == "two"
        assert len(world.objects("federations")) == 1
        assert [each.code for each in world.azure_writes() if each.status >= 400] == ["BadRequest"]


async def test_a_region_without_federated_credentials_is_named() -> None:
    async with World() as world:
        world.azure.add_identity("far", location="malaysiasouth")
        world.grant("team", _one(world))
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[1] == "RegionUnsupported")
        await world.until(lambda: world.claim("shop")[1] == "RegionUnsupported")


async def test_an_identity_that_vanishes_between_list_and_write_is_named() -> None:
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world)
        world.azure.remove_identity(_one(world))
        world.namespace("shop", labels={"team": "team"})

        await world.until(lambda: world.claim("shop")[1] == "IdentityNotFound")
        await world.pass_time(LONG)
        assert len(world.azure_writes()) <= 8


async def test_an_identity_that_refuses_takes_nothing_new_while_another_has_room() -> None:
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world, "one", "two")
        one = _one(world)
        lock = Lock(f"{one.resource_id}/providers/Microsoft.Authorization/locks/keep", one.resource_id, "ReadOnly")
        world.azure.locks[lock.id.lower()] = lock
        world.namespace("first", labels={"team": "team"})
        await world.until(lambda: world.claim("first")[1] == "AzureLocked")

        for number in range(6):
            world.namespace(f"later-{number}", labels={"team": "team"})
        await world.until(lambda: world.ready(*(f"later-{number}" for number in range(6))))

        status, reason, message = world.condition("vaultgrants", "team", "PoolReady")
        assert (status, reason) == ("False", "AzureLocked")
        assert "userAssignedIdentities/one" in message
        world.azure.locks.clear()
        await world.until(lambda: world.ready("first"), seconds=LONG)
        assert world.condition("vaultgrants", "team", "PoolReady")[0] == "True"


@pytest.mark.parametrize(
    ("code", "beside"),
    [("TooManyRequests", "the same subscription"), ("SubscriptionRequestsThrottled", "another subscription")],
)
async def test_whoever_azure_speaks_of_waits_as_long_as_it_says_and_nobody_else(code: str, beside: str) -> None:
    async with World(drift_interval=LONG) as world:
        other = world.azure.add_subscription("11111111-2222-3333-4444-555555555555")
        away = beside == "another subscription"
        two = world.azure.add_identity("two", "more", subscription_id=other.id if away else "")
        world.azure.assign_role(two.principal_id, "Key Vault Secrets User", world.vault.resource_id)
        world.azure.assign_role(
            world.application.object_id, "Managed Identity Contributor", two.resource_id.partition("/providers/")[0]
        )
        one = world.identity("one")
        world.grant("team", one, two)
        world.start()
        await world.until(lambda: world.condition("vaultgrants", "team", "PoolReady")[0] == "True")
        path = f"/one{PUT}"
        world.azure.faults.add(
            Fault(service="arm", method="PUT", path=path, status=429, code=code, retry_after=50, times=1)
        )
        for number in range(8):
            world.namespace(f"n-{number}", labels={"team": "team"})
        await world.until(lambda: len(world.credentials()) == 8)

        refused = next(each for each in world.azure_writes() if each.status == 429)
        mine = [each.at for each in world.azure_writes() if "/one/" in each.path and each.seq > refused.seq]
        others = [each.at for each in world.azure_writes() if "/two/" in each.path and each.seq > refused.seq]
        assert min(mine) - refused.at >= 50
        assert min(others) - refused.at < 10


@pytest.mark.parametrize("code", ["SubscriptionRequestsThrottled", "TenantRequestsThrottled"])
async def test_where_azure_speaks_of_all_lanes_all_of_them_wait(code: str) -> None:
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world, "one", "two", "three")
        world.azure.faults.add(
            Fault(service="arm", method="PUT", path=PUT, status=429, code=code, retry_after=50, times=1)
        )
        for number in range(9):
            world.namespace(f"n-{number}", labels={"team": "team"})
        await world.until(lambda: len(world.credentials()) == 9)

        refused = next(each for each in world.azure_writes() if each.status == 429)
        after = [each.at - refused.at for each in world.azure_writes() if each.seq > refused.seq]
        assert min(each for each in after if each > 2) >= 50  # writes that were under way have come to their end


@pytest.mark.parametrize("status", [408, 499])
async def test_a_write_that_somebody_on_the_way_gave_up_is_looked_for_before_it_is_repeated(status: int) -> None:
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world)
        world.azure.faults.add(
            Fault(service="arm", method="PUT", path=PUT, effect=Effect.HALF_WRITE, status=status, code="Gone", times=1)
        )
        world.namespace("shop", labels={"team": "team"})
        await world.until(lambda: world.ready("shop"))

        assert len([each for each in world.azure_writes() if each.method == "PUT"]) == 1


_ODD = pytest.mark.parametrize("body", ["<html>", "null", "[]", "{}", '{"value": null}', '{"value": [null]}'])


@_ODD
async def test_an_answer_that_cannot_be_read_is_no_answer(body: str) -> None:
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world)
        world.azure.faults.add(Fault(service="arm", method="PUT", path=PUT, status=200, body=body, times=1))
        world.namespace("shop", labels={"team": "team"})

        await world.until(lambda: world.ready("shop"))


@_ODD
@pytest.mark.parametrize("what", ["/federatedIdentityCredentials$", "/userAssignedIdentities/one$"])
async def test_what_cannot_be_read_now_is_read_again_later(what: str, body: str) -> None:
    async with World() as world:
        world.azure.faults.add(Fault(service="arm", method="GET", path=what, status=200, body=body, seconds=30))
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.ready("shop"), seconds=700)


@pytest.mark.parametrize("asked", ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 -0000"])
async def test_a_wait_of_no_time_is_none_that_was_asked_for(asked: str) -> None:
    async with World() as world:
        said = {"Retry-After": asked}
        world.azure.faults.add(
            Fault(service="arm", path="/roleAssignments", status=429, code="TooManyRequests", headers=said)
        )
        world.grant("team", world.identity("one"), vault={"url": VAULT, "resourceId": world.vault.resource_id})
        world.start()
        await world.pass_time(120)

        assert len(world.entries("arm", path="/roleAssignments")) < 12


async def test_what_a_proxy_does_not_find_is_not_gone() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        world.put(
            {
                "apiVersion": "keystead.dev/v1alpha1",
                "kind": "VaultClaim",
                "metadata": {"name": "team", "namespace": "shop"},
                "spec": {"grantName": "team"},
            }
        )
        world.start()
        await world.until(lambda: world.ready("shop"))
        page = {"Content-Type": "text/html"}
        world.azure.faults.add(
            Fault(
                service="arm", path="/userAssignedIdentities/one", status=404, body="<html>", headers=page, seconds=60
            )
        )
        world.delete("vaultclaims", "team", "shop")
        await world.until(lambda: world.objects("federations") == [], seconds=900)

        assert not world.trusted("shop")


async def test_an_orphan_that_azure_will_not_delete_is_asked_for_ever_more_rarely() -> None:
    async with World(drift_interval=60.0) as world:
        await _ready_to_write(world)
        world.namespace("shop", labels={"team": "team"})
        await world.until(lambda: world.ready("shop"))
        identity = _one(world)
        prefix = "-".join(next(iter(identity.credentials)).split("-")[:2])
        orphan = f"{prefix}-gone-keystead-abcdefghijklmnopqrstuvwxyz"
        world.azure.add_credential(identity, orphan, ISSUER, "system:serviceaccount:gone:keystead")
        _lock(world)

        await world.pass_time(2 * LONG)

        tried = [each for each in world.azure_writes() if each.method == "DELETE"]
        assert 2 <= len(tried) <= 8
        assert len([each for each in world.entries("arm", "GET") if each.at > tried[0].at]) < 200
        world.azure.locks.clear()
        await world.until(lambda: orphan not in identity.credentials, seconds=2 * LONG)


async def test_a_sign_in_that_fails_keeps_all_lanes_from_trying_by_themselves() -> None:
    async with World(drift_interval=LONG) as world:
        await _ready_to_write(world, "one", "two", "three")
        world.azure.faults.add(Fault(service="arm", method="PUT", path=PUT, status=401, code="InvalidToken"))
        for number in range(12):
            world.namespace(f"n-{number}", labels={"team": "team"})
        await asyncio.sleep(1200)

        # Together they try once in half a minute; each by itself would.
        assert len([each for each in world.azure_writes() if each.status == 401]) < 1200 / 30 * 1.5
        world.azure.faults.clear()
        await world.until(lambda: len(world.credentials()) == 12)


class _Broken(Trap):
    """Breaks in a way that nobody foresaw, for one name."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if self.part and scope["method"] == "PUT" and self.part in scope["path"]:
            raise ZeroDivisionError("nobody foresaw this")
        await super().__call__(app, scope, receive, send)


async def test_what_nobody_foresaw_stops_its_own_claim_alone_and_is_tried_again() -> None:
    async with World(drift_interval=LONG) as world:
        trap = _Broken("-broken-")
        world.grant("team", world.identity("one"))
        world.namespace("broken", labels={"team": "team"})
        for name in ("a", "b"):
            world.namespace(name, labels={"team": "team"})
        world.start(trap=trap)

        await world.until(lambda: world.ready("a", "b"))
        await world.until(lambda: world.claim("broken", "Federated")[1] == "InternalError")
        trap.part = ""
        await world.until(lambda: world.ready("broken"))


class _Odd(Trap):
    """Answers with an empty object when a ledger entry is made, as some proxy might."""

    odd = False

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.odd or scope["method"] != "POST" or not scope["path"].endswith("/federations"):
            await super().__call__(app, scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})


@pytest.mark.virtual  # the cluster answers through the trap
async def test_an_answer_of_the_cluster_that_nobody_foresaw_stops_its_own_claim_alone_and_no_revocation() -> None:
    async with World(drift_interval=LONG) as world:
        trap = _Odd()
        world.grant("team", world.identity("one"))
        for name in ("a", "b"):
            world.namespace(name, labels={"team": "team"})
        world.start(trap=trap)
        await world.until(lambda: world.ready("a", "b"))

        trap.odd = True
        world.namespace("new", labels={"team": "team"})
        await world.until(lambda: world.claim("new", "Federated")[1] == "InternalError")
        world.delete("namespaces", "a")
        await world.until(lambda: not world.trusted("a"), seconds=30)
        trap.odd = False
        await world.until(lambda: world.ready("new"))
