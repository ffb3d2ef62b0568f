"""The page of fidelity: what the sandbox claims to share with the real services, from ``docs/fidelity/*.yaml``."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
#: Sections in the order of reading; a file of another name follows, by its name.
TITLES = {
    "arm": "Azure Resource Manager",
    "entra": "Microsoft Entra",
    "keyvault": "Key Vault",
    "imds": "Instance metadata service",
    "proxy": "CONNECT proxy",
    "clients": "Unmodified clients",
    "time": "Time and throttling",
    "journal": "Journal, faults and control",
    "kube": "Kubernetes",
}
#: From firm to loose.
CERTAINTIES = {
    "documented": "the vendor's documentation, specification or SDK source says so",
    "recorded": "published recordings of real traffic show it",
    "observed": "we saw it with the real client or server",
    "reported": "public issues or articles tell of it",
    "inferred": "nobody says so; it follows from something else, and the row says what exactly is unknown",
    "promised": "not about the real service: what the sandbox does of its own",
}
_HEAD = """\
# Fidelity: what the sandbox shares with the real services

Each row is a claim, how certain it is, where it comes from, and the tests that witness that the sandbox does so. A test
fails when a row has no witness, and when a rule of the sandbox (a refusal, an AADSTS code, a setting) has no row.

| certainty | means | rows |
|---|---|---|
"""
_TAIL = """
What is inferred is our best guess: do not build on its details, and tell us when you know better. The rows stand in
`docs/fidelity/*.yaml`; `make generate` writes this page.
"""


def page(folder: Path = ROOT / "docs/fidelity") -> str:
    """The whole page; rows keep the order of their files."""
    files = {path.stem: yaml.safe_load(path.read_text()) or [] for path in sorted(folder.glob("*.yaml"))}
    sections = [name for name in TITLES if name in files] + [name for name in files if name not in TITLES]
    every = [row for name in sections for row in files[name]]
    counts = [
        f"| {name} | {meaning} | {sum(row['certainty'] == name for row in every)} |"
        for name, meaning in CERTAINTIES.items()
    ]
    text = _HEAD + "\n".join(counts) + "\n" + _TAIL
    for name in sections:
        text += f"\n## {TITLES.get(name, name.capitalize())}\n\n| claim | certainty | source | witness |\n|---|---|---|---|\n"
        text += "".join(_line(row) for row in files[name])
    return text


def _line(row: dict[str, Any]) -> str:
    cells = (
        f'<a id="{row["id"]}"></a>{_cell(row["claim"])}',
        row["certainty"],
        _cell(row["source"]),
        "<br>".join(_link(witness) for witness in row["witness"]),
    )
    return f"| {' | '.join(cells)} |\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _link(witness: str) -> str:
    """The test's name in words, leading to its file."""
    path, _, name = witness.partition("::")
    return f"[{name.rpartition('::')[2].removeprefix('test_').replace('_', ' ')}](../{path})"
