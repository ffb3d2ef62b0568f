"""A real control plane for tests: one for a test session, in processes of its own, whatever event loop a test runs.

    @pytest.fixture(scope="session")
    def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
        with real_cluster(tmp_path_factory.mktemp("control-plane")) as cluster:
            yield cluster

Nothing is built here: :func:`reason_for_none` says why there is none, and a test skips, or a whole run fails, by that.
"""

import base64
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import yaml

from keystead_sandbox.control_plane import assets

COMMAND = str(Path(sys.executable).with_name("keystead-sandbox"))
_PATIENCE = 180  # wall seconds; it is up in three on a machine that has nothing else to do


@dataclass(frozen=True)
class Reachable:
    """An API server and its admin."""

    url: str
    """The API server's address, and the issuer of its tokens."""
    ca_pem: bytes
    token: str = field(repr=False)
    """Of a member of ``system:masters``."""
    kubeconfig: Path

    def admin(self) -> httpx2.Client:
        """A client that signs in as admin; the caller closes it."""
        return self.client({"Authorization": f"Bearer {self.token}"})

    def client(self, headers: Mapping[str, str] | None = None) -> httpx2.Client:
        """A client for anybody; the caller closes it."""
        trust = ssl.create_default_context(cadata=self.ca_pem.decode())
        return httpx2.Client(base_url=self.url, verify=trust, headers=headers, timeout=30, trust_env=False)


@dataclass(frozen=True)
class RealCluster(Reachable):
    """A running control plane in processes of its own."""

    logs: Path
    process: "subprocess.Popen[bytes]"

    @property
    def ca_file(self) -> Path:
        return self.logs / "ca.pem"

    def pid(self, program: str) -> int:
        """Of ``etcd``, ``kube-apiserver`` or ``kube-controller-manager``, to stop and continue it with signals."""
        running = psutil.Process(self.process.pid).children()
        return next(each.pid for each in running if Path(each.cmdline()[0]).name == program)


def reason_for_none() -> str:
    """Why there is no real control plane to test with; empty when there is one."""
    if assets.find(dict(os.environ)) is not None:  # noqa: TID251 - as the command will look for it
        return ""
    return "no real control plane is here: run `make control-plane` first"


@contextlib.contextmanager
def real_cluster(folder: Path, *users: str, environment: Mapping[str, str] | None = None) -> Iterator[RealCluster]:
    """A control plane of one's own, with its logs and keys in *folder*, and *users* (``NAME:GROUP``) beside the admin."""
    kubeconfig, output = folder / "kubeconfig", folder / "command.log"
    with output.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own executable
            [
                *(COMMAND, "control-plane", "--kubeconfig", str(kubeconfig), "--logs", str(folder / "logs")),
                "--until-eof",  # a run of tests that is killed leaves nothing behind
                *(argument for user in users for argument in ("--user", user)),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        deadline = time.monotonic() + _PATIENCE
        while not kubeconfig.exists():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        written = yaml.safe_load(kubeconfig.read_text())
        cluster = written["clusters"][0]["cluster"]
        yield RealCluster(
            url=cluster["server"],
            ca_pem=base64.b64decode(cluster["certificate-authority-data"]),
            token=written["users"][0]["user"]["token"],
            kubeconfig=kubeconfig,
            logs=folder / "logs",
            process=process,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        if process.stdin is not None:
            process.stdin.close()
