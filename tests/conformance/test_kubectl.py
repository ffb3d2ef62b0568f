"""kubectl prints what it prints of a real cluster: a hundred commands, compared with recordings of a real one."""

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
_words = itertools.count(1)


def _recorded() -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in kubectl_player.RECORDED.read_text().splitlines()]
    return [each for each in lines if "run" in each]


@pytest.fixture(scope="module")
def printed(cluster: Player, kubeconfig: Path) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG001 - its definitions
    """Every command with what came of it; they build on each other, so they are run once and in order."""
    return list(kubectl_player.play(kubeconfig, f"k{os.getpid():x}x{next(_words):x}"))


@pytest.mark.parametrize("number", range(len(_recorded())), ids=lambda n: f"{n}-{_recorded()[n]['run'][:60]}")
def test_kubectl_prints_what_it_prints_of_a_real_cluster(
    printed: list[tuple[str, dict[str, Any]]], number: int
) -> None:
    recorded = _recorded()[number]

    line, found = printed[number]

    assert line == recorded["run"], "the commands have changed since they were recorded"
    assert differences(found, recorded["printed"]) == []


def test_every_command_is_recorded() -> None:
    assert [each["run"] for each in kubectl_player.commands()] == [each["run"] for each in _recorded()]
