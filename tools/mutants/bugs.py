"""The table of bugs to plant: ``bugs/*.yaml``, one file for each area, in the order of their names.

Rules:
- A bug is a name, one sentence on what a careless engineer would have done, a file, the text *before*, the text *after*
  and the tests most likely to catch it. The tests are a hint for order alone: where they do not, the area's other tests
  and then the simulation are asked.
- ``before`` stands exactly once in its file. One line is a piece of a line; several are whole lines, at whatever depth
  of indentation they stand. ``after`` is put at the depth that was found there.
- A table that does not fit the sources any more is an error with the name of the bug, never a bug that is passed over.
"""

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).parent / "bugs"
ROOT = Path(__file__).parents[2]
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FIELDS = ("name", "says", "file", "before", "after", "tests")


@dataclass(frozen=True, slots=True)
class Area:
    """Bugs of one part of the sources, and who is asked when their own tests say nothing."""

    name: str
    title: str
    tests: tuple[str, ...]
    """Files and folders."""
    seeds: int
    """How many stories the simulation plays at last; none where it knows nothing of the area."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug to plant."""

    area: Area
    name: str
    says: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def planted(self, source: str) -> str:
        """*source* with the bug in it. Raises ValueError when the text before does not stand there exactly once."""
        found = list(_places(self.before, source))
        if len(found) != 1:
            raise ValueError(f"{self.name}: the text before stands {len(found)} times in {self.file}, not once")
        start, end = found[0]
        line = source[source.rfind("\n", 0, start) + 1 : end]
        depth = " " * (len(line) - len(line.lstrip(" ")))
        after = textwrap.indent(self.after, depth)
        return (
            source[:start] + (after if source[start:].startswith(depth) else after.removeprefix(depth)) + source[end:]
        )


def _places(before: str, source: str) -> Iterator[tuple[int, int]]:
    """Where *before* begins and ends."""
    if "\n" not in before:
        yield from (each.span() for each in re.finditer(re.escape(before), source))
        return
    for each in re.finditer(rf"^( *){re.escape(before.splitlines()[0])}$", source, re.MULTILINE):
        text = textwrap.indent(before, each[1])
        if source.startswith(text + "\n", each.start()):
            yield each.start(), each.start() + len(text)


def read_table(table: Path = TABLE) -> list[Bug]:
    """All bugs. Raises ValueError for a row that is not one."""
    found: list[Bug] = []
    for path in sorted(table.glob("*.yaml")):
        given = yaml.safe_load(path.read_text())
        area = Area(path.stem, given["title"], tuple(given["tests"]), int(given.get("seeds", 0)))
        found += [_bug(area, row) for row in given["bugs"]]
    return found


def _bug(area: Area, row: dict[str, Any]) -> Bug:
    if tuple(row) != _FIELDS:
        raise ValueError(f"{area.name}: a bug has {', '.join(_FIELDS)}, in this order; {row!r} has not")
    return Bug(
        area,
        str(row["name"]),
        " ".join(row["says"].split()),
        row["file"],
        row["before"].rstrip("\n"),
        row["after"].rstrip("\n"),
        tuple(row["tests"]),
    )


def complaints(bugs: Iterable[Bug], root: Path = ROOT) -> list[str]:
    """Everything in the table that does not fit the sources below *root*."""
    bugs = list(bugs)
    times = Counter(bug.name for bug in bugs)
    found = [f"{name}: the name is there {count} times" for name, count in times.items() if count > 1]
    return found + [f"{bug.name}: {wrong}" for bug in bugs for wrong in _wrong(bug, root)]


def _wrong(bug: Bug, root: Path) -> Iterator[str]:
    if _NAME.fullmatch(bug.name) is None:
        yield "a name is lower-case words with hyphens"
    if not bug.says.endswith(".") or bug.says.count(". "):
        yield "what it says is one sentence"
    if not bug.tests:
        yield "it names no test that is likely to catch it"
    for place in (*bug.tests, *bug.area.tests):
        if not (root / place.partition("::")[0]).exists():
            yield f"there is no {place.partition('::')[0]}"
    path = root / bug.file
    if not path.is_file():
        yield f"there is no {bug.file}"
        return
    source = path.read_text()
    try:
        planted = bug.planted(source)
        if ast.dump(ast.parse(planted)) == ast.dump(ast.parse(source)):
            yield "the text after means the same as the text before"
    except ValueError as error:
        yield str(error).removeprefix(f"{bug.name}: ")
    except SyntaxError as error:
        yield f"with the text after, {bug.file} is no Python: {error.msg}"
