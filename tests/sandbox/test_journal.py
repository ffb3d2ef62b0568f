"""The journal: order, numbers, waking its readers, and lines on disk."""

import asyncio
import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.journal import Journal, Query

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
pytestmark = pytest.mark.looptime(start=0)


def row(**changed: Any) -> dict[str, Any]:
    return {"service": "arm", "method": "GET", "host": "h", "path": "/p", "status": 200, **changed}


async def test_entries_are_numbered_without_gaps_and_timed() -> None:
    clock = VirtualClock(EPOCH)
    journal = Journal(clock)
    journal.record(**row())
    await asyncio.sleep(5)

    journal.record(**row(seconds=3.0, detail={"name": "x"}))

    first, second = journal.entries()
    assert (first.seq, first.at, first.seconds) == (1, 0, 0)
    assert (second.seq, second.at, second.seconds, second.detail) == (2, 2.0, 3.0, {"name": "x"})
    assert second.wall == "2026-01-01T00:00:05+00:00"


async def test_entries_are_asked_for_by_number_and_service() -> None:
    journal = Journal(VirtualClock(EPOCH))
    for service in ("arm", "entra", "arm"):
        journal.record(**row(service=service))

    assert [entry.seq for entry in journal.entries(1)] == [2, 3]
    assert [entry.seq for entry in journal.entries(-5, "arm")] == [1, 3]
    assert journal.entries(3) == []


async def test_a_reader_wakes_when_an_entry_arrives() -> None:
    journal = Journal(VirtualClock(EPOCH))
    readers = [asyncio.create_task(journal.wait(since)) for since in (0, 0, 1)]
    await asyncio.sleep(10)
    assert not any(reader.done() for reader in readers)

    journal.record(**row())
    await asyncio.sleep(0.1)
    assert [reader.done() for reader in readers] == [True, True, False]

    journal.record(**row())
    assert [entry.seq for entry in await readers[2]] == [2]


async def test_a_reader_who_is_behind_does_not_wait() -> None:
    journal = Journal(VirtualClock(EPOCH))
    journal.record(**row())

    assert [entry.seq for entry in await journal.wait(0)] == [1]


async def test_lines_on_disk_can_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(VirtualClock(EPOCH), path)

    journal.record(**row(path="/ü", code="X"))
    line = json.loads(path.read_text())  # while it is still open
    journal.close()

    assert (line["seq"], line["path"], line["code"]) == (1, "/ü", "X")
    assert journal.entries()[0].path == "/ü"


async def test_only_the_newest_stay_in_memory_and_numbers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(VirtualClock(EPOCH), path, keep=3)
    for number in range(10):
        journal.record(**row(path=f"/{number}"))
    journal.close()

    assert [entry.seq for entry in journal.entries()] == [8, 9, 10]
    assert [entry.path for entry in journal.entries(since=9)] == ["/9"]
    assert [entry.seq for entry in journal.find(Query(since=2, limit=2))] == [8, 9]
    assert journal.entries(since=10) == []
    assert journal.last == 10
    assert len(path.read_text().splitlines()) == 10


async def test_a_reader_waits_for_what_it_means() -> None:
    journal = Journal(VirtualClock(EPOCH))
    reader = asyncio.create_task(journal.matching(Query(service="entra"), 60))
    journal.record(**row())
    await asyncio.sleep(10)
    assert not reader.done()

    journal.record(**row(service="entra"))

    assert [entry.seq for entry in await reader] == [2]
    assert asyncio.get_running_loop().time() == 10


async def test_a_reader_waits_no_longer_than_it_said() -> None:
    journal = Journal(VirtualClock(EPOCH))

    assert await journal.matching(Query(), 5) == []
    assert asyncio.get_running_loop().time() == 5


TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("api-version=7.4&$filter=roleName%20eq%20'x'", "api-version=7.4&$filter=roleName%20eq%20'x'"),
        ("API-Version=7.4", "API-Version=7.4"),
        ("client_secret=planted&api-version=1", "client_secret=***&api-version=1"),
        ("planted", "***"),
        ("=planted", "***"),
        (f"resource={TOKEN}", "resource=***"),
        ("a%20planted=x", "***"),
        ("&&", "&&"),
    ],
)
async def test_of_a_query_only_plain_values_are_kept(given: str, kept: str) -> None:
    entry = Journal(VirtualClock(EPOCH)).record(**row(query=given))

    assert entry.query == kept


@pytest.mark.parametrize("field", ["path", "host", "caller", "code", "query", "method", "detail"])
@pytest.mark.parametrize("text", [TOKEN, f"x/{TOKEN}/y", f"Bearer {TOKEN}", "Basic%20cGxhbnRlZDpwbGFudGVk", TOKEN[:-4]])
async def test_what_looks_like_a_token_is_struck_out_everywhere(field: str, text: str) -> None:
    entry = Journal(VirtualClock(EPOCH)).record(**row(**{field: {"name": text} if field == "detail" else text}))

    written = str(entry)
    assert "eyJ" not in written
    assert "cGxhbnRlZDpwbGFudGVk" not in written


async def test_half_a_character_is_written_down_as_a_question(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(VirtualClock(EPOCH), path)

    journal.record(**row(path="/\ud800", detail={"subject": "\udfff"}))
    journal.close()

    assert json.loads(path.read_text())["path"] == "/?"
