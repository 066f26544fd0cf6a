"""Worlds for tests: a simulated cluster each, and one real cluster that all tests on real pods share."""

import os
import re
import zlib
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
    """A namespace of its own in a simulated cluster, or in the real one.

    The real one is for tests that are marked `also_on_real_pods`; for all of them with HOMEPORT_CONFORMANCE=real.
    """
    namespace = namespace_of(request.node.nodeid)
    if getattr(request, "param", os.environ.get("HOMEPORT_CONFORMANCE", "simulated")) == "real":
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


def namespace_of(test: str) -> str:
    """Return a namespace that no other test has: the beginning of its name, and a number made from all of it."""
    name = re.sub(r"[^a-z0-9]+", "-", test.rpartition("::test_")[2].lower())
    return f"{name[:40].strip('-')}-{zlib.crc32(test.encode()):08x}"


def enter(world: World) -> None:
    """Make the world's namespace and wait until pods can be made in it."""
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}})
    world.until(lambda: world.find("serviceaccount/default"), "the namespace has its service account")


@pytest.fixture
def simulated(world: World) -> SimulatedWorld:
    """The world of a test that needs the simulated cluster's nodes, faults or restarts."""
    if not isinstance(world, SimulatedWorld):
        pytest.skip("what this test needs is simulated only")
    return world
