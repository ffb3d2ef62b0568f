"""Which Kubernetes a run is on: ``--kube embedded`` (default), on virtual time, or ``--kube real``.

On the real control plane tests of the operator run on real time, with a few of the many crashes and without those that
measure virtual time.
"""

from collections.abc import Iterator

import pytest

from control_plane_fixture import RealCluster, real_cluster, reason_for_none
from real_world import Session, begun

_CRASHES = 3  # on real time, one in so many


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kube", choices=("embedded", "real"), default="embedded", help="the Kubernetes of this run")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--kube") != "real":
        return
    if reason := reason_for_none():
        raise pytest.UsageError(f"--kube real: {reason}")
    config.option.looptime = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--kube") != "real":
        skip = pytest.mark.skip(reason="needs a real control plane: make test-real")
        for each in items:
            if each.get_closest_marker("real"):
                each.add_marker(skip)
        return
    left_out = [each for each in items if each.get_closest_marker("virtual") or _is_one_crash_too_many(each)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [each for each in items if each not in left_out]


def _is_one_crash_too_many(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    return call is not None and int(call.params.get("write", 0)) % _CRASHES != 0


@pytest.fixture(scope="session")
def real_control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealCluster]:
    """The run's real control plane. Skips where the run is not on it."""
    if request.config.getoption("--kube") != "real":
        pytest.skip("on the real control plane only: make test-real")
    with real_cluster(tmp_path_factory.mktemp("control-plane")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def real_session(real_control_plane: RealCluster) -> Iterator[Session]:
    """The same, with Keystead's definitions and roles in it; every world is a real one from now on."""
    with begun(real_control_plane) as session:
        yield session


@pytest.fixture(autouse=True)
def _on_this_kubernetes(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--kube") == "real":
        request.getfixturevalue("real_session")
