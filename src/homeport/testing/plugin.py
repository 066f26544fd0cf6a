"""The pytest plugin: the fixture `homeport`, a simulated cluster of its own for each test that asks for it.

Nothing of the engine is imported before a test asks. A failing test shows the cluster's story in its report.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from homeport.testing.cluster import SimulatedCluster

__all__ = ["homeport", "pytest_addoption", "pytest_configure", "pytest_runtest_makereport"]

_MARKER = "homeport(seed=0, nodes=2): how the simulated cluster of the `homeport` fixture is made"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("homeport")
    group.addoption(
        "--homeport-seed", type=int, default=0, metavar="N", help="where simulated clusters take their randomness from"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def homeport(request: pytest.FixtureRequest) -> "Iterator[SimulatedCluster]":
    """A simulated Kubernetes cluster in virtual time; see `homeport.testing.cluster.SimulatedCluster`."""
    from homeport.testing.cluster import SimulatedCluster

    marker = request.node.get_closest_marker("homeport")
    wishes: dict[str, Any] = {"seed": request.config.getoption("--homeport-seed"), **(marker.kwargs if marker else {})}
    cluster = SimulatedCluster(base=request.path.parent, **wishes)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report: pytest.TestReport = yield
    cluster: Any = getattr(item, "funcargs", {}).get("homeport")
    if report.when == "call" and report.failed and hasattr(cluster, "story"):
        report.sections.append((f"Homeport story (seed {cluster.seed})", cluster.story()))
    return report
