"""What happens by itself: namespaces, owners and dependents."""

import pytest

from sandbox_kube.kube_api import CA_PEM, CRDS, Api, Object, crd

pytestmark = pytest.mark.looptime
MERGE = "application/merge-patch+json"
NS = "/api/v1/namespaces"


async def test_the_cluster_begins_with_its_own_namespaces_and_an_id(api: Api) -> None:
    found = {each["metadata"]["name"]: each for each in (await api.ask("GET", NS))["items"]}

    assert set(found) == {"default", "kube-node-lease", "kube-public", "kube-system"}
    assert api.cluster.cluster_id == found["kube-system"]["metadata"]["uid"]


async def test_a_namespace_is_furnished_and_labelled(api: Api) -> None:
    made = await api.namespace("shop", labels={"team": "a"})

    assert made["metadata"]["labels"] == {"team": "a", "kubernetes.io/metadata.name": "shop"}
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    await api.ask("GET", f"{NS}/shop/serviceaccounts/default")
    assert (await api.ask("GET", f"{NS}/shop/configmaps/kube-root-ca.crt"))["data"] == {"ca.crt": CA_PEM}


async def test_a_namespace_goes_with_all_that_is_in_it_and_a_new_one_is_another(api: Api) -> None:
    first = await api.namespace("shop")
    await api.config("a", "shop")
    async with api.watch(f"{NS}?resourceVersion={api.cluster.store.version}") as watch:
        answer = await api.ask("DELETE", f"{NS}/shop")
        assert answer["metadata"]["name"] == "shop"
        events = [await watch.next()]
        while events[-1]["type"] != "DELETED":
            events.append(await watch.next())

    assert events[0]["object"]["status"]["phase"] == "Terminating"
    assert api.cluster.store.is_empty("shop")
    await api.ask("GET", f"{NS}/shop/configmaps/a", expect=404)
    assert (await api.namespace("shop"))["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_namespace_waits_for_its_own_finalizers(api: Api) -> None:
    await api.namespace("shop", finalizers=["example.org/x"])
    await api.ask("DELETE", f"{NS}/shop")
    held = await api.ask("GET", f"{NS}/shop")
    assert held["metadata"]["finalizers"] == ["example.org/x"]

    await api.ask("PATCH", f"{NS}/shop", {"metadata": {"finalizers": None}}, type_=MERGE)
    await api.ask("GET", f"{NS}/shop", expect=404)


async def test_a_namespace_waits_for_who_stands_in_its_spec(api: Api) -> None:
    made = await api.namespace("shop")
    made["spec"]["finalizers"].append("example.org/x")
    await api.ask("PUT", f"{NS}/shop/finalize", made)
    await api.ask("DELETE", f"{NS}/shop")
    held = await api.ask("GET", f"{NS}/shop")

    assert held["spec"]["finalizers"] == ["example.org/x"]
    await api.ask("PUT", f"{NS}/shop/finalize", {**held, "spec": {"finalizers": []}})
    await api.ask("GET", f"{NS}/shop", expect=404)


async def test_only_finalize_changes_the_spec_of_a_namespace(api: Api) -> None:
    await api.namespace("shop")
    changed = await api.ask("PATCH", f"{NS}/shop", {"spec": {"finalizers": []}}, type_=MERGE)

    assert changed["spec"] == {"finalizers": ["kubernetes"]}


def _owned(*owners: Object, block: bool = False) -> Object:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", **{k: owner["metadata"][k] for k in ("name", "uid")}}
        | ({"blockOwnerDeletion": True} if block else {})
        for owner in owners
    ]
    return {"ownerReferences": references}


async def _there(api: Api) -> list[str]:
    found = (await api.ask("GET", f"{NS}/default/configmaps"))["items"]
    return [each["metadata"]["name"] for each in found if each["metadata"]["name"] != "kube-root-ca.crt"]


async def test_dependents_go_with_their_owner_and_theirs_with_them(api: Api) -> None:
    owner = await api.config("a")
    child = await api.config("b", metadata=_owned(owner))
    await api.config("c", metadata=_owned(child))
    await api.ask("DELETE", f"{NS}/default/configmaps/a")

    assert await _there(api) == []


async def test_a_dependent_stays_while_one_owner_lives_and_forgets_the_other(api: Api) -> None:
    one, two = await api.config("a"), await api.config("b")
    await api.config("c", metadata=_owned(one, two))
    await api.ask("DELETE", f"{NS}/default/configmaps/a")

    left = await api.ask("GET", f"{NS}/default/configmaps/c")
    assert [each["name"] for each in left["metadata"]["ownerReferences"]] == ["b"]
    await api.ask("DELETE", f"{NS}/default/configmaps/b")
    assert await _there(api) == []


async def test_orphans_stay(api: Api) -> None:
    owner = await api.config("a")
    await api.config("b", metadata=_owned(owner))
    await api.ask("DELETE", f"{NS}/default/configmaps/a", {"propagationPolicy": "Orphan"})

    left = await api.ask("GET", f"{NS}/default/configmaps/b")
    assert "ownerReferences" not in left["metadata"]


async def test_in_the_foreground_the_owner_waits_for_those_that_block_it(api: Api) -> None:
    owner = await api.config("a")
    metadata = {**_owned(owner, block=True), "finalizers": ["example.org/x"]}
    await api.config("b", metadata=metadata)
    going = await api.ask("DELETE", f"{NS}/default/configmaps/a?propagationPolicy=Foreground")

    assert going["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert await _there(api) == ["a", "b"]
    await api.ask("PATCH", f"{NS}/default/configmaps/b", {"metadata": {"finalizers": None}}, type_=MERGE)
    assert await _there(api) == []


async def test_an_unknown_propagation_is_refused(api: Api) -> None:
    await api.config("a")

    await api.ask("DELETE", f"{NS}/default/configmaps/a?propagationPolicy=Sideways", expect=422)


async def test_custom_dependents_of_cluster_wide_owners_go_too(api: Api) -> None:
    await api.ask("POST", CRDS, crd(plural="parents", kind="Parent", scope="Cluster"))
    kind = {"apiVersion": "example.org/v1", "kind": "Parent"}
    parent = await api.ask("POST", "/apis/example.org/v1/parents", {**kind, "metadata": {"name": "p"}, "spec": {}})
    await api.config("a", metadata=_owned(parent))
    await api.ask("DELETE", "/apis/example.org/v1/parents/p")

    assert await _there(api) == []
