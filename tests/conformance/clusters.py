"""Clusters that the suite is played on, with the users ``admin`` (in ``system:masters``), ``dev`` and ``ops``."""

import base64
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from conformance.cases import HERE
from conformance.player import Player

USERS = ("dev:devs", "ops:operators")


@contextmanager
def embedded(folder: Path) -> Iterator[Path]:
    """The kubeconfig of an embedded server in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    kubeconfig = folder / "kubeconfig"
    program = Path(sys.executable).with_name("keystead-sandbox")
    command = [str(program), "kube", "--kubeconfig", str(kubeconfig)]
    command += [argument for user in USERS for argument in ("--user", user)]
    with subprocess.Popen(  # noqa: S603 - our own executable
        command, stdout=subprocess.PIPE, stderr=None, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # printed once it serves
            assert kubeconfig.exists(), f"the embedded server did not start: {line}"
            yield kubeconfig
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def player(kubeconfig: Path, *, is_real: bool) -> Player:
    """A player of the cluster, which has the definitions that cases use."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    verify: Any = False
    if "certificate-authority-data" in cluster:
        verify = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    tokens = {each["name"]: each["user"].get("token", "") for each in config["users"]}
    playing = Player(cluster["server"], tokens, verify, is_real=is_real)
    _define(playing)
    return playing


def _define(playing: Player) -> None:
    """Definitions, and the issuer's documents open to all, as cloud providers have them."""
    for item in yaml.safe_load_all((HERE / "definitions.yaml").read_text()):
        group, _, version = item["apiVersion"].rpartition("/")
        plural = {
            "CustomResourceDefinition": "customresourcedefinitions",
            "ClusterRoleBinding": "clusterrolebindings",
        }[item["kind"]]
        path = f"/apis/{group}/{version}/{plural}/{item['metadata']['name']}"
        applied = playing.send({"PATCH": f"{path}?fieldManager=suite&force=true", "body": item, "type": "apply"})
        assert applied["status"] < 300, applied
        if plural == "customresourcedefinitions":
            served = (
                f"/apis/{item['spec']['group']}/{item['spec']['versions'][0]['name']}/{item['spec']['names']['plural']}"
            )
            playing._until({"GET": served, "until": 200})
