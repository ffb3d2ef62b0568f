"""``keystead-sandbox kube`` as a stranger runs it: when its file appears, how it ends, and what it says when it cannot."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

COMMAND = str(Path(sys.executable).with_name("keystead-sandbox"))
pytestmark = pytest.mark.process
_PATIENCE = 60  # wall seconds for a process to come up or go


@contextmanager
def _running(kubeconfig: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(  # noqa: S603 - our own executable
        [COMMAND, "kube", "--kubeconfig", str(kubeconfig), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _refused(*options: str) -> str:
    run = subprocess.run(  # noqa: S603 - our own executable
        [COMMAND, "kube", *options], capture_output=True, text=True, check=False, timeout=_PATIENCE
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    return run.stderr


def _line(process: "subprocess.Popen[str]") -> str:
    """Printed once it serves."""
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success(tmp_path: Path, number: signal.Signals) -> None:
    with _running(tmp_path / "kubeconfig") as process:
        assert "https://127.0.0.1:" in _line(process)
        process.send_signal(number)

        assert process.wait(_PATIENCE) == 0


def test_the_file_is_its_owners_alone_and_nothing_else_lies_beside_it(tmp_path: Path) -> None:
    with _running(tmp_path / "kubeconfig") as process:
        _line(process)

        assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]
        assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600


def test_a_file_of_an_earlier_server_is_gone_until_this_one_serves(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("of a server that is dead")
    with _running(kubeconfig) as process:
        deadline = time.monotonic() + _PATIENCE
        while not kubeconfig.exists() or kubeconfig.read_text().startswith("of a server"):
            assert time.monotonic() < deadline
            time.sleep(0.01)

        server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        with socket.create_connection(("127.0.0.1", int(server.rpartition(":")[2])), timeout=_PATIENCE):
            pass  # it accepts from the moment that the file is there
        assert server in _line(process)


def test_people_get_a_context_by_token_or_by_certificate(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    with _running(kubeconfig, "--user", "dev:devs,search", "--certificate", "ops:operators") as process:
        _line(process)
        written = yaml.safe_load(kubeconfig.read_text())
        who = {name: _whoami(kubeconfig, name) for name in ("admin", "dev", "ops")}

    assert [each["name"] for each in written["contexts"]] == ["admin", "dev", "ops"]
    assert sorted(written["users"][2]["user"]) == ["client-certificate-data", "client-key-data"]
    assert who == {
        "admin": ("admin", ["system:masters", "system:authenticated"]),
        "dev": ("dev", ["devs", "search", "system:authenticated"]),
        "ops": ("ops", ["operators", "system:authenticated"]),
    }


def _whoami(kubeconfig: Path, context: str) -> tuple[str, list[str]]:
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}:/usr/local/bin", "HOME": str(kubeconfig.parent)}
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "--context", context, "auth", "whoami", "-o", "yaml"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE, env=environment)  # noqa: S603
    info = yaml.safe_load(run.stdout)["status"]["userInfo"]
    return info["username"], info["groups"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = _refused("--kubeconfig", str(tmp_path / "nowhere" / "kubeconfig"))

    assert f"the folder {tmp_path / 'nowhere'} is not there" in told


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = _refused("--kubeconfig", str(tmp_path / "kubeconfig"), "--port", str(port))

    assert f"--port: {port} cannot be used: Address already in use" in told
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    told = _refused("--kubeconfig", str(tmp_path / "kubeconfig"), "--journal", str(tmp_path / "nowhere" / "journal"))

    assert "--journal:" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--user", "--certificate"])
@pytest.mark.parametrize("text", ["", ":devs"])
def test_a_user_without_a_name_is_told(tmp_path: Path, option: str, text: str) -> None:
    assert "names nobody" in _refused("--kubeconfig", str(tmp_path / "kubeconfig"), option, text)


def test_two_users_of_one_name_are_told(tmp_path: Path) -> None:
    told = _refused("--kubeconfig", str(tmp_path / "kubeconfig"), "--user", "dev:a", "--certificate", "dev:b")

    assert "dev is named twice" in told


def test_the_admins_name_is_taken(tmp_path: Path) -> None:
    assert "admin is named twice" in _refused("--kubeconfig", str(tmp_path / "kubeconfig"), "--user", "admin:devs")
