"""The how-to of moving to Keystead: its commands run as printed, and it names every key of what they print."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.test_sandbox_azure import run
from keystead.cli.plan_json import TOLD

PAGE = Path(__file__).parents[2] / "docs/migrate.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^```sh *(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PROVIDER = os.environ.get("TF_AZURERM_PROVIDER_DIR", "")  # noqa: TID251 - a switch of the tests


def keys(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                yield key
                yield from keys(inner)
        case list():
            for each in value:
                yield from keys(each)


@pytest.mark.process
def test_the_commands_run_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("the page's commands need kubectl, which this machine has not")
    with_terraform = bool(PROVIDER) and shutil.which("terraform") is not None
    if with_terraform:
        settings = tmp_path / "terraformrc"
        override = f'dev_overrides {{\n    "hashicorp/azurerm" = {json.dumps(PROVIDER)}\n  }}'
        settings.write_text(f"provider_installation {{\n  {override}\n  direct {{}}\n}}\n")
        monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(settings))

    ran = run("\n".join(body for tool, body in BLOCKS if not tool or with_terraform), tmp_path)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "newcomer/payments" in ran.stdout
    assert "ObserveOnly" in ran.stdout
    planned, exported = (json.loads((tmp_path / name).read_text()) for name in ("plan.json", "credentials.json"))
    named = set(re.findall(r"`(\w+)(?:\[\])?`", TEXT))
    assert {*keys(planned), *keys(exported)} - named == set()
    assert (tmp_path / "credentials.tf").read_text().count("import {") > 0
    assert planned["complete"] is True


@pytest.mark.parametrize("key", sorted(set(TOLD.values())))
def test_every_key_of_a_step_is_named(key: str) -> None:
    assert f"`{key}`" in TEXT


def test_a_block_is_for_the_shell_or_for_terraform() -> None:
    assert {tool for tool, _ in BLOCKS} == {"", "terraform"}
