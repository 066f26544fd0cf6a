"""Clusters for tests: made on demand, always taken down, their logs shown when a test fails."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import SYSTEM_PATH, Cluster, Make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e" in str(item.path):
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(300))


def needs(*programs: str) -> None:
    """Say why a test does not run here; in CI everything must be there."""
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)} (tools/test-packages installs them)")
    assert not missing, f"CI lacks {missing}"


@pytest.fixture(scope="module")
def make_cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Give a function that makes clusters by name; all of them go at the end of the module."""
    state = tmp_path_factory.mktemp("state")
    made: list[Cluster] = []

    def make(name: str) -> Cluster:
        cluster = Cluster(name, state)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        if request.session.testsfailed:
            _show_logs(cluster.data)
        cluster.down("--purge")


def _show_logs(data: Path) -> None:
    for log in sorted((data / "logs").glob("*.log")):
        lines = log.read_text("utf-8", "replace").splitlines()[-40:]
        print(f"--- {log.name}", *lines, sep="\n")
