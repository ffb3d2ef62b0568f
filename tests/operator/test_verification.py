"""Proof: a quorum on fresh connections after the wait, a slow heartbeat, and plain words for what stands in the way."""

import itertools
from collections import Counter

import pytest

from keystead_sandbox.faults import Fault
from world import ISSUER, VAULT, World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]
HOUR, DAY = 3600.0, 86400.0


async def _granted(world: World, *names: str) -> None:
    world.grant("team", world.identity("one"))
    for name in names or ("shop",):
        world.namespace(name, labels={"team": "team"})
    world.start()


async def test_a_proof_is_a_quorum_of_exchanges_apart_and_one_look_at_names() -> None:
    async with World() as world:
        await _granted(world)
        await world.until(lambda: world.ready("shop"))

        written = next(each for each in world.azure_writes() if each.method == "PUT")
        exchanges = [each for each in world.entries("entra", "POST") if each.status == 200]
        assert len(exchanges) == 2
        assert exchanges[0].at - written.at >= world.settings.propagation_wait
        assert exchanges[1].at - exchanges[0].at >= world.settings.quorum_interval
        assert [(each.method, each.path, each.status) for each in world.entries("keyvault")] == [
            ("GET", "/secrets", 200)
        ]


async def test_a_quorum_counts_successes_in_a_row_alone() -> None:
    async with World(quorum=3) as world:
        world.azure.faults.add(
            Fault(service="entra", method="POST", path="/token", status=401, skip=1, times=1, code="invalid_client")
        )
        await _granted(world)
        await world.until(lambda: world.ready("shop"))

        answers = [each.status for each in world.entries("entra", "POST")]
        assert answers == [200, 401, 200, 200, 200]


async def test_an_issuer_that_differs_in_its_last_slash_is_shown_beside_the_tokens() -> None:
    async with World(issuer=f"{ISSUER}/") as world:
        await _granted(world)

        await world.until(lambda: world.claim("shop", "Verified")[1] == "IssuerMismatch")
        message = world.claim("shop", "Verified")[2]
        assert "AADSTS700211" in message
        assert f"the token says '{ISSUER}', Azure has '{ISSUER}/' (the trailing slash)" in message
        status, reason, told = world.condition("vaultgrants", "team", "IssuerTrusted")
        assert (status, reason) == ("False", "IssuerMismatch")
        assert "(the trailing slash)" in told
        assert world.object("serviceaccounts", "keystead", "shop")["metadata"].get("annotations") is None  # type: ignore[index]  # it is there


async def test_what_was_shown_is_shown_again_after_a_restart() -> None:
    async with World(issuer=ISSUER.upper()) as world:
        await _granted(world)
        await world.until(lambda: "(upper and lower case)" in world.claim("shop", "Verified")[2])
        before = world.claim("shop", "Verified")
        await world.stop()
        events = [each["message"] for each in world.objects("events")]

        world.start()
        await world.pass_time(20)

        assert world.claim("shop", "Verified") == before
        assert [each["message"] for each in world.objects("events")] == events


@pytest.mark.parametrize(
    ("network", "code"),
    [("Disabled", "ForbiddenByConnection"), ("Enabled", "ForbiddenByFirewall")],
    ids=["private endpoint only", "firewall"],
)
async def test_a_vault_that_lets_nobody_in_is_told_apart_from_one_that_forbids(network: str, code: str) -> None:
    async with World() as world:
        world.vault.public_network = network
        world.vault.settings["networkAcls"] = {"defaultAction": "Deny", "ipRules": []}
        await _granted(world)

        await world.until(lambda: world.claim("shop", "Verified")[1] == "VaultClosed")
        assert code in world.claim("shop", "Verified")[2]

        world.vault.public_network = "Enabled"
        world.vault.settings.clear()
        await world.until(lambda: world.ready("shop"))


async def test_each_claim_is_proven_again_once_a_heartbeat_and_not_all_at_once() -> None:
    names = [f"n-{number}" for number in range(12)]
    # An hour stands for the day: what is spread is a part of the heartbeat, whatever that is.
    async with World(drift_interval=DAY, heartbeat=HOUR) as world:
        await _granted(world, *names)
        await world.until(lambda: world.ready(*names))
        start = world.clock.now()

        await world.pass_time(1.12 * HOUR)

        again = [each for each in world.entries("entra", "POST") if each.at > start]
        assert len(again) == 2 * len(names)
        moments = sorted(each.at for each in again[::2])
        assert min(moments) - start >= 0.88 * HOUR
        assert max(moments) - min(moments) > 0.05 * HOUR
        assert Counter(later - earlier < 1 for earlier, later in itertools.pairwise(moments))[True] <= 2


async def test_who_begins_to_lead_goes_on_where_the_last_leader_was() -> None:
    names = [f"n-{number}" for number in range(6)]
    async with World(drift_interval=DAY, heartbeat=HOUR) as world:
        await _granted(world, *names)
        await world.until(lambda: world.ready(*names))
        await world.pass_time(1.12 * HOUR)
        again = world.clock.now()
        await world.stop()
        writes = len(world.entries("kube", "PATCH", "/status"))

        world.start()
        await world.pass_time(0.5 * HOUR)
        early = [each for each in world.entries("entra", "POST") if each.at > again]
        await world.pass_time(0.62 * HOUR)

        assert early == []
        assert len([each for each in world.entries("entra", "POST") if each.at > again]) == 2 * len(names)
        told = world.entries("kube", "PATCH", "/status")[writes:]
        assert len([each for each in told if "/federations/" in each.path]) == len(names), "once for each heartbeat"


async def test_a_heartbeat_that_is_refused_shows_takes_nothing_away_and_heals() -> None:
    async with World(heartbeat=900.0, drift_interval=DAY) as world:
        await _granted(world)
        await world.until(lambda: world.ready("shop"))
        world.azure.remove_assignment(
            next(each for each in world.azure.assignments.values() if "KeyVault" in each.scope)
        )
        writes = len(world.azure_writes())

        await world.until(lambda: world.claim("shop", "Verified")[:2] == ("False", "VaultForbidden"), seconds=1500)
        await world.pass_time(600)

        assert not world.ready("shop")
        assert len(world.azure_writes()) == writes
        account = world.object("serviceaccounts", "keystead", "shop")
        assert account is not None
        assert "azure.workload.identity/client-id" in account["metadata"]["annotations"]
        identity = next(iter(world.azure.identities.values()))
        world.azure.assign_role(identity.principal_id, "Key Vault Secrets User", world.vault.resource_id)
        await world.until(lambda: world.ready("shop"), seconds=1200)


async def test_a_heartbeat_that_nobody_answers_proves_nothing() -> None:
    async with World(heartbeat=900.0, drift_interval=DAY) as world:
        await _granted(world)
        await world.until(lambda: world.ready("shop"))
        tried = len(world.entries("keyvault"))
        world.azure.faults.add(Fault(service="keyvault", status=503))

        await world.until(lambda: len(world.entries("keyvault")) > tried + 2, seconds=1500)

        assert world.ready("shop")


async def test_an_identity_that_was_made_anew_before_its_first_credential_serves_under_its_new_client_id() -> None:
    async with World() as world:
        old = world.identity("one")
        world.grant("team", old)
        world.start()
        await world.pass_time(30)
        world.azure.remove_identity(old)
        new = world.identity("one")
        world.namespace("shop", labels={"team": "team"})

        await world.until(lambda: world.ready("shop"), seconds=1500)

        read_again = world.entries("arm", "GET", "/one/federatedidentitycredentials")[1].at
        refused = [each.at for each in world.entries("entra", "POST") if each.status != 200]
        assert max(refused) < read_again
        assert (world.object("vaultclaims", "team", "shop") or {})["status"]["clientId"] == new.client_id


async def test_stores_stay_with_a_vault_that_works_while_the_one_in_a_new_edit_lets_nobody_in() -> None:
    async with World() as world:
        one = world.identity("one")
        world.grant("team", one)
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        other = world.azure.add_vault("other-kv")

        def reads() -> str:
            store = world.object("secretstores", "azure-store", "shop") or {}
            return str(store["spec"]["provider"]["azurekv"]["vaultUrl"])

        world.grant("team", one, vault={"url": "https://other-kv.vault.azure.net"})
        await world.until(lambda: world.claim("shop", "Verified")[1] == "VaultForbidden", seconds=60)
        await world.stop()
        world.start()
        await world.pass_time(60)
        before = reads()
        world.azure.assign_role(one.principal_id, "Key Vault Secrets User", other.resource_id)
        await world.until(lambda: world.ready("shop"), seconds=1200)

        assert before == VAULT
        assert reads() == "https://other-kv.vault.azure.net"
        assert world.objects("federations")[0]["status"]["verifiedVault"] == "https://other-kv.vault.azure.net"
