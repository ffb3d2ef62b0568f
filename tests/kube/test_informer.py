"""Whatever the API server does, the cache ends up true, every delete is told, and nothing is asked in a hot loop."""

import asyncio
import json
from collections.abc import Callable

import pytest
from starlette.requests import Request
from starlette.responses import Response

from keystead.kube.client import Api
from keystead.kube.informer import Informer, Patience
from keystead.model.errors import KeysteadError, Refused, Retryable
from keystead.operator.clock import LoopClock
from kube.scripted import PATH, Follower, Scripted, Thing, answer, bookmark, config, following, stream
from transports import StreamingASGITransport

pytestmark = pytest.mark.looptime
HOUR = 3600


def _server(*names: str, streams: bool = True, ignores: bool = False) -> Scripted:
    server = Scripted(streams=streams, ignores=ignores)
    for name in names:
        server.put(name)
    return server


def _on_watch(make: Callable[[], Response]) -> Callable[[Scripted, Request], Response | None]:
    """Misbehave on watches that resume, behave on everything else."""
    return lambda _, request: make() if "resourceVersion" in request.query_params else None


async def test_what_is_there_is_streamed_where_the_server_can() -> None:
    server = _server("a", "b", "c")
    async with following(server) as follower:
        await follower.until_true()
        server.put("a", 7)
        server.delete("b")
        await follower.until_true()

        assert server.count(watch=False) == 0
        assert follower.deleted == ["b"]


@pytest.mark.parametrize("ignores", [False, True], ids=["it refuses", "it is too old to know"])
async def test_a_server_that_does_not_stream_is_listed_in_pages(ignores: bool) -> None:
    server = _server("a", "b", "c", streams=False, ignores=ignores)
    async with following(server) as follower:
        await follower.until_true()
        server.put("d")
        await follower.until_true()

        assert [each.query.get("continue", "") for each in server.asked if not each.watch] == ["", "103:2"]
        assert follower.informer.lists == 1


@pytest.mark.parametrize("streams", [True, False], ids=["streaming", "listing"])
async def test_what_went_while_nobody_watched_is_told_as_deleted(streams: bool) -> None:
    server = _server("a", "b", "c", streams=streams)
    async with following(server) as follower:
        await follower.until_true()
        server.hang_up()
        server.delete("b")
        server.put("d")
        server.compact()
        await follower.until_true()

        assert follower.deleted == ["b"]
        assert follower.informer.lists == 2


@pytest.mark.parametrize("streams", [True, False], ids=["streaming", "listing"])
async def test_an_object_that_was_made_anew_meanwhile_is_another(streams: bool) -> None:
    server = _server("a", streams=streams)
    async with following(server) as follower:
        await follower.until_true()
        server.hang_up()
        server.delete("a")
        server.put("a")
        server.compact()
        await follower.until_true()

        assert [(old and old.uid, new and new.uid) for old, new in follower.told] == [
            (None, "uid-1"),
            ("uid-1", None),
            (None, "uid-2"),
        ]


async def test_an_object_made_anew_is_another_also_where_its_record_holds_no_uid() -> None:
    server, told = _server("a"), list[tuple[str | None, str | None]]()
    api = Api(config(), transport=StreamingASGITransport(server))
    informer = Informer(api, LoopClock(), PATH, lambda _: "the same", lambda old, new: told.append((old, new)))
    await informer.read()
    server.delete("a")
    server.put("a")
    await informer.read()
    await informer.read()
    await api.close()

    assert told == [(None, "the same"), ("the same", None), (None, "the same")]


async def test_gone_within_the_stream_leads_to_a_new_reading() -> None:
    server = _server("a", "b")
    async with following(server) as follower:
        await follower.until_true()
        del server.objects["shop", "a"]  # compacted away: nobody will tell
        server.send(b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n')
        await follower.until_true()

        assert follower.deleted == ["a"]


async def test_pages_that_expire_are_read_again_in_one_piece() -> None:
    server = _server("a", "b", "c", "d", "e", streams=False)

    def changed_meanwhile(scripted: Scripted, _: Request) -> None:
        scripted.put("f")
        scripted.compact()

    server.script = [lambda *_: None, lambda *_: None, changed_meanwhile]
    async with following(server) as follower:
        await follower.until_true()

        lists = [each.query for each in server.asked if not each.watch]
        assert ["limit" in each for each in lists] == [True, True, False]


BAD = {
    "garbage": b"<html>502</html>\n",
    "half a line": b'{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"sh',
    "another kind of JSON": b"[1,2]\n",
    "a bare Status": b'{"kind":"Status","code":500}\n',
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_line_that_is_none_costs_no_more_than_the_connection(bad: bytes) -> None:
    server = _server("a", "b")
    async with following(server) as follower:
        await follower.until_true()
        server.send(bad)
        server.hang_up()
        server.delete("a")
        server.put("b", 3)
        await follower.until_true()

        assert follower.deleted == ["a"]
        assert follower.informer.lists == 1


async def test_a_server_that_only_sends_garbage_is_read_anew_and_not_hammered() -> None:
    server = _server("a")
    server.always = _on_watch(lambda: stream(b"garbage\n"))
    async with following(server) as follower:
        await follower.until_true()
        await asyncio.sleep(HOUR)
        server.objects.clear()
        await follower.until_true()

        assert follower.informer.lists > 2
        assert len(server.asked) < 300


async def test_a_line_may_hold_characters_that_python_takes_for_line_ends() -> None:
    server = _server("a")
    async with following(server) as follower:
        await follower.until_true()
        server.put("b", annotations={"note": "one\u0085two\u2028three\x0bfour"})
        await follower.until_true()

        assert server.count(watch=True) == 1


async def test_a_line_may_come_in_pieces() -> None:
    server = _server("a")
    async with following(server) as follower:
        await follower.until_true()
        server.quiet = True
        server.put("b")
        server.quiet = False
        line = (
            b'{"type":"ADDED","object":{"metadata":{"name":"b","namespace":"shop","uid":"uid-2"},"spec":{"value":0}}}\n'
        )
        for byte in line:
            server.send(bytes([byte]))
        await follower.until_true()

        assert server.count(watch=True) == 1


async def test_a_connection_that_went_silent_is_given_up() -> None:
    server = _server("a", "b")
    async with following(server) as follower:
        await follower.until_true()
        server.quiet = True
        server.delete("a")
        await asyncio.sleep(70)
        assert follower.deleted == []
        server.quiet = False
        server.bookmark_every = 1000  # the old connection stays dead
        await asyncio.sleep(30)

        assert follower.deleted == ["a"]
        assert follower.informer.lists == 1


async def test_two_silent_watches_in_a_row_lead_to_a_new_reading() -> None:
    """The version may be from a future that the server has lost: it would wait for it for ever."""
    server = _server("a", "b")
    async with following(server) as follower:
        await follower.until_true()
        server.quiet = True
        del server.objects["shop", "a"]
        await follower.until_true()

        assert follower.deleted == ["a"]
        assert follower.informer.lists == 2


@pytest.mark.parametrize("streams", [True, False], ids=["streaming", "listing"])
async def test_a_server_that_lost_its_state_is_believed(streams: bool) -> None:
    server = _server("a", "b", "c", streams=streams)
    async with following(server) as follower:
        await follower.until_true()
        del server.objects["shop", "b"]
        server.lose_state(version=10)
        server.put("d")
        await follower.until_true()

        assert follower.deleted == ["b"]
        assert len(server.asked) < 10


async def test_a_version_that_goes_back_within_a_watch_leads_to_a_new_reading() -> None:
    server = _server("a", "b")
    async with following(server) as follower:
        await follower.until_true()
        del server.objects["shop", "b"]
        server.version = 20
        server.send(bookmark(20))
        await follower.until_true()

        assert follower.deleted == ["b"]


@pytest.mark.parametrize(
    "always",
    [
        _on_watch(stream),
        _on_watch(lambda: answer(410, "Expired")),
        _on_watch(lambda: answer(500, "InternalError")),
        _on_watch(lambda: answer(403, "Forbidden")),
        lambda *_: answer(500, "InternalError"),
        lambda *_: answer(504, "Timeout"),
        lambda *_: answer(410, "Expired"),
        lambda *_: answer(404, "NotFound"),
        lambda *_: stream(b"{}"),
        lambda *_: Response(b"", 200),
    ],
    ids=[
        "watches that end at once",
        "watches that expire at once",
        "watches that fail",
        "watches that are forbidden",
        "everything fails",
        "everything times out",
        "everything expires",
        "nothing is there",
        "nothing is readable",
        "nothing is said",
    ],
)
@pytest.mark.parametrize("streams", [True, False], ids=["streaming", "listing"])
async def test_nothing_is_asked_in_a_hot_loop(
    streams: bool, always: Callable[[Scripted, Request], Response | None]
) -> None:
    server = _server("a", streams=streams)
    server.always = always
    async with following(server) as follower:
        await asyncio.sleep(HOUR)

        assert len(server.asked) <= 2 * HOUR / 15 + 20  # at the longest back-off, jittered, and its two requests
        server.always = None
        server.put("b")
        await follower.until_true(seconds=60)


async def test_the_server_says_when_to_come_back() -> None:
    server = _server("a")
    server.always = lambda *_: answer(429, "TooManyRequests", headers={"Retry-After": "100"})
    async with following(server) as follower:
        await asyncio.sleep(950)
        assert len(server.asked) in (9, 10)
        server.always = None
        await follower.until_true()


async def test_an_outage_of_half_a_minute_loses_nothing() -> None:
    """etcd is away: the API server hangs or answers 500; watches end."""
    server = _server("a", "b", "c")
    async with following(server) as follower:
        await follower.until_true()
        before = len(server.asked)
        server.always = lambda *_: answer(500, "InternalError")
        server.hang_up()
        await asyncio.sleep(30)
        server.always = None
        server.delete("a")
        await follower.until_true(seconds=60)

        assert follower.deleted == ["a"]
        assert follower.informer.lists == 1
        assert len(server.asked) - before < 15


async def test_an_object_that_cannot_be_read_is_left_out_and_named() -> None:
    server = _server("a")
    server.put("b", "no number")
    async with following(server) as follower:
        await asyncio.sleep(5)
        assert set(follower.informer.objects) == {("shop", "a")}
        assert "`int`" in follower.informer.cache.misunderstood["shop", "b"]
        server.put("b", 4)
        await follower.until_true()

        assert follower.informer.cache.misunderstood == {}


async def test_an_object_that_cannot_be_read_any_more_is_not_taken_for_deleted() -> None:
    server = _server("a", "b")
    async with following(server) as follower:
        await follower.until_true()
        server.put("b", "no number")
        server.hang_up()
        server.compact()
        await asyncio.sleep(60)
        assert follower.deleted == []
        assert follower.informer.objects["shop", "b"] == Thing("b", "shop", "uid-2", 0)
        server.delete("b")
        await follower.until_true()

        assert follower.deleted == ["b"]


async def test_another_object_that_cannot_be_read_ends_the_one_before() -> None:
    server = _server("a")
    async with following(server) as follower:
        await follower.until_true()
        server.delete("a")
        server.put("a", "no number")
        await asyncio.sleep(1)

        assert follower.deleted == ["a"]
        assert follower.informer.objects == {}


@pytest.mark.parametrize(
    "item",
    [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"name": 5}}, [], 5],
    ids=["nothing", "null", "no name", "a number for a name", "a list", "a number"],
)
async def test_what_has_no_name_disturbs_nobody(item: object) -> None:

    server = _server("a")
    async with following(server) as follower:
        await follower.until_true()
        server.send(json.dumps({"type": "ADDED", "object": item}).encode() + b"\n")
        server.put("b")
        await follower.until_true()

        assert server.count(watch=True) == 1


async def test_a_kind_that_must_be_there_is_waited_for() -> None:
    server = _server("a")
    server.served = False
    async with following(server) as follower:
        await asyncio.sleep(300)
        assert not follower.informer.synced.is_set()
        server.served = True
        await follower.until_true(seconds=60)


async def test_a_kind_that_may_be_absent_is_empty_until_it_comes() -> None:
    server = _server("a")
    server.served = False
    async with following(server, optional=True) as follower:
        await asyncio.sleep(1)
        assert follower.informer.synced.is_set()
        server.served = True
        await follower.until_true(seconds=60)


async def test_a_kind_that_is_not_served_for_a_moment_is_not_believed_gone() -> None:
    """An API server that starts does not serve everything at once."""
    server = _server("a")
    async with following(server, optional=True) as follower:
        await follower.until_true()
        server.served = False
        server.hang_up()
        await asyncio.sleep(60)
        assert follower.deleted == []
        await asyncio.sleep(120)
        assert follower.deleted == ["a"]


async def test_a_kind_that_must_be_there_is_never_believed_gone() -> None:
    server = _server("a")
    async with following(server) as follower:
        await follower.until_true()
        server.served = False
        server.hang_up()
        await asyncio.sleep(HOUR)

        assert follower.deleted == []


async def test_selectors_and_metadata_alone_are_asked_for() -> None:
    server = _server("a", streams=False)
    async with following(
        server, label_selector="managed=true", field_selector="metadata.name=a", metadata_only=True
    ) as follower:
        await follower.until_true()
        await asyncio.sleep(1)

        assert {(each.query["labelSelector"], each.query["fieldSelector"]) for each in server.asked} == {
            ("managed=true", "metadata.name=a")
        }
        assert {each.accept.split(";")[1] for each in server.asked} == {
            "as=PartialObjectMetadata",
            "as=PartialObjectMetadataList",
        }


async def test_watches_end_by_the_servers_clock_and_not_in_step() -> None:
    server = _server("a")
    async with following(server, patience=Patience(server=300)) as follower:
        await follower.until_true()
        await asyncio.sleep(HOUR)

        lengths = [float(each.query["timeoutSeconds"]) for each in server.asked]
        assert 300 <= min(lengths) < max(lengths) <= 450
        assert follower.informer.lists == 1
        assert HOUR / 450 <= len(server.asked) <= HOUR / 300 + 2


async def test_freshness_ends_when_nothing_is_heard() -> None:
    server = _server("a")
    async with following(server) as follower:
        await follower.until_true()
        await asyncio.sleep(HOUR)
        assert follower.informer.is_fresh
        server.always = lambda *_: answer(500, "InternalError")
        server.quiet = True
        await asyncio.sleep(400)
        assert not follower.informer.is_fresh


async def test_indexes_follow_what_changes() -> None:
    server = _server("a", "b")

    follower = Follower(server)
    by_value = follower.informer.index(lambda thing: [str(thing.value)] if thing.value >= 0 else [])
    running = asyncio.create_task(follower.informer.run())
    await follower.until_true()
    server.put("a", 1)
    server.put("b", -1)
    server.put("c", 1)
    await follower.until_true()
    assert [each.name for each in by_value.of("1")] == ["a", "c"]
    assert list(by_value.of("0")) == list(by_value.of("-1")) == []
    server.delete("a")
    await follower.until_true()
    assert [each.name for each in by_value.of("1")] == ["c"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await follower.api.close()


async def test_bookmarks_keep_the_version_of_a_quiet_kind_fresh() -> None:
    server = _server("a")
    async with following(server) as follower:
        await follower.until_true()
        server.version += 1000  # other kinds change
        await asyncio.sleep(2 * server.bookmark_every)
        server.compact()
        server.hang_up()
        await asyncio.sleep(60)

        assert server.asked[-1].query["resourceVersion"] == str(server.version)
        assert follower.informer.lists == 1


async def test_one_look_reads_everything_and_watches_nothing() -> None:
    server = _server("a", "b", "c")
    follower = Follower(server)

    await follower.informer.read()

    assert follower.is_true()
    assert (server.count(watch=False), server.count(watch=True)) == (2, 0)


async def test_one_look_at_pages_that_expire_reads_them_in_one_piece() -> None:
    server = _server("a", "b", "c", "d", "e")

    def changed_meanwhile(scripted: Scripted, _: Request) -> None:
        scripted.delete("a")
        scripted.compact()

    server.script = [lambda *_: None, changed_meanwhile]
    follower = Follower(server)

    await follower.informer.read()

    assert follower.is_true()
    assert ["limit" in each.query for each in server.asked] == [True, True, False]


async def test_one_look_at_pages_that_always_expire_ends() -> None:
    server = _server("a")
    server.always = lambda *_: answer(410, "Expired")

    with pytest.raises(Retryable):
        await Follower(server).informer.read()

    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("misbehaviour", "error"),
    [
        (lambda *_: answer(403, "Forbidden"), Refused),
        (lambda *_: answer(503, "ServiceUnavailable"), Retryable),
        (lambda *_: Response("<html>"), Retryable),
        (lambda *_: answer(404, "NotFound"), Refused),
    ],
    ids=["not allowed", "an outage", "a proxy's page", "a kind that is not served"],
)
async def test_one_look_that_fails_says_so_at_once(
    misbehaviour: Callable[[Scripted, Request], Response], error: type[KeysteadError]
) -> None:
    server = _server("a")
    server.always = misbehaviour

    with pytest.raises(error):
        await Follower(server).informer.read()

    assert len(server.asked) == 1


async def test_one_look_at_a_kind_that_may_be_absent_sees_none() -> None:
    server = Scripted(served=False)
    follower = Follower(server, optional=True)

    await follower.informer.read()

    assert follower.informer.objects == {}
    assert follower.informer.synced.is_set()
