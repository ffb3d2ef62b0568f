"""Wrongs that a cluster sees: what is taken over, annotated, forced, deleted and told."""

from typing import Any

from simulation.people import API, CLIENT
from simulation.scene import Scene, event
from simulation.secrecy import PLANTED
from simulation.wrongs import KS, Table

TABLE = Table()
_STORE = "/apis/external-secrets.io/v1/namespaces/shop/secretstores/azure-store"
_ACCOUNT = "/api/v1/namespaces/shop/serviceaccounts/keystead"


# Adoption --------------------------------------------------------------------------------------------------------


async def _by_hand(scene: Scene, word: str = "*", **trust: str) -> None:
    """A credential for the shop that was made by hand, and an admin's word on it."""
    given = {**scene.rogue.trust("shop"), **trust}
    scene.stage.azure.add_credential(scene.identity(), "by-hand", given["issuer"], given["subject"])
    if word:
        scene.happens("say_adopt", "g0", word=word)
    await scene.settle()
    await scene.rogue.lead()
    await scene.rogue.look(scene.identity())


@TABLE.breaks("adoption", "by-hand is taken over, and nobody has said so")
async def taking_over_without_a_word(scene: Scene, wrong: bool) -> None:
    await _by_hand(scene, "till" if wrong else "shop/keystead")
    scene.happens("make_namespace", "busy")
    await scene.rogue.record(scene.rogue.entry("shop", scene.identity(), held_as="by-hand"))


@TABLE.breaks("adoption", "by-hand is taken over, and nobody has said so")
async def taking_over_when_the_word_is_long_withdrawn(scene: Scene, wrong: bool) -> None:
    await _by_hand(scene)
    if wrong:
        scene.happens("say_adopt", "g0", word="till")
    await scene.settle()
    await scene.rogue.record(scene.rogue.entry("shop", scene.identity(), held_as="by-hand"))


@TABLE.breaks("adoption", "by-hand is taken over, which trusts something else")
async def taking_over_what_trusts_something_else(scene: Scene, wrong: bool) -> None:
    await _by_hand(scene)
    entry = scene.rogue.entry("shop", scene.identity(), held_as="by-hand")
    entry["spec"]["credential"]["audience"] = "api://else" if wrong else entry["spec"]["credential"]["audience"]
    await scene.rogue.record(entry)


@TABLE.breaks("adoption", "by-hand is taken over, and does not stand")
async def taking_over_what_does_not_stand(scene: Scene, wrong: bool) -> None:
    await _by_hand(scene, **({"subject": "another"} if wrong else {}))
    await scene.rogue.record(scene.rogue.entry("shop", scene.identity(), held_as="by-hand"))


@TABLE.breaks("look first", "by-hand is others' too, and is deleted without a look at it")
async def deleting_what_was_taken_over_without_a_look(scene: Scene, wrong: bool) -> None:
    await _by_hand(scene)
    await scene.rogue.record(scene.rogue.entry("shop", scene.identity(), held_as="by-hand"))
    scene.happens("delete_claim", "shop", name="g0")
    await scene.settle()
    if not wrong:
        await scene.rogue.look(scene.identity())
    assert await scene.rogue.erase(scene.identity(), "by-hand") == 200
    scene.judge.look()
    assert scene.judge.breaks == []


# Writes to Kubernetes --------------------------------------------------------------------------------------------


@TABLE.breaks("finalizers", f"PATCH {_ACCOUNT} sets finalizers")
async def setting_a_finalizer_on_what_is_not_ours(scene: Scene, wrong: bool) -> None:
    metadata = {"name": "keystead", **({"finalizers": ["keystead.dev/revoke"]} if wrong else {})}
    await scene.rogue.kube("PATCH", _ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def _unproven(how: str, *parts: str) -> None:
    async def act(scene: Scene, wrong: bool) -> None:
        rogue, identity = scene.rogue, scene.identity()
        await rogue.lead()
        for part in parts if wrong else ("serve", "wait", "prove", "prove"):
            if part == "serve":
                await rogue.serve()
            elif part == "wait":
                await scene.settle(20)
            else:
                await rogue.prove(identity)
        await rogue.annotate(identity)

    act.__name__ = f"annotating_{how}"
    TABLE.breaks("annotation", "shop/keystead is annotated without a proven exchange")(act)


_unproven("without_an_exchange", "serve", "wait")
_unproven("after_one_exchange", "serve", "wait", "prove")
_unproven("after_exchanges_that_failed", "serve", "prove", "prove")
_unproven(
    "after_one_that_failed_and_one_that_did_not", "serve", "prove", "wait", "wait", "wait", "wait", "wait", "prove"
)


@TABLE.breaks("annotation", "shop/keystead is annotated without a proven exchange")
async def annotating_after_exchanges_of_an_older_credential(scene: Scene, wrong: bool) -> None:
    rogue, identity = scene.rogue, scene.identity()
    await rogue.lead()
    name = await rogue.finish()
    if wrong:
        scene.happens("delete_ours", "identity-0", nth=0)
        await scene.settle()
        assert await rogue.write(identity, name) == 201
    await scene.settle()
    await rogue.annotate(identity)


@TABLE.breaks("forgotten", f"the ledger entry {KS} goes while its credential stands")
async def forgetting_what_still_stands(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    name = await scene.rogue.serve()
    scene.happens("delete_claim", "shop", name="g0")
    await scene.settle()
    if not wrong:
        await scene.rogue.erase(scene.identity(), name)
    await scene.rogue.forget(name)


@TABLE.breaks("force", "shop/azure-store is applied by force, and nobody has said so")
async def applying_by_force_without_a_word(scene: Scene, wrong: bool) -> None:
    await scene.rogue.kube("PATCH", _STORE, _store(), **({"force": "true"} if wrong else {}))


@TABLE.breaks("force", "shop/keystead is applied by force, and nobody has said so")
async def applying_by_force_when_the_word_is_for_another(scene: Scene, wrong: bool) -> None:
    scene.happens("say_adopt", "g0", word="till" if wrong else "*")
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "keystead"}}
    await scene.rogue.kube("PATCH", _ACCOUNT, body, force="true")


@TABLE.breaks("force", "shop/azure-store is applied by force, and nobody has said so")
async def taking_fields_off_a_store_without_a_word(scene: Scene, wrong: bool) -> None:
    """A merge asks no owner either; a mark on the store is none."""
    await scene.rogue.kube("PATCH", _STORE, _store())
    less = {"spec": {"provider": {"azurekv": {"tenantId": None}}}}
    await scene.rogue.kube("PATCH", _STORE, less if wrong else {"metadata": {"annotations": {"a": "b"}}})


def _store() -> dict[str, Any]:
    vault = {"authType": "WorkloadIdentity", "vaultUrl": "https://team-kv.vault.azure.net"}
    spec = {"provider": {"azurekv": {**vault, "serviceAccountRef": {"name": "keystead"}}}}
    kind = {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore"}
    return {**kind, "metadata": {"name": "azure-store"}, "spec": spec}


@TABLE.breaks("foreign", "shop/vaultclaims/mine is not ours and is deleted")
async def deleting_a_claim_that_a_tenant_has_made(scene: Scene, wrong: bool) -> None:
    folder = f"/apis/{API}/namespaces/shop/vaultclaims"
    if wrong:
        scene.happens("make_claim", "shop", grant="g0", name="mine")
    else:
        metadata = {"name": "mine", "labels": {"app.kubernetes.io/managed-by": "keystead"}}
        claim = {"apiVersion": API, "kind": "VaultClaim", "metadata": metadata, "spec": {"grantName": "g0"}}
        await scene.rogue.kube("POST", folder, claim)
    await scene.rogue.kube("DELETE", f"{folder}/mine")


@TABLE.breaks("foreign", "shop/keystead names an identity by others' word, and loses it")
async def withdrawing_an_annotation_that_others_have_made(scene: Scene, wrong: bool) -> None:
    await scene.rogue.lead()
    if wrong:
        scene.happens("make_account", "shop", annotated=True)
    else:
        await scene.rogue.finish()
    account = scene.place.object("serviceaccounts", "keystead", "shop")
    assert account is not None
    assert CLIENT in account["metadata"]["annotations"]
    await scene.rogue.withdraw()


@TABLE.breaks("secret", "POST /apis/events.k8s.io/v1/namespaces/shop/events carries a token or a secret's value")
async def telling_a_secret_in_an_event(scene: Scene, wrong: bool) -> None:
    body = event("shop", PLANTED if wrong else "fine")
    await scene.rogue.kube("POST", "/apis/events.k8s.io/v1/namespaces/shop/events", body)
    assert len(scene.place.objects("events", "shop")) == 1
