"""What can be taken over, for people: by account, readable at 80 columns, the two strings of a difference below each other."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keystead.cli.options import plain
from keystead.plan.stores import Difference
from keystead.plan.takeover import Report, Row, State

_SECTIONS = (
    (State.POSSIBLE, "Can be taken over", "green"),
    (State.SAID, "Said already: the operator does it with its next pass", "cyan"),
    (State.IMPOSSIBLE, "Cannot be taken over", "yellow"),
)
_QUIET = (
    (State.ADOPTED, "Taken over"),
    (State.AS_IT_IS, "Stays as it is"),
)
_KINDS = (("Credential", "credential"), ("ServiceAccount", "ServiceAccount"), ("SecretStore", "SecretStore"))
_INDENT = 8
_MARGIN = len("  should be  ")


def print_report(console: Console, grant: str, report: Report, namespaces: Sequence[str]) -> None:
    """Of the *namespaces*, or of all when none is named."""
    rows = [row for row in report.rows if not namespaces or row.namespace in namespaces]
    _line(console, f"VaultGrant {grant}", 0, style="bold")
    if report.problem:
        _line(console, plain(report.problem), 2, style="yellow")
    for state, title, style in _SECTIONS:
        _section(console, title, style, [row for row in rows if row.state is state])
    for state, title in _QUIET:
        counted = count([row for row in rows if row.state is state])
        if counted:
            _line(console, f"{title}: {counted}", 2)
    for name in namespaces:
        if not any(row.namespace == name for row in rows):
            _line(console, f"{plain(name)}: nothing there that others made", 2)
    if report.foreign and not namespaces:
        many = "credential is" if report.foreign == 1 else "credentials are"
        _line(console, f"{report.foreign} {many} of other issuers, and nobody's business here", 2)
    if not rows and not namespaces:
        _line(console, "Others have made nothing for its namespaces.", 2)


def count(rows: Iterable[Row]) -> str:
    """``2 credentials, 1 SecretStore``."""
    kinds = [row.kind for row in rows]
    told = []
    for kind, word in _KINDS:
        many = kinds.count(kind)
        if many:
            told.append(f"{many} {word}" if many == 1 else f"{many} {word}s")
    return ", ".join(told)


def _section(console: Console, title: str, style: str, rows: Sequence[Row]) -> None:
    if rows:
        _line(console, title, 2, style=style)
    for (namespace, account), group in groupby(rows, key=lambda row: (row.namespace, row.account)):
        _line(console, f"{plain(namespace)}, ServiceAccount {plain(account)}" if namespace else "of no account", 4)
        for row in group:
            where = f" on identity {row.identity.name}" if row.identity is not None else ""
            reason = f": {plain(row.reason)}" if row.reason else ""
            item = Table.grid(padding=(0, 1))  # so that what is wrapped goes on below where it began
            item.add_row("-", Text(f"{row.kind} {plain(row.name)}{where}{reason}", overflow="fold"))
            console.print(Padding(item, (0, 0, 0, 6), expand=False))
            for different in row.differences:
                for line in _different(different, console.width - _INDENT):
                    _line(console, line, _INDENT)


def _different(different: Difference, width: int) -> Iterator[str]:
    """The field; what stands above what should, with a mark where they part."""
    given, wanted = plain(different.given) or "(absent)", plain(different.wanted) or "(absent)"
    yield different.field
    yield f"  is         {given}"
    yield f"  should be  {wanted}"
    part = next((at for at, (one, two) in enumerate(zip(given, wanted, strict=False)) if one != two), None)
    part = min(len(given), len(wanted)) if part is None else part
    if part and max(len(given), len(wanted)) + _MARGIN < width:
        yield f"{' ' * (_MARGIN + part)}^"


def _line(console: Console, text: str, indent: int, *, style: str = "") -> None:
    console.print(Padding(Text(text, style=style, overflow="fold"), (0, 0, 0, indent), expand=False))
