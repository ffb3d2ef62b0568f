"""The how-to of adoption: its commands run as printed, and it names every key of what they print."""

import json
import re
import shutil
from pathlib import Path

import pytest

from docs.test_migrate import keys
from docs.test_sandbox_azure import run
from keystead.plan.takeover import State

PAGE = Path(__file__).parents[2] / "docs/adopt.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.process
def test_the_commands_run_as_printed(tmp_path: Path) -> None:
    for tool in ("kubectl", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"the page's commands need {tool}, which this machine has not")

    ran = run("\n".join(BLOCKS), tmp_path)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "- Credential made-long-ago on identity" in ran.stdout
    assert "system:serviceaccount:Rookie:keystead" in ran.stdout
    assert "Said: keystead.dev/adopt on VaultGrant search" in ran.stdout
    told = json.loads((tmp_path / "adopt.json").read_text())
    assert told["possible"] == ["veteran/keystead"]
    assert set(keys(told)) - set(re.findall(r"`(\w+)(?:\[\])?`", TEXT)) == set()


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_named(state: State) -> None:
    assert f"`{state}`" in TEXT
