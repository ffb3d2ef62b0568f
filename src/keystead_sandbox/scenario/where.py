"""Which Kubernetes the scenario plays on: the embedded one, a real control plane of its own, or somebody's cluster.

Each ends up as an admin's kubeconfig.
"""

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from keystead_sandbox.access import Access, read_config
from keystead_sandbox.control_plane.assets import ASSETS, NoControlPlane, find_or_build
from keystead_sandbox.processes import PartFailed, Parts, executable

EMBEDDED, REAL = "embedded", "real"
_START = 240.0  # wall seconds for a real control plane; three on an idle machine


@dataclass(frozen=True, slots=True)
class Where:
    """What ``--kube`` said, and ``--context``."""

    named: str
    context: str = ""
    """Of the kubeconfig; its current one when empty."""

    @property
    def is_ours(self) -> bool:
        """Whether the cluster ends with the scenario, and what is in it too."""
        return self.named in (EMBEDDED, REAL)

    @property
    def title(self) -> str:
        return {EMBEDDED: "an embedded Kubernetes", REAL: "a real control plane"}.get(
            self.named, f"{self.named}{f' ({self.context})' if self.context else ''}"
        )

    def access(self, kubeconfig: Path) -> Access:
        """As the admin. KubernetesRefused when that cannot be used."""
        return read_config(kubeconfig, self.context or None)

    async def start(self, parts: Parts, folder: Path, environment: Mapping[str, str], *, rate: float) -> Path:
        """Start it where it is ours; returns the admin's kubeconfig once it answers."""
        if not self.is_ours:
            return Path(self.named)
        kubeconfig, sandbox = folder / "kubeconfig", executable("keystead-sandbox")
        if self.named == REAL:
            logs = str(folder / "control-plane")
            command: tuple[str, ...] = (sandbox, "control-plane", "--kubeconfig", str(kubeconfig), "--logs", logs)
        else:
            journal = str(folder / "kubernetes.journal.jsonl")
            command = (
                sandbox,
                "kube",
                "--kubeconfig",
                str(kubeconfig),
                "--journal",
                journal,
                "--clock-rate",
                f"{rate}",
            )
        kube = await parts.start("kubernetes", *command, environment=environment)
        await parts.until_file(kube, kubeconfig, seconds=_START)
        return kubeconfig

    async def prepare(self, say: Callable[[str], None]) -> dict[str, str]:
        """Have what it takes to start it, which may be a build; returns what its process must be told."""
        if self.named != REAL:
            return {}
        try:
            assets = await find_or_build(dict(os.environ), say)  # noqa: TID251 - Go's settings are the caller's
        except NoControlPlane as error:
            raise PartFailed(str(error)) from error
        return {ASSETS: str(assets.folder)}


def write_kube_ca(kubeconfig: Path, path: Path) -> None:
    """The API server's CA as a file, taken from the kubeconfig, so that any cluster can be the issuer."""
    clusters = yaml.safe_load(kubeconfig.read_text())["clusters"]
    path.write_bytes(base64.b64decode(clusters[0]["cluster"]["certificate-authority-data"]))
