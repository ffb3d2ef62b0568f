"""Create, read, update, delete: names, versions, preconditions, dry runs, what each kind refuses."""

import base64

import pytest

from sandbox_kube.kube_api import Api

pytestmark = pytest.mark.looptime
CM = "/api/v1/namespaces/default/configmaps"
NS = "/api/v1/namespaces"
SECRETS = "/api/v1/namespaces/default/secrets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


async def test_a_new_object_gets_what_the_system_gives(api: Api) -> None:
    made = (await api.config("a", data={"k": "v"}))["metadata"]

    assert made["namespace"] == "default"
    assert made["creationTimestamp"] == "2026-11-24T12:00:00Z"
    assert len(made["uid"]) == 36
    assert int(made["resourceVersion"]) > 1
    assert "generation" not in made, "a ConfigMap has no desired state to count"


async def test_what_the_system_gives_cannot_be_asked_for(api: Api) -> None:
    made = await api.config("a", metadata={"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z"})

    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["creationTimestamp"] == "2026-11-24T12:00:00Z"


async def test_a_generated_name_begins_with_its_prefix(api: Api) -> None:
    names = {(await api.ask("POST", CM, {"metadata": {"generateName": "job-"}}))["metadata"]["name"] for _ in range(20)}

    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_two_controllers_cannot_own_one_object(api: Api) -> None:
    owners = [{"apiVersion": "v1", "kind": "X", "name": n, "uid": n, "controller": True} for n in ("a", "b")]
    answer = await api.ask("POST", CM, {"metadata": {"name": "a", "ownerReferences": owners}}, expect=422)

    assert "Controller" in answer["message"]


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.config("a")
    answer = await api.ask("POST", CM, {"metadata": {"name": "a"}}, expect=409)

    assert answer["reason"] == "AlreadyExists"
    assert answer["details"] == {"name": "a", "kind": "configmaps"}


async def test_what_is_not_there_is_named(api: Api) -> None:
    answer = await api.ask("GET", f"{CM}/a", expect=404)

    assert answer["message"] == 'configmaps "a" not found'
    assert answer["details"] == {"name": "a", "kind": "configmaps"}


async def test_a_replacement_of_an_old_version_is_a_conflict(api: Api) -> None:
    first = await api.config("a", data={"k": "1"})
    await api.ask("PUT", f"{CM}/a", {**first, "data": {"k": "2"}})
    answer = await api.ask("PUT", f"{CM}/a", {**first, "data": {"k": "3"}}, expect=409)

    assert answer["reason"] == "Conflict"
    assert "the object has been modified" in answer["message"]
    assert (await api.ask("GET", f"{CM}/a"))["data"] == {"k": "2"}


async def test_a_write_that_changes_nothing_makes_no_version(api: Api) -> None:
    first = await api.config("a", data={"k": "1"})
    again = await api.ask("PUT", f"{CM}/a", first)

    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_another_uid_is_another_object(api: Api) -> None:
    first = await api.config("a")
    first["metadata"] |= {"uid": "0", "resourceVersion": ""}

    assert "UID in precondition: 0" in (await api.ask("PUT", f"{CM}/a", first, expect=409))["message"]


async def test_a_finalizer_holds_an_object_until_it_is_taken_away(api: Api) -> None:
    await api.config("a", metadata={"finalizers": ["example.org/x"]})
    held = await api.ask("DELETE", f"{CM}/a")
    assert held["metadata"]["deletionTimestamp"] == "2026-11-24T12:00:00Z"
    again = await api.ask("DELETE", f"{CM}/a")
    assert again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]

    more = {"metadata": {"finalizers": ["example.org/x", "example.org/y"]}}
    refused = await api.ask("PATCH", f"{CM}/a", more, type_="application/merge-patch+json", expect=422)
    assert "no new finalizers can be added" in refused["message"]

    await api.ask("PATCH", f"{CM}/a", {"metadata": {"finalizers": None}}, type_="application/merge-patch+json")
    await api.ask("GET", f"{CM}/a", expect=404)


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_dry_run_leaves_no_trace(api: Api, verb: str) -> None:
    made = await api.config("a", data={"k": "1"})
    before = api.cluster.store.version
    item, path = {"metadata": {"name": "a"}, "data": {"k": "2"}}, f"{CM}/a"
    if verb == "POST":
        item, path = {"metadata": {"name": "b"}}, CM
    type_ = "application/merge-patch+json" if verb == "PATCH" else "application/json"
    shown = await api.ask(verb, f"{path}?dryRun=All", None if verb == "DELETE" else item, type_=type_)

    assert shown.get("data", {}).get("k") in (None, "2")
    assert api.cluster.store.version == before
    assert await api.ask("GET", f"{CM}/a") == made


async def test_plain_secret_values_are_stored_encoded_and_never_shown_as_given(api: Api) -> None:
    made = await api.ask("POST", SECRETS, {"metadata": {"name": "a"}, "stringData": {"k": "v"}})

    assert made["data"] == {"k": base64.b64encode(b"v").decode()}
    assert made["type"] == "Opaque"
    assert "stringData" not in made


async def test_a_secret_keeps_its_type_and_an_immutable_one_its_data(api: Api) -> None:
    made = await api.ask("POST", SECRETS, {"metadata": {"name": "a"}, "data": {"k": "dg=="}, "immutable": True})

    typed = await api.ask("PUT", f"{SECRETS}/a", {**made, "type": "other"}, expect=422)
    assert typed["details"]["causes"][0]["field"] == "type"
    frozen = await api.ask("PUT", f"{SECRETS}/a", {**made, "data": {"k": "dw=="}}, expect=422)
    assert "immutable" in frozen["message"]
    labelled = {**made, "metadata": {**made["metadata"], "labels": {"a": "b"}}}
    assert (await api.ask("PUT", f"{SECRETS}/a", labelled))["metadata"]["labels"] == {"a": "b"}


async def test_a_binding_never_changes_its_role(api: Api) -> None:
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    made = await api.ask(
        "POST", path, {"metadata": {"name": "system:a"}, "roleRef": {"kind": "ClusterRole", "name": "r"}}
    )
    other = {**made, "roleRef": {"kind": "ClusterRole", "name": "s"}}

    assert "cannot change roleRef" in (await api.ask("PUT", f"{path}/system:a", other, expect=422))["message"]


async def test_a_collection_is_deleted_by_label(api: Api) -> None:
    for name, label in (("a", "x"), ("b", "y")):
        await api.config(name, metadata={"labels": {"l": label}})
    await api.ask("DELETE", f"{CM}?labelSelector=l=x")

    names = [each["metadata"]["name"] for each in (await api.ask("GET", CM))["items"]]
    assert names == ["b", "kube-root-ca.crt"]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'"text"'])
async def test_a_body_that_is_no_object_is_a_bad_request(api: Api, content: bytes) -> None:
    assert (await api.ask("POST", CM, content, expect=400))["reason"] == "BadRequest"


async def test_a_body_of_another_kind_of_text_is_not_supported(api: Api) -> None:
    answer = await api.ask("POST", CM, b"<a/>", type_="application/xml", expect=415)

    assert answer["reason"] == "UnsupportedMediaType"


async def test_a_failure_of_the_server_itself_is_a_status_too(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.cluster.store.put(
        ("", "configmaps"), {"metadata": {"name": "a", "namespace": "default", "uid": "1", "labels": 7}}
    )
    answer = await api.ask("GET", f"{CM}?labelSelector=a=b", expect=500)

    assert (answer["reason"], "failed" in caplog.text) == ("InternalError", True)
    assert api.journal.entries()[-1].code == "InternalError"
