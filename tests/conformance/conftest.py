"""One cluster for the whole run, chosen by ``KEYSTEAD_TEST_CLUSTER`` (see :mod:`conformance.clusters`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import clusters
from conformance.player import Player


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of the chosen cluster."""
    if clusters.chosen() == clusters.EMBEDDED:
        with clusters.embedded(tmp_path_factory.mktemp("embedded")) as made:
            yield made
    else:
        yield Path(clusters.chosen())


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path) -> Iterator[Player]:
    """The cluster, with the definitions that cases use."""
    playing = clusters.player(kubeconfig)
    yield playing
    playing.close()
