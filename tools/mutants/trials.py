"""Asks the tests, and at last the simulation, about a tree in which a bug is planted.

Rules:
- Every run is a process of its own on a copy of the tree, which comes first on its path; the checkout is only read.
- Random order is off and seeds are fixed, so that what caught a bug once catches it again.
- Only a test that fails catches a bug. Tests that cannot be collected, and names that Python does not find, say that
  the bug is no program: such a bug is invalid. So is one under which nothing comes to an end.
"""

import contextlib
import enum
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mutants.bugs import Bug

STAGES = ("hints", "tests", "simulation")
_LIMITS = {"hints": 300.0, "tests": 1800.0, "simulation": 1800.0}  # seconds; nobody measures anything by them
_NO_PROGRAM = frozenset({"SyntaxError", "IndentationError", "ImportError", "ModuleNotFoundError", "NameError"})
_UNBOUND = "UnboundLocalError"
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
_PASSED, _FAILED = 0, 1
_STORIES = 10  # at a time


class Outcome(enum.StrEnum):
    """How it went for a bug."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one bug, at which stage, by which test or seed, with what complaint, and after how long."""

    bug: Bug
    outcome: Outcome
    stage: str = ""
    by: str = ""
    how: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """Of one run; no outcome when everything passed."""

    outcome: Outcome | None
    by: str = ""
    how: str = ""


def _broken(status: int | None, said: str) -> _Answer:
    """What a simulation that did not pass has found."""
    if status is None:
        return _Answer(Outcome.INVALID, "simulation", f"no end within {_LIMITS['simulation']:g} s")
    lines = [line for line in said.splitlines() if line.startswith("seed ") and " broke: " in line]
    if not lines:
        return _Answer(Outcome.INVALID, "simulation", f"ended with {status}: {(said.strip().splitlines() or [''])[-1]}")
    seed, _, how = lines[0].partition(" broke: ")
    broken = any(name in how for name in (*_NO_PROGRAM, _UNBOUND))
    return _Answer(Outcome.INVALID if broken else Outcome.CAUGHT, seed, how)


class Tree:
    """A copy of the sources, in which one bug at a time is planted and tests run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._numbers = itertools.count(1)
        self._running: set[subprocess.Popen[str]] = set()

    @classmethod
    def copied(cls, root: Path, home: Path) -> "Tree":
        """Without hidden folders and whatever else is made from the sources; times of files are kept."""
        shutil.copytree(root, home, ignore=_LEFT_OUT)
        return cls(home)

    def twin(self, home: Path) -> "Tree":
        """The same once more, with what was compiled already."""
        shutil.copytree(self.home, home)
        return Tree(home)

    def try_out(self, bug: Bug, stages: Sequence[str]) -> Verdict:
        """Plant *bug*, ask one stage after the other until one notices, and take it out again."""
        began, path = time.monotonic(), self.home / bug.file
        source, stamp = path.read_text(), path.stat()
        path.write_text(bug.planted(source))
        # Compiled files are known by the second and the size of their source.
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 2_000_000_000))
        try:
            for stage in stages:
                answer = self._ask(stage, bug)
                if answer.outcome is not None:
                    return Verdict(bug, answer.outcome, stage, answer.by, answer.how, time.monotonic() - began)
        finally:
            path.write_text(source)
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        return Verdict(bug, Outcome.SURVIVED, seconds=time.monotonic() - began)

    def _ask(self, stage: str, bug: Bug) -> _Answer:
        if stage == "simulation":
            return self._simulate(bug.area.seeds) if bug.area.seeds else _Answer(None)
        return self._test(bug.tests if stage == "hints" else bug.area.tests, _LIMITS[stage])

    def check(self, tests: Sequence[str]) -> str:
        """Why the tests do not pass as they are; empty when they do."""
        text = "import sys, keystead; sys.exit(not keystead.__file__.startswith(sys.argv[1]))"
        if (self.home / "src/keystead").exists() and self._run([sys.executable, "-c", text, str(self.home)], 60.0)[0]:
            return "the copy of the sources is not what Python imports"
        answer = self._test(tests, _LIMITS["tests"], compiles=True)
        return f"{answer.by}: {answer.how}" if answer.outcome is not None else ""

    def _test(self, tests: Sequence[str], limit: float, *, compiles: bool = False) -> _Answer:
        finding = self.home / f".first-failure-{next(self._numbers)}.json"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no"]
        command += ["-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]
        command += ["-p", "mutants.first_failure", "--first-failure", str(finding)]
        status, said = self._run([*command, *tests], limit, compiles=compiles)
        if status == _PASSED:
            return _Answer(None)
        if status is None:
            return _Answer(Outcome.INVALID, tests[0], f"no end within {limit:g} s")
        found = json.loads(finding.read_text()) if finding.exists() else None
        if found is None:
            last = said.strip().splitlines()[-1:] or [""]
            return _Answer(Outcome.INVALID, tests[0], f"pytest ended with {status}: {last[0]}")
        broken = found["when"] == "collect" or {*found["kinds"]} & {*_NO_PROGRAM, _UNBOUND}
        if status != _FAILED or broken:
            how = ": ".join(each for each in (", ".join(found["kinds"]), found["text"]) if each)
            return _Answer(Outcome.INVALID, found["test"], how)
        return _Answer(Outcome.CAUGHT, found["test"], found["text"])

    def _simulate(self, seeds: int) -> _Answer:
        """A few stories at a time, up to the first that breaks."""
        for first in range(1, seeds + 1, _STORIES):
            count = min(_STORIES, seeds + 1 - first)
            command = [
                sys.executable,
                "-m",
                "simulation",
                "--first",
                str(first),
                "--seeds",
                str(count),
                "--shrink",
                "0",
            ]
            status, said = self._run(command, _LIMITS["simulation"])
            if status != _PASSED:
                return _broken(status, said)
        return _Answer(None)

    def _run(self, command: Sequence[str], limit: float, *, compiles: bool = False) -> tuple[int | None, str]:
        """Exit status, ``None`` when it did not end in time, and what it said."""
        places = [self.home / "src", self.home / "tests", self.home / "tools", Path(__file__).parents[1]]
        environment = {
            **os.environ,  # noqa: TID251 - tests run as they do by themselves
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            "PYTHONHASHSEED": "0",
            **({} if compiles else {"PYTHONDONTWRITEBYTECODE": "1"}),
        }
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            cwd=self.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running.add(process)
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.stop()
            said, _ = process.communicate()
            return None, said
        finally:
            self._running.discard(process)
        return process.returncode, said

    def stop(self) -> None:
        """End what runs here, and all that it has started."""
        for process in tuple(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
