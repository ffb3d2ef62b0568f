"""The first signal asks, the second ends the process at once; real processes and real signals."""

import asyncio
import signal
import sys

import pytest

pytestmark = pytest.mark.looptime(False)
PROGRAM = """
import asyncio
from keystead.kube.signals import stop_on_signals

async def main():
    stop = stop_on_signals()
    print("ready", flush=True)
    await stop.wait()
    print("asked", flush=True)
    await asyncio.sleep(int(LONG))
    print("done", flush=True)

asyncio.run(main())
"""


async def _start(seconds: int) -> asyncio.subprocess.Process:
    program = PROGRAM.replace("LONG", str(seconds))
    return await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)


async def _line(process: asyncio.subprocess.Process, wanted: bytes) -> None:
    assert process.stdout is not None
    while (line := await process.stdout.readline()).strip() != wanted:
        assert line, f"{wanted!r} never came"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_and_the_process_ends_by_itself(number: signal.Signals) -> None:
    process = await _start(0)
    await _line(process, b"ready")
    process.send_signal(number)
    await _line(process, b"done")

    assert await process.wait() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_ends_it_at_once(first: signal.Signals, second: signal.Signals) -> None:
    process = await _start(3600)
    await _line(process, b"ready")
    process.send_signal(first)
    await _line(process, b"asked")
    process.send_signal(second)

    assert await process.wait() == -second
