"""Starts the parts as separate processes and sees to it that none outlives the scenario.

- Each part runs in a session of its own, so that Ctrl-C in the terminal reaches the scenario alone, which ends them in
  order; on Linux the kernel ends them too when the scenario itself is killed.
- Output goes to a log file per part; when a part dies early, its last lines are the error's text.
"""

import asyncio
import contextlib
import ctypes
import functools
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_GRACE = 8.0  # seconds between SIGTERM and SIGKILL


class PartFailed(RuntimeError):
    """A part ended, or did not come up; the text says which and shows its last words."""


@dataclass
class Part:
    """One running process."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def last_words(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def executable(name: str) -> str:
    """The console script *name*: beside the running interpreter, else on PATH. PartFailed when there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise PartFailed(f"{name}: not found beside {sys.executable} nor on PATH; install Keystead with pip")
    return found


class Parts:
    """All processes of one scenario, in the order they were started."""

    def __init__(self, logs: Path, *, death: signal.Signals = signal.SIGTERM) -> None:
        self._logs = logs
        self._before = functools.partial(die_with_parent, death)
        self._parts: list[Part] = []

    async def start(self, name: str, *command: str, environment: Mapping[str, str]) -> Part:
        """Start *command*; its output goes to ``NAME.log``, after that of an earlier start."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=self._before,
            )
        part = Part(name, process, log)
        self._parts.append(part)
        return part

    async def output_of(self, name: str, *command: str, environment: Mapping[str, str]) -> bytes:
        """What a short-lived *command* prints; PartFailed when it fails. Ended with the others when interrupted."""
        log = self._logs / f"{name}.log"
        with log.open("wb") as complaints:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=self._before,
            )
        part = Part(name, process, log)
        self._parts.append(part)
        printed, _ = await process.communicate()
        # Only one that has ended leaves the list: a cancelled wait leaves it there, and stop() ends it.
        self._parts.remove(part)
        if process.returncode != 0:
            raise PartFailed(f"{name} ended with code {process.returncode}:\n{part.last_words()}")
        return printed

    async def until_file(self, part: Part, path: Path, *, seconds: float = 30.0) -> None:
        """Wait until *part* has written *path*; PartFailed when it ends first or takes too long."""
        ended = asyncio.create_task(part.process.wait())
        try:
            async with asyncio.timeout(seconds):
                while not path.exists():  # noqa: ASYNC240 - one stat(2) on a local file system
                    if ended.done():
                        raise PartFailed(f"{part.name} ended with code {ended.result()}:\n{part.last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise PartFailed(f"{part.name} was not ready after {seconds:.0f} s:\n{part.last_words()}") from None
        finally:
            ended.cancel()

    async def end(self, part: Part) -> None:
        """Kill one part, which nobody then misses."""
        self._parts.remove(part)
        with contextlib.suppress(ProcessLookupError):
            part.process.kill()
        await part.process.wait()

    async def first_to_end(self) -> Part:
        """Wait until any part ends; while the scenario runs, none should."""
        waits = {asyncio.create_task(part.process.wait()): part for part in self._parts}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[done.pop()]
        finally:
            for wait in waits:
                wait.cancel()

    async def kill(self) -> None:
        """End all parts at once, the last started first: for those that keep nothing worth an orderly end."""
        for part in reversed(self._parts):
            with contextlib.suppress(ProcessLookupError):
                part.process.kill()
            await part.process.wait()
        self._parts.clear()

    async def stop(self) -> None:
        """End all parts, the last started first; whoever does not listen is killed."""
        for part in reversed(self._parts):
            with contextlib.suppress(ProcessLookupError):
                part.process.terminate()
            try:
                async with asyncio.timeout(_GRACE):
                    await part.process.wait()
            except TimeoutError:
                part.process.kill()
                await part.process.wait()
        self._parts.clear()


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """For a child, before it becomes another program: the kernel sends it *number* when its parent ends, however.

    Where the kernel cannot (it is not Linux), the child lives on after a parent that was killed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)  # see prctl(2)
