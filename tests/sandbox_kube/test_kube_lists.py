"""Lists and watches: selectors, pages, bookmarks, expiry, what a watch must never lose."""

import asyncio

import msgspec
import pytest

from keystead_sandbox.kube.listing import Form
from keystead_sandbox.kube.watching import Scope, Watch
from sandbox_kube.kube_api import CRDS, WIDGETS, Api, crd, widget

pytestmark = pytest.mark.looptime
CM = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


async def _names(api: Api, path: str) -> list[str]:
    return [each["metadata"]["name"] for each in (await api.ask("GET", path))["items"]]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("l=x", ["a"]),
        ("l==x", ["a"]),
        ("l!=x", ["b", "c", "kube-root-ca.crt"]),
        ("l", ["a", "b"]),
        ("!l", ["c", "kube-root-ca.crt"]),
        ("l in (x,y)", ["a", "b"]),
        ("l notin (x)", ["b", "c", "kube-root-ca.crt"]),
        ("l in (x,y),m=z", ["b"]),
        ("", ["a", "b", "c", "kube-root-ca.crt"]),
    ],
)
async def test_label_selectors(api: Api, selector: str, found: list[str]) -> None:
    for name, labels in (("a", {"l": "x"}), ("b", {"l": "y", "m": "z"}), ("c", {})):
        await api.config(name, metadata={"labels": labels})

    assert await _names(api, f"{CM}?labelSelector={selector}") == found


async def test_field_selectors_are_few_and_the_others_are_refused(api: Api) -> None:
    await api.ask("POST", CRDS, crd(selectableFields=[{"jsonPath": ".spec.a"}]))
    await api.ask("POST", WIDGETS, widget({"a": "x"}, "one"))
    await api.ask("POST", WIDGETS, widget({"a": "y"}, "two"))

    assert await _names(api, f"{WIDGETS}?fieldSelector=spec.a=x") == ["one"]
    assert await _names(api, f"{WIDGETS}?fieldSelector=metadata.name!=one") == ["two"]
    assert await _names(api, "/api/v1/namespaces?fieldSelector=status.phase=Terminating") == []
    answer = await api.ask("GET", f"{CM}?fieldSelector=data.k=v", expect=400)
    assert "data.k" in answer["message"]


@pytest.mark.parametrize(
    "query", ["labelSelector=a b", "fieldSelector=x", "limit=many", "continue=!!", "watch=1&timeoutSeconds=x"]
)
async def test_a_bad_query_is_a_bad_request(api: Api, query: str) -> None:
    assert (await api.ask("GET", f"{CM}?{query}", expect=400))["reason"] == "BadRequest"


async def test_pages_together_are_the_list_and_share_one_version(api: Api) -> None:
    for number in range(7):
        await api.config(f"c{number}")
    whole = await _names(api, CM)
    pages, token, versions = [], "", set()
    while True:
        page = await api.ask("GET", f"{CM}?limit=3&continue={token}")
        pages.append([each["metadata"]["name"] for each in page["items"]])
        versions.add(page["metadata"]["resourceVersion"])
        token = page["metadata"].get("continue", "")
        if not token:
            break
        await api.config(f"a-late-{len(pages)}")  # comes before what was read: no page repeats or skips for it

    assert [name for page in pages for name in page] == whole
    assert [len(page) for page in pages] == [3, 3, 2]
    assert len(versions) == 1


async def test_a_watch_from_a_paged_list_tells_what_changed_between_the_pages(api: Api) -> None:
    await api.config("b")
    page = await api.ask("GET", f"{CM}?limit=1")
    await api.config("a")

    async with api.watch(f"{CM}?resourceVersion={page['metadata']['resourceVersion']}") as watch:
        assert await watch.told(1) == [("ADDED", "a")]


async def test_a_page_whose_version_is_forgotten_has_expired(api: Api) -> None:
    await api.config("a")
    page = await api.ask("GET", f"{CM}?limit=1")
    await api.config("b")
    api.cluster.store.log(("", "configmaps")).compact()

    answer = await api.ask("GET", f"{CM}?continue={page['metadata']['continue']}", expect=410)
    assert answer["reason"] == "Expired"


async def test_a_watch_tells_changes_in_order(api: Api) -> None:
    listed = await api.ask("GET", CM)
    async with api.watch(f"{CM}?resourceVersion={listed['metadata']['resourceVersion']}") as watch:
        await api.config("a")
        await api.ask("PATCH", f"{CM}/a", {"data": {"k": "v"}}, type_=MERGE)
        await api.ask("DELETE", f"{CM}/a")
        events = [await watch.next() for _ in range(3)]

    assert [each["type"] for each in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in events]
    assert versions == sorted(set(versions))
    assert events[2]["object"]["data"] == {"k": "v"}


async def test_a_watch_without_a_version_begins_with_what_is_there(api: Api) -> None:
    async with api.watch(CM) as watch:
        assert await watch.told(1) == [("ADDED", "kube-root-ca.crt")]


async def test_other_namespaces_and_resources_are_not_told(api: Api) -> None:
    await api.namespace("other")
    async with api.watch(f"{CM}?resourceVersion={api.cluster.store.version}") as watch:
        await api.config("elsewhere", "other")
        await api.config("here")
        assert await watch.told(1) == [("ADDED", "here")]


async def test_a_selected_object_begins_and_ceases_to_match(api: Api) -> None:
    await api.config("a")
    async with api.watch(f"{CM}?labelSelector=on=yes&resourceVersion={api.cluster.store.version}") as watch:
        for value in ("yes", "yes", "no", "yes"):
            change = {"metadata": {"labels": {"on": value}}, "data": {"n": str(api.cluster.store.version)}}
            await api.ask("PATCH", f"{CM}/a", change, type_=MERGE)
        await api.ask("DELETE", f"{CM}/a")

        types = [type_ for type_, _ in await watch.told(5)]
    assert types == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


async def test_initial_events_end_with_a_marked_bookmark(api: Api) -> None:
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with api.watch(f"{CM}?{query}") as watch:
        assert await watch.told(1) == [("ADDED", "kube-root-ca.crt")]
        mark = await watch.next()

    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    await api.ask("GET", f"{CM}?watch=1&sendInitialEvents=true", expect=422)


async def test_bookmarks_come_each_minute_with_the_version_of_the_whole_store(api: Api) -> None:
    async with api.watch(f"{CM}?allowWatchBookmarks=true&resourceVersion={api.cluster.store.version}") as watch:
        await api.namespace("elsewhere")  # the store moves on, this watch is not concerned
        began = asyncio.get_running_loop().time()
        event = await watch.next()

    if event["type"] == "ADDED":
        raise AssertionError("another namespace's objects were told")
    assert asyncio.get_running_loop().time() - began == pytest.approx(60, abs=0.1)
    assert int(event["object"]["metadata"]["resourceVersion"]) == api.cluster.store.version


@pytest.mark.parametrize("bookmarks", ["true", "false"])
async def test_a_watch_ends_when_its_time_is_over_and_rests_until_then(api: Api, bookmarks: str) -> None:
    path = f"{CM}?timeoutSeconds=150&allowWatchBookmarks={bookmarks}&resourceVersion={api.cluster.store.version}"
    began = asyncio.get_running_loop().time()
    async with api.watch(path) as watch:
        left = await watch.ended()

    assert asyncio.get_running_loop().time() - began == pytest.approx(150, abs=0.1)
    assert [each["type"] for each in left] == (["BOOKMARK"] * 2 if bookmarks == "true" else [])


async def test_changes_while_a_watch_is_being_sent_are_not_lost_to_a_bookmark(api: Api) -> None:
    """Ten writers, at every moment of a minute and around it: a reader of bookmarks may resume from any of them."""
    seen: list[str] = []
    resumed: list[str] = []
    async with api.watch(f"{CM}?allowWatchBookmarks=true&resourceVersion={api.cluster.store.version}") as watch:

        async def write(first: int) -> None:
            for number in range(first, 200, 10):
                await asyncio.sleep(0.31)
                await api.config(f"c{number:03}")

        async with asyncio.TaskGroup() as tasks:
            for first in range(10):
                tasks.create_task(write(first))
        while len(seen) < 200:
            event = await watch.next()
            if event["type"] == "BOOKMARK":
                version = int(event["object"]["metadata"]["resourceVersion"])
                earlier = [
                    item["metadata"]["name"]
                    for item in api.cluster.store.all(("", "configmaps"), "default")
                    if int(item["metadata"]["resourceVersion"]) <= version and item["metadata"]["name"].startswith("c")
                ]
                resumed.append(event["type"])
                assert set(earlier) <= set(seen)
            else:
                seen.append(event["object"]["metadata"]["name"])
    assert sorted(seen) == [f"c{number:03}" for number in range(200)]


async def test_what_changes_while_a_line_is_on_its_way_is_told_too(api: Api) -> None:
    store, kind = api.cluster.store, api.cluster.rest.kinds["", "v1", "configmaps"]
    query = {"resourceVersion": str(store.version), "allowWatchBookmarks": "true"}
    watch = Watch(store, Scope(kind.storage, kind, "default"), query, api.clock, form=Form("", "Metadata"))
    lines = watch.lines()
    await api.config("first")

    told = [msgspec.json.decode(await anext(lines))]  # its client takes no more for now
    await api.config("second")
    told += [msgspec.json.decode(await anext(lines))]

    assert [(each["type"], each["object"]["metadata"].get("name")) for each in told] == [
        ("ADDED", "first"),
        ("ADDED", "second"),
    ]
    await lines.aclose()


async def test_a_version_too_old_has_expired_and_one_too_new_must_wait(api: Api) -> None:
    old = api.cluster.store.version
    await api.config("a")
    api.cluster.store.log(("", "configmaps")).compact()

    async with api.watch(f"{CM}?resourceVersion={old}") as watch:
        event = await watch.next()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    newer = f"{CM}?resourceVersionMatch=NotOlderThan&resourceVersion={old + 1000}"
    ahead = await api.ask("GET", newer, expect=504)
    assert ahead["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_watch_that_falls_behind_the_log_is_told_so_in_the_stream(api: Api) -> None:
    async with api.watch(f"{CM}?resourceVersion={api.cluster.store.version}") as watch:
        log = api.cluster.store.log(("", "configmaps"))
        for number in range(3):  # no await in between: the watch has no chance to read
            metadata = {"name": f"a{number}", "namespace": "default", "uid": str(number)}
            api.cluster.store.put(("", "configmaps"), {"metadata": metadata})
        log.compact()
        event = await watch.next()

    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_quiet_watch_is_not_woken_by_other_resources(api: Api) -> None:
    log = api.cluster.store.log(("", "secrets"))
    waiting = asyncio.create_task(log.grown())
    await asyncio.sleep(0)
    await api.config("a")

    assert not waiting.done()
    metadata = {"metadata": {"name": "s"}}
    await api.ask("POST", "/api/v1/namespaces/default/secrets", metadata)
    await waiting


async def test_many_watchers_share_one_encoding(api: Api) -> None:
    path = f"{CM}?resourceVersion={api.cluster.store.version}"
    watches = [api.watch(path) for _ in range(50)]
    for each in watches:
        await each.__aenter__()
    await api.config("a")
    assert [await each.told(1) for each in watches] == [[("ADDED", "a")]] * 50
    for each in watches:
        await each.__aexit__()

    change = api.cluster.store.log(("", "configmaps")).since(0)[-1]
    assert list(change.encoded) == ["v1"]


async def test_an_ended_watch_is_in_the_journal(api: Api) -> None:
    async with api.watch(CM) as watch:
        await watch.next()
        assert not [each for each in api.journal.entries() if "watch" in each.query]

    entry = (await api.journal.wait(0))[-1]
    assert (entry.service, entry.method, entry.path, entry.status, entry.caller) == ("kube", "GET", CM, 200, "admin")
