"""Builds the programs with the Go that is on this machine.

- Modules come through Go's ordinary client with the caller's own settings: nothing here names a proxy.
- Each step says what it needs when it fails: a newer Go, the modules, a compiler that comes to an end.
- What runs ends with us, also when we are killed.
"""

import asyncio
import collections
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keystead_sandbox.processes import die_with_parent

_VERSION = re.compile(r"go(\d+)\.(\d+)(?:\.(\d+))?")
_EVERY = 10.0  # seconds between two lines of progress
_NICENESS = 10  # minutes of compiling should leave the machine usable
_LAST_WORDS = 6  # lines of a failed step that are shown
_COMMON = ("-mod=readonly",)


class NotBuilt(RuntimeError):
    """A step failed; the text says what is missing."""


class NotHere(NotBuilt):
    """Nothing of ours is broken: the machine lacks what a build needs."""


@dataclass(frozen=True, slots=True)
class Go:
    """The ``go`` command, and the version that it has by itself, such as ``go1.26.8``."""

    path: str
    version: str

    def is_at_least(self, wanted: str) -> bool:
        return _numbers(self.version) >= _numbers(f"go{wanted}")


async def find_go(environment: Mapping[str, str]) -> Go | None:
    """The Go on PATH; ``None`` when there is none that runs."""
    path = shutil.which("go", path=environment.get("PATH"))
    if path is None:
        return None
    step = _Step((path, "env", "GOVERSION"), {**environment, "GOTOOLCHAIN": "local"}, Path("/"))
    code = await step.run()
    version = "".join(step.printed).strip()
    return Go(path, version) if code == 0 and _VERSION.match(version) else None


@dataclass(frozen=True, slots=True)
class Builder:
    """One build in the folder of one module."""

    go: Go
    module: Path
    environment: Mapping[str, str]
    say: Callable[[str], None]

    async def build(self, programs: Mapping[str, str], into: Path, *, go: str, kubernetes: str) -> None:
        """Build *programs* (name to package) *into* a folder; *go* is the oldest that will do. NotBuilt if not."""
        await self._check_go(go)
        total = await self._fetch(list(programs.values()))
        began = time.monotonic()
        # One call for all, which then compiles side by side what they have in common.
        step = self._step(
            "build", *_COMMON, "-buildvcs=false", "-trimpath", "-v", "-ldflags", _flags(kubernetes), "-o", f"{into}/",
            *programs.values(),
        )  # fmt: skip
        telling = asyncio.create_task(self._tell(step, total, began))
        try:
            code = await step.run()
        finally:
            telling.cancel()
        if code != 0:
            raise NotBuilt(f"go build ended with code {code}:\n{step.last_words()}\n")
        for name, package in programs.items():
            (into / _built_name(package)).rename(into / name)
        self.say(f"built in {time.monotonic() - began:.0f} s")

    async def _check_go(self, wanted: str) -> None:
        """An old Go may fetch a newer one by itself, where its settings and the proxy allow."""
        if self.go.is_at_least(wanted):
            return
        step = self._step("env", "GOVERSION")
        if await step.run() != 0:
            raise NotHere(
                f"Go {wanted} or newer is needed; {self.go.path} is {self.go.version} and can fetch no newer one:\n"
                f"{step.last_words()}\nInstall a newer Go."
            )

    async def _fetch(self, packages: list[str]) -> int:
        """Fetch the modules; returns how many packages there are."""
        self.say("fetching what it is built from, where that is not here yet")
        step = self._step("list", *_COMMON, "-deps", "-f", "{{.ImportPath}}", *packages)
        if await step.run() != 0:
            raise NotHere(
                f"the modules could not be had from the Go module proxy:\n{step.last_words()}\n"
                "Let GOPROXY name one that this machine reaches."
            )
        return len(step.printed)

    async def _tell(self, step: "_Step", total: int, began: float) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            self.say(f"{time.monotonic() - began:4.0f} s: {step.complained} of at most {total} packages compiled")

    def _step(self, *arguments: str) -> "_Step":
        # Without cgo the programs run on any machine of the platform.
        return _Step((self.go.path, *arguments), {**self.environment, "CGO_ENABLED": "0"}, self.module)


@dataclass
class _Step:
    """One run of ``go``."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    printed: list[str] = field(default_factory=list)
    complained: int = 0
    """Lines on standard error; with ``-v`` the compiler writes one for each package."""
    _tail: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=_LAST_WORDS))

    async def run(self) -> int:
        """The exit code."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            cwd=self.folder,
            env=dict(self.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_nicely,
        )
        try:
            await asyncio.gather(self._read(process), self._listen(process))
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def last_words(self) -> str:
        return "\n".join(self._tail)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                self.printed.append(line.decode(errors="replace"))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stderr is not None:
            async for line in process.stderr:
                self.complained += 1
                self._tail.append(line.decode(errors="replace").rstrip())


def _nicely() -> None:
    die_with_parent()
    os.nice(_NICENESS)


def _numbers(version: str) -> tuple[int, ...]:
    match = _VERSION.match(version)
    return tuple(int(number or 0) for number in match.groups()) if match else ()


def _flags(kubernetes: str) -> str:
    """A server that was not told its version calls itself v0.0.0-master, and clients take it for that."""
    major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
    told = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamped = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in told.items())
    return f"-s -w {stamped}"


def _built_name(package: str) -> str:
    """What ``go build`` calls a program: the last part of its path that is no major version."""
    return next(part for part in reversed(package.split("/")) if not re.fullmatch(r"v\d+", part))
