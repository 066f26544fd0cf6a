"""The seed manifests, as they stand: names, balance, alias, two owners of the same labels."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs

SEED = Path(__file__).parents[1] / "seed"
FILES = sorted(SEED.glob("*.yaml"))

FETCH = """
import http.client, json, sys
from collections import Counter
seen = Counter()
for _ in range(int(sys.argv[2])):
    connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[3]), timeout=10)
    connection.request("GET", "/")
    seen[connection.getresponse().read().decode().strip()] += 1
    connection.close()
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nginx", "nft")
    cluster = make_cluster("seed")
    orders = [word for file in reversed(FILES) for word in ("-f", str(file))]
    cluster.homeport("up", *orders)
    cluster.homeport("up", "-f", str(SEED))
    return cluster


def fetch(cluster: Cluster, host: str, count: int = 1, port: int = 80) -> dict[str, int]:
    return dict(json.loads(cluster.inside("python3", "-c", FETCH, host, str(count), str(port))))


def test_applying_again_changes_nothing(cluster: Cluster) -> None:
    before = {o["metadata"]["name"]: o["metadata"]["generation"] for o in cluster.objects("statefulsets,deployments")}
    uids = {o["metadata"]["uid"] for o in cluster.objects("pods")}
    cluster.homeport("up", "-f", str(SEED))
    assert {
        o["metadata"]["name"]: o["metadata"]["generation"] for o in cluster.objects("statefulsets,deployments")
    } == before
    assert {o["metadata"]["uid"] for o in cluster.objects("pods")} == uids


@pytest.mark.parametrize("ordinal", range(3))
def test_each_replica_has_a_name_that_leads_to_it(cluster: Cluster, ordinal: int) -> None:
    pod = f"my-statefulset-{ordinal}"
    name = f"{pod}.my-headless-service.default.svc.cluster.local"
    assert cluster.resolve(name) == {cluster.pod(pod)["status"]["podIP"]}
    assert fetch(cluster, name, port=9376) == {pod: 1}


def test_names_resolve_from_inside_a_pod(cluster: Cluster) -> None:
    ask = "import socket; print(socket.gethostbyname('my-statefulset-1.my-headless-service'))"
    seen = cluster.homeport("exec", "my-statefulset-0", "--", "python3", "-c", ask)
    assert seen.strip() == cluster.pod("my-statefulset-1")["status"]["podIP"]


def test_the_headless_name_is_exactly_the_ready_pods(cluster: Cluster) -> None:
    addresses = {cluster.pod(f"my-statefulset-{n}")["status"]["podIP"] for n in range(3)}
    assert cluster.resolve("my-headless-service.default.svc.cluster.local") == addresses


def test_the_virtual_address_spreads_evenly(cluster: Cluster) -> None:
    seen = fetch(cluster, "my-service", 3000)
    assert set(seen) == {f"my-statefulset-{n}" for n in range(3)}
    chi_squared = sum((count - 1000) ** 2 / 1000 for count in seen.values())
    assert chi_squared < 9.21, f"uneven beyond chance at 1%: {seen}"


def test_the_alias_is_a_cname(cluster: Cluster) -> None:
    name = "external-db.default.svc.cluster.local"
    assert cluster.resolve(name, "CNAME") == {"db.example.com."}
    assert "db.example.com." in cluster.inside("dig", "+short", name, "CNAME")


def test_two_controllers_with_the_same_labels_leave_each_other_alone(cluster: Cluster) -> None:
    owners = Counter(
        pod["metadata"]["ownerReferences"][0]["kind"] for pod in cluster.objects("pods", "-l", "app=nginx")
    )
    assert owners == {"StatefulSet": 3, "ReplicaSet": 3}
    assert len(cluster.resolve("nginx.default.svc.cluster.local")) == 6


def test_every_replica_has_a_claim_of_its_own(cluster: Cluster) -> None:
    claims = {claim["metadata"]["name"]: claim["status"]["phase"] for claim in cluster.objects("pvc")}
    assert claims == {f"data-my-statefulset-{n}": "Bound" for n in range(3)}


def test_storage_outlives_the_pod(cluster: Cluster) -> None:
    cluster.homeport("exec", "my-statefulset-2", "--", "sh", "-c", "echo kept > /data/note")
    uid = cluster.pod("my-statefulset-2")["metadata"]["uid"]
    cluster.kubectl("delete", "pod", "my-statefulset-2", "--grace-period=1")
    cluster.homeport("up", "-f", str(SEED))
    assert cluster.pod("my-statefulset-2")["metadata"]["uid"] != uid
    assert cluster.homeport("exec", "my-statefulset-2", "--", "cat", "/data/note") == "kept\n"


def test_everything_at_a_glance(cluster: Cluster) -> None:
    seen = cluster.homeport("get", "all")
    for name in ("pod/web-0", "service/my-service", "deployment/nginx-deployment", "statefulset/my-statefulset"):
        assert name in seen
