"""Merge, JSON and strategic patches, and server-side apply with its owners."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead_sandbox.kube import fieldsets, ownership, patches
from keystead_sandbox.kube.kinds import BUILT_IN
from sandbox_kube.kube_api import CRDS, WIDGETS, Api, crd, widget

looptime = pytest.mark.looptime
CM = "/api/v1/namespaces/default/configmaps"
SA = "/api/v1/namespaces/default/serviceaccounts"
MERGE, JSON, STRATEGIC = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
)
LISTS = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "text": {"type": "string"},
        "plain": {"type": "array", "items": {"type": "string"}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "whole": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "additionalProperties": {"type": "string"},
        },
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "port": {"type": "integer"},
                    "note": {"type": "string"},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                },
            },
        },
    },
}


@looptime
@pytest.mark.parametrize(
    ("type_", "patch", "data"),
    [
        (MERGE, {"data": {"a": "2", "b": None}}, {"a": "2", "c": "1"}),
        (MERGE, {"data": None}, None),
        (JSON, [{"op": "replace", "path": "/data/a", "value": "2"}], {"a": "2", "b": "1", "c": "1"}),
        (
            JSON,
            [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/b"}],
            {"a": "1", "c": "1"},
        ),
        (STRATEGIC, {"data": {"a": "2", "b": None}}, {"a": "2", "c": "1"}),
        (STRATEGIC, {"data": {"$patch": "replace", "z": "9"}}, {"z": "9"}),
        (STRATEGIC, {"data": {"$retainKeys": ["a"], "a": "5"}}, {"a": "5"}),
    ],
)
async def test_patches(api: Api, type_: str, patch: Any, data: Any) -> None:
    await api.config("a", data={"a": "1", "b": "1", "c": "1"})

    assert (await api.ask("PATCH", f"{CM}/a", patch, type_=type_)).get("data") == data


@looptime
async def test_custom_objects_take_no_strategic_patch(api: Api) -> None:
    await api.ask("POST", CRDS, crd())
    await api.ask("POST", WIDGETS, widget({}))

    assert "merge-patch+json" in (await api.ask("PATCH", f"{WIDGETS}/w", {}, type_=STRATEGIC, expect=415))["message"]


@looptime
async def test_an_apply_creates_then_updates_and_then_changes_nothing(api: Api) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    first = await api.apply(f"{CM}/a", item, expect=201)
    again = await api.apply(f"{CM}/a", item, expect=200)

    assert again == first
    (entry,) = first["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsV1"]) == ("m", "Apply", {"f:data": {"f:k": {}}})


@looptime
async def test_a_conflict_names_the_manager_and_the_field_and_changes_nothing(api: Api) -> None:
    await api.ask("POST", CRDS, crd(LISTS))
    mine = widget({"n": 1, "text": "a"})
    held = await api.apply(f"{WIDGETS}/w", mine, manager="first")
    answer = await api.apply(f"{WIDGETS}/w", widget({"n": 2}), manager="second", expect=409)

    assert answer["message"] == 'Apply failed with 1 conflict: conflict with "first": .spec.n'
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "first"', "field": ".spec.n"}
    assert answer["details"]["causes"] == [cause]
    assert await api.ask("GET", f"{WIDGETS}/w") == held


@looptime
async def test_the_same_value_is_shared_and_force_takes_over(api: Api) -> None:
    await api.ask("POST", CRDS, crd(LISTS))
    await api.apply(f"{WIDGETS}/w", widget({"n": 1}), manager="first")
    shared = await api.apply(f"{WIDGETS}/w", widget({"n": 1}), manager="second")
    entries = shared["metadata"]["managedFields"]
    assert [(each["manager"], "time" in each) for each in entries] == [("second", False), ("first", True)]

    taken = await api.apply(f"{WIDGETS}/w", widget({"n": 2}), manager="second", force=True)
    assert taken["spec"] == {"n": 2}
    assert [each["manager"] for each in taken["metadata"]["managedFields"]] == ["second"]


@looptime
async def test_a_managers_moment_is_that_of_its_own_last_change(api: Api) -> None:
    def moments(item: Any) -> dict[str, str]:
        return {each["manager"]: each["time"] for each in item["metadata"]["managedFields"]}

    await api.ask("POST", CRDS, crd(LISTS))
    began = moments(await api.apply(f"{WIDGETS}/w", widget({"n": 1, "text": "a"}), manager="first"))
    await api.clock.sleep(60)
    taken = moments(await api.apply(f"{WIDGETS}/w", widget({"n": 2}), manager="second", force=True))
    await api.clock.sleep(60)
    again = moments(await api.apply(f"{WIDGETS}/w", widget({"n": 3}), manager="second"))
    await api.clock.sleep(60)
    idle = await api.apply(f"{WIDGETS}/w", widget({"n": 3}), manager="second")

    assert taken["first"] == again["first"] == began["first"]
    assert again["second"] > taken["second"] > began["first"]
    assert moments(idle) == again


@looptime
async def test_what_is_no_longer_applied_goes_unless_another_owns_it(api: Api) -> None:
    await api.ask("POST", CRDS, crd(LISTS))
    await api.apply(f"{WIDGETS}/w", widget({"n": 1, "text": "a"}), manager="first")
    await api.apply(f"{WIDGETS}/w", widget({"text": "a"}), manager="second")
    left = await api.apply(f"{WIDGETS}/w", widget({}), manager="first")

    assert left["spec"] == {"text": "a"}


@looptime
@pytest.mark.parametrize(
    ("first", "second", "then", "result"),
    [
        # a list that is a map: each item is somebody's
        ({"ports": [{"name": "a", "port": 1}]}, {"ports": [{"name": "b", "port": 2}]}, {"ports": []}, ["b"]),
        # an item goes whole, its key field too
        ({"ports": [{"name": "a", "port": 1, "note": "x"}]}, {"n": 1}, {}, None),
        # an item in which another has a field stays, without what was mine
        ({"ports": [{"name": "a", "port": 1}]}, {"ports": [{"name": "a", "note": "y"}]}, {}, ["a"]),
    ],
)
async def test_items_of_map_lists(api: Api, first: Any, second: Any, then: Any, result: Any) -> None:
    await api.ask("POST", CRDS, crd(LISTS))
    await api.apply(f"{WIDGETS}/w", widget(first), manager="first")
    await api.apply(f"{WIDGETS}/w", widget(second), manager="second")
    left = await api.apply(f"{WIDGETS}/w", widget(then), manager="first")

    ports = left["spec"].get("ports")
    assert (ports and [each["name"] for each in ports]) == result
    assert not ports or "port" not in ports[0] or ports[0]["name"] == "b"


@looptime
async def test_sets_gather_lists_and_atomic_maps_are_one_value(api: Api) -> None:
    await api.ask("POST", CRDS, crd(LISTS))
    first = {"tags": ["a"], "ports": [{"name": "p", "tags": ["x"]}]}
    await api.apply(f"{WIDGETS}/w", widget({**first, "whole": {"k": "1"}, "plain": ["a"]}), manager="first")
    second = {"tags": ["b"], "ports": [{"name": "p", "tags": ["y"]}]}
    both = await api.apply(f"{WIDGETS}/w", widget(second), manager="second")
    assert both["spec"]["tags"] == ["a", "b"]
    assert both["spec"]["ports"] == [{"name": "p", "tags": ["x", "y"]}]

    for field, value in (("whole", {"l": "2"}), ("plain", ["b"])):
        answer = await api.apply(f"{WIDGETS}/w", widget({field: value}), manager="third", expect=409)
        assert answer["details"]["causes"][0]["field"] == f".spec.{field}"
    changed = await api.apply(f"{WIDGETS}/w", widget({"whole": {"l": "2"}}), manager="third", force=True)
    assert changed["spec"]["whole"] == {"l": "2"}


@looptime
async def test_status_is_applied_through_its_subresource_alone(api: Api) -> None:
    await api.ask("POST", CRDS, crd(LISTS))
    await api.apply(f"{WIDGETS}/w", {**widget({"n": 1}), "status": {"x": 1}}, manager="spec")
    assert "status" not in await api.ask("GET", f"{WIDGETS}/w")
    stated = await api.apply(f"{WIDGETS}/w/status", {**widget({"n": 9}), "status": {"x": 1}}, manager="state")

    assert (stated["spec"], stated["status"], stated["metadata"]["generation"]) == ({"n": 1}, {"x": 1}, 1)
    entry = stated["metadata"]["managedFields"][-1]
    assert (entry["manager"], entry["subresource"], entry["fieldsV1"]) == ("state", "status", {"f:status": {"f:x": {}}})


@looptime
async def test_an_apply_may_be_yaml(api: Api) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n"

    assert (await api.apply(f"{CM}/a", text))["data"] == {"k": "v"}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_OBJECTS = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)
_DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"), max_size=4)
_CONFIG = next(kind for kind in BUILT_IN if kind.plural == "configmaps")


@given(_OBJECTS, _OBJECTS)
def test_a_merge_patch_applied_twice_is_applied_once(target: Any, patch: Any) -> None:
    once = patches.merge(target, patch)

    assert patches.merge(once, patch) == once


@given(_OBJECTS, _OBJECTS)
def test_patches_leave_their_target_alone(target: Any, patch: Any) -> None:
    before = repr(target)
    patches.merge(target, patch)
    patches.strategic(target, patch)

    assert repr(target) == before


def _applied(live: Any, data: dict[str, str], manager: str) -> Any:
    wanted = {"metadata": {}, "data": data} if data else {"metadata": {}}
    return ownership.apply(live, wanted, _CONFIG, manager=manager, force=True, now="t", sub="")


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), _DATA), max_size=6))
def test_after_any_applies_every_value_is_owned_and_every_last_wish_of_the_last_holds(
    history: list[tuple[str, dict[str, str]]],
) -> None:
    live: Any = None
    for manager, data in history:
        live = _applied(live, data, manager)
        held = live.get("data", {})
        assert data.items() <= held.items()
        owned = set().union(
            *(fieldsets.decode(each["fieldsV1"]) for each in live["metadata"]["managedFields"] if each["fieldsV1"])
        )
        assert {path[1][2:] for path in owned if len(path) == 2} == set(held)
        assert _applied(live, data, manager) == live, "applying again changes nothing"


@given(_OBJECTS)
def test_owned_fields_survive_their_encoding(item: Any) -> None:
    fields = fieldsets.members({"metadata": {}, **item}, _CONFIG)

    assert fieldsets.decode(fieldsets.encode(fields)) == fields
