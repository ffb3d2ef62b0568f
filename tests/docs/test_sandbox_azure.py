"""The how-to of the emulated Azure: its commands run as printed, its tables name every field."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from keystead_sandbox import seeds, vault_seeds
from keystead_sandbox.faults import Effect, Fault
from keystead_sandbox.journal import Query
from keystead_sandbox.resources import Rules

PAGE = Path(__file__).parents[2] / "docs/sandbox-azure.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^```sh *(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMON = "\n".join(body for tool, body in BLOCKS if not tool)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script in an empty folder, with this environment's commands and nothing else of it."""
    environment = dict(os.environ)  # noqa: TID251 - what tools of this machine need, and no setting of ours
    kept = ("HOME", "GOPROXY", "GOFLAGS", "GONOSUMDB", "GONOSUMCHECK", "GOSUMDB", "TF_CLI_CONFIG_FILE")
    return subprocess.run(  # noqa: S603 - the page's own commands
        ["/bin/bash", "-euo", "pipefail", "-c", f"trap 'jobs -p | xargs -r kill; wait' EXIT\n{script}\nwait"],
        cwd=folder,
        env={
            "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
            **{name: environment[name] for name in kept if name in environment},
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.process
def test_the_commands_run_as_printed(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the page's commands need curl, which this machine has not")

    ran = run(COMMON, tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")
    answers = ran.stdout
    assert '"subscriptionPolicies"' in answers
    assert '"writer"' in answers
    assert '"error":"' not in answers.replace(" ", "")
    assert [path.name for path in tmp_path.glob("*.env*")] == []


@pytest.mark.process
@pytest.mark.parametrize("tool", sorted({tool for tool, _ in BLOCKS if tool}))
def test_the_commands_of_other_tools_run_as_printed(tool: str, tmp_path: Path) -> None:
    # What is on PATH may still lack what it downloads, so that tools have to be named.
    wanted = os.environ.get("KEYSTEAD_TEST_TOOLS", "").split(",")  # noqa: TID251 - a switch of the tests
    if tool not in wanted or shutil.which(tool) is None:
        pytest.skip(
            f"{tool} is not named in KEYSTEAD_TEST_TOOLS, or not on PATH: its commands on the page were not run"
        )
    start, end = BLOCKS[0][1], "kill %1\n"

    ran = run("\n".join([start, *(body for name, body in BLOCKS if name == tool), end]), tmp_path)

    assert ran.returncode == 0, ran.stderr


def test_what_every_tool_is_for_is_among_the_blocks() -> None:
    assert {tool for tool, _ in BLOCKS} == {"", "az", "terraform", "go"}


@pytest.mark.parametrize(
    "kind",
    [
        each
        for module in (seeds, vault_seeds)
        for name, each in vars(module).items()
        if name.endswith("Seed") and issubclass(each, msgspec.Struct)  # the parts
    ]
    + [Fault],
)
def test_every_field_is_named(kind: type[msgspec.Struct]) -> None:
    """The rules are named by the control API, which shows them all."""
    missing = [
        field.encode_name
        for field in msgspec.structs.fields(kind)
        if kind is not Rules and not re.search(rf"\b{field.encode_name}\b", TEXT)
    ]

    assert missing == []


def test_every_effect_and_filter_is_named() -> None:
    assert [effect for effect in Effect if f"`{effect}`" not in TEXT] == []
    assert [name for name in Query.__struct_fields__ if f"`{name}`" not in TEXT] == []
