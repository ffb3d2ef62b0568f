"""Settings of the engine. They come from the command's flags, which name their environment variables themselves."""

import datetime
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What ``keystead sync`` was told."""

    kubeconfig: str = ""
    """Empty: the pod's own account."""
    context: str = ""
    controller_class: str = "keystead"
    """The ``spec.controller`` of the stores that are served; ESO ignores stores of another class than its own."""
    store_interval: datetime.timedelta = datetime.timedelta(minutes=5)
    workers: int = 32
    authority: str = ""
    """Empty: the authority of the cloud that a vault's name belongs to."""
    lease: tuple[str, str] = ("default", "keystead-sync")
    """Namespace and name: of several replicas, the one that holds this Lease serves."""
