"""The journal: order, numbers, waking its readers, and lines on disk."""

import asyncio
import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.journal import Journal

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
