"""The how-to of the embedded Kubernetes: its commands run as printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/sandbox-kubernetes.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.process
def test_the_commands_run_as_printed(tmp_path: Path) -> None:
    missing = [tool for tool in ("kubectl", "curl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the page's commands need {' and '.join(missing)}, which this machine has not")
    path = dict(os.environ)["PATH"]  # noqa: TID251 - where the tools are
    script = "".join(BLOCKS)

    ran = subprocess.run(  # noqa: S603 - the page's own commands
        ["/bin/bash", "-euo", "pipefail", "-c", f"trap 'jobs -p | xargs -r kill' EXIT\n{script}\nwait"],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{path}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert ran.returncode == 0, ran.stderr
    for told in ("namespace/shop created", "kube-root-ca.crt", "jwks_uri", "widget.example.org/one created", "size 3"):
        assert told in ran.stdout
    assert ran.stdout.count("no\n") == 1
    assert (tmp_path / "token").read_text().count(".") == 2
