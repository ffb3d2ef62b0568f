"""The import contracts hold, and each of them fails when it is broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = (
        f"import sys; sys.path.insert(0, {str(folder / 'src')!r}); "
        "from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    return subprocess.run(  # noqa: S603 - our own interpreter and files
        [sys.executable, "-c", program, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("keystead/plan/planner.py", "import time", "Rules and nouns do no I/O"),
        ("keystead/model/ids.py", "import logging", "Rules and nouns do no I/O"),
        ("keystead/plan/planner.py", "import keystead.azure", "Data flows one way"),
        ("keystead/kube/__init__.py", "import keystead.azure", "Data flows one way"),
        ("keystead_sandbox/clock.py", "import keystead.model.clock", "The sandbox shares no code"),
        ("keystead/cli/main.py", "import keystead_sandbox", "The sandbox shares no code"),
    ],
    ids=[
        "plan takes no clock",
        "model does not log",
        "plan knows no adapter",
        "adapters are strangers",
        "sandbox is apart",
        "and not used",
    ],
)
def test_a_broken_contract_is_reported(tmp_path: Path, module: str, statement: str, contract: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    broken = tmp_path / "src" / module
    broken.write_text(broken.read_text() + f"\n{statement}\n")

    found = _lint(tmp_path)

    assert found.returncode != 0
    assert contract in found.stdout.split("Broken contracts", 1)[-1]
