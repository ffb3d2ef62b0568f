"""The sandbox as people start it: real processes, no terminal."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

KEYSTEAD = str(Path(sys.executable).with_name("keystead"))
pytestmark = pytest.mark.process


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary folder is empty and ours to look into."""
    return {**os.environ, "TMPDIR": str(tmp_path)}  # noqa: TID251 - handed to a child process


def test_the_main_job_comes_true_and_its_report_has_the_scenarios_numbers(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    report = tmp_path / "report.json"
    kept = tmp_path / "kept"

    run = subprocess.run(  # noqa: S603 - our own executable
        [KEYSTEAD, "sandbox", "--once", "--keep", str(kept), "--report", str(report)],
        env=temporary,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    written = json.loads(report.read_text())
    assert written["namespaces"] == {"expected": 57, "ready": 55, "awaitingReview": 1, "blocked": 1}
    assert written["secrets"] == {"expected": 55, "correct": 55}
    assert (written["identities"], written["credentials"], written["clockRate"]) == (4, 56, 10.0)
    assert written["revoked"] == {"expected": 1, "gone": 1}
    assert written["schedule"]["measured"] >= written["schedule"]["optimum"] > 0
    assert {path.name for path in kept.iterdir()} >= {
        "kubeconfig",
        "azure-ca.pem",
        "kubernetes-ca.pem",
        "azure.journal.jsonl",
        "operator.log",
        "engine.log",
    }
    assert "55 ready" in run.stdout


def test_it_plays_under_the_guards_and_no_secret_value_is_in_anything_that_is_left_or_printed(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    """Looked for in every kept file and in the output: the Secrets' values as the cluster held them."""
    kept = tmp_path / "kept"
    process = subprocess.Popen(  # noqa: S603 - our own executable
        [KEYSTEAD, "sandbox", "--plain", "--keep", str(kept)],
        env=temporary,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if "Ctrl-C ends it all" in line:
            break
    values, guarded = _secret_values(kept / "kubeconfig"), _guarded(kept / "kubeconfig")
    process.send_signal(signal.SIGINT)
    printed.append(process.communicate(timeout=60)[0])

    everything = "".join(printed) + "".join(
        path.read_text(errors="replace") for path in kept.rglob("*") if path.is_file()
    )
    assert guarded == {"payments": "True", "search": "True"}
    assert len(values) >= 4
    assert [value for value in values if value in everything] == []


def _listed(kubeconfig: Path, kind: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl") or str(Path(sys.executable).with_name("kubectl"))
    listed = subprocess.run(  # noqa: S603 - kubectl of this machine
        [kubectl, "--kubeconfig", str(kubeconfig), "get", kind, "-A", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    items: list[dict[str, Any]] = json.loads(listed.stdout)["items"]
    return items


def _secret_values(kubeconfig: Path) -> set[str]:
    return {
        base64.b64decode(value).decode()
        for secret in _listed(kubeconfig, "secrets")
        for value in (secret.get("data") or {}).values()
    }


def _guarded(kubeconfig: Path) -> dict[str, str]:
    """What each grant says of its guards."""
    return {
        grant["metadata"]["name"]: each["status"]
        for grant in _listed(kubeconfig, "vaultgrants")
        for each in grant["status"]["conditions"]
        if each["type"] == "FourEyesEnforced"
    }


@pytest.mark.parametrize("after", [0.0, 1.0, 4.0], ids=["at once", "while starting", "while playing"])
def test_an_interrupt_leaves_no_process_and_no_file(tmp_path: Path, temporary: dict[str, str], after: float) -> None:
    process = subprocess.Popen(  # noqa: S603 - our own executable
        [KEYSTEAD, "sandbox"],
        env=temporary,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is up
    time.sleep(after)  # the moment of a person's Ctrl-C; there is nothing to wait for
    family = _descendants(process.pid)
    for member in [psutil.Process(process.pid), *family[:1]]:  # a terminal signals the whole foreground group
        if member.is_running():
            member.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode in (130, -signal.SIGINT)
    assert [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--kube", "{file}"), 1, "its context names 'x', which is not among its clusters"),
        (("--kube", "{file}", "--context", "nope"), 1, "it has no context 'nope'; there are mine, broken"),
        (("--kube", "{file}", "--context", "mine"), 1, "exec: "),
        (("--kube", "{file}.not"), 2, "is neither embedded, nor real, nor a file"),
        (("--context", "mine"), 2, "has no contexts to choose from"),
        (("--kube", "{folder}"), 2, "is neither embedded, nor real, nor a file"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_told_and_nothing_is_left(
    tmp_path: Path, temporary: dict[str, str], options: tuple[str, ...], code: int, told: str
) -> None:
    file = tmp_path / "config"
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./none"}}
    contexts = {"mine": "k", "broken": "x"}
    file.write_text(
        json.dumps(
            {
                "current-context": "broken",
                "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:9"}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": name, "context": {"cluster": k, "user": "u"}} for name, k in contexts.items()],
            }
        )
    )
    given = [each.format(file=file, folder=tmp_path) for each in options]

    run = subprocess.run(  # noqa: S603 - our own executable
        [KEYSTEAD, "sandbox", "--once", *given],
        env={**temporary, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert run.returncode == code, run.stdout + run.stderr
    assert told in run.stderr
    assert "Traceback" not in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config"]
