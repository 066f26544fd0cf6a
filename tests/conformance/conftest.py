"""Worlds for tests: a simulated cluster each, and one real cluster that all tests on real pods share."""

import re
from collections.abc import Iterator

import pytest

from tests.conformance.real import RealWorld, web_images
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.world import World
from tests.e2e.cluster import Cluster
from tests.e2e.conftest import needs


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of every test on real pods; it starts with the first and goes after the last."""
    needs("busybox", "nft", "ip", "kubectl")
    state = tmp_path_factory.mktemp("conformance")
    cluster = Cluster("conformance", state)
    try:
        cluster.homeport("image", "load", str(web_images(state / "web.tar")))
        cluster.homeport("up")
        yield cluster
    finally:
        cluster.down("--purge")


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A namespace of its own in a simulated cluster, or in the real one (`also_on_real_pods`)."""
    namespace = re.sub(r"[^a-z0-9]+", "-", request.function.__name__.lower())[:40].strip("-")
    if getattr(request, "param", "simulated") == "real":
        real = RealWorld(request.getfixturevalue("real_cluster"), namespace)
        try:
            enter(real)
            yield real
            real.delete(f"namespace/{namespace}")
        finally:
            real.close()
        return
    simulated = SimulatedWorld(request.getfixturevalue("homeport"), namespace)
    enter(simulated)
    yield simulated


def enter(world: World) -> None:
    """Make the world's namespace and wait until pods can be made in it."""
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}})
    world.until(lambda: world.find("serviceaccount/default"), "the namespace has its service account")


@pytest.fixture
def simulated(world: World) -> SimulatedWorld:
    """The world of a test that needs the simulated cluster's nodes, faults or restarts."""
    assert isinstance(world, SimulatedWorld)
    return world
