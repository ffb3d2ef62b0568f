"""Temporary folders with an owner, and what is left of those whose owner was killed: cleared away by whoever comes next.

- A claim is a file in the folder that its owner keeps locked: the system lets the lock go with the owner, however it ends.
- Only what is provably ours and dead is touched: a folder of our name and our user, closed to all others, with a claim that
  nobody holds. A folder without a claim is left alone.
- Programs that a claim names are ended where they outlived their owner (on Linux the kernel has done so), and only while
  they are what was noted: the same number and the same moment of start, since numbers are given out again.
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

_CLAIM = "claim.json"
_SAME = 0.05  # seconds by which two readings of a process's start may differ


class Claim:
    """A folder that is ours while we live."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs: list[dict[str, float]] = []
        partial = folder / f".{_CLAIM}"
        self._file = partial.open("w+")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._write()
        partial.rename(folder / _CLAIM)  # nobody sees a claim that is not held yet

    def note(self, pid: int) -> None:
        """A program that is to end with us; one that has ended already is none."""
        with contextlib.suppress(psutil.Error):
            self._programs.append({"pid": pid, "started": psutil.Process(pid).create_time()})
            self._write()

    def _write(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        json.dump({"owner": os.getpid(), "programs": self._programs}, self._file)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def claimed(prefix: str) -> Iterator[Claim]:
    """A new temporary folder, gone afterwards; before that, what dead owners left under the same prefix goes."""
    clear(prefix)
    claim = Claim(Path(tempfile.mkdtemp(prefix=prefix)))
    try:
        yield claim
    finally:
        shutil.rmtree(claim.folder, ignore_errors=True)
        claim.close()


def clear(prefix: str) -> list[Path]:
    """Take away what dead owners left; returns the folders that went."""
    return [folder for folder in sorted(Path(tempfile.gettempdir()).glob(f"{prefix}*")) if _is_cleared(folder)]


def _is_cleared(folder: Path) -> bool:
    try:
        seen = folder.lstat()
        private = stat.S_ISDIR(seen.st_mode) and not seen.st_mode & 0o077
        if not private or seen.st_uid != os.getuid() or (folder / _CLAIM).is_symlink():
            return False
        with (folder / _CLAIM).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for each in _programs(file.read()):
                _end(each)
            shutil.rmtree(folder)
    except OSError:  # held, gone meanwhile, or not for us to read
        return False
    return True


def _programs(text: str) -> list[dict[str, Any]]:
    try:
        noted = json.loads(text)["programs"]
    except (ValueError, KeyError, TypeError):  # its owner was killed while it wrote
        return []
    return [each for each in noted if isinstance(each, dict)] if isinstance(noted, list) else []


def _end(noted: dict[str, Any]) -> None:
    with contextlib.suppress(psutil.Error, KeyError, TypeError, ValueError):
        process = psutil.Process(int(noted["pid"]))
        if abs(process.create_time() - float(noted["started"])) < _SAME and process.uids().real == os.getuid():
            process.kill()
            process.wait(10)
