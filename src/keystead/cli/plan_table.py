"""A plan for people: a block for each grant, readable at 80 columns.

What a step is for stands on a line of its own, since names of namespaces, claims and credentials are long, and are copied.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keystead.cli.options import plain
from keystead.model.reasons import CATALOGUE, Reason
from keystead.plan.adoption import command
from keystead.plan.preview import Preview, Unit
from keystead.plan.steps import Step
from keystead.plan.takeover import State
from keystead.plan.wording import say

_NARROWEST = 20  # columns for a text, however narrow the terminal
_STATES = {
    State.ADOPTED: "taken over",
    State.SAID: "is taken over with the next pass",
    State.POSSIBLE: "can be taken over",
    State.AS_IT_IS: "stays its owner's, and does no harm",
    State.IMPOSSIBLE: "cannot be taken over",
}
_COLUMNS = ("OURS", "ADOPTABLE", "FOREIGN", "RESERVED", "FREE")


def print_plan(console: Console, grants: Sequence[Preview]) -> None:
    """Everything, and one closing line."""
    for each in grants:
        _grant(console, each)
    steps, held = sum(each.steps for each in grants), sum(each.held for each in grants)
    if not grants:
        console.print("There is no VaultGrant.")
    elif not steps and not held:
        console.print("Nothing to do.")
    else:
        rest = f", {held} held back" if held else ""
        console.print(f"{_count(steps, 'step')} to take{rest}. Nothing was written.")


def _grant(console: Console, grant: Preview) -> None:
    gone = "" if grant.exists else " (does not exist)"
    console.print(Text(f"VaultGrant {grant.grant}{gone}", style="bold"))
    for trouble in grant.troubles:
        _line(console, f"{trouble.type}: {plain(trouble.message)}", 2, style="yellow")
    slots = _slots(grant)
    if slots is not None:
        console.print(Padding(slots, (0, 0, 0, 2), expand=False))
    _block(console, "Steps", ((unit, _steps(unit)) for unit in grant.units if unit.steps))
    _block(console, "Held back", ((unit, _held(unit)) for unit in grant.units if unit.held))
    if grant.waiting:
        _line(console, "Waiting", 2, style="cyan")
    for waiting in grant.waiting:
        _line(console, waiting.claim, 4)
        _line(console, f"{waiting.reason}: {plain(waiting.message)}", 6)
    _others(console, grant)
    console.print()


def _others(console: Console, grant: Preview) -> None:
    if grant.others:
        _line(console, "Made by others", 2, style="cyan")
    for row in grant.others:
        where = f" on identity {row.identity.name}" if row.identity is not None else f" in {row.namespace}"
        _line(console, f"{row.kind} {row.name}{where}", 4)
        told = _STATES[row.state]
        if row.namespace and row.identity is not None:
            told = f"for ServiceAccount {row.namespace}/{row.account}, {told}"
        _line(console, f"{told}; {row.reason}" if row.reason else told, 6)
        if row.state is State.POSSIBLE:
            _line(console, command(grant.grant, row.namespace), 8)  # on a line of its own, to be copied
        for each in row.differences:
            _line(console, f"{each.field}: {each.given or 'absent'}", 6, mark="- ")
            _line(console, f"wanted: {each.wanted or 'absent'}", 6, mark="  ")


def _line(console: Console, text: str, indent: int, *, mark: str = "", style: str = "") -> None:
    """Wrapped below where it began, and without blanks at its end: lines are copied, and go through pipes."""
    begin = " " * indent + mark
    width = max(_NARROWEST, console.width - len(begin))
    for part in Text(text).wrap(console, width, overflow="fold"):
        console.print(f"{begin}{part.plain.rstrip()}", style=style, soft_wrap=True)
        begin = " " * len(begin)


def _block(console: Console, title: str, rows: Iterable[tuple[Unit, Iterable[tuple[str, str]]]]) -> None:
    for number, (unit, lines) in enumerate(rows):
        if not number:
            _line(console, title, 2, style="cyan")
        _line(console, unit.about, 4)
        for mark, line in lines:
            _line(console, line, 6, mark=mark)


def _steps(unit: Unit) -> Iterator[tuple[str, str]]:
    for step in unit.steps:
        yield "- ", f"{plain(say(step))}{_when(step)}"


def _when(step: Step) -> str:
    moment: datetime.datetime | None = getattr(step, "not_before", None)
    return "" if moment is None else f", from {moment:%H:%M:%S} UTC"


def _held(unit: Unit) -> Iterator[tuple[str, str]]:
    by_reason: dict[Reason, list[Step]] = {}
    for held in unit.held:
        by_reason.setdefault(held.reason, []).append(held.step)
    for reason, steps in by_reason.items():
        for step in steps:
            yield "- ", plain(say(step))
        yield "", f"{reason}: {CATALOGUE[reason].tenant}"


def _slots(grant: Preview) -> Table | None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("IDENTITY", overflow="fold")
    for title in _COLUMNS:
        table.add_column(title, justify="right")
    counts = {count.identity.key: count for count in grant.counts}
    for each in grant.identities:
        count = counts.get(each.resource_id.lower())
        numbers: tuple[int, ...] | None = None
        if count is not None:
            foreign = count.foreign + count.left_behind
            numbers = (count.ours, count.adoptable, foreign, each.reserved, each.room)
        shown = ("not read",) * len(_COLUMNS) if numbers is None else tuple(map(str, numbers))
        table.add_row(each.resource_id.rsplit("/", 1)[1], *shown)
    return table if table.row_count else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
