"""Finds the three programs of a control plane, or builds them once.

- Searched in this order: the folder that ``KUBEBUILDER_ASSETS`` names, the cache, a build by the Go on this machine.
- The cache lies outside any checkout, one folder for each content of go.mod and go.sum, version of Go, and platform.
- A folder of the cache is whole or is not there: a build goes into another one, which is renamed when it is done.
- One build at a time: who comes second waits for the first and then finds what it made.
- Progress goes to *say*, one line at a time; nothing here prints.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from keystead_sandbox.control_plane.build import Builder, Go, NotBuilt, NotHere, find_go

PROGRAMS: Mapping[str, str] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
"""What a control plane consists of, with the package that each is built from."""
ASSETS = "KUBEBUILDER_ASSETS"
_ELSEWHERE = f"Or name a folder with {', '.join(PROGRAMS)} in {ASSETS}."
_WAITING = 0.5  # seconds between two tries to get the cache's lock
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
Say = Callable[[str], None]


class NoControlPlane(RuntimeError):
    """No control plane could be had; the text says what is missing and what to do."""


class NothingToBuildWith(NoControlPlane):
    """There is none on this machine, nor what a build needs: no Go that is new enough, or no modules."""


@dataclass(frozen=True, slots=True)
class Assets:
    """A folder that holds all three programs."""

    folder: Path

    def program(self, name: str) -> str:
        return str(self.folder / name)


async def find_or_build(environment: Mapping[str, str], say: Say) -> Assets:
    """The programs. NoControlPlane when they are not there and cannot be built."""
    found = _named(environment, say)
    if found is not None:
        return found
    module = module_folder()
    cache = cache_folder(environment)
    go = await find_go(environment)
    found = _cached(cache, module, go)
    if found is not None:
        return found
    if go is None:
        raise NothingToBuildWith(
            f"no control plane is in {cache}, and there is no Go on PATH to build one. Install Go "
            f"{wanted_go(module)} or newer. {_ELSEWHERE}"
        )
    cache.mkdir(parents=True, exist_ok=True)
    async with _locked(cache, say):
        return _cached(cache, module, go) or await _build(cache, module, go, environment, say)


def find(environment: Mapping[str, str]) -> Assets | None:
    """The programs where they are there already, whatever Go they were built with; never builds."""
    found = _named(environment, lambda _: None)
    return found or _cached(cache_folder(environment), module_folder(), None)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where builds are kept, by the XDG base directory specification: a relative path counts as none."""
    base = Path(environment.get("XDG_CACHE_HOME") or "")
    return (base if base.is_absolute() else Path.home() / ".cache") / "keystead" / "control-plane"


def module_folder() -> Path:
    """The folder with go.mod and go.sum: packed into a wheel beside this module, else in the checkout."""
    packed = Path(__file__).with_name("module")
    return packed if packed.is_dir() else Path(__file__).parents[3] / "tools" / "control-plane"


def wanted_go(module: Path) -> str:
    """The oldest Go that go.mod allows, such as ``1.26.0``."""
    return _line(module, r"^go (\S+)$")


def kubernetes_version(module: Path) -> str:
    """Such as ``v1.36.3``."""
    return _line(module, r"k8s\.io/kubernetes (v\S+)")


def _line(module: Path, pattern: str) -> str:
    match = re.search(pattern, (module / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise NoControlPlane(f"{module / 'go.mod'} is damaged: no line like {pattern}")
    return match[1]


def _named(environment: Mapping[str, str], say: Say) -> Assets | None:
    named = environment.get(ASSETS)
    if not named:
        return None
    missing = _missing(Path(named))
    if not missing:
        return Assets(Path(named).absolute())
    # The archives that Kubernetes' own test tooling fetches hold no controller manager.
    say(f"{ASSETS} names {named}, which has no {' and no '.join(missing)}; looking further")
    return None


def _missing(folder: Path) -> list[str]:
    return [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]


def _cached(cache: Path, module: Path, go: Go | None) -> Assets | None:
    """What was built for this module and platform; by any version of Go when none is at hand."""
    candidates = sorted(cache.glob(_key(module, "go*"))) if go is None else [cache / _key(module, go.version)]
    return next((Assets(folder) for folder in candidates if not _missing(folder)), None)


def _key(module: Path, go_version: str) -> str:
    content = hashlib.sha256((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()).hexdigest()[:16]
    machine = platform.machine().lower()
    return f"{content}-{go_version}-{sys.platform}-{_MACHINES.get(machine, machine)}"


@contextlib.asynccontextmanager
async def _locked(cache: Path, say: Say) -> AsyncIterator[None]:
    """Hold the cache alone; the system lets the lock go with its holder, however that ends."""
    with (cache / ".lock").open("w") as file:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    say("another build of the control plane is under way; waiting for it")
                waited = True
                await asyncio.sleep(_WAITING)
        yield


async def _build(cache: Path, module: Path, go: Go, environment: Mapping[str, str], say: Say) -> Assets:
    """Build all three; the cache's lock is held."""
    version = kubernetes_version(module)
    say(f"building Kubernetes {version} once with {go.version}, into {cache} (some minutes)")
    with _workplace(cache) as folder:
        try:
            await Builder(go, module, environment, say).build(
                PROGRAMS, folder, go=wanted_go(module), kubernetes=version
            )
        except NotHere as error:
            raise NothingToBuildWith(f"{error} {_ELSEWHERE}") from error
        except NotBuilt as error:
            raise NoControlPlane(f"{error} {_ELSEWHERE}") from error
        return Assets(_keep(folder, cache / _key(module, go.version)))


@contextlib.contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """A folder to build in, gone afterwards unless it was kept."""
    for left in cache.glob(".building-*"):  # by someone who was cut off: whoever builds holds the lock
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, kept: Path) -> Path:
    """Put a whole build where it is looked for; in place of what is not whole there."""
    shutil.rmtree(kept, ignore_errors=True)
    folder.chmod(0o755)
    return folder.rename(kept)
