"""Pure: how the verdicts are told: a line, a table, the figures, and the page of what is planted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from mutants.bugs import Bug
from mutants.trials import STAGES, Outcome, Verdict

_SHORTEST = 60  # characters of a complaint in a line


def line(verdict: Verdict, count: str) -> str:
    """One verdict, as it comes."""
    how = f": {verdict.how}" if verdict.outcome is Outcome.INVALID else ""
    return f"{count:>7}  {verdict.outcome:<8}  {verdict.bug.name}  {verdict.by}{how}  ({verdict.seconds:.1f} s)"


def table(verdicts: Sequence[Verdict]) -> str:
    """All verdicts, in the order of the table of bugs."""
    rows = [("bug", "file", "what caught it", "seconds")]
    rows += [
        (each.bug.name, each.bug.file.removeprefix("src/"), _catcher(each), f"{each.seconds:.1f}") for each in verdicts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _catcher(verdict: Verdict) -> str:
    match verdict.outcome:
        case Outcome.CAUGHT:
            return f"simulation, {verdict.by}" if verdict.stage == "simulation" else verdict.by.removeprefix("tests/")
        case Outcome.SURVIVED:
            return "NOTHING: it survived"
        case Outcome.INVALID:
            return f"INVALID: {verdict.by}: {verdict.how[:_SHORTEST]}"


def figures(verdicts: Sequence[Verdict], *, seconds: float, workers: int) -> dict[str, Any]:
    """The same for machines."""
    outcomes = Counter(each.outcome for each in verdicts)
    stages = Counter(each.stage for each in verdicts if each.outcome is Outcome.CAUGHT)
    return {
        "planted": len(verdicts),
        **{str(outcome): outcomes[outcome] for outcome in Outcome},
        "caughtBy": {stage: stages[stage] for stage in STAGES},
        "seconds": round(seconds, 1),
        "workers": workers,
        "bugs": [
            {
                "name": each.bug.name,
                "area": each.bug.area.name,
                "says": each.bug.says,
                "file": each.bug.file,
                "outcome": str(each.outcome),
                "stage": each.stage,
                "by": each.by,
                "how": each.how,
                "seconds": round(each.seconds, 1),
            }
            for each in verdicts
        ],
    }


def closing(numbers: dict[str, Any]) -> str:
    """The last line."""
    by = numbers["caughtBy"]
    return (
        f"planted {numbers['planted']}, caught {numbers['caught']} ({by['hints']} by the tests named for them, "
        f"{by['tests']} by other tests, {by['simulation']} by the simulation), survived {numbers['survived']}, "
        f"invalid {numbers['invalid']} ({numbers['seconds']:.0f} s)"
    )


def listed(bugs: Iterable[Bug]) -> str:
    """What is planted, for a terminal."""
    lines = []
    for area, rows in groupby(bugs, key=lambda bug: bug.area):
        lines += ["", area.title, *(f"  {bug.name:<44} {bug.says}" for bug in rows)]
    return "\n".join(lines[1:])
