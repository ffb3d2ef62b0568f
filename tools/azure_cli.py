"""Installs azure-cli, as pinned, into an environment of its own outside the checkout, and prints the path of ``az``.

- The folder is named after the pins, so that a change of them makes a new one and an old checkout keeps its own.
- It appears under its name only when it is complete: what a cut-off installation left is removed by the next one.
- One installation at a time; whoever comes second waits and finds it done.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PINS = Path(__file__).parents[1] / "requirements/azure-cli.txt"


def home() -> Path:
    """Where these pins are installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251 - a script of its own
    return cache / "keystead" / f"azure-cli-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]}"


def install(target: Path) -> None:
    """Make *target*, or leave nothing under that name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        print(f"set-up: installing azure-cli into {target} (once; two minutes, 750 MB)", file=sys.stderr, flush=True)  # noqa: T201 - a script
        try:
            venv.create(partial, with_pip=True)
            pip = [partial / "bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
            subprocess.run([*pip, "install", "--require-hashes", "-r", PINS], check=True)  # noqa: S603 - our own pins
            _move(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _move(partial: Path, target: Path) -> None:
    """Give the environment its name; its scripts name their interpreter by its path, so they are told first."""
    for script in (partial / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            script.write_bytes(script.read_bytes().replace(bytes(partial), bytes(target)))
    partial.rename(target)


def main() -> int:
    """Exit code 1 when the installation failed."""
    target = home()
    if not target.exists():
        try:
            install(target)
        except subprocess.CalledProcessError as error:
            print(f"azure-cli could not be installed: {error}", file=sys.stderr)  # noqa: T201 - a script
            return 1
    print(target / "bin/az")  # noqa: T201 - a script
    return 0


if __name__ == "__main__":
    sys.exit(main())
