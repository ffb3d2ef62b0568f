"""The scenario on a real control plane: by itself, as a guest in a cluster, and through the operator's death."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from control_plane_fixture import Reachable, RealCluster, real_cluster
from keystead_sandbox.processes import Parts
from keystead_sandbox.scenario import cast as roles
from keystead_sandbox.scenario import stage
from keystead_sandbox.scenario.cast import Cast, make_cast
from keystead_sandbox.scenario.judge import settled, unmet
from keystead_sandbox.scenario.stage import Stage
from keystead_sandbox.scenario.story import Story
from keystead_sandbox.scenario.where import Where
from keystead_sandbox.scenario.witness import Witness
from real_world import Session

KEYSTEAD = str(Path(sys.executable).with_name("keystead"))
pytestmark = [pytest.mark.process, pytest.mark.real]
_RATE = 10.0
_PATIENCE = 400  # wall seconds
_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")


def _play(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "TMPDIR": str(folder)}  # noqa: TID251 - handed to a child process
    command = [KEYSTEAD, "sandbox", "--once", "--plain", *options]
    return subprocess.run(  # noqa: S603 - our own executable
        command, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE
    )


@pytest.fixture
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster in which nothing of Keystead is; the run's own has its definitions."""
    with real_cluster(tmp_path_factory.mktemp("own")) as cluster:
        yield cluster


def _names(cluster: Reachable) -> set[str]:
    """All that lies outside namespaces and could have been left by a guest."""
    rbac, admission = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
    rights = (f"{rbac}/clusterroles", f"{rbac}/clusterrolebindings")
    guards = (f"{admission}/validatingadmissionpolicies", f"{admission}/validatingadmissionpolicybindings")
    folders = ("/api/v1/namespaces", *rights, *guards)
    with cluster.admin() as admin:
        return {
            f"{folder} {item['metadata']['name']}"
            for folder in (*folders, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
            for item in admin.get(folder).json()["items"]
        }


def test_the_story_comes_true_on_a_control_plane_of_its_own(tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    run = _play(tmp_path, "--kube", "real", "--report", str(report))

    assert run.returncode == 0, run.stdout + run.stderr
    written = json.loads(report.read_text())
    assert written["namespaces"] == {"expected": 57, "ready": 55, "awaitingReview": 1, "blocked": 1}
    assert written["secrets"] == {"expected": 55, "correct": 55}
    assert (written["identities"], written["credentials"]) == (4, 56)
    assert written["revoked"] == {"expected": 1, "gone": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def _as_people_have_it(cluster: RealCluster, folder: Path) -> Path:
    """A kubeconfig with a context of several, a plugin, an authority beside it, and another name than the address."""
    (folder / "ca.pem").write_bytes(cluster.ca_pem)
    status = {"apiVersion": "client.authentication.k8s.io/v1", "status": {"token": cluster.token}}
    (folder / "plugin").write_text(f"#!/bin/sh\ncat <<END\n{json.dumps(status)}\nEND\n")
    (folder / "plugin").chmod(0o700)
    server = {"server": cluster.url, "certificate-authority": "ca.pem", "tls-server-name": "kubernetes.default.svc"}
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}}
    config = {
        "current-context": "another",
        "clusters": [{"name": "k", "cluster": server}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "mine", "context": {"cluster": "k", "user": "u"}}],
    }
    (folder / "config").write_text(json.dumps(config))
    return folder / "config"


def test_a_guest_says_what_it_makes_and_leaves_a_cluster_as_it_found_it(
    own_cluster: RealCluster, tmp_path: Path
) -> None:
    before = _names(own_cluster)

    run = _play(tmp_path, "--kube", str(_as_people_have_it(own_cluster, tmp_path)), "--context", "mine")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "58 namespaces from payments-01 to search-12" in run.stdout
    deadline = time.monotonic() + _PATIENCE
    while _names(own_cluster) != before and time.monotonic() < deadline:
        time.sleep(0.2)  # definitions go a moment after they were deleted
    assert _names(own_cluster) == before


def test_a_guest_stays_out_where_keystead_is_installed(real_session: Session, tmp_path: Path) -> None:
    before = _names(real_session.cluster)

    run = _play(tmp_path, "--kube", str(real_session.cluster.kubeconfig))

    assert run.returncode == 1
    assert "Keystead is installed there" in run.stderr
    assert "Nothing was changed there" in run.stderr
    assert _names(real_session.cluster) == before


def test_a_guest_stays_out_where_a_name_is_taken(own_cluster: RealCluster, tmp_path: Path) -> None:
    with own_cluster.admin() as admin:
        admin.post("/api/v1/namespaces", json={"metadata": {"name": "search-07"}}).raise_for_status()
    before = _names(own_cluster)

    run = _play(tmp_path, "--kube", str(own_cluster.kubeconfig))

    assert run.returncode == 1
    assert "search-07" in run.stderr
    assert _names(own_cluster) == before


def test_all_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "orphaned"
    folder.mkdir()
    with real_cluster(folder) as cluster:
        programs = [psutil.Process(cluster.pid(name)) for name in _PROGRAMS]
        assert cluster.process.stdin is not None

        cluster.process.stdin.close()  # as the system does with what a process held

        assert cluster.process.wait(timeout=60) == 0
        assert [each for each in programs if each.is_running()] == []


def test_the_programs_end_when_the_command_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    with real_cluster(folder) as cluster:
        programs = [psutil.Process(cluster.pid(name)) for name in _PROGRAMS]

        cluster.process.send_signal(signal.SIGKILL)
        gone, _ = psutil.wait_procs(programs, timeout=60)

    left = [each for each in programs if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert left == [], gone


def test_what_a_killed_command_left_is_gone_once_another_has_started(tmp_path: Path) -> None:
    """Its temporary folders, which nobody else would ever take away."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}  # noqa: TID251 - handed to a child process
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    with real_cluster(tmp_path / "first", environment=environment) as cluster:
        cluster.process.send_signal(signal.SIGKILL)
        cluster.process.wait()
    left = set(temporary.iterdir())
    assert left

    with real_cluster(tmp_path / "second", environment=environment):
        assert left & set(temporary.iterdir()) == set()

    assert list(temporary.iterdir()) == []


@contextlib.asynccontextmanager
async def _story(built: Stage, cast: Cast) -> AsyncIterator[tuple[Witness, "asyncio.Task[None]"]]:
    clients = [built.kubernetes(name) for name in (roles.ADMIN, roles.REVIEWER, roles.TEAM, None)]
    admin, reviewer, team, watcher = clients
    async with aiohttp.ClientSession() as azure:
        witness = Witness(cast, watcher, azure, built.azure_url, time.monotonic())
        watching = asyncio.create_task(witness.run())
        playing = asyncio.create_task(Story(cast, witness, admin=admin, reviewer=reviewer, team=team).play())
        try:
            yield witness, playing
        finally:
            for task in (playing, watching):
                task.cancel()
            await asyncio.gather(playing, watching, return_exceptions=True)
            for client in clients:
                await client.close()


async def test_an_operator_that_is_killed_halfway_is_taken_up_where_it_was(tmp_path: Path) -> None:
    """The process itself, by SIGKILL, in the middle of its writes; another one then ends the story as ever."""
    cast, parts = make_cast(), Parts(tmp_path)
    builder = stage.Builder(cast, Where("real"), parts, tmp_path, lambda _: None)
    try:
        built = await builder.build(rate=_RATE)
        operator = await stage.start_operator(built, cast, parts, rate=_RATE)
        await stage.start_engine(built, parts)
        async with asyncio.timeout(_PATIENCE), _story(built, cast) as (witness, playing):
            await witness.until(lambda: sum(map(len, witness.sighting.credentials.values())) >= 15)
            await parts.end(operator)
            await stage.start_operator(built, cast, parts, rate=_RATE)
            await playing

            assert settled(cast, witness.sighting), unmet(cast, witness.sighting)
            assert sum(map(len, witness.sighting.credentials.values())) == 56
    finally:
        await parts.stop()
