"""The cluster that the suite is played on: one for a whole run.

The environment variable ``KEYSTEAD_TEST_CLUSTER`` chooses it: ``embedded`` (when it is not set), or the path of a
kubeconfig with the contexts ``admin`` (in ``system:masters``), ``dev`` (in ``devs``) and ``ops`` (in ``operators``).
"""

import os
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

EMBEDDED = "embedded"
VARIABLE = "KEYSTEAD_TEST_CLUSTER"
USERS = ("dev:devs", "ops:operators")


def chosen() -> str:
    """The name or path that the environment asks for."""
    return os.environ.get(VARIABLE) or EMBEDDED  # noqa: TID251 - how a run says which cluster it means


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


def player(kubeconfig: Path) -> Player:
    """A player of the cluster, which has the definitions that cases use."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    verify: Any = False
    if "certificate-authority-data" in cluster:
        import base64

        verify = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    tokens = {each["name"]: each["user"].get("token", "") for each in config["users"]}
    playing = Player(cluster["server"], tokens, verify)
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
