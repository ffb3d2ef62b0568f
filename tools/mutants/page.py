"""Pure: the page of planted bugs, from the table."""

from itertools import groupby

from mutants.bugs import Bug

_HEAD = """\
# Planted bugs

Tests that pass say little; tests that fail when something is wrong say more. `make mutants` plants each bug below in a
copy of the sources, one at a time, and runs the tests that should notice, then the other tests of the area, then the
simulation. A bug that none of them catches fails the run.

Each is what a careless engineer could have written: it compiles, and everything else goes on working. What is not here is
not proven to be caught; a rule that you add deserves a bug of its own in `tools/mutants/bugs`.
"""


def page(bugs: list[Bug]) -> str:
    """One table for each area."""
    lines = [_HEAD, f"There are {len(bugs)} of them.", ""]
    for area, rows in groupby(bugs, key=lambda bug: bug.area):
        lines += [f"## {area.title}", "", "| bug | what it does | in | caught by |", "|---|---|---|---|"]
        for bug in rows:
            says = bug.says.replace("|", "\\|")
            caught = bug.tests[0].removeprefix("tests/").partition("[")[0]
            lines.append(f"| `{bug.name}` | {says} | `{bug.file.removeprefix('src/')}` | `{caught}` |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
