"""What Terraform and people have made is taken over without an outage, when an admin says so, and ends like our own."""

import asyncio
import copy
import json
from typing import Any

import pytest

from keystead_sandbox.resources import AUDIENCE, Credential, Identity
from world import VAULT, Trap, World, one_goes, subject

pytestmark = pytest.mark.looptime
WRITES = 16  # more than the life below takes
CLIENT, TENANT = "azure.workload.identity/client-id", "azure.workload.identity/tenant-id"


def account(world: World, namespace: str, identity: Identity, *, manager: str = "terraform", client: str = "") -> None:
    tenant = next(iter(world.azure.tenants))
    notes = {CLIENT: client or identity.client_id, TENANT: tenant}
    metadata = {"name": "keystead", "namespace": namespace, "annotations": notes}
    world.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, manager=manager)


def store(world: World, namespace: str, *, manager: str = "helm", **azure: Any) -> None:
    given = {"authType": "WorkloadIdentity", "vaultUrl": VAULT, "serviceAccountRef": {"name": "keystead"}, **azure}
    body = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": "azure-store", "namespace": namespace},
        "spec": {"provider": {"azurekv": given}, "retrySettings": {"maxRetries": 7}},
    }
    world.put(body, manager=manager)


def migrating(world: World, *namespaces: str, word: str = "*") -> Identity:
    """Namespaces that work already, by others' hands, and a grant that comes to them."""
    identity = world.identity("one")
    for name in namespaces:
        world.azure.add_credential(identity, f"tf-{name}", world.issuer, subject(name))
        world.namespace(name, labels={"team": "team"})
        account(world, name, identity)
        store(world, name)
    world.grant("team", identity)
    if word:
        world.adopt(word)
    return identity


def names(identity: Identity) -> list[str]:
    return sorted(each.name for each in identity.credentials.values())


def touched(world: World, *kinds: str) -> list[str]:
    return [entry.path for entry in world.writes() if any(f"/{kind}/" in entry.path for kind in kinds)]


def snapshot_of(world: World, namespace: str) -> list[Any]:
    """Accounts and stores as their owners left them."""
    found = [
        world.object("serviceaccounts", "keystead", namespace),
        world.object("secretstores", "azure-store", namespace),
    ]
    return copy.deepcopy(found)


async def test_namespaces_that_work_already_are_taken_over_without_a_write_to_azure_or_to_them() -> None:
    async with World() as world:
        identity = migrating(world, "shop", "mill")
        before = [snapshot_of(world, name) for name in ("shop", "mill")]
        world.start()
        await world.until(lambda: world.ready("shop", "mill"))
        await world.pass_time(120)

        assert names(identity) == ["tf-mill", "tf-shop"]
        assert world.azure_writes() == []
        assert touched(world, "serviceaccounts", "secretstores") == [
            path for path in touched(world, "serviceaccounts", "secretstores") if path.endswith("/token")
        ]
        assert [snapshot_of(world, name) for name in ("shop", "mill")] == before
        ledger = {each["spec"]["namespace"]: each["spec"] for each in world.objects("federations")}
        assert ledger["shop"]["adopted"] is True
        assert ledger["shop"]["credential"]["name"] == "tf-shop"
        assert world.claim("shop", "Verified")[0] == "True"


async def test_many_are_taken_over_at_once() -> None:
    async with World() as world:
        identities = [world.identity(f"id-{number}") for number in range(5)]
        spaces = [f"n{number:03}" for number in range(100)]
        for number, name in enumerate(spaces):
            world.azure.add_credential(identities[number % 5], f"tf-{name}", world.issuer, subject(name))
            world.namespace(name, labels={"team": "team"})
        world.grant("team", *identities)
        world.adopt("*")
        world.start()
        await world.until(lambda: world.ready(*spaces))

        assert world.azure_writes() == []
        assert len(world.objects("federations")) == 100
        said = world.condition("vaultgrants", "team", "AdoptionValid")
        assert said[0] == "True"
        assert "100 credential(s)" in said[2]
        rows = world.object("vaultgrants", "team")["status"]["identities"]  # type: ignore[index] # it is there
        assert {(row["used"], row.get("foreign", 0), row.get("room", 0)) for row in rows} == {(20, 0, 0)}


async def test_without_the_word_the_claim_waits_and_names_the_holder_and_the_command() -> None:
    async with World() as world:
        identity = migrating(world, "shop", word="")
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "TupleTaken")
        await world.pass_time(120)
        message = world.claim("shop")[2]
        assert "tf-shop on identity one" in message
        assert "`keystead adopt team shop`" in message
        assert world.azure_writes() == []

        world.adopt("shop")
        await world.until(lambda: world.ready("shop"), seconds=60)
        assert names(identity) == ["tf-shop"]


async def test_a_word_that_names_one_namespace_reaches_no_other() -> None:
    async with World() as world:
        migrating(world, "shop", "mill", word="mill/keystead, NONSENSE")
        world.start()
        await world.until(lambda: world.ready("mill"))
        await world.pass_time(60)

        assert world.claim("shop")[1] == "TupleTaken"
        said = world.condition("vaultgrants", "team", "AdoptionValid")
        assert (said[1], "'NONSENSE'" in said[2]) == ("AdoptionInvalid", True)
        assert world.condition("vaultgrants", "team", "Valid")[0] == "True"
        world.adopt("mill, shop")
        await world.until(lambda: world.ready("shop"))
        assert world.condition("vaultgrants", "team", "AdoptionValid")[0] == "True"


async def test_tenants_cannot_say_the_word() -> None:
    async with World() as world:
        migrating(world, "shop", word="")
        note = {"keystead.dev/adopt": "*"}
        for kind, name, where in (("Namespace", "shop", {}), ("ServiceAccount", "keystead", {"namespace": "shop"})):
            metadata = {"name": name, "annotations": note, **where}
            world.put({"apiVersion": "v1", "kind": kind, "metadata": metadata}, manager="tenant")
        metadata = {"name": "team", "namespace": "shop", "annotations": note}
        spec = {"grantName": "team"}
        world.put(
            {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "metadata": metadata, "spec": spec},
            manager="tenant",
        )
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "TupleTaken")
        await world.pass_time(60)

        assert world.objects("federations") == []


async def test_a_removed_namespace_takes_its_adopted_credential_with_it_and_no_other() -> None:
    async with World() as world:
        identity = migrating(world, "shop", "mill")
        world.azure.add_credential(identity, "pipeline", "https://ci.example.test", "repo:team/app")
        world.start()
        await world.until(lambda: world.ready("shop", "mill"))
        world.adopt(None)
        world.delete("namespaces", "shop")
        await world.until(lambda: len(world.objects("federations")) == 1)

        assert names(identity) == ["pipeline", "tf-mill"]
        assert [(entry.method, entry.path.rsplit("/", 1)[1]) for entry in world.azure_writes()] == [
            ("DELETE", "tf-shop")
        ]
        assert world.ready("mill")


async def test_with_the_namespace_alive_the_annotation_goes_before_the_adopted_credential() -> None:
    async with World() as world:
        migrating(world, "shop")
        world.start()
        await world.until(lambda: world.ready("shop"))
        world.namespace("shop", labels={"team": "other"})
        await world.until(lambda: world.objects("federations") == [])

        withdrawn = world.entries("kube", "PATCH", "/namespaces/shop/serviceaccounts/keystead")[-1]
        assert withdrawn.seq < world.azure_writes()[-1].seq


async def test_a_grant_that_retains_leaves_what_it_adopted() -> None:
    async with World() as world:
        identity = migrating(world, "shop")
        world.grant("team", identity, revocation="Retain")
        world.start()
        await world.until(lambda: world.ready("shop"))
        world.delete("namespaces", "shop")
        await world.until(lambda: world.objects("federations") == [])
        await world.pass_time(120)

        assert names(identity) == ["tf-shop"]


async def test_a_store_of_a_service_principal_is_turned_over_in_one_write_and_keeps_what_is_not_ours() -> None:
    async with World() as world:
        identity = migrating(world, "shop", word="")
        reference = {"clientId": {"name": "sp", "key": "id"}, "clientSecret": {"name": "sp", "key": "secret"}}
        tenant = next(iter(world.azure.tenants))
        store(
            world,
            "shop",
            authType="ServicePrincipal",
            tenantId=tenant,
            authSecretRef=reference,
            environmentType="ChinaCloud",
        )
        account(world, "shop", identity, client="00000000-0000-4000-8000-000000000000")
        world.adopt("shop")
        world.start()
        await world.until(lambda: world.ready("shop"))

        made = world.object("secretstores", "azure-store", "shop") or {}
        azure = made["spec"]["provider"]["azurekv"]
        assert azure == {
            "authType": "WorkloadIdentity",
            "vaultUrl": VAULT,
            "serviceAccountRef": {"name": "keystead"},
            "environmentType": "ChinaCloud",
        }
        assert made["spec"]["retrySettings"] == {"maxRetries": 7}
        assert "ownerReferences" not in made["metadata"]
        notes = (world.object("serviceaccounts", "keystead", "shop") or {})["metadata"]["annotations"]
        assert notes[CLIENT] == identity.client_id


async def test_a_store_of_another_vault_is_never_turned_over() -> None:
    async with World() as world:
        migrating(world, "shop")
        store(world, "shop", vaultUrl="https://other-kv.vault.azure.net")
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "StoreConflict")
        await world.pass_time(60)

        found = world.object("secretstores", "azure-store", "shop") or {}
        assert found["spec"]["provider"]["azurekv"]["vaultUrl"] == "https://other-kv.vault.azure.net"
        assert "keystead adopt" not in world.claim("shop")[2]


async def test_nothing_is_ever_forced_without_the_word() -> None:
    async with World() as world:
        identity = world.identity("one")
        world.namespace("shop", labels={"team": "team"})
        account(world, "shop", identity, client="00000000-0000-4000-8000-000000000000")
        store(world, "shop", authType="ServicePrincipal")
        world.grant("team", identity)
        world.start()
        await world.until(lambda: world.claim("shop")[1] in ("ServiceAccountConflict", "StoreConflict"))
        await world.pass_time(60)

        assert [entry.path for entry in world.writes() if "force=true" in entry.query.lower()] == []
        assert "`keystead adopt team shop`" in world.claim("shop")[2]
        world.adopt("shop")
        await world.until(lambda: world.ready("shop"))


async def test_what_somebody_changed_after_the_last_look_is_not_deleted() -> None:
    """Terraform gives the name to another subject; the next list would be ten minutes away."""
    async with World(drift_interval=36000.0) as world:
        identity = migrating(world, "shop")
        world.start()
        await world.until(lambda: world.ready("shop"))
        theirs = Credential("tf-shop", "https://ci.example.test", "repo:team/app", AUDIENCE, world.clock.now())
        identity.credentials["tf-shop"] = theirs
        world.delete("namespaces", "shop")
        await world.until(lambda: world.objects("federations") == [])

        assert list(identity.credentials.values()) == [theirs]
        assert world.azure_writes() == []


async def test_what_somebody_deleted_already_needs_no_delete() -> None:
    async with World(drift_interval=36000.0) as world:
        identity = migrating(world, "shop")
        world.start()
        await world.until(lambda: world.ready("shop"))
        identity.credentials.clear()
        world.delete("namespaces", "shop")
        await world.until(lambda: world.objects("federations") == [])

        assert world.azure_writes() == []


async def _life(world: World, trap: Trap | None) -> None:
    """Two namespaces are taken over and one goes: with a kill in between when a trap is set."""
    migrating(world, "stays", "goes")
    store(world, "goes", authType="ServicePrincipal", tenantId=next(iter(world.azure.tenants)))
    account(world, "goes", world.identity("two"))
    await one_goes(world, trap)


@pytest.mark.parametrize("after", [False, True], ids=["before it takes effect", "after it took effect"])
@pytest.mark.parametrize("write", range(1, WRITES + 1))
async def test_a_crash_at_any_write_ends_in_the_same_good_state(write: int, after: bool) -> None:
    async with World() as world:
        trap = Trap()
        trap.at, trap.after = write, after

        await _life(world, trap)

        assert list(world.credentials()) == [subject("stays")]
        assert [each["spec"]["credential"]["name"] for each in world.objects("federations")] == ["tf-stays"]
        assert {entry.method for entry in world.azure_writes()} == {"DELETE"}


async def test_the_traps_cover_the_whole_life() -> None:
    async with World() as world:
        await _life(world, None)

        important = [entry for entry in world.writes() if "/status" not in entry.path and "/events" not in entry.path]
        assert len(important) <= WRITES


@pytest.mark.virtual  # the other writer has to come before ours
async def test_terraform_writing_at_the_same_time_costs_nobody_anything() -> None:
    """Another writer on the same identity: overlapping writes, names of its own, and a trust that ours would need."""
    async with World(drift_interval=60.0) as world:
        identity = world.identity("one")
        world.grant("team", identity)
        spaces = [f"n{number}" for number in range(5)]
        for name in spaces:
            world.namespace(name, labels={"team": "team"})
        world.start()
        await world.until(lambda: any(world.trusted(name) for name in spaces))
        late = next(name for name in reversed(spaces) if not world.trusted(name))
        terraform = Terraform(world, identity)
        await terraform.work(seconds=120.0, taking=late)
        await world.until(lambda: world.ready(*(name for name in spaces if name != late)))
        await world.until(lambda: world.claim(late)[1] == "TupleTaken")
        assert f"takes on identity one already trusts {subject(late)}" in world.claim(late)[2]
        assert f"`keystead adopt team {late}`" in world.claim(late)[2]
        assert terraform.refused > 0
        ours = [entry for entry in world.azure_writes() if entry.caller == world.application.client_id]
        assert [entry for entry in ours if entry.status == 409]
        assert terraform.kept <= set(names(identity))

        world.adopt(late)
        await world.until(lambda: world.ready(late))
        assert "takes" in names(identity)
        assert terraform.kept <= set(names(identity))
        assert len(identity.credentials) == len({(each.issuer, each.subject) for each in identity.credentials.values()})


class Terraform:
    """Another writer, with the habits of the provider: one write after the other, and again when it is refused."""

    def __init__(self, world: World, identity: Identity) -> None:
        self._world = world
        self._identity = identity
        self._application = world.azure.add_application("terraform", secret="unused")
        group = next(iter(world.azure.groups.values()))
        world.azure.assign_role(self._application.object_id, "Managed Identity Contributor", group.id)
        self.refused = 0
        self.kept: set[str] = set()

    async def work(self, *, seconds: float, taking: str) -> None:
        end, number = self._world.clock.now() + seconds, 0
        await self._put("takes", self._world.issuer, subject(taking))
        while self._world.clock.now() < end:
            number += 1
            await self._put(f"tf-{number % 7}", "https://ci.example.test", f"repo:{number % 7}")
            if number % 3 == 0:
                await self._ask("DELETE", f"tf-{(number - 1) % 7}")

    async def _put(self, name: str, issuer: str, of: str) -> None:
        body = {"properties": {"issuer": issuer, "subject": of, "audiences": [AUDIENCE]}}
        if await self._ask("PUT", name, body) < 300:
            self.kept.add(name)

    async def _ask(self, method: str, name: str, body: Any = None) -> int:
        status = 0
        for _ in range(6):
            status = await self._once(method, name, json.dumps(body).encode() if body is not None else b"")
            if status not in (409, 429):
                break
            self.refused += 1
            await asyncio.sleep(2.5)
        if method == "DELETE" and status < 300:
            self.kept.discard(name)
        return status

    async def _once(self, method: str, name: str, body: bytes) -> int:
        app, status = self._world.azure_app, 0
        token = app.authority.issue(self._application, "https://management.azure.com/")
        path = f"{self._identity.resource_id}/federatedIdentityCredentials/{name}"

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"api-version=2024-11-30",
            "root_path": "",
            "headers": [(b"host", b"management.azure.com"), (b"authorization", f"Bearer {token}".encode())],
            "state": {},
        }
        await app(scope, receive, send)
        return status
