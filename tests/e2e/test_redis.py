"""Redis as the example has it: one primary, two replicas that follow it by name."""

from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make, ready_statefulset
from tests.e2e.conftest import needs

EXAMPLE = Path(__file__).parents[2] / "examples" / "redis"


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("redis-server", "redis-cli", "nft")
    cluster = make_cluster("redis")
    cluster.homeport("up", "-f", str(EXAMPLE))
    return cluster


def redis(cluster: Cluster, host: str, *words: str) -> str:
    return cluster.inside("redis-cli", "-h", host, *words).strip()


def test_replicas_follow_the_primary(cluster: Cluster) -> None:
    assert redis(cluster, "redis-0.redis", "set", "port", "home") == "OK"
    assert redis(cluster, "redis-0.redis", "wait", "2", "5000") == "2", "both replicas have it"
    for ordinal in range(3):
        assert redis(cluster, f"redis-{ordinal}.redis", "get", "port") == "home"
    assert "role:slave" in redis(cluster, "redis-1.redis", "info", "replication")


def test_the_balanced_name_reads(cluster: Cluster) -> None:
    assert redis(cluster, "redis-read", "get", "port") == "home"


def test_the_primary_comes_back_with_its_name_and_data(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "redis-0")
    ready_statefulset(cluster, "redis", 3)
    assert redis(cluster, "redis-0.redis", "get", "port") == "home"
    assert redis(cluster, "redis-0.redis", "set", "port", "found") == "OK"
    assert redis(cluster, "redis-0.redis", "wait", "2", "10000") == "2", "the replicas found it again by name"
