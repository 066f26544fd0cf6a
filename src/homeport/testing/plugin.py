"""The pytest plugin: the fixture `homeport`, a cluster for the test that asks for it, and its shared siblings.

Each test has a simulated cluster of its own, unless the marker `homeport` or the option `homeport_scope` says that it
shares one with the tests of its class, module, package or session; then it begins where the fixtures of that scope left
`homeport_class`, `homeport_module`, `homeport_package` or `homeport_session`. `real=True` gives real pods.

Nothing of the engine is imported before a test asks. A failing test shows objects, events and story in its report.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from homeport.testing.cluster import SimulatedCluster
    from homeport.testing.facade import Cluster
    from homeport.testing.shared import Shared

__all__ = [
    "homeport",
    "homeport_class",
    "homeport_module",
    "homeport_package",
    "homeport_session",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
]

_MARKER: Final = (
    "homeport(seed=0, nodes=2, gates=(), scope='function', real=False, options=()): how the cluster of the fixture"
    " `homeport` is made, who shares it, and whether its pods are real"
)
_SCOPES: Final = ("function", "class", "module", "package", "session")
_WISHES: Final = frozenset({"seed", "nodes", "gates", "families", "scope", "real", "options"})
_clusters: Final = pytest.StashKey[list[Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("homeport")
    group.addoption(
        "--homeport-seed", type=int, default=0, metavar="N", help="where simulated clusters take their randomness from"
    )
    group.addoption(
        "--homeport-real",
        action="store_true",
        help="give every test real pods; what only simulated ones can do is skipped",
    )
    parser.addini("homeport_scope", "which tests share a cluster: function, class, module, package or session", None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


def _wishes(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what the marker and the options say about a cluster."""
    marker = request.node.get_closest_marker("homeport")
    said = dict(marker.kwargs) if marker else {}
    unknown = sorted(set(said) - _WISHES)
    if unknown or (marker and marker.args):
        raise pytest.UsageError(f"the marker homeport takes {', '.join(sorted(_WISHES))} by name; not {unknown}")
    option = request.config.getoption
    return {"seed": option("--homeport-seed"), "real": option("--homeport-real"), **said}


def _made(request: pytest.FixtureRequest, wishes: dict[str, Any]) -> "Cluster":
    base = request.path.parent if request.scope != "session" else request.config.rootpath
    cluster: Cluster
    if wishes.get("real"):
        if wishes.get("nodes", 1) != 1:
            pytest.skip("real pods have one node, this machine")
        from homeport.testing.real import RealCluster

        cluster = RealCluster(base=base, options=wishes.get("options", ()))
    else:
        from homeport.testing.cluster import SimulatedCluster

        cluster = SimulatedCluster(
            base=base,
            seed=wishes["seed"],
            nodes=wishes.get("nodes", 2),
            gates=wishes.get("gates", ()),
            families=wishes.get("families", ("IPv4",)),
        )
    request.node.stash.setdefault(_clusters, []).append(cluster)
    return cluster


@pytest.fixture
def homeport(request: pytest.FixtureRequest) -> "Iterator[SimulatedCluster]":
    """A Kubernetes cluster in virtual time; see `homeport.testing.cluster.SimulatedCluster`."""
    wishes = _wishes(request)
    scope = wishes.pop("scope", None) or request.config.getini("homeport_scope") or "function"
    if scope not in _SCOPES:
        raise pytest.UsageError(f"homeport: scope {scope!r} is not one of {', '.join(_SCOPES)}")
    if scope == "function":
        cluster: Any = _made(request, wishes)
        try:
            yield cluster
        finally:
            request.node.stash[_clusters].remove(cluster)
            cluster.close()
        return
    shared: Shared = request.getfixturevalue(f"_homeport_{scope}")
    if wishes != shared.wishes:
        raise pytest.UsageError(f"homeport: the cluster of this {scope} is made with {shared.wishes}, not {wishes}")
    cluster = shared.begin()
    try:
        yield cluster
    finally:
        shared.end()


def _sharing(scope: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the fixtures of a scope: the keeper of its cluster, and the cluster."""

    @pytest.fixture(scope=scope, name=f"_homeport_{scope}")
    def keeper(request: pytest.FixtureRequest) -> "Iterator[Shared]":
        from homeport.testing.shared import Shared

        wishes = _wishes(request)
        wishes.pop("scope", None)
        cluster = _made(request, wishes)
        try:
            yield Shared(cluster, wishes)
        finally:
            request.node.stash[_clusters].remove(cluster)
            cluster.close()

    @pytest.fixture(scope=scope, name=f"homeport_{scope}")
    def cluster(request: pytest.FixtureRequest) -> "Cluster":
        """The cluster that tests of a scope share, for fixtures of that scope to prepare."""
        shared: Shared = request.getfixturevalue(f"_homeport_{scope}")
        return shared.cluster

    return keeper, cluster


_homeport_class, homeport_class = _sharing("class")
_homeport_module, homeport_module = _sharing("module")
_homeport_package, homeport_package = _sharing("package")
_homeport_session, homeport_session = _sharing("session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if not item.config.getoption("--homeport-real"):
        return (yield)
    from homeport.testing.hands import Unsupported

    try:
        return (yield)
    except Unsupported as error:
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report: pytest.TestReport = yield
    if report.failed and report.when != "teardown":
        clusters = [one for node in item.listchain() for one in node.stash.get(_clusters, ())]
        for cluster in clusters:
            from homeport.testing.report import report as told

            for one in (cluster, *cluster.others):
                if one.begun:
                    report.sections.extend(told(one))
    return report
