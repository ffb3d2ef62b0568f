"""kubectl prints what it prints of a real cluster: a hundred and fifty commands, compared with recordings of a real one.

Recorded with each version of kubectl that words things otherwise; whichever is on the PATH is compared with its own.
"""

import functools
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from conformance import kubectl_player
from conformance.compare import differences
from conformance.player import Player

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="THERE IS NO KUBECTL ON THIS MACHINE"),
]
_COMMANDS = kubectl_player.commands()
_words = itertools.count(1)


@functools.cache
def _recorded() -> list[dict[str, Any]]:
    path = kubectl_player.nearest(kubectl_player.client())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [each for each in lines if "run" in each]


@pytest.fixture(scope="module")
def printed(cluster: Player, kubeconfig: Path) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG001 - its definitions
    """Every command with what came of it; they build on each other, so they are run once and in order."""
    return list(kubectl_player.play(kubeconfig, f"k{os.getpid():x}x{next(_words):x}"))


@pytest.mark.parametrize(
    "number", range(len(_COMMANDS)), ids=[f"{n}-{each['run'][:60]}" for n, each in enumerate(_COMMANDS)]
)
def test_kubectl_prints_what_it_prints_of_a_real_cluster(
    printed: list[tuple[str, dict[str, Any]]], number: int
) -> None:
    recorded = _recorded()[number]

    line, found = printed[number]

    assert line == recorded["run"], "the commands have changed since they were recorded"
    assert differences(found, recorded["printed"]) == []


@pytest.mark.parametrize("version", ["v1.32.4", "v1.37.1"])
def test_every_command_is_recorded(version: str) -> None:
    lines = [json.loads(line) for line in kubectl_player.recording(version).read_text().splitlines()]

    assert [each["run"] for each in _COMMANDS] == [each["run"] for each in lines if "run" in each]


@pytest.mark.parametrize(("version", "name"), [("v1.20.0", "1.32"), ("v1.34.0", "1.32"), ("v1.36.2", "1.37")])
def test_another_version_is_compared_with_the_nearest(version: str, name: str) -> None:
    assert kubectl_player.nearest(version).stem == f"kubectl-{name}"
