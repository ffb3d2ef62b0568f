"""Whatever the scenario started is ended with it, at whatever moment it is told to stop."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from keystead_sandbox.processes import PartFailed, Parts

FOR_EVER = (sys.executable, "-c", "import sys, time; print('up', file=sys.stderr, flush=True); time.sleep(600)")
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


async def _children(count: int, *, besides: list[psutil.Process]) -> list[psutil.Process]:
    """Wait until so many more children of this process run than *besides*, which other tests keep running."""
    async with asyncio.timeout(20):
        while len(found := [each for each in psutil.Process().children() if each not in besides]) < count:  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.01)
    return found


async def test_a_short_lived_command_that_is_interrupted_is_ended_with_the_others(tmp_path: Path) -> None:
    parts, others = Parts(tmp_path), psutil.Process().children()
    asked = asyncio.create_task(parts.output_of("asked", *FOR_EVER, environment=ENVIRONMENT))
    running = await _children(1, besides=others)

    asked.cancel()
    await asyncio.wait({asked})
    await parts.stop()

    assert [each for each in running if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []


async def test_what_a_command_printed_is_returned_and_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    lasting = await parts.start("lasting", *FOR_EVER, environment=ENVIRONMENT)

    printed = await parts.output_of("asked", sys.executable, "-c", "print('an answer')", environment=ENVIRONMENT)
    lasting.process.kill()

    assert printed == b"an answer\n"
    assert (await parts.first_to_end()).name == "lasting"
    await parts.stop()


async def test_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    failing = "import sys; print('because', file=sys.stderr); sys.exit(3)"

    with pytest.raises(PartFailed, match=r"asked ended with code 3:\nbecause"):
        await Parts(tmp_path).output_of("asked", sys.executable, "-c", failing, environment=ENVIRONMENT)
