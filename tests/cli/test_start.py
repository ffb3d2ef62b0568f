"""Commands that cannot start say so with the field and the cure, and without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KEYSTEAD = str(Path(sys.executable).with_name("keystead"))
DEAD = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
"""


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "KEYSTEAD"))}  # noqa: TID251 - for a child
    return subprocess.run(  # noqa: S603 - our own executable
        [KEYSTEAD, *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["run"], {"KUBECONFIG": "/nowhere"}, ("KUBECONFIG", "/nowhere", "readable kubeconfig")),
        (["run"], {"KEYSTEAD_LANE_PACE": "soon"}, ("KEYSTEAD_LANE_PACE", "'soon'", "a duration such as 4s")),
        (["requests"], {"KUBECONFIG": "/nowhere"}, ("KUBECONFIG", "/nowhere", "readable kubeconfig")),
    ],
    ids=["an operator without Kubernetes", "a setting that makes no sense", "a reviewer without Kubernetes"],
)
def test_what_cannot_start_names_the_field_and_the_cure(
    arguments: list[str], environment: dict[str, str], told: tuple[str, ...]
) -> None:
    run = _run(*arguments, **environment)

    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert [each for each in told if each not in run.stderr] == []


@pytest.mark.parametrize("command", ["run", "requests"])
def test_an_api_server_that_does_not_answer_is_told(tmp_path: Path, command: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(DEAD)

    run = _run(command, KUBECONFIG=str(kubeconfig))

    assert run.returncode == 1
    assert "KUBECONFIG names its address" in run.stderr
    assert "Traceback" not in run.stderr
