"""Folders of owners that were killed are cleared away, with what still runs; nothing else is touched.

Each owner is a process of its own; an orphan is a program that outlives it, as where no kernel ends it with its parent.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keystead_sandbox.control_plane.leftovers import claimed, clear

pytestmark = pytest.mark.process
_OWNER = """
import subprocess, sys, time
from keystead_sandbox.control_plane.leftovers import claimed
with claimed(sys.argv[1]) as claim:
    (claim.folder / "data").write_text("kept")
    orphan = subprocess.Popen(["sleep", "600"], stdin=-3, stdout=-3, stderr=-3)
    claim.note(orphan.pid)
    print(claim.folder, orphan.pid, flush=True)
    sys.stdin.read()
"""


class Owner:
    """A process with a folder and a program."""

    def __init__(self, prefix: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-c", _OWNER, prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        folder, pid = self.process.stdout.readline().split()
        self.folder = Path(folder)
        self.orphan = psutil.Process(int(pid))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def runs(self) -> bool:
        return self.orphan.is_running() and self.orphan.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def prefix() -> Iterator[str]:
    name = f"ks-test-{uuid.uuid4().hex}-"
    yield name
    for left in Path(tempfile.gettempdir()).glob(f"{name}*"):
        if left.is_symlink():
            left.unlink()
        else:
            shutil.rmtree(left)


@pytest.fixture
def owner(prefix: str) -> Iterator[Owner]:
    made = Owner(prefix)
    yield made
    made.kill()
    if made.runs():
        made.orphan.kill()


def test_what_an_owner_that_was_killed_left_goes_with_the_next_claim(owner: Owner, prefix: str) -> None:
    owner.kill()
    assert owner.runs()

    with claimed(prefix) as claim:
        assert not owner.folder.exists()
        assert not owner.runs()
        assert claim.folder.exists()

    assert not claim.folder.exists()


def test_an_owner_that_lives_is_left_alone(owner: Owner, prefix: str) -> None:
    assert clear(prefix) == []
    assert (owner.folder / "data").read_text() == "kept"
    assert owner.runs()


def test_a_clean_end_leaves_nothing(owner: Owner) -> None:
    owner.process.communicate("")

    assert not owner.folder.exists()


def test_another_program_that_got_the_number_is_left_alone(owner: Owner, prefix: str) -> None:
    owner.kill()
    claim = owner.folder / "claim.json"
    started = owner.orphan.create_time()
    claim.write_text(claim.read_text().replace(str(started), str(started - 100)))

    assert clear(prefix) == [owner.folder]
    assert owner.runs()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"programs": 1}', '{"programs": [1, {}, {"pid": "x", "started": 1}]}']
)
def test_a_claim_that_was_cut_off_names_no_programs(owner: Owner, prefix: str, text: str) -> None:
    owner.kill()
    (owner.folder / "claim.json").write_text(text)

    assert clear(prefix) == [owner.folder]
    assert owner.runs()


def test_a_folder_that_nobody_claimed_is_left_alone(prefix: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix=prefix))

    assert clear(prefix) == []
    assert folder.exists()


def test_a_folder_that_others_may_enter_is_not_believed(owner: Owner, prefix: str) -> None:
    owner.kill()
    owner.folder.chmod(0o755)

    assert clear(prefix) == []
    assert owner.runs()


def test_a_link_is_not_followed(owner: Owner, prefix: str, tmp_path: Path) -> None:
    owner.kill()
    elsewhere = tmp_path / "elsewhere"
    owner.folder.rename(elsewhere)
    Path(tempfile.gettempdir(), f"{prefix}link").symlink_to(elsewhere)

    assert clear(prefix) == []
    assert (elsewhere / "data").exists()


def test_two_that_come_at_once_clear_once(owner: Owner, prefix: str) -> None:
    owner.kill()
    script = f"from keystead_sandbox.control_plane.leftovers import clear; print(len(clear({prefix!r})))"
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]  # noqa: S603

    assert sorted(each.communicate(timeout=60)[0].strip() for each in both) == ["0", "1"]
    assert not owner.folder.exists()
