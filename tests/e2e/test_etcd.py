"""A real etcd cluster on headless names: nothing acknowledged is ever lost."""

import json
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make, ready_statefulset
from tests.e2e.conftest import needs

EXAMPLE = Path(__file__).parents[2] / "examples" / "etcd"


class Ledger:
    """What etcd acknowledged, to be asked for again."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.written = cluster, 0

    def write(self, count: int = 5) -> None:
        for _ in range(count):
            key = f"entry-{self.written}"
            said = self.etcdctl("put", key, str(self.written))
            assert said.strip() == "OK"
            self.written += 1

    def check(self) -> None:
        said = json.loads(self.etcdctl("get", "entry-", "--prefix", "--keys-only", "-w", "json"))
        assert said["count"] == self.written

    def etcdctl(self, *words: str) -> str:
        endpoint = "http://etcd-client.default.svc.cluster.local:2379"
        return self.cluster.inside("etcdctl", f"--endpoints={endpoint}", "--dial-timeout=5s", *words)

    def members(self) -> set[str]:
        lines = self.etcdctl("member", "list").splitlines()
        return {line.split(", ")[2] for line in lines}


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("etcd", "etcdctl", "nft")
    cluster = make_cluster("etcd")
    cluster.homeport("up", "-f", str(EXAMPLE))
    return cluster


@pytest.fixture(scope="module")
def ledger(cluster: Cluster) -> Ledger:
    return Ledger(cluster)


def test_three_members_find_each_other(cluster: Cluster, ledger: Ledger) -> None:
    assert ledger.members() == {"etcd-0", "etcd-1", "etcd-2"}
    ledger.write(20)
    ledger.check()


@pytest.mark.parametrize("ordinal", range(3))
def test_a_lost_member_comes_back_with_its_name_and_data(cluster: Cluster, ledger: Ledger, ordinal: int) -> None:
    cluster.kubectl("delete", "pod", f"etcd-{ordinal}")
    ledger.write()
    ready_statefulset(cluster, "etcd", 3)
    ledger.check()


def test_a_rolling_restart_keeps_serving_what_was_written(cluster: Cluster, ledger: Ledger) -> None:
    cluster.kubectl("rollout", "restart", "statefulset/etcd")
    ready_statefulset(cluster, "etcd", 3)
    ledger.write()
    ledger.check()


def test_scaling_to_five_and_back(cluster: Cluster, ledger: Ledger) -> None:
    cluster.kubectl("scale", "statefulset/etcd", "--replicas=5")
    ready_statefulset(cluster, "etcd", 5)
    assert ledger.members() == {f"etcd-{n}" for n in range(5)}
    ledger.write()
    cluster.kubectl("scale", "statefulset/etcd", "--replicas=3")
    cluster.wait("pod/etcd-3", "pod/etcd-4", "--for=delete")
    ledger.write()
    ledger.check()
    assert ledger.members() == {"etcd-0", "etcd-1", "etcd-2"}


def test_down_and_up_keeps_everything(cluster: Cluster, ledger: Ledger) -> None:
    cluster.down()
    cluster.homeport("up", "-f", str(EXAMPLE))
    ledger.check()
    ledger.write()
    ledger.check()
