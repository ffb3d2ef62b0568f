"""``keystead sandbox``: hands over to the sandbox's own executable, which shares no code with us."""

import os
import shutil
import sys
import time
from pathlib import Path

import typer

from keystead.model.errors import Refused
from keystead.model.reasons import Reason

STARTED = "KEYSTEAD_SANDBOX_STARTED"


def sandbox(context: typer.Context) -> None:
    """Play the main job on this machine: emulated Azure, a Kubernetes API, operator and engine (--help for options)."""
    beside = Path(sys.argv[0]).absolute().with_name("keystead-sandbox")
    program = str(beside) if beside.exists() else shutil.which("keystead-sandbox")
    if program is None:
        raise Refused(
            Reason.SETTING_INVALID, "keystead-sandbox is neither beside keystead nor on PATH; install Keystead with pip"
        )
    environment = {**os.environ, STARTED: repr(time.time())}  # noqa: TID251 - handed on as it is
    # The process becomes the sandbox: signals and the exit code need no forwarding.
    os.execve(program, [program, "scenario", *context.args], environment)  # noqa: S606 - our own executable, no shell
