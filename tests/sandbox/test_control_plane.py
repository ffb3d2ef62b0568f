"""How a control plane is found or built: by the command itself, with a Go that a test wrote.

The stand-in for Go is a shell script on a PATH of its own; it does what a build does to the file system, and nothing
of what a build takes minutes for.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keystead_sandbox.control_plane import assets, flags
from keystead_sandbox.control_plane.build import Go

COMMAND = str(Path(sys.executable).with_name("keystead-sandbox"))
PROGRAMS = tuple(assets.PROGRAMS)
pytestmark = pytest.mark.process
_GOOD_VERSION = "go1.99.1"
# Called as `go env GOVERSION`, `go list ...` and `go build ... -o FOLDER/ packages...`.
_GO = """#!/bin/sh
case "$1" in
env) {env} ;;
list) {list} ;;
build)
  echo built >> "{log}"
  for each; do last=$folder; [ "$previous" = -o ] && folder=$each; previous=$each; done
  {build}
  ;;
esac
"""
_WHOLE = 'for name in server kube-apiserver kube-controller-manager; do printf "#!/bin/sh\\n" > "$folder$name"; chmod +x "$folder$name"; done'


class Machine:
    """A machine with its own PATH, cache and home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.cache = folder / "cache/keystead/control-plane"
        self.log = folder / "builds"
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def has_go(
        self, *, env: str = f"echo {_GOOD_VERSION}", modules: str = "echo one; echo two", build: str = _WHOLE
    ) -> None:
        go = self.bin / "go"
        go.write_text(_GO.format(env=env, list=modules, build=build, log=self.log))
        go.chmod(0o755)

    def has_no_go(self) -> None:
        """Not even the machine's own, wherever that is."""
        shadows = {"python3", "sh"}
        self.environment["PATH"] = str(self.bin)
        for name in shadows:
            found = next(Path(part, name) for part in ("/usr/bin", "/bin") if Path(part, name).exists())
            (self.bin / name).symlink_to(found)

    def run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 - our own executable
            [COMMAND, "control-plane", *options],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603 - our own executable
            [COMMAND, "control-plane"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def builds(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def kept(self) -> list[str]:
        """Folders in the cache, whole or not."""
        return sorted(each.name for each in self.cache.iterdir() if each.is_dir()) if self.cache.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def _programs(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_last_line_is_a_folder_with_all_three_programs(machine: Machine) -> None:
    machine.has_go()

    built = machine.run()

    folder = Path(built.stdout.splitlines()[-1])
    assert built.returncode == 0, built.stderr
    assert sorted(path.name for path in folder.iterdir()) == sorted(PROGRAMS)
    assert all(os.access(path, os.X_OK) for path in folder.iterdir())
    assert "building" in built.stderr


def test_a_second_call_finds_what_the_first_has_built(machine: Machine) -> None:
    machine.has_go()
    first, second = machine.run(), machine.run()

    assert first.stdout == second.stdout
    assert machine.builds() == 1
    assert second.stderr == ""


def test_what_is_built_is_found_without_any_go(machine: Machine) -> None:
    machine.has_go()
    first = machine.run()
    (machine.bin / "go").unlink()
    machine.has_no_go()

    assert machine.run().stdout == first.stdout


def test_another_go_builds_anew(machine: Machine) -> None:
    machine.has_go()
    machine.run()
    machine.has_go(env="echo go1.99.2")
    machine.run()

    assert machine.builds() == 2
    assert len(machine.kept()) == 2


def test_a_named_folder_comes_before_all_else(machine: Machine, tmp_path: Path) -> None:
    machine.has_go()
    named = _programs(tmp_path / "named", *PROGRAMS)
    machine.environment["KUBEBUILDER_ASSETS"] = str(named)

    found = machine.run()

    assert found.stdout == f"{named}\n"
    assert machine.builds() == 0


def test_a_named_folder_that_lacks_a_program_is_told_and_passed_over(machine: Machine, tmp_path: Path) -> None:
    machine.has_go()
    machine.environment["KUBEBUILDER_ASSETS"] = str(_programs(tmp_path / "named", "etcd", "kube-apiserver", "kubectl"))

    found = machine.run()

    assert found.returncode == 0
    assert "has no kube-controller-manager" in found.stderr
    assert machine.builds() == 1


def test_without_go_it_says_what_to_install_or_to_name(machine: Machine) -> None:
    machine.has_no_go()

    refused = machine.run()

    assert refused.returncode == 3
    assert refused.stdout == ""
    assert f"Install Go {assets.wanted_go(assets.module_folder())} or newer" in refused.stderr
    assert "KUBEBUILDER_ASSETS" in refused.stderr


def test_a_go_that_is_too_old_is_named_with_its_version(machine: Machine) -> None:
    # What an old Go does in a folder whose go.mod wants a newer one, and which may not fetch it.
    machine.has_go(env='[ -f go.mod ] && { echo "go: go.mod requires go >= 1.26.0" >&2; exit 1; }; echo go1.19.8')

    refused = machine.run()

    assert refused.returncode == 3
    assert "or newer is needed" in refused.stderr
    assert "go1.19.8" in refused.stderr
    assert machine.kept() == []


def test_without_the_modules_it_says_that_the_proxy_did_not_give_them(machine: Machine) -> None:
    machine.has_go(modules='echo "k8s.io/api: module lookup disabled by GOPROXY=off" >&2; exit 1')

    refused = machine.run()

    assert refused.returncode == 3
    assert "Go module proxy" in refused.stderr
    assert "GOPROXY=off" in refused.stderr
    assert machine.kept() == []


def test_a_build_that_fails_leaves_nothing_that_could_be_taken_for_one(machine: Machine) -> None:
    machine.has_go(build='echo half > "$folder/etcd"; echo "no space left on device" >&2; exit 1')

    refused = machine.run()

    assert refused.returncode == 1
    assert "no space left on device" in refused.stderr
    assert machine.kept() == []


def test_a_build_that_is_killed_is_cleared_away_by_the_next(machine: Machine) -> None:
    machine.has_go(build='echo half > "$folder/etcd"; sleep 600')
    cut_off = machine.start()
    while machine.builds() == 0:
        time.sleep(0.05)
    cut_off.send_signal(signal.SIGKILL)
    cut_off.communicate()
    assert machine.run("--no-build").returncode == 3

    machine.has_go()
    built = machine.run()

    assert built.returncode == 0, built.stderr
    assert machine.kept() == [Path(built.stdout.strip()).name]


def test_two_at_once_build_once(machine: Machine) -> None:
    go_on = machine.folder / "go-on"
    machine.has_go(build=f'while [ ! -e "{go_on}" ]; do sleep 0.1; done; {_WHOLE}')
    first, second = machine.start(), machine.start()
    assert first.stderr is not None
    assert second.stderr is not None
    while machine.builds() == 0:
        time.sleep(0.05)
    go_on.touch()
    answers = [each.communicate(timeout=120) for each in (first, second)]

    assert answers[0][0] == answers[1][0] != ""
    assert machine.builds() == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--kubeconfig", "nowhere/kubeconfig"), "the folder"),
        (("--kubeconfig", "kubeconfig", "--user", ":devs"), "names nobody"),
        (("--kubeconfig", "kubeconfig", "--user", "a", "--certificate", "a:devs"), "a is named twice"),
        (("--kubeconfig", "kubeconfig", "--certificate", "admin"), "admin is named twice"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_built(
    machine: Machine, options: tuple[str, ...], told: str
) -> None:
    machine.has_go()

    refused = machine.run(*options)

    assert refused.returncode == 2
    assert told in refused.stderr
    assert machine.builds() == 0


@pytest.mark.parametrize(
    ("has", "wants", "enough"),
    [
        ("go1.26.8", "1.26.0", True),
        ("go1.26", "1.26.0", True),
        ("go1.27.0", "1.26.5", True),
        ("go1.26.4", "1.26.5", False),
        ("go1.9.7", "1.26.0", False),
        ("go1.26.0 X:nocoverageredesign", "1.26.0", True),
    ],
)
def test_versions_of_go_are_compared_as_numbers(has: str, wants: str, enough: bool) -> None:
    assert Go("go", has).is_at_least(wants) is enough


def test_no_flag_names_an_address_that_others_could_reach() -> None:
    files = flags.Files(Path("/folder"), Path("/etcd"))
    everything = (*flags.etcd(files), *flags.kube_apiserver(files, 6443), *flags.kube_controller_manager(files))

    addresses = [flag for flag in everything if "://" in flag or "address" in flag]
    assert [flag for flag in addresses if "127.0.0.1" not in flag and "unix://" not in flag] == []
