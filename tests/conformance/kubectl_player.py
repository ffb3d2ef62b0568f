"""kubectl's commands, and what it printed, made comparable: ages, UIDs, times and widths differ by nature."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from conformance.cases import HERE

_RECORDED = HERE / "recorded"
_AGE = re.compile(r"(?:(?<=\s)|(?<=^))((\d+[smhd])+|<unknown>)(?=\s|$)")
_UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [+-]\d{4}( \w+)?)?")
_TEMPORARY = re.compile(r"/\S*/(LIVE|MERGED)-\d+|(LIVE|MERGED)-\d+")
_PATCHED = re.compile(r'(patch: Invalid value: )"(\\.|[^"\\])*"')
_OWN_TIMEOUT = re.compile(r"[WE]\d{4} [\d:.]+ .*client-go/tools/watch/informerwatcher\.go")
"""What client-go logs now and then of a watch that kubectl's own time-out cut, of whatever server."""
_VERSION = re.compile(r'(resourceVersion\\?": ?\\?"|generation: )\d+')


def client() -> str:
    """The version of the kubectl that is on the PATH."""
    program = shutil.which("kubectl") or "kubectl"
    run = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, check=True, text=True)  # noqa: S603 - kubectl
    return str(json.loads(run.stdout)["clientVersion"]["gitVersion"])


def recording(version: str) -> Path:
    """Where what this version of kubectl prints is recorded."""
    major, minor, *_ = version.removeprefix("v").split(".")
    return _RECORDED / f"kubectl-{major}.{minor}.jsonl"


def nearest(version: str) -> Path:
    """The recording of this version, or that of the one that differs least: each words a few things in its own way."""
    wanted = int(recording(version).stem.rpartition(".")[2])
    there = _RECORDED.glob("kubectl-1.*.jsonl")
    return min(there, key=lambda path: (abs(int(path.stem.rpartition(".")[2]) - wanted), path.name))


def commands() -> list[dict[str, Any]]:
    """The commands; each is ``run``, and what it reads."""
    given = yaml.safe_load((HERE / "kubectl_commands.yaml").read_text())
    return [{"run": each} if isinstance(each, str) else each for each in given]


def play(kubeconfig: Path, word: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run them all in a new namespace; each with what came of it."""
    words = {"$ns": word, "$n": word}
    _run(kubeconfig, f"create namespace {word}", None, words)
    server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    for each in commands():
        found = _run(kubeconfig, each["run"], each.get("in"), words)
        yield each["run"], {name: comparable(value, word, server) for name, value in found.items()}


def _run(kubeconfig: Path, line: str, given: Any, words: Mapping[str, str]) -> dict[str, Any]:
    for name, value in words.items():
        line = line.replace(name, value)
    parts = line.split(" ") if "{" in line else shlex.split(line)
    content = msgspec.json.encode(given).decode() if given is not None else None
    for name, value in words.items():
        content = content.replace(name, value) if content else content
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "--namespace", words["$ns"], *parts]
    cache = ["--cache-dir", str(kubeconfig.parent / "kubectl-cache")]
    home = {"PATH": os.environ["PATH"], "HOME": str(kubeconfig.parent), "LC_ALL": "C", "TZ": "UTC"}  # noqa: TID251
    done = subprocess.run(  # noqa: S603 - kubectl
        [*command, *cache], input=content, capture_output=True, text=True, check=False, timeout=120, env=home
    )
    return {"exit": done.returncode, "out": done.stdout, "error": done.stderr}


def comparable(value: Any, word: str, server: str) -> Any:
    """Output without what differs by nature; columns are one space apart."""
    if not isinstance(value, str):
        return value
    value = value.replace(word, "$ns").replace(server, "$server")
    value = _UID.sub("<uid>", value)
    value = _TIME.sub("<time>", value)
    value = _TEMPORARY.sub("<file>", value)
    value = _PATCHED.sub(r'\1"<object>"', value)
    value = _VERSION.sub(r"\1<version>", value)
    lines = [re.sub(r"  +|\t", " ", line).rstrip() for line in value.splitlines()]
    lines = [_AGE.sub("<age>", line) for line in lines if not _about_versions(line) and not _OWN_TIMEOUT.match(line)]
    return "\n".join(lines)


def _about_versions(line: str) -> bool:
    return "version difference between client" in line
