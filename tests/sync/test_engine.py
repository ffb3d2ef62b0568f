"""The engine against the sandbox's Kubernetes and Azure: what people see, and what it costs."""

import asyncio
import base64
from typing import Any

import pytest

from keystead.sync.hashing import created_by, data_hash, field_manager, synced_resource_version
from keystead.sync.snapshot import SecretBytes

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]
ES = "/apis/external-secrets.io/v1/namespaces/t1/externalsecrets/es"
KV = "/apis/external-secrets.io/v1/namespaces/t1/secretstores/kv"
SECRET = "/api/v1/namespaces/t1/secrets/es"
ACCOUNT = "/api/v1/namespaces/t1/serviceaccounts/eso"
SYNCED = ("True", "SecretSynced", "secret synced")
NO_DATA = ("False", "SecretSyncedError", "could not get secret data from provider")


async def test_a_secret_is_made_with_every_mark(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()

    await asyncio.sleep(5)

    made = await stage.secret()
    data = {"password": SecretBytes(b"s3cr3t")}
    assert made["data"] == {"password": base64.b64encode(b"s3cr3t").decode()}
    assert made["type"] == "Opaque"
    assert made["metadata"]["labels"] == {
        "reconcile.external-secrets.io/managed": "true",
        "reconcile.external-secrets.io/created-by": created_by("t1", "es"),
    }
    assert made["metadata"]["annotations"] == {"reconcile.external-secrets.io/data-hash": data_hash(data)}
    owner = made["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ExternalSecret", "es", True)
    assert {entry["manager"] for entry in made["metadata"]["managedFields"]} == {field_manager("es")}
    status = await stage.status()
    assert await stage.ready() == SYNCED
    assert status["syncedResourceVersion"] == synced_resource_version(1, {}, {})
    assert status["binding"] == {"name": "es"}
    assert status["refreshTime"].startswith("2026-11-24T12:00:")
    assert await stage.ready("secretstores/kv") == ("True", "Valid", "store validated")
    assert ("Normal", "Created", "secret created") in await stage.events()


async def test_nothing_happens_while_nothing_changes(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)
    made, before = await stage.secret(), len(stage.azure.journal.entries())
    version = (await stage.call("GET", ES))["metadata"]["resourceVersion"]

    await asyncio.sleep(1800)

    assert await stage.secret() == made
    assert (await stage.call("GET", ES))["metadata"]["resourceVersion"] == version
    assert len(stage.azure.journal.entries()) == before


async def test_a_refresh_brings_a_new_value_and_writes_nothing_for_an_old_one(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(3700)
    unchanged = await stage.secret()
    first = (await stage.status())["refreshTime"]

    stage.put("db", "changed")
    await asyncio.sleep(3700)

    assert unchanged["metadata"]["resourceVersion"] != (await stage.secret())["metadata"]["resourceVersion"]
    assert await stage.data() == {"password": "changed"}
    assert (await stage.status())["refreshTime"] > first
    assert [event[1] for event in await stage.events()].count("Updated") == 1


async def test_an_annotation_refreshes_at_once(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)
    stage.put("db", "changed")

    await stage.patch(ES, {"metadata": {"annotations": {"force-sync": "1"}}})
    await asyncio.sleep(2)

    assert await stage.data() == {"password": "changed"}
    assert (await stage.status())["syncedResourceVersion"] == synced_resource_version(1, {}, {"force-sync": "1"})


@pytest.mark.parametrize("policy", ["Periodic", "CreatedOnce", "OnChange"])
async def test_a_deleted_secret_is_repaired(stage: Any, policy: str) -> None:
    await stage.begin()
    await stage.store()
    await stage.external(refreshPolicy=policy)
    await stage.start()
    await asyncio.sleep(5)
    stage.put("db", "changed")

    await stage.call("DELETE", SECRET)
    await asyncio.sleep(2)

    assert await stage.data() == {"password": "changed"}


async def test_a_changed_secret_is_repaired(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)

    await stage.patch(SECRET, {"data": {"password": base64.b64encode(b"mine").decode()}})
    await asyncio.sleep(2)

    assert await stage.data() == {"password": "s3cr3t"}


async def test_an_orphan_is_not_repaired_before_its_refresh(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external(target={"creationPolicy": "Orphan"})
    await stage.start()
    await asyncio.sleep(5)

    await stage.call("DELETE", SECRET)
    await asyncio.sleep(600)

    assert await stage.secret() is None
    await asyncio.sleep(3100)
    assert await stage.data() == {"password": "s3cr3t"}


async def test_a_foreign_label_stays(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)
    await stage.patch(SECRET, {"metadata": {"labels": {"x": "y"}}})

    stage.put("db", "changed")
    await stage.patch(ES, {"metadata": {"labels": {"app": "web"}}})
    await asyncio.sleep(2)

    labels = (await stage.secret())["metadata"]["labels"]
    assert (labels["x"], labels["app"]) == ("y", "web")


async def test_merging_keeps_others_keys_and_drops_ours(stage: Any) -> None:
    await stage.begin()
    stage.put("other", "o")
    body = {"metadata": {"name": "es"}, "data": {"theirs": base64.b64encode(b"t").decode()}}
    await stage.call("POST", "/api/v1/namespaces/t1/secrets", body)
    both = [{"secretKey": key, "remoteRef": {"key": key}} for key in ("db", "other")]
    await stage.store()
    await stage.external(target={"creationPolicy": "Merge"}, data=both)
    await stage.start()
    await asyncio.sleep(5)
    assert await stage.data() == {"theirs": "t", "db": "s3cr3t", "other": "o"}

    await stage.patch(ES, {"spec": {"data": both[:1]}})
    await asyncio.sleep(2)

    assert await stage.data() == {"theirs": "t", "db": "s3cr3t"}
    assert "ownerReferences" not in (await stage.secret())["metadata"]


async def test_a_renamed_target_leaves_no_secret_behind(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)

    await stage.patch(ES, {"spec": {"target": {"name": "renamed"}}})
    await asyncio.sleep(2)

    assert await stage.secret() is None
    assert await stage.data("renamed") == {"password": "s3cr3t"}
    assert ("Normal", "Deleted", "secret deleted because it was orphaned") in await stage.events()


async def test_a_secret_that_leaves_the_vault_is_deleted_and_comes_back(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external(target={"deletionPolicy": "Delete"})
    await stage.start()
    await asyncio.sleep(5)

    held = stage.vault.secrets.pop("db")
    await stage.patch(ES, {"metadata": {"annotations": {"go": "1"}}})
    await asyncio.sleep(2)

    assert await stage.secret() is None
    assert await stage.ready() == ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")
    said = "secret does not exist at provider using spec.dataFrom[0] (key=db)"
    assert ("Normal", "MissingProviderSecret", said) in await stage.events()
    stage.vault.secrets["db"] = held
    await stage.patch(ES, {"metadata": {"annotations": {"go": "2"}}})
    await asyncio.sleep(2)
    assert await stage.data() == {"password": "s3cr3t"}


async def test_a_missing_secret_fails_and_keeps_what_is_there(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)
    before = await stage.status()

    stage.vault.secrets.pop("db")
    await stage.patch(ES, {"metadata": {"annotations": {"go": "1"}}})
    await asyncio.sleep(2)

    assert await stage.ready() == NO_DATA
    assert await stage.data() == {"password": "s3cr3t"}
    assert (await stage.status())["refreshTime"] == before["refreshTime"]
    said = "error processing spec.data[0] (key: db), err: Secret does not exist"
    assert ("Warning", "UpdateFailed", said) in await stage.events()


async def test_failing_and_recovering_move_the_transition_time_twice(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)
    times = [(await stage.status())["conditions"][0]["lastTransitionTime"]]

    stage.fault(service="keyvault", status=500, code="InternalServerError", seconds=60)
    await stage.patch(ES, {"metadata": {"annotations": {"go": "1"}}})
    await asyncio.sleep(3)
    times.append((await stage.status())["conditions"][0]["lastTransitionTime"])
    await asyncio.sleep(20)
    still = (await stage.status())["conditions"][0]["lastTransitionTime"]
    await asyncio.sleep(200)
    times.append((await stage.status())["conditions"][0]["lastTransitionTime"])

    assert await stage.ready() == SYNCED
    assert still == times[1]
    assert len(set(times)) == 3


async def test_a_disabled_secret_is_not_missing(stage: Any) -> None:
    await stage.begin()
    stage.put("off", "x", enabled=False)
    await stage.store()
    await stage.external(data=[{"secretKey": "off", "remoteRef": {"key": "off"}}], target={"deletionPolicy": "Delete"})
    await stage.start()

    await asyncio.sleep(2)

    assert await stage.ready() == NO_DATA
    assert any("403 SecretDisabled" in note for _, _, note in await stage.events())


async def test_a_document_is_spread_and_a_version_and_a_tag_are_read(stage: Any) -> None:
    await stage.begin()
    old = stage.put("db2", "old")
    stage.put("db2", "new", tags={"env": "prod"})
    stage.put("json", '{"user":"u1","n":1.50}')
    data = [
        {"secretKey": "old", "remoteRef": {"key": "db2", "version": old.version}},
        {"secretKey": "env", "remoteRef": {"key": "db2", "metadataPolicy": "Fetch", "property": "env"}},
    ]
    await stage.store()
    await stage.external(data=data, dataFrom=[{"extract": {"key": "json"}}])
    await stage.start()

    await asyncio.sleep(5)

    assert await stage.data() == {"user": "u1", "n": "1.50", "old": "old", "env": "prod"}


@pytest.mark.parametrize("controller", ["", "default", "other"])
async def test_stores_of_others_are_not_touched(stage: Any, controller: str) -> None:
    await stage.begin()
    await stage.store(controller=controller)
    await stage.external()
    before = await stage.call("GET", KV), await stage.call("GET", ES)
    await stage.start()

    await asyncio.sleep(600)

    assert (await stage.call("GET", KV), await stage.call("GET", ES)) == before
    assert await stage.secret() is None
    assert await stage.events() == []
    assert stage.azure.journal.entries() == []


@pytest.mark.parametrize(
    ("notes", "text"),
    [
        (
            {"azure.workload.identity/client-id": None},
            (
                "missing clientID: either serviceAccountRef or service account annotation "
                "'azure.workload.identity/client-id' is missing"
            ),
        ),
        ({"azure.workload.identity/tenant-id": None}, "missing tenantID in store config"),
    ],
)
async def test_an_account_without_an_id_is_said(stage: Any, notes: dict[str, Any], text: str) -> None:
    await stage.begin()
    await stage.patch(ACCOUNT, {"metadata": {"annotations": notes}})
    await stage.store()
    await stage.external()
    await stage.start()

    await asyncio.sleep(2)

    assert await stage.ready("secretstores/kv") == ("False", "InvalidProviderConfig", "unable to create client")
    assert await stage.ready() == NO_DATA
    events = await stage.events()
    assert ("Warning", "InvalidProviderConfig", text) in events
    refused = 'error processing spec.data[0] (key: db), err: SecretStore "kv" is not ready'
    assert ("Warning", "UpdateFailed", refused) in events


async def test_a_missing_account_is_said(stage: Any) -> None:
    await stage.begin()
    await stage.call("DELETE", ACCOUNT)
    await stage.store()
    await stage.start()

    await asyncio.sleep(2)

    assert ("Warning", "InvalidProviderConfig", 'ServiceAccount "eso" not found') in await stage.events()


async def test_a_tenant_in_two_places_is_said_and_the_new_sdk_takes_the_stores(stage: Any) -> None:
    await stage.begin()
    tenant = next(iter(stage.azure.tenants))
    await stage.store(tenantId=tenant)
    await stage.store(name="kv2", tenantId=tenant, useAzureSDK=True)
    await stage.start()

    await asyncio.sleep(2)

    text = "multiple tenantID found. Check secretRef, 'spec.provider.azurekv.tenantId', and serviceAccountRef"
    assert ("Warning", "InvalidProviderConfig", text) in await stage.events()
    assert await stage.ready("secretstores/kv2") == ("True", "Valid", "store validated")


async def test_objects_made_together_never_fail_first(stage: Any) -> None:
    await stage.begin()
    await stage.start()
    await stage.external()
    await stage.store()

    await asyncio.sleep(5)

    assert await stage.ready() == SYNCED
    assert [event[0] for event in await stage.events()] == ["Normal", "Normal"]


async def test_a_bad_vault_address_keeps_the_old_value(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)

    await stage.patch(KV, {"spec": {"provider": {"azurekv": {"vaultUrl": "https://elsewhere.example"}}}})
    await stage.patch(ES, {"metadata": {"annotations": {"go": "1"}}})
    await asyncio.sleep(5)

    assert await stage.ready("secretstores/kv") == ("False", "InvalidProviderConfig", "unable to create client")
    assert await stage.ready() == NO_DATA
    assert await stage.data() == {"password": "s3cr3t"}


async def test_two_namespaces_of_one_identity_share_reads_but_sign_in_each(stage: Any) -> None:
    await stage.begin()
    identity = next(iter(stage.azure.identities.values()))
    stage.azure.add_credential(identity, "t2", "https://kubernetes.sandbox", "system:serviceaccount:t2:eso")
    await stage.namespace("t2", client=identity.client_id, tenant=identity.tenant_id)
    for namespace in ("t1", "t2"):
        await stage.store(namespace)
        await stage.external(namespace=namespace)
    await stage.start()

    await asyncio.sleep(5)

    assert await stage.data(namespace="t2") == {"password": "s3cr3t"}
    assert len([each for each in stage.calls("entra") if each.method == "POST"]) == 2


async def test_a_namespace_without_trust_gets_nothing_that_another_read(stage: Any) -> None:
    await stage.begin()
    identity = next(iter(stage.azure.identities.values()))
    await stage.namespace("t2", client=identity.client_id, tenant=identity.tenant_id)
    for namespace in ("t1", "t2"):
        await stage.store(namespace)
        await stage.external(namespace=namespace)
    await stage.start()

    await asyncio.sleep(60)

    assert await stage.data() == {"password": "s3cr3t"}
    assert await stage.secret(namespace="t2") is None
    assert await stage.ready(namespace="t2") == NO_DATA


async def test_trust_that_comes_late_heals_the_store_and_wakes_its_secrets_at_once(stage: Any) -> None:
    await stage.begin()
    identity = next(iter(stage.azure.identities.values()))
    identity.credentials.clear()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(100)
    assert await stage.ready("secretstores/kv") == ("False", "InvalidProviderConfig", "unable to create client")

    stage.azure.add_credential(identity, "t1", "https://kubernetes.sandbox", "system:serviceaccount:t1:eso")
    await asyncio.sleep(95)
    await stage.patch(KV, {"metadata": {"annotations": {"keystead.dev/nudged": "1"}}})
    await asyncio.sleep(1)

    assert await stage.ready("secretstores/kv") == ("True", "Valid", "store validated")
    assert await stage.data() == {"password": "s3cr3t"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"target": {"template": {"type": "Opaque"}}}, "spec.target.template needs External Secrets Operator"),
        (
            {"data": [], "dataFrom": [{"find": {"name": {"regexp": ".*"}}}]},
            "spec.dataFrom[0].find needs External Secrets Operator",
        ),
        (
            {"data": [{"secretKey": "k", "remoteRef": {"key": "db", "property": "@this"}}]},
            "error processing spec.data[0] (key: db), err: property '@this' needs External Secrets Operator",
        ),
    ],
    ids=["a template", "find", "a modifier"],
)
async def test_what_is_not_done_says_so_and_leaves_the_secret_alone(stage: Any, spec: Any, said: str) -> None:
    await stage.begin()
    mine = {"metadata": {"name": "es"}, "data": {"mine": base64.b64encode(b"x").decode()}}
    await stage.call("POST", "/api/v1/namespaces/t1/secrets", mine)
    await stage.store()
    await stage.external(**spec)
    await stage.start()

    await asyncio.sleep(5)

    assert await stage.ready() == ("False", "Unsupported", said)
    assert await stage.data() == {"mine": "x"}


async def test_a_store_that_is_not_for_us_to_serve_says_so(stage: Any) -> None:
    await stage.begin()
    await stage.store(authType="ManagedIdentity")
    await stage.start()

    await asyncio.sleep(2)

    said = "spec.provider.azurekv.authType ManagedIdentity needs External Secrets Operator"
    assert await stage.ready("secretstores/kv") == ("False", "Unsupported", said)


async def test_many_that_want_one_secret_cost_one_read_and_one_sign_in(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    for number in range(40):
        await stage.external(f"es-{number}")
    await stage.start()

    await asyncio.sleep(10)

    assert len(stage.calls("keyvault")) == 1
    tokens = [each for each in stage.calls("entra") if each.method == "POST"]
    assert len(tokens) == 1
    assert [await stage.data(f"es-{number}") for number in range(40)] == [{"password": "s3cr3t"}] * 40


async def test_tokens_are_renewed_once_an_hour(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external(refreshInterval="10m")
    await stage.start()

    await asyncio.sleep(6 * 3600)

    tokens = [each for each in stage.calls("entra") if each.method == "POST"]
    assert 6 <= len(tokens) <= 9


async def test_a_restart_reads_nothing_that_is_fresh(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)
    await stage.stop()
    before, reads = await stage.call("GET", ES), len(stage.calls("keyvault"))

    await stage.start()
    await asyncio.sleep(60)

    assert len(stage.calls("keyvault")) == reads
    assert await stage.call("GET", ES) == before


async def test_a_throttled_vault_is_left_in_peace_for_as_long_as_it_says(stage: Any) -> None:
    await stage.begin()
    stage.fault(service="keyvault", path="/secrets/db", status=429, code="Throttled", retry_after=20, times=1)
    await stage.store()
    await stage.external()
    for number in range(10):
        await stage.external(f"es-{number}")
    await stage.start()

    await asyncio.sleep(15)
    asked = [each for each in stage.azure.journal.entries() if each.service == "keyvault" and each.status == 429]
    assert len(asked) == 1
    assert await stage.ready() is None
    await asyncio.sleep(20)

    assert await stage.data() == {"password": "s3cr3t"}
    assert await stage.ready() == SYNCED


async def test_a_deleted_external_secret_of_esos_is_released(stage: Any) -> None:
    await stage.begin()
    await stage.store()
    await stage.external()
    await stage.start()
    await asyncio.sleep(5)
    finalizer = "externalsecrets.external-secrets.io/externalsecret-cleanup"
    await stage.patch(ES, {"metadata": {"finalizers": [finalizer]}})

    await stage.call("DELETE", ES)
    await asyncio.sleep(2)

    assert await stage.call("GET", ES) is None


async def test_no_value_is_said_anywhere(stage: Any, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
    await stage.begin()
    planted = "PLANTED-7f3a9"
    caplog.set_level("DEBUG")
    stage.put("doc", f'{{"a b":"{planted}","a_b":"{planted}"}}')
    stage.put("raw", planted)
    stage.put("nul", f"{planted}\0")
    refs: list[dict[str, Any]] = [
        {"key": "raw", "property": "x"},
        {"key": "raw", "decodingStrategy": "Base64"},
        {"key": "nul", "nullBytePolicy": "Fail"},
        {"key": "raw"},
    ]
    await stage.store()
    for number, ref in enumerate(refs):
        await stage.external(f"d-{number}", data=[{"secretKey": "k", "remoteRef": ref}])
    for number, key in enumerate(("doc", "raw")):
        await stage.external(f"f-{number}", data=[], dataFrom=[{"extract": {"key": key}}])
    await stage.external("bad", target={"name": "Not_A_Name"})
    await stage.start()

    await asyncio.sleep(120)

    assert await stage.data("d-3") == {"k": planted}
    seen = capfd.readouterr()
    statuses = [str(await stage.call("GET", f"{ES.removesuffix('es')}{name}")) for name in ("d-0", "d-1", "d-2", "f-0")]
    everything = "\n".join((seen.out, seen.err, caplog.text, str(await stage.events()), *statuses))
    assert "UpdateFailed" in everything
    assert planted not in everything


async def test_an_engine_that_lost_its_lease_stands_back_until_it_has_it_again(stage: Any) -> None:
    await stage.begin()
    await stage.start()
    await stage.store()
    await stage.external()
    await asyncio.sleep(10)
    lease = await stage.call("GET", "/apis/coordination.k8s.io/v1/namespaces/keystead-system/leases/keystead-sync")
    lease["spec"] |= {"holderIdentity": "another", "leaseDurationSeconds": 30}
    await stage.call("PUT", "/apis/coordination.k8s.io/v1/namespaces/keystead-system/leases/keystead-sync", lease)
    await asyncio.sleep(10)
    await stage.external("second")
    await asyncio.sleep(10)
    stood_back = await stage.data("second")
    await asyncio.sleep(30)

    assert stood_back is None
    assert await stage.data("second") == {"password": "s3cr3t"}
