"""What a person sees while the scenario plays: namespaces, identity slots, lanes and events, drawn with Rich."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from keystead_sandbox.scenario.cast import Cast, Project
from keystead_sandbox.scenario.judge import CREDENTIALS_PER_IDENTITY
from keystead_sandbox.scenario.witness import Happening, Witness

_EVENT_LINES = 9
_COLUMNS = 12

STAGES = {
    "absent": ("·", "bright_black"),
    "asked": ("○", "white"),
    "review": ("?", "yellow"),
    "queued": ("◔", "blue"),
    "written": ("◑", "cyan"),
    "verified": ("◕", "bright_cyan"),
    "ready": ("●", "green"),
    "blocked": ("✖", "red"),
    "gone": ("✓", "bright_black"),
}
"""From nothing to a Secret, one sign each."""


WORDS = {
    "asked": "claimed",
    "review": "awaits review",
    "queued": "to be written",
    "written": "in Azure",
    "verified": "token proven",
    "ready": "Secret there",
    "blocked": "blocked",
    "gone": "deleted, trust gone",
}
"""What the signs mean."""


def stage(witness: Witness, namespace: str) -> str:
    """How far a namespace has come: the furthest of the signs that it shows."""
    seen = witness.sighting
    if namespace not in seen.namespaces:
        return "gone" if namespace in witness.departed else "absent"
    signs = (
        ("blocked", seen.condition(namespace, "StoreReady")[1] == "StoreConflict"),
        ("ready", bool(seen.secrets.get(namespace))),
        ("review", seen.condition(namespace, "Approved")[1] == "AwaitingReview"),
        ("verified", seen.condition(namespace, "Verified")[0] == "True"),
        ("written", seen.federated(namespace)),
        ("queued", seen.condition(namespace, "Approved")[0] == "True"),
    )
    return next((name for name, shown in signs if shown), "asked")


def render(cast: Cast, witness: Witness, *, rate: float, headline: str) -> RenderableType:
    """The whole view at this moment."""
    top = Table.grid(expand=True, padding=(0, 1))
    top.add_column(ratio=3)
    top.add_column(ratio=4)
    top.add_row(
        Panel(_namespaces(cast, witness), title="namespaces", border_style="bright_black"),
        Panel(_pools(cast, witness), title="identities: slots and lanes", border_style="bright_black"),
    )
    clock = f"clock x{rate:g}" if rate != 1 else "clock x1"
    header = Text.assemble(
        (" keystead sandbox ", "bold reverse"),
        "  ",
        headline,
        "  ",
        (f"{witness.elapsed():5.1f} s", "bold"),
        "  ",
        (f"{clock}: {rate:g} s of Azure's waiting in 1 s", "bright_black"),
    )
    return Group(
        header, top, Panel(_events(witness.happenings), title="events", border_style="bright_black"), _legend()
    )


def _namespaces(cast: Cast, witness: Witness) -> RenderableType:
    return Group(*(_project(project, witness) for project in cast.projects))


def _project(project: Project, witness: Witness) -> Text:
    stages = [stage(witness, namespace) for namespace in project.namespaces]
    ready = stages.count("ready")
    text = Text.assemble((f"{project.name}", "bold"), f"  {ready} of {len(stages)} ready, review {project.approval}\n")
    for index, each in enumerate(stages):
        sign, style = STAGES[each]
        text.append(f"{sign} ", style=style)
        if index % _COLUMNS == _COLUMNS - 1:
            text.append("\n")
    text.append("\n")
    return text


def _pools(cast: Cast, witness: Witness) -> RenderableType:
    table = Table(box=None, expand=True, pad_edge=False, header_style="bright_black")
    for title in ("identity", f"slots ({CREDENTIALS_PER_IDENTITY})", "used", "writes", "deletes", "refused"):
        table.add_column(title, justify="left" if title.startswith(("identity", "slots")) else "right", no_wrap=True)
    for project in cast.projects:
        for name in project.identities:
            used = len(witness.sighting.credentials.get(name, ()))
            table.add_row(
                name,
                _heat(used),
                str(used),
                str(len(witness.sighting.writes.get(name, ()))),
                str(witness.deletes.get(name, 0)),
                str(witness.sighting.refused.get(name, 0)),
            )
    return table


def _heat(used: int) -> Text:
    share = used / CREDENTIALS_PER_IDENTITY
    style = "green" if share < 0.7 else "yellow" if share < 1 else "red"  # noqa: PLR2004 - thresholds of a picture
    return Text.assemble(("█" * used, style), ("░" * (CREDENTIALS_PER_IDENTITY - used), "bright_black"))


def _events(happenings: Iterable[Happening]) -> RenderableType:
    lines = list(happenings)[-_EVENT_LINES:]
    texts = [
        Text.assemble(
            (f"{each.seconds:6.1f} ", "bright_black"),
            (f"{each.reason:<22} ", "red" if each.warning else "green"),
            (f"{each.where}  ", "bold"),
            each.message,
            no_wrap=True,
            overflow="ellipsis",
        )
        for each in lines
    ]
    return Group(*texts, *[Text("")] * (_EVENT_LINES - len(texts)))


def _legend() -> Text:
    text = Text(" ")
    for name, word in WORDS.items():
        sign, style = STAGES[name]
        text.append(f"{sign} ", style=style).append(f"{word}   ", style="bright_black")
    return text
