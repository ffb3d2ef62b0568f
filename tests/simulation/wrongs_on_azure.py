"""Wrongs that Azure sees: leadership and pace, what is written and deleted, what pools grow."""

import asyncio
from typing import Any

from keystead_sandbox.faults import Effect, Fault
from simulation import growing
from simulation.people import API
from simulation.scene import Rogue, Scene
from simulation.wrongs import KS, Table

TABLE = Table()


async def _later(work: Any, seconds: float) -> "asyncio.Task[Any]":
    """Begin something, and go on so much later while it may still be under way."""
    task = asyncio.get_running_loop().create_task(work)
    await asyncio.sleep(seconds)
    return task


async def _two(scene: Scene, first: int, second: int, seconds: float) -> None:
    """Two writes, one so long after the other."""
    rogue = scene.rogue
    await rogue.lead()
    names = []
    for namespace, number in (("shop", first), ("till", second)):
        await rogue.look(scene.identity(number))
        names.append(await rogue.record(rogue.entry(namespace, scene.identity(number))))
    one = await _later(rogue.write(scene.identity(first), names[0]), seconds)
    await rogue.write(scene.identity(second), names[1], "till")
    await one


# Rights, leadership and pace -------------------------------------------------------------------------------------


@TABLE.breaks("rights", r"the operator's roles lack a rule: GET /api/v1/secrets")
async def asking_for_what_no_role_allows(scene: Scene, wrong: bool) -> None:
    await scene.rogue.kube("GET", "/api/v1/secrets" if wrong else "/api/v1/namespaces")


@TABLE.breaks("leader", "rogue-a writes to Azure while another leads")
async def writing_while_another_leads(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead(holder="another" if wrong else "")
    await scene.rogue.serve()


@TABLE.breaks("leader", "rogue-a writes to Azure while nobody leads")
async def writing_while_nobody_leads(scene: Scene, wrong: bool) -> None:
    if not wrong:
        await scene.rogue.lead()
    await scene.rogue.serve()


@TABLE.breaks("leader", "rogue-a writes to Azure while nobody leads", grows=True)
async def growing_while_nobody_leads(scene: Scene, wrong: bool) -> None:
    if not wrong:
        await scene.rogue.lead()
    await _make(scene, "grown-abcdefgh-001")


@TABLE.breaks("lease", r"rogue-a begins a write \d\.\d s before its lease ends")
async def beginning_a_write_that_could_outlive_the_lease(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead(15)
    await scene.settle(10 if wrong else 5)
    await scene.rogue.serve()


@TABLE.breaks("overlap", "rogue-a and rogue-a write on identity-0 at once")
async def writing_twice_on_one_identity_at_once(scene: Scene, wrong: bool) -> None:
    scene.stage.azure.faults.add(Fault(effect=Effect.DELAY, method="PUT", delay=10.0 if wrong else 1.0, times=1))
    await _two(scene, 0, 0, 5.0)


@TABLE.breaks("overlap", "rogue-2 and rogue-a write on identity-0 at once")
async def writing_beside_the_last_leader(scene: Scene, wrong: bool) -> None:
    """The last one's write is still under way; where it was killed, it is nobody's any more."""
    first, second = scene.rogue, Rogue(scene.watchman, scene.place, "rogue-2", 1)
    scene.stage.azure.faults.add(Fault(effect=Effect.DELAY, method="PUT", delay=20.0, times=1))
    await first.lead()
    open_write = await _later(first.serve(), 5.0)
    if not wrong:
        first.replica.process.kill()
    await second.lead()
    await second.serve("till")
    await open_write


@TABLE.breaks("retry-after", "rogue-a writes on identity-0 before the time that Azure named")
async def writing_before_the_time_that_azure_named(scene: Scene, wrong: bool) -> None:
    scene.stage.azure.faults.add(Fault(method="PUT", times=1, status=429, code="TooManyRequests", retry_after=17.0))
    await _two(scene, 0, 0, 10.0 if wrong else 18.0)


@TABLE.breaks("pace", r"rogue-a writes 3\.\d\d s after its last write \(identity\)")
async def writing_too_soon_on_an_identity(scene: Scene, wrong: bool) -> None:
    await _two(scene, 0, 0, 3.5 if wrong else 4.0)


@TABLE.breaks("pace", r"rogue-a writes 0\.4\d s after its last write \(subscription\)")
async def writing_too_soon_in_a_subscription(scene: Scene, wrong: bool) -> None:
    await _two(scene, 0, 1, 0.4 if wrong else 0.5)


@TABLE.breaks("pace", r"rogue-a writes 0\.0\d s after its last write \(tenant\)")
async def writing_too_soon_in_the_tenant(scene: Scene, wrong: bool) -> None:
    await _two(scene, 0, 2, 0.05 if wrong else 0.1)


# Writes to Azure -------------------------------------------------------------------------------------------------


@TABLE.breaks("ledger first", f"{KS} is written, but the ledger has never recorded it")
async def writing_what_the_ledger_has_never_recorded(scene: Scene, wrong: bool) -> None:
    """People have just changed something, which is no excuse."""
    rogue, identity = scene.rogue, scene.identity()
    await rogue.lead()
    scene.happens("make_namespace", "busy")
    entry = rogue.entry("shop", identity)
    if not wrong:
        await rogue.record(entry)
    await rogue.write(identity, entry["metadata"]["name"])


@TABLE.breaks("ledger first", f"{KS} is written, but the ledger does not record it any more")
async def writing_what_the_ledger_has_forgotten(scene: Scene, wrong: bool) -> None:
    rogue, identity = scene.rogue, scene.identity()
    await rogue.lead()
    name = await rogue.record(rogue.entry("shop", identity))
    if wrong:
        await rogue.kube("DELETE", f"/apis/{API}/federations/{name}")
        await rogue.forget(name)
    await rogue.write(identity, name)


@TABLE.breaks("names", r"kx-shop-\w{26} is written, which is no name of ours")
async def writing_by_a_name_that_is_not_ours(scene: Scene, wrong: bool) -> None:
    rogue, identity = scene.rogue, scene.identity()
    await rogue.lead()
    ours = rogue.entry("shop", identity)["metadata"]["name"]
    name = await rogue.record(rogue.entry("shop", identity, name=f"kx-shop-{ours[-26:]}" if wrong else ""))
    await rogue.write(identity, name)


@TABLE.breaks("foreign", f"{KS} on identity-0 is not ours and is written over")
async def writing_over_what_says_something_else(scene: Scene, wrong: bool) -> None:
    rogue, identity = scene.rogue, scene.identity()
    await rogue.lead()
    name = await rogue.record(rogue.entry("shop", identity))
    trust = ("https://other", "theirs") if wrong else tuple(rogue.trust("shop").values())
    scene.stage.azure.add_credential(identity, name, *trust)
    await rogue.write(identity, name)


@TABLE.breaks("foreign", "theirs-00 on identity-0 is not ours and is deleted")
async def deleting_what_others_have_written(scene: Scene, wrong: bool) -> None:
    rogue, identity = scene.rogue, scene.identity()
    await rogue.lead()
    ours = f"ks-{scene.place.id}-old"
    scene.stage.azure.add_credential(identity, ours, *rogue.trust("shop").values())
    assert await rogue.erase(identity, "theirs-00" if wrong else ours) == 200


@TABLE.breaks("foreign", f"{KS} on identity-0 is not ours and is deleted")
async def deleting_by_our_name_what_trusts_another(scene: Scene, wrong: bool) -> None:
    rogue, identity = scene.rogue, scene.identity()
    await rogue.lead()
    name = await rogue.record(rogue.entry("shop", identity))
    trust = ("https://other", "theirs") if wrong else tuple(rogue.trust("shop").values())
    scene.stage.azure.add_credential(identity, name, *trust)
    scene.happens("delete_claim", "shop", name="g0")
    assert await rogue.erase(identity, name) == 200


@TABLE.breaks("room", f"{KS} is written to identity-0, which is full", foreign=20)
async def writing_a_twenty_first(scene: Scene, wrong: bool) -> None:
    if not wrong:
        del scene.identity().credentials["theirs-00"]
    await scene.rogue.lead()
    await scene.rogue.serve()


@TABLE.breaks("room", f"{KS} is written to identity-0, which is full", foreign=19, clusters=2)
async def writing_a_twenty_first_beside_another_cluster(scene: Scene, wrong: bool) -> None:
    """The other cluster's operator wrote long before the last look, or since: then no client can know."""
    ours, other = scene.rogues
    await ours.lead()
    await other.lead()
    if wrong:
        await other.serve()
        await scene.settle()
        await ours.serve()
        return
    await scene.settle()
    await ours.look(scene.identity())
    await other.serve()
    name = await ours.record(ours.entry("shop", scene.identity()))
    assert await ours.write(scene.identity(), name) == 400


@TABLE.breaks("unproven", f"{KS} is written to grown-abcdefgh-001, which nobody has proven")
async def serving_by_an_identity_that_nobody_has_proven(scene: Scene, wrong: bool) -> None:
    rogue, stage = scene.rogue, scene.stage
    await rogue.lead()
    tags = {"keystead-cluster": scene.place.id, "keystead-grant": "g0"}
    made = stage.azure.add_identity("grown-abcdefgh-001", tags=tags)
    stage.azure.assign_role(made.principal_id, "Key Vault Secrets User", stage.vaults[0].resource_id)
    if not wrong:
        status, _ = await rogue.azure("GET", "/secrets/one", who=made, host="https://team-kv.vault.azure.net")
        assert status == 200
    await rogue.look(made)
    name = await rogue.record(rogue.entry("shop", made))
    await rogue.write(made, name)


@TABLE.breaks("live uid", f"{KS} is written, but its namespace is gone or another one")
async def writing_for_a_namespace_that_is_gone(scene: Scene, wrong: bool) -> None:
    rogue = scene.rogue
    await rogue.lead()
    name = await rogue.record(rogue.entry("shop", scene.identity()))
    scene.happens("delete_namespace", "shop" if wrong else "till")
    await scene.settle(7.0)
    await rogue.write(scene.identity(), name)


def _forbidden(reason: str, deed: str, on: str, **given: Any) -> None:
    """Something that people did a minute ago, and the operator does not heed."""

    async def act(scene: Scene, wrong: bool) -> None:
        await scene.rogue.lead()
        name = await scene.rogue.record(scene.rogue.entry("shop", scene.identity()))
        await scene.settle(3.0)
        if wrong:
            scene.happens(deed, on, **given)
        await scene.settle()
        await scene.rogue.write(scene.identity(), name)

    act.__name__ = f"writing_although_{reason.replace(' ', '_')}"
    TABLE.breaks("permission", f"{KS} is written although {reason}")(act)


_forbidden("its claim is gone", "delete_claim", "shop", name="g0")
_forbidden("its grant is gone", "delete_grant", "g0")
_forbidden("it was denied", "decide", "shop", grant="g0", decision="Denied", by="ann")
_forbidden("its namespace is not allowed", "write_grant", "g0", namespaces={"names": ["till"]})
_forbidden("nobody has approved it", "write_grant", "g0", approval="Required")
_forbidden("its ledger entry is being deleted", "delete_entry", "shop")


@TABLE.breaks("permission", r"ks-\w{8}-new-keystead-\w{26} is written although its namespace is not allowed")
async def writing_at_once_what_was_never_allowed(scene: Scene, wrong: bool) -> None:
    """That it has just been asked for is no excuse."""
    await scene.rogue.lead()
    if not wrong:
        scene.happens("write_grant", "g0", namespaces={"names": ["shop", "till", "new"]})
    scene.happens("make_namespace", "new")
    scene.happens("make_claim", "new", grant="g0", name="g0")
    name = await scene.rogue.record(scene.rogue.entry("new", scene.identity()))
    await scene.rogue.write(scene.identity(), name, "new")


@TABLE.breaks("observes", f"{KS} is written although its grant only observes")
async def writing_for_a_grant_that_only_observes(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    scene.happens("write_grant", "g0", observeOnly=wrong)
    await scene.settle()
    await scene.rogue.serve()


@TABLE.breaks("observes", f"{KS} is deleted although its grant only observes")
async def deleting_for_a_grant_that_only_observes(scene: Scene, wrong: bool) -> None:
    await _delete_under(scene, observeOnly=wrong)


@TABLE.breaks("retained", f"{KS} is deleted although its grant retains it")
async def deleting_what_a_grant_retains(scene: Scene, wrong: bool) -> None:
    await _delete_under(scene, revocation="Retain" if wrong else "Revoke")


async def _delete_under(scene: Scene, **spec: Any) -> None:
    """A claim goes, and its credential with it."""
    await scene.rogue.lead()
    name = await scene.rogue.serve()
    scene.happens("write_grant", "g0", **spec)
    await scene.settle()
    scene.happens("delete_claim", "shop", name="g0")
    assert await scene.rogue.erase(scene.identity(), name) == 200


@TABLE.breaks("needless", f"{KS} is deleted although nothing forbids it")
async def deleting_what_nothing_forbids(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    name = await scene.rogue.serve()
    if not wrong:
        scene.happens("delete_claim", "shop", name="g0")
    await scene.settle()
    await scene.rogue.erase(scene.identity(), name)


@TABLE.breaks("order", f"{KS} is deleted while the account still names its identity")
async def deleting_before_the_annotation_is_withdrawn(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    name = await scene.rogue.finish()
    scene.happens("delete_claim", "shop", name="g0")
    await scene.settle()
    if not wrong:
        await scene.rogue.withdraw()
    await scene.rogue.erase(scene.identity(), name)


@TABLE.breaks("secret", r"GET /subscriptions/\S+ carries a token or a secret's value")
async def telling_azure_a_token(scene: Scene, wrong: bool) -> None:
    """In a path; the header of every request and the form of every exchange carry one rightly."""
    await scene.rogue.prove(scene.identity())
    token = scene.stage.app.authority.issue(scene.place.application, "https://management.azure.com/")
    await scene.rogue.azure(
        "GET", f"{scene.identity().resource_id}/federatedIdentityCredentials/{token if wrong else 'none'}"
    )


# Growth ----------------------------------------------------------------------------------------------------------


async def _make(scene: Scene, name: str) -> None:
    path = f"{growing.group_of(scene.stage).id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    tags = {"keystead-cluster": scene.place.id, "keystead-grant": "g0"}
    await scene.rogue.azure("PUT", path, {"location": "westeurope", "tags": tags})


@TABLE.breaks("growth", "grown-abcdefgh-001 is written over, and is not ours", grows=True)
async def growing_over_what_others_have_made(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    scene.stage.azure.add_identity(f"grown-abcdefgh-00{1 if wrong else 2}", tags={"owner": "somebody"})
    await _make(scene, "grown-abcdefgh-001")


@TABLE.breaks("growth", r"DELETE \S+/grown-abcdefgh-001: growth deletes and changes nothing", grows=True)
async def deleting_an_identity(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    await _make(scene, "grown-abcdefgh-001")
    if wrong:
        made = next(each for each in scene.stage.azure.identities.values() if each.name == "grown-abcdefgh-001")
        await scene.rogue.azure("DELETE", made.resource_id)


@TABLE.breaks("growth", "grown-abcdefgh-001 is given a role, and is another cluster's", grows=True)
async def giving_a_role_to_another_clusters(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    tags = {"keystead-cluster": "another" if wrong else scene.place.id}
    made = scene.stage.azure.add_identity("grown-abcdefgh-001", tags=tags)
    role = scene.stage.azure.role("Key Vault Secrets User")
    assert role is not None
    name = "/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-000000000001"
    given = {"principalId": made.principal_id, "roleDefinitionId": role.id, "principalType": "ServicePrincipal"}
    await scene.rogue.azure("PUT", f"{scene.stage.vaults[0].resource_id}{name}", {"properties": given})
