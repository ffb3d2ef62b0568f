"""One cluster for the whole run: the embedded server, or with ``--kube real`` a real control plane."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import clusters
from conformance.player import Player
from control_plane_fixture import real_cluster


@pytest.fixture(scope="session")
def is_real(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--kube") == "real")


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory, is_real: bool) -> Iterator[Path]:
    """The kubeconfig of the run's cluster, which has the suite's users."""
    if is_real:
        with real_cluster(tmp_path_factory.mktemp("control-plane"), *clusters.USERS) as real:
            yield real.kubeconfig
    else:
        with clusters.embedded(tmp_path_factory.mktemp("embedded")) as made:
            yield made


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path, is_real: bool) -> Iterator[Player]:
    """The cluster, with the definitions that cases use."""
    playing = clusters.player(kubeconfig, is_real=is_real)
    yield playing
    playing.close()
