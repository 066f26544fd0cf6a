"""A simulated cluster, empty and with a database of three replicas."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from homeport.testing.cluster import SimulatedCluster

MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    made = SimulatedCluster(seed=3)
    yield made
    made.close()


@pytest.fixture
def db(cluster: SimulatedCluster) -> SimulatedCluster:
    cluster.apply(MANIFEST)
    cluster.wait("statefulset/db", ready=3)
    return cluster
