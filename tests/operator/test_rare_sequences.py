"""Sequences of events that the simulation found, each told alone: what went wrong once, and must not again."""

import asyncio
import datetime
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

import acting
from keystead.azure.errors import CONCURRENT
from keystead.kube.rbac import manifests
from keystead.kube.writer import ClusterWriter
from keystead.model.errors import Retryable
from keystead.model.ids import NamespaceUid
from keystead.model.reasons import Reason
from keystead.operator.clock import LoopClock
from keystead.plan.steps import AnnotateServiceAccount
from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.resources import AUDIENCE, Credential
from world import EPOCH, Trap, World

pytestmark = pytest.mark.looptime
CLIENT = "azure.workload.identity/client-id"


async def _working(world: World, *names: str, identities: int = 1, **spec: Any) -> None:
    world.grant("team", *(world.identity(f"one-{number}") for number in range(identities)), **spec)
    for name in names or ("shop",):
        world.namespace(name, labels={"team": "team"})
    world.start()
    await world.until(lambda: world.ready(*(names or ("shop",))))


class Refusing(Trap):
    """Loses the first requests to a path."""

    def __init__(self, path: str, times: int) -> None:
        super().__init__()
        self._path = path
        self._left = times

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith(self._path) and self._left:
            self._left -= 1
            raise ConnectionResetError("lost")
        await super().__call__(app, scope, receive, send)


class Late(Trap):
    """Holds back what the watch of one kind says."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.flows = asyncio.Event()
        self.flows.set()

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        async def later(message: Message) -> None:
            await self.flows.wait()
            await send(message)

        watches = scope["path"].endswith(self._path) and b"watch=" in scope["query_string"]
        await super().__call__(app, scope, receive, later if watches else send)


def _claim(namespace: str, grant: str, name: str = "mine", **spec: str) -> dict[str, Any]:
    return {
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "VaultClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"grantName": grant, **spec},
    }


async def test_a_claim_that_could_not_be_told_is_told_later() -> None:
    async with World() as world:
        world.namespace("shop")
        world.start(trap=Refusing("/vaultclaims/mine/status", 3))
        await world.pass_time(5)
        world.put(_claim("shop", "absent"))

        await world.until(lambda: world.claim("shop", name="mine")[1] == "GrantNotFound", seconds=60)


async def test_a_status_that_a_former_leader_wrote_over_is_written_again() -> None:
    async with World(drift_interval=3600.0) as world:
        await _working(world)
        await world.pass_time(120)
        claim = world.objects("vaultclaims")[0]
        conditions = [{**each, "status": "False"} for each in claim["status"]["conditions"]]
        world.put(
            {
                "apiVersion": "keystead.dev/v1alpha1",
                "kind": "VaultClaim",
                "metadata": {"name": "team", "namespace": "shop"},
                "status": {**claim["status"], "conditions": conditions},
            },
            manager="keystead-status",
            sub="status",
        )

        assert not world.ready("shop")
        await world.until(lambda: world.ready("shop"), seconds=180)


async def test_a_credential_that_somebody_changed_is_not_deleted_by_a_delete_that_is_tried_again() -> None:
    async with World() as world:
        await _working(world)
        identity = next(iter(world.azure.identities.values()))
        (name,) = identity.credentials
        world.azure.faults.add(Fault(service="arm", method="DELETE", status=503, seconds=20))

        world.delete("namespaces", "shop")
        await world.pass_time(3)
        identity.credentials[name] = Credential(name, "https://theirs", "theirs", AUDIENCE, world.clock.now())
        await world.until(lambda: world.objects("federations") == [])
        await world.pass_time(120)

        assert [each.subject for each in identity.credentials.values()] == ["theirs"]


async def test_a_proof_does_not_outlive_its_credential() -> None:
    async with World() as world:
        await _working(world)
        world.delete("federations", world.objects("federations")[0]["metadata"]["name"])
        await world.until(lambda: len(world.entries("arm", "PUT")) == 2)
        await world.until(lambda: world.ready("shop"))

        written = world.entries("arm", "PUT")[-1]
        proven = [entry for entry in world.entries("entra", "POST") if entry.seq > written.seq]
        annotated = world.entries("kube", "PATCH", "/namespaces/shop/serviceaccounts/keystead")[-1]
        assert proven[0].at >= written.at + written.seconds + 20
        assert proven[1].seq < annotated.seq


async def test_an_identity_that_was_made_anew_is_served_under_its_new_client_id() -> None:
    async with World(drift_interval=60.0) as world:
        await _working(world)
        old = next(iter(world.azure.identities.values()))

        world.azure.remove_identity(old)
        new = world.identity(old.name)

        def names_it() -> bool:
            account = world.object("serviceaccounts", "keystead", "shop") or {}
            return bool(account["metadata"]["annotations"].get(CLIENT) == new.client_id)

        await world.until(lambda: names_it() and world.ready("shop"))
        assert old.client_id != new.client_id


async def test_a_claim_that_moved_keeps_its_annotation_where_the_old_identity_is_not_to_be_read_any_more() -> None:
    async with World() as world:
        await _working(world)
        world.azure.faults.add(Fault(service="arm", path="/one-0", status=403, code="AuthorizationFailed"))
        world.grant("team", world.identity("two"))
        await world.until(
            lambda: any(each["metadata"].get("deletionTimestamp") for each in world.objects("federations"))
        )
        await world.until(lambda: world.ready("shop"))
        await world.stop()
        before = len(world.entries("kube", "PATCH", "/serviceaccounts/keystead"))
        world.start()
        await world.pass_time(10)

        assert len(world.entries("kube", "PATCH", "/serviceaccounts/keystead")) == before
        assert world.ready("shop")


async def test_claims_of_a_vanished_identity_say_so_and_not_that_somebody_took_their_trust() -> None:
    async with World(drift_interval=60.0) as world:
        await _working(world)
        world.azure.remove_identity(next(iter(world.azure.identities.values())))
        await world.until(lambda: world.claim("shop")[1] == "IdentityNotFound")

        world.delete("namespaces", "shop")
        world.namespace("shop", labels={"team": "team"})
        await world.pass_time(120)

        assert world.claim("shop")[1] == "IdentityNotFound"


@pytest.mark.parametrize("seen", [True, False], ids=["account seen before", "account not seen yet"])
async def test_an_account_in_a_recreated_namespace_is_never_annotated(seen: bool) -> None:
    async with World() as world:
        uid = world.namespace("shop")
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "keystead", "namespace": "shop"}}
        former = world.put(account)["metadata"]["uid"] if seen else ""
        world.delete("namespaces", "shop")
        world.namespace("shop")
        world.put(account)
        api = world.api()
        writer = ClusterWriter(api, LoopClock(EPOCH))
        step = AnnotateServiceAccount(
            "shop/team",
            "shop",
            "keystead",
            "client",
            "tenant",
            "team",
            "uid",
            own=True,
            namespace_uid=NamespaceUid(uid),
            account_uid=former,
        )

        with pytest.raises(Retryable):
            await writer.annotate_service_account(step)

        stands = world.object("serviceaccounts", "keystead", "shop") or {}
        assert "annotations" not in stands["metadata"]
        await api.close()


@pytest.mark.virtual
@pytest.mark.parametrize("late", ["/vaultclaims", "/namespaces"])
async def test_a_claim_that_went_with_its_namespace_was_deleted_by_nobody_whichever_is_seen_first(late: str) -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        trap = Late(late)
        world.start(trap=trap)
        await world.until(lambda: world.ready("shop"))

        trap.flows.clear()
        world.delete("namespaces", "shop")
        await world.until(lambda: world.object("namespaces", "shop") is None)
        world.namespace("shop", labels={"team": "team"})
        await world.pass_time(5)
        trap.flows.set()

        await world.until(lambda: world.ready("shop"), seconds=50)


async def test_a_replica_that_leads_no_more_reads_and_does_not_write() -> None:
    async with World() as world:
        api = world.api()
        guarded = api.only_while(lambda: False)

        assert await guarded.get("/api/v1/namespaces/default") is not None
        with pytest.raises(Retryable) as refused:
            await guarded.post("/api/v1/namespaces", {"metadata": {"name": "shop"}})

        assert refused.value.reason is Reason.LEASE_LOST
        assert world.object("namespaces", "shop") is None
        await api.close()


async def test_a_write_that_lands_after_it_was_given_up_and_its_claim_was_deleted_is_not_left_behind() -> None:
    async with World(drift_interval=3600.0) as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        world.put(_claim("shop", "team"))
        world.azure.faults.add(Fault(service="arm", method="PUT", effect=Effect.HANG, times=1))
        world.start()
        await world.until(lambda: world.objects("federations") != [])
        await world.pass_time(11)
        given = world.objects("federations")[0]["spec"]["credential"]

        world.delete("vaultclaims", "mine", "shop")
        await world.pass_time(20)
        identity = next(iter(world.azure.identities.values()))
        world.azure.add_credential(identity, given["name"], given["issuer"], given["subject"])
        await world.until(lambda: world.objects("federations") == [], seconds=240)

        assert not world.trusted("shop")


async def test_a_write_that_took_effect_behind_a_409_is_revoked_and_not_forgotten() -> None:
    async with World(drift_interval=3600.0) as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        world.put(_claim("shop", "team"))
        half = Fault(service="arm", method="PUT", effect=Effect.HALF_WRITE, status=409, code=CONCURRENT)
        world.azure.faults.add(half)
        world.start()
        await world.until(lambda: world.trusted("shop"))
        await world.pass_time(1)

        world.delete("vaultclaims", "mine", "shop")
        await world.until(lambda: world.objects("federations") == [], seconds=60)

        assert not world.trusted("shop")


async def test_a_slot_that_others_took_while_a_write_was_in_doubt_is_not_tried_over_and_over() -> None:
    async with World() as world:
        one = world.identity("one")
        for number in range(19):
            world.azure.add_credential(one, f"ci-{number}", "https://ci.example.test", f"repo:{number}")
        world.grant("team", one, world.identity("two"))
        world.azure.faults.add(Fault(service="arm", method="PUT", effect=Effect.RESET, times=1))
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.entries("arm", "PUT") != [])
        tried = world.objects("federations")[0]["spec"]["identityResourceId"]
        lost = next(each for each in world.azure.identities.values() if each.resource_id == tried)
        while len(lost.credentials) < 20:
            name = f"late-{len(lost.credentials)}"
            world.azure.add_credential(lost, name, "https://ci.example.test", name)

        await world.until(lambda: world.ready("shop"), seconds=300)

        assert len([each for each in world.entries("arm", "PUT") if tried.lower() in each.path.lower()]) == 1


@pytest.mark.virtual  # it counts seconds
@pytest.mark.parametrize("how", [Effect.ANSWER, Effect.RESET, Effect.HANG])
async def test_trust_goes_soon_after_azure_is_back_however_long_it_was_away(how: Effect) -> None:
    async with World() as world:
        await _working(world, "shop")
        world.azure.faults.add(Fault(service="arm", effect=how, status=503, seconds=900))

        world.delete("namespaces", "shop")
        for number in range(300):  # others give the operator something to plan, also while the delete is under way
            world.namespace(f"other-{number}", labels={"team": "nobody" if number % 2 else "team"})
            await world.pass_time(3)

        await world.until(lambda: not world.trusted("shop"), seconds=60)


async def test_the_pace_counts_from_the_write_and_not_from_the_look_before_it() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.azure.faults.add(Fault(service="arm", method="PUT", effect=Effect.RESET, times=1))
        world.azure.faults.add(Fault(service="arm", method="GET", effect=Effect.DELAY, delay=2.0))
        names = [f"shop-{number}" for number in range(4)]
        for name in names:
            world.namespace(name, labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready(*names))

        for before, after in itertools.pairwise(world.azure_writes()):
            assert after.at - before.at >= 3.99


@pytest.mark.virtual  # it counts seconds
async def test_a_revocation_takes_the_next_turn_of_its_subscription() -> None:
    async with World(subscription_pace=3.0) as world:
        await _working(world, "first", identities=6)
        names = [f"shop-{number:02}" for number in range(18)]
        for name in names:
            world.namespace(name, labels={"team": "team"})
        await world.until(lambda: len(world.entries("arm", "PUT")) > 4)
        began = world.clock.now()

        world.delete("namespaces", "first")
        await world.until(lambda: world.entries("arm", "DELETE") != [])

        assert world.entries("arm", "DELETE")[0].at - began <= 4.0 + 1.0  # the lane has a pace of its own


async def test_when_somebody_deletes_the_lease_there_are_never_two_leaders() -> None:
    async with World() as world:
        world.start()
        await world.pass_time(2)
        world.start()
        await world.pass_time(10)
        leaders = []

        world.delete("leases", "keystead-operator", world.settings.lease_namespace)
        for _ in range(120):
            await world.pass_time(0.5)
            leaders.append(sum(operator.lease.held for operator in world.built))

        assert max(leaders) == 1
        assert leaders[-1] == 1


async def test_a_leader_that_sees_another_in_its_place_steps_down_at_once() -> None:
    async with World() as world:
        operator = world.start(instance="first")
        await world.pass_time(10)
        lease = world.object("leases", "keystead-operator", world.settings.lease_namespace) or {}
        world.put(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "keystead-operator", "namespace": world.settings.lease_namespace},
                "spec": {**lease["spec"], "holderIdentity": "second"},
            }
        )

        await world.until(lambda: not operator.lease.held, seconds=4.5)


async def test_an_identity_that_is_missing_is_asked_for_ever_more_rarely() -> None:
    async with World(drift_interval=600.0) as world:
        await _working(world)
        world.azure.remove_identity(next(iter(world.azure.identities.values())))
        await world.until(lambda: world.claim("shop")[1] == "IdentityNotFound", seconds=700)
        await world.pass_time(1200)
        before = len(world.entries("arm"))

        await world.pass_time(3600)

        assert len(world.entries("arm")) - before <= 2 * 3600 / 600 + 2


class Meddling(Trap):
    """Lets somebody in just before the first write to a path."""

    def __init__(self, path: str, meddle: Callable[[], object]) -> None:
        super().__init__()
        self._path = path
        self._meddle = meddle
        self.done = False

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.done and scope["method"] != "GET" and scope["path"].endswith(self._path):
            self.done = True
            self._meddle()
        await super().__call__(app, scope, receive, send)


@pytest.mark.virtual
async def test_a_store_that_somebody_makes_between_our_look_and_our_apply_stays_theirs() -> None:
    azure = {
        "authType": "WorkloadIdentity",
        "vaultUrl": "https://elsewhere.vault.azure.net",
        "serviceAccountRef": {"name": "keystead"},
    }
    store = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": "azure-store", "namespace": "shop"},
        "spec": {"provider": {"azurekv": azure}},
    }
    async with World() as world:
        meddling = Meddling("/secretstores/azure-store", lambda: world.put(store))
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start(trap=meddling)
        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "StoreConflict")

        stands = world.object("secretstores", "azure-store", "shop") or {}
        assert meddling.done
        assert stands["spec"]["provider"]["azurekv"]["vaultUrl"] == "https://elsewhere.vault.azure.net"


async def test_a_pass_writes_no_status_that_says_the_same() -> None:
    async with World() as world:
        await _working(world, "first", "second", identities=3)
        await world.pass_time(5)  # what made them ready is seen before its writer has the answer
        before = len(world.journal.entries())
        world.namespace("third", labels={"team": "team"})
        await world.until(lambda: world.ready("third"), seconds=55)

        told = [each.path for each in world.journal.entries()[before:] if each.path.endswith("/status")]
        assert any("/namespaces/third/vaultclaims/" in path for path in told)
        assert [path for path in told if "/namespaces/third/" not in path and "vaultclaims" in path] == []


class Slow(Trap):
    """Tells what a watch of some kind has to tell seconds after it was said."""

    def __init__(self, plural: str, seconds: float) -> None:
        super().__init__()
        self._plural = plural
        self._seconds = seconds

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        late = scope["path"].endswith(f"/{self._plural}") and b"watch=true" in scope["query_string"]

        async def send_late(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(self._seconds)
            await send(message)

        await super().__call__(app, scope, receive, send_late if late else send)


async def test_a_claim_is_placed_once_however_late_the_caches_are() -> None:
    async with World() as world:
        world.grant("team", *(world.identity(f"one-{number}") for number in range(3)))
        world.namespace("shop", labels={"team": "team"})
        world.start(trap=Slow("federations", 6.0))
        await world.until(lambda: world.ready("shop"), seconds=120)

        assert len([each for each in world.azure_writes() if each.method == "PUT"]) == 1
        assert len(world.entries("kube", "POST", "/federations")) == 1


class WithoutLedger(Trap):
    """The API server takes no new ledger entry for a while."""

    refusing = True

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if self.refusing and scope["method"] == "POST" and scope["path"].endswith("/federations"):
            raise ConnectionResetError("lost")
        await super().__call__(app, scope, receive, send)


@pytest.mark.virtual
async def test_without_a_ledger_entry_nothing_is_written_to_azure() -> None:
    async with World() as world:
        trap = WithoutLedger()
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start(trap=trap)
        await world.pass_time(60)
        before = world.azure_writes()
        trap.refusing = False
        await world.until(lambda: world.ready("shop"), seconds=300)

        assert before == []


@pytest.mark.virtual
async def test_an_approval_that_is_told_again_ends_nothing() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), approval="Required")
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.claim("shop", "Approved")[1] == "AwaitingReview")
        world.approve("shop")
        await world.until(lambda: world.ready("shop"))

        word = world.objects("vaultapprovals")[0]
        given = {key: word[key] for key in ("apiVersion", "kind")}
        metadata = {"name": word["metadata"]["name"], "annotations": {"seen": "by somebody"}}
        acting.install(world.cluster, [{**given, "metadata": metadata}])
        world.namespace("mill", labels={"team": "team"})
        await world.until(lambda: world.claim("mill", "Approved")[1] == "AwaitingReview", seconds=30)

        assert world.ready("shop")


class Stalled(Trap):
    """Keeps one kind of write waiting for its answer, and with it the pass that makes it."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__()
        self._method, self._path = method, path
        self.flows = asyncio.Event()

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == self._method and self._path in scope["path"]:
            await self.flows.wait()
        await super().__call__(app, scope, receive, send)


@pytest.mark.virtual
async def test_what_is_revoked_while_it_waits_in_line_is_not_written_any_more() -> None:
    async with World() as world:
        trap = Stalled("DELETE", "/federations/")
        world.grant("team", world.identity("one"))
        for name in ("alpha", "beta"):
            world.namespace(name, labels={"team": "team"})
        world.start(trap=trap)
        await world.until(lambda: len(world.objects("federations")) == 2)
        (waiting,) = [name for name in ("alpha", "beta") if not world.trusted(name)]
        world.namespace(waiting, labels={})
        await world.pass_time(10)  # its turn comes and goes while the pass that revokes it waits for Kubernetes
        trap.flows.set()
        await world.until(lambda: len(world.objects("federations")) == 1)
        await world.pass_time(30)

        assert not world.trusted(waiting)
        assert len(world.azure_writes()) == 1


@pytest.mark.virtual
async def test_a_proof_does_not_outlive_its_ledger_entry() -> None:
    async with World() as world:
        trap = Stalled("POST", "/namespaces/mill/vaultclaims")
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start(trap=trap)
        await world.until(lambda: world.entries("entra", "POST"))
        world.namespace("mill", labels={"team": "team"})
        await world.pass_time(0.1)
        # While a pass is at work, somebody takes the entry away by force, and the exchange under way ends after that.
        (entry,) = world.objects("federations")
        del entry["metadata"]["finalizers"]
        world.delete("federations", entry["metadata"]["name"])
        await world.until(lambda: world.entries("keyvault", "GET"))
        next(iter(world.azure.identities.values())).credentials.clear()
        trap.flows.set()
        await world.until(lambda: len(world.entries("kube", "POST", "/federations")) > 1)
        await world.pass_time(15)

        assert world.claim("shop", "Verified")[0] != "True"
        assert world.entries("kube", "PATCH", "/namespaces/shop/serviceaccounts/keystead") == []
        await world.until(lambda: world.ready("shop", "mill"), seconds=1200)


async def test_a_claim_that_waits_for_one_of_another_grant_is_served_as_soon_as_that_is_gone() -> None:
    async with World() as world:
        for name, identity in (("team", "one"), ("other", "two")):
            rule = {"selector": {"matchLabels": {"team": "team"}}}
            world.grant(name, world.identity(identity), claims="OnRequest", namespaces=rule)
        world.namespace("shop", labels={"team": "team"})
        world.put(_claim("shop", "team"))
        world.start()
        await world.until(lambda: world.ready("shop", name="mine"))
        world.put(_claim("shop", "other", "second"))
        await world.until(lambda: world.claim("shop", name="second")[1] == "SubjectTaken")

        world.delete("vaultclaims", "mine", "shop")

        await world.until(lambda: world.ready("shop", name="second"), seconds=60)


@pytest.mark.virtual  # it counts passes, and holds a watch back
async def test_a_watch_that_is_late_about_a_namespace_made_anew_makes_nobody_hurry() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        trap = Late("/api/v1/namespaces")
        operator = world.start(trap=trap)
        await world.pass_time(20)
        trap.flows.clear()
        world.delete("namespaces", "shop")
        await world.until(lambda: world.object("namespaces", "shop") is None)
        world.namespace("shop", labels={"team": "team"})
        assert operator.controller is not None
        before = operator.controller.passes
        world.put(_claim("shop", "team"))
        await world.pass_time(20)

        assert operator.controller.passes - before < 20
        assert world.azure_writes() == []
        trap.flows.set()
        await world.until(lambda: world.ready("shop", name="mine"), seconds=90)


@pytest.mark.virtual  # the roles of the real control plane are made for one account
@pytest.mark.parametrize("grant", ["team", "other"], ids=["of one grant", "of two grants"])
async def test_two_claims_for_one_store_do_not_write_over_each_other(grant: str) -> None:
    names = ("keystead", "second")
    async with World(service_account_names=names) as world:
        for item in manifests(account_names=names):
            world.put(item)
        rule = {"selector": {"matchLabels": {"team": "team"}}}
        for name in {"team", grant}:
            world.grant(name, world.identity(name), claims="OnRequest", namespaces=rule, maxClaimsPerNamespace=2)
        world.namespace("shop", labels={"team": "team"})
        world.put(_claim("shop", "team"))
        world.start()
        await world.until(lambda: world.ready("shop", name="mine"))
        world.put(_claim("shop", grant, "late", serviceAccountName="second"))
        await world.until(lambda: world.claim("shop", name="late")[1] == "StoreConflict")
        before = len(world.entries("kube", "PATCH", "/secretstores/azure-store"))
        await world.pass_time(30)

        assert len(world.entries("kube", "PATCH", "/secretstores/azure-store")) == before
        assert "VaultClaim mine" in world.claim("shop", name="late")[2]
        assert world.ready("shop", name="mine")
        world.delete("vaultclaims", "mine", "shop")
        await world.until(lambda: world.ready("shop", name="late"), seconds=60)


@pytest.mark.virtual  # it reaches into the store of the embedded server
async def test_an_entry_that_came_and_went_unseen_is_written_anew() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        trap = Late("/federations")
        world.start(trap=trap)
        await world.pass_time(5)
        trap.flows.clear()
        world.namespace("late", labels={"team": "team"})
        await world.until(lambda: world.trusted("late"))
        entry = next(each for each in world.objects("federations") if each["spec"]["namespace"] == "late")
        entry["metadata"].pop("finalizers")
        world.delete("federations", entry["metadata"]["name"])
        trap.flows.set()

        def recorded() -> bool:
            return any(each["spec"]["namespace"] == "late" for each in world.objects("federations"))

        assert not recorded()
        await world.until(recorded, seconds=60)
        await world.until(lambda: world.ready("late", "shop"))


class Wall(LoopClock):
    """A clock on the wall that somebody sets."""

    ahead = datetime.timedelta(0)

    def now(self) -> datetime.datetime:
        return super().now() + self.ahead


class Hung(World):
    """A world whose operators look at a wall clock of their own."""

    def _operator_clock(self) -> LoopClock:
        self.wall = Wall(EPOCH)
        return self.wall


@pytest.mark.virtual
async def test_a_claim_that_was_begun_before_the_clock_was_set_back_is_served_all_the_same() -> None:
    async with Hung() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start()
        world.wall.ahead = datetime.timedelta(days=1)
        await world.until(lambda: world.trusted("shop"))
        await world.pass_time(3)
        world.wall.ahead = datetime.timedelta(0)

        await world.until(lambda: world.ready("shop"), seconds=60)


@pytest.mark.virtual
async def test_a_write_in_doubt_from_before_the_clock_was_set_back_is_revoked_all_the_same() -> None:
    async with Hung() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        world.put(_claim("shop", "team"))
        world.azure.faults.add(Fault(service="arm", method="PUT", effect=Effect.HANG, times=1))
        world.start()
        world.wall.ahead = datetime.timedelta(days=1)
        await world.until(lambda: world.objects("federations") != [])
        await world.pass_time(11)
        world.wall.ahead = datetime.timedelta(0)
        world.delete("vaultclaims", "mine", "shop")

        await world.until(lambda: world.objects("federations") == [], seconds=240)


async def _annotated_unseen(world: World) -> Late:
    """The operator has just annotated the account, and the accounts' watch is late about it."""
    late = Late("/serviceaccounts")
    world.grant("team", world.identity("one"))
    world.namespace("shop", labels={"team": "team"})
    world.start(trap=late)
    await world.until(lambda: world.trusted("shop"))
    await world.pass_time(5)  # the account is made, and seen
    late.flows.clear()
    await world.until(lambda: _annotations(world))
    return late


def _annotations(world: World) -> dict[str, str]:
    account = world.object("serviceaccounts", "keystead", "shop") or {"metadata": {}}
    found: dict[str, str] = account["metadata"].get("annotations") or {}
    return found


async def _take_annotation_away(world: World) -> None:
    """As somebody may."""
    api = world.api()
    await ClusterWriter(api, LoopClock(EPOCH)).withdraw_annotation("shop", "keystead")
    await api.close()


@pytest.mark.virtual
async def test_an_annotation_that_our_own_cache_does_not_show_yet_goes_before_the_credential() -> None:
    """A revocation right after the write."""
    async with World() as world:
        await _annotated_unseen(world)
        world.disown("serviceaccounts", "keystead", "shop")  # an account that outlives its claim

        world.delete("vaultclaims", "team", "shop")
        await world.until(lambda: world.entries("arm", "DELETE"))

        assert not _annotations(world)
        withdrawn = world.entries("kube", "PATCH", "/namespaces/shop/serviceaccounts/keystead")[-1]
        assert withdrawn.seq < world.entries("arm", "DELETE")[0].seq


@pytest.mark.virtual
async def test_an_annotation_that_somebody_took_away_before_our_own_cache_showed_it_is_written_again() -> None:
    """What we have written counts until it was seen once, and not for ever."""
    async with World() as world:
        late = await _annotated_unseen(world)
        await _take_annotation_away(world)
        late.flows.set()

        await world.until(lambda: _annotations(world), seconds=5)


@pytest.mark.virtual
async def test_an_annotation_that_our_own_cache_has_not_shown_for_a_minute_is_written_again() -> None:
    """It need not be the cache that is late: of two changes a new reading shows only the later one."""
    async with World() as world:
        await _annotated_unseen(world)
        await _take_annotation_away(world)
        await world.pass_time(61)
        assert not _annotations(world)

        world.namespace("shop", labels={"team": "team", "looked": "at"})
        await world.until(lambda: _annotations(world), seconds=5)
