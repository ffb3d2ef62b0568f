"""Bugs are planted in a copy, one at a time, and what is said of each is so; and the table of ours fits the sources."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mutants.bugs import ROOT, Bug, complaints, read_table

TABLE = read_table()
SOURCE = '''\
"""Room on an identity."""


def room(held: int) -> int:
    """How many more it takes."""
    if held > 20:
        return 0
    return 20 - held


def slow(held: int) -> int:
    return held + 1
'''
TEST = """\
from rooms import room, slow


def test_an_empty_one_takes_twenty():
    assert room(0) == 20


def test_a_full_one_takes_none():
    assert room(20) == 0


def test_nothing_is_known_of_the_other():
    assert slow(1)
"""


def _bug(name: str, before: str, after: str, *tests: str) -> dict[str, Any]:
    hints = [f"tests/test_rooms.py::{each}" for each in tests]
    return {
        "name": name,
        "says": "Counts wrongly.",
        "file": "src/rooms.py",
        "before": before,
        "after": after,
        "tests": hints,
    }


CAUGHT = _bug("one-more", "return 20 - held", "return 21 - held", "test_an_empty_one_takes_twenty")
CAUGHT_BY_ANOTHER = _bug("one-less", "return 20 - held", "return 20 - held or 1", "test_an_empty_one_takes_twenty")
SURVIVOR = _bug("any-number", "return held + 1", "return held + 2", "test_nothing_is_known_of_the_other")
NO_NAME = _bug("no-name", "return held + 1", "return hold + 1", "test_nothing_is_known_of_the_other")
NO_IMPORT = _bug(
    "no-import", "def slow(held: int) -> int:", "def quick(held: int) -> int:", "test_nothing_is_known_of_the_other"
)


class Project:
    """A small one, with a table of bugs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "src").mkdir()
        (home / "tests").mkdir()
        (home / "table").mkdir()
        (home / "src/rooms.py").write_text(SOURCE)
        (home / "tests/test_rooms.py").write_text(TEST)

    def write(self, *bugs: dict[str, Any]) -> list[Bug]:
        area = {"title": "Rooms", "tests": ["tests"], "bugs": bugs}
        (self.home / "table/rooms.yaml").write_text(json.dumps(area))
        return read_table(self.home / "table")

    def mutants(self, *bugs: dict[str, Any], options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        self.write(*bugs)
        command = [sys.executable, "-m", "mutants", "--root", str(self.home), "--table", str(self.home / "table")]
        return subprocess.run(  # noqa: S603 - our own interpreter and files
            [*command, *options], cwd=ROOT / "tools", capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_table_fits_the_sources() -> None:
    assert complaints(TABLE) == []


def test_every_area_of_the_heart_has_bugs() -> None:
    files = {bug.file for bug in TABLE}

    assert len(TABLE) >= 30
    assert {f"src/keystead/{each}" for each in ("plan", "apply", "kube", "sync", "observe", "azure", "report")} <= {
        file.rpartition("/")[0] for file in files
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> "Planted":
    """One run over bugs of all kinds: the project, the figures, and what was said."""
    project = Project(tmp_path_factory.mktemp("rooms"))
    figures = project.home.parent / f"{project.home.name}.json"
    ran = project.mutants(CAUGHT, CAUGHT_BY_ANOTHER, SURVIVOR, NO_NAME, NO_IMPORT, options=("--json", str(figures)))
    return project, json.loads(figures.read_text()), ran


Planted: TypeAlias = tuple[Project, dict[str, Any], subprocess.CompletedProcess[str]]


def test_a_bug_is_caught_by_its_own_test_or_by_another_of_its_area(planted: Planted) -> None:
    _, figures, _ = planted

    assert [(each["name"], each["outcome"], each["stage"], each["by"]) for each in figures["bugs"][:2]] == [
        ("one-more", "caught", "hints", "tests/test_rooms.py::test_an_empty_one_takes_twenty"),
        ("one-less", "caught", "tests", "tests/test_rooms.py::test_a_full_one_takes_none"),
    ]
    assert figures["caughtBy"] == {"hints": 1, "tests": 1, "simulation": 0}


def test_a_bug_that_nothing_notices_fails_the_run(planted: Planted) -> None:
    _, figures, ran = planted

    assert ran.returncode == 1
    assert figures["bugs"][2]["outcome"] == "survived"
    assert "any-number  rooms.py  NOTHING: it survived" in ran.stdout
    closing = "planted 5, caught 2 (1 by the tests named for them, 1 by other tests, 0 by the simulation), survived 1, "
    assert ran.stdout.splitlines()[-1].startswith(f"{closing}invalid 2 (")


def test_a_bug_that_is_no_program_is_not_caught(planted: Planted) -> None:
    _, figures, _ = planted

    assert [(each["outcome"], each["stage"]) for each in figures["bugs"][3:]] == [("invalid", "hints")] * 2
    assert [each["how"].partition(":")[0] for each in figures["bugs"][3:]] == ["NameError", "E   ImportError"]


def test_the_sources_stay_as_they_are(planted: Planted) -> None:
    project, _, _ = planted

    assert (project.home / "src/rooms.py").read_text() == SOURCE
    assert sorted(path.name for path in project.home.rglob("*") if path.is_file()) == [
        "rooms.py",
        "rooms.yaml",
        "test_rooms.py",
    ]


@pytest.mark.parametrize(
    ("bug", "complaint"),
    [
        pytest.param(
            {"before": "return 19 - held"}, "the text before stands 0 times in src/rooms.py, not once", id="gone"
        ),
        pytest.param({"before": "held: int"}, "the text before stands 2 times in src/rooms.py, not once", id="twice"),
        pytest.param({"after": "return 20 -held"}, "the text after means the same as the text before", id="no change"),
        pytest.param(
            {"after": "return 20 - )"}, "with the text after, src/rooms.py is no Python: unmatched ')'", id="no code"
        ),
        pytest.param({"file": "src/room.py"}, "there is no src/room.py", id="no file"),
        pytest.param({"tests": ["tests/test_room.py::test_it"]}, "there is no tests/test_room.py", id="no test"),
        pytest.param({"tests": []}, "it names no test that is likely to catch it", id="no hint"),
        pytest.param({"says": "Counts. Wrongly."}, "what it says is one sentence", id="two sentences"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(project: Project, bug: dict[str, Any], complaint: str) -> None:
    bugs = project.write({**CAUGHT, **bug})

    assert complaints(bugs, project.home) == [f"one-more: {complaint}"]


def test_a_table_that_does_not_fit_plants_nothing(project: Project) -> None:
    ran = project.mutants({**CAUGHT, "before": "return 19 - held"})

    assert ran.returncode == 2
    assert ran.stderr.splitlines() == [
        "the table does not fit the sources:",
        "one-more: the text before stands 0 times in src/rooms.py, not once",
    ]


def test_text_of_several_lines_is_found_at_any_depth(project: Project) -> None:
    (bug,) = project.write(_bug("deeper", "if held > 20:\n    return 0", "if held > 19:\n    return 1\n", "test_it"))

    assert bug.planted(SOURCE) == SOURCE.replace("> 20", "> 19").replace("return 0", "return 1")


def test_text_of_one_line_may_become_several(project: Project) -> None:
    (bug,) = project.write(_bug("longer", "return held + 1", "held += 2\nreturn held", "test_it"))

    assert bug.planted(SOURCE) == SOURCE.replace("return held + 1", "held += 2\n    return held")


def test_one_bug_is_chosen_by_its_name(project: Project) -> None:
    listed = project.mutants(CAUGHT, SURVIVOR, options=("--only", "any", "--list"))
    unknown = project.mutants(CAUGHT, options=("--only", "nothing"))

    assert listed.stdout.splitlines()[0] == "Rooms"
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["any-number"]
    assert (unknown.returncode, unknown.stderr) == (2, "no bug is called nothing; see --list\n")


def test_no_bug_names_what_does_not_exist(tmp_path: Path) -> None:
    for bug in TABLE:
        (tmp_path / f"{bug.name}.py").write_text(bug.planted((ROOT / bug.file).read_text()))
    ruff = Path(sys.executable).with_name("ruff")

    checked = subprocess.run(  # noqa: S603 - our own tool and files
        [ruff, "check", "--isolated", "--select", "F821,F822,F823", "--output-format", "concise", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert checked.stdout.strip() == "All checks passed!"
