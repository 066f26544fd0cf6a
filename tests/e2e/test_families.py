"""Clusters of both address families, and of IPv6 alone: pods, names, Services and the host's way in."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make, ready_statefulset
from tests.e2e.conftest import needs
from tests.e2e.ordinary import ordinary_cluster, ordinary_place

MANIFEST = Path(__file__).parent / "manifests" / "families.yaml"
FETCH = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode().strip())
"""


@pytest.fixture(scope="module", params=["root", pytest.param("ordinary user", marks=pytest.mark.rootless)])
def both(request: pytest.FixtureRequest, make_cluster: Make) -> Iterator[Cluster]:
    """A cluster of both families, IPv4 first."""
    needs("nft", "curl", "dig")
    if request.param == "root":
        cluster = make_cluster("families")
        cluster.homeport("up", "--ip-families", "ipv4,ipv6", "-f", str(MANIFEST))
        yield cluster
        return
    with ordinary_place() as place:
        cluster = ordinary_cluster("families", place)
        manifest = place / "families.yaml"
        manifest.write_text(MANIFEST.read_text())
        cluster.homeport("up", "--ip-families", "ipv4,ipv6", "-f", str(manifest))
        yield cluster
        cluster.down("--purge")


def addresses(cluster: Cluster, pod: str) -> list[str]:
    return [one["ip"] for one in cluster.pod(pod)["status"]["podIPs"]]


def virtual(cluster: Cluster, service: str) -> list[str]:
    spec = cluster.objects(f"service/{service}")[0]["spec"]
    return list(spec["clusterIPs"])


def fetch(cluster: Cluster, host: str, port: int = 80, count: int = 1, pod: str = "") -> set[str]:
    """Return what is answered to a program in the cluster's network, or to one in a pod."""
    at = f"[{host}]" if ":" in host else host
    command = ["python3", "-c", FETCH, f"http://{at}:{port}/", str(count)]
    said = cluster.homeport("exec", pod, "--", *command) if pod else cluster.inside(*command)
    return set(said.split("\n")) - {""}


def names(answers: set[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}


def test_pods_and_their_node_have_an_address_of_each_family(both: Cluster) -> None:
    first, second = addresses(both, "member-0")
    assert first.startswith("10.244.0.")
    assert second.startswith("fd00:10:244::")
    assert both.pod("member-0")["status"]["hostIPs"] == [{"ip": "10.244.0.1"}, {"ip": "fd00:10:244::1"}]
    environment = both.homeport("exec", "member-0", "--", "sh", "-c", "echo $POD_IPS $HOST_IPS; cat /etc/hosts")
    assert environment.startswith(f"{first},{second} 10.244.0.1,fd00:10:244::1\n")
    assert f"{second}\tmember-0.members.default.svc.cluster.local\tmember-0" in environment
    (node,) = both.objects("nodes")
    assert node["spec"]["podCIDRs"] == ["10.244.0.0/16", "fd00:10:244::/64"]
    internal = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    assert internal == ["10.244.0.1", "fd00:10:244::1"]
    assert "not registered" not in (both.data / "logs" / "node.log").read_text()


def test_pods_reach_each_other_in_both(both: Cluster) -> None:
    sources = addresses(both, "member-0")
    for source, target in zip(sources, addresses(both, "member-1"), strict=True):
        assert fetch(both, target, 8080, pod="member-0") == {f"member-1 {source}"}


def test_a_service_answers_by_each_of_its_addresses(both: Cluster) -> None:
    four, six = virtual(both, "both")
    assert (":" in four, ":" in six) == (False, True)
    assert [one["metadata"]["name"] for one in both.objects("ipaddresses") if one["metadata"]["name"] in (four, six)]
    sources = addresses(both, "member-0")
    for address, source in ((four, sources[0]), (six, sources[1])):
        seen = fetch(both, address, count=24, pod="member-0")
        gateway = "10.244.0.1" if address == four else "fd00:10:244::1"
        assert seen == {f"member-1 {source}", f"member-0 {gateway}"}  # a pod sees itself as the node
        assert names(fetch(both, address, count=24)) == {"member-0", "member-1"}
    assert virtual(both, "six")[0].startswith("fd00:10:96::")
    assert names(fetch(both, "six", count=24)) == {"member-0", "member-1"}
    refused = both.run(both.command("run", "--", "curl", "-sS", "-m", "5", "http://nobody/"), code=7)
    assert "refused" in refused.stderr or "connect" in refused.stderr.lower()


def test_pods_and_programs_are_told_of_both_name_servers(both: Cluster) -> None:
    servers = "nameserver 10.96.0.10\nnameserver fd00:10:96::a\n"
    assert servers in both.homeport("exec", "member-0", "--", "cat", "/etc/resolv.conf")
    assert servers in both.inside("cat", "/etc/resolv.conf")
    only_six = "import socket; s = socket.create_connection(('fd00:10:96::a', 53), 5); print(s.getpeername()[0])"
    assert both.homeport("exec", "member-0", "--", "python3", "-c", only_six) == "fd00:10:96::a\n"


def test_a_service_is_reached_from_the_host_in_both(both: Cluster) -> None:
    rows = json.loads(both.homeport("expose", "svc/both", "--address", "localhost", "-o", "json"))["exposed"]
    four, six = (row["local"] for row in rows)
    assert (four.startswith("127.0.0.1:"), six.startswith("[::1]:")) == (True, True)
    assert four.rpartition(":")[2] == six.rpartition(":")[2]
    for local in (four, six):
        with urllib.request.urlopen(f"http://{local}/", timeout=5) as answer:
            assert answer.read().decode().startswith("member-")
    both.homeport("expose", "svc/both", "--remove", "--address", "::1")
    assert [row["local"] for row in both.status()["exposed"]] == [four]
    assert "not a loopback address" in both.complaint("expose", "svc/both", "--address", "0.0.0.0")
    both.homeport("expose", "svc/both", "--remove")


def test_names_have_records_of_both(both: Cluster) -> None:
    domain = "default.svc.cluster.local"
    four, six = virtual(both, "both")
    assert (both.resolve(f"both.{domain}"), both.resolve(f"both.{domain}", "AAAA")) == ({four}, {six})
    assert both.resolve(f"six.{domain}") == set()
    pods = [addresses(both, f"member-{number}") for number in range(2)]
    assert both.resolve(f"members.{domain}", "AAAA") == {pod[1] for pod in pods}
    assert both.resolve(f"member-1.members.{domain}", "AAAA") == {pods[1][1]}
    asked = both.inside("dig", "+short", "@fd00:10:96::a", "-x", six)  # by the name server's second address
    assert asked.split() == [f"both.{domain}."]
    reverse = both.inside("dig", "+short", "-x", pods[1][1]).split()
    assert f"member-1.members.{domain}." in reverse


def test_a_service_of_ipv6_alone_is_reached_from_the_host(both: Cluster) -> None:
    (row,) = json.loads(both.homeport("expose", "svc/six", "-o", "json"))["exposed"]
    with closing(urllib.request.urlopen(f"http://{row['local']}/", timeout=5)) as answer:
        assert answer.read().decode().startswith("member-")
    (six,) = virtual(both, "six")
    assert fetch(both, six)
    rows = json.loads(both.homeport("top", "svc", "six", "-o", "json"))["endpoints"]
    assert {one["endpoint"].rpartition(":")[0] for one in rows} == {
        f"[{addresses(both, f'member-{number}')[1]}]" for number in range(2)
    }


def test_a_node_that_starts_again_finds_its_pods_in_both(both: Cluster) -> None:
    if both.prefix:
        pytest.skip("once is enough")
    before = addresses(both, "member-0")
    os.kill(json.loads((both.data / "run" / "node.process").read_text())["pid"], signal.SIGKILL)
    both.kubectl("delete", "pod", "member-1", "--wait=true")
    ready_statefulset(both, "member", 2)
    assert addresses(both, "member-0") == before
    for target in (*addresses(both, "member-0"), *addresses(both, "member-1")):
        assert fetch(both, target, 8080)


def test_the_default_family_stays(both: Cluster) -> None:
    said = both.complaint("up", "--ip-families", "ipv6")
    assert "was made with IPv4 as its default address family" in said


def test_a_cluster_of_ipv6_alone(make_cluster: Make) -> None:
    needs("nft", "curl")
    cluster = make_cluster("six")
    cluster.homeport("up", "--ip-families", "ipv6", "-f", str(MANIFEST))
    assert [one["ip"] for one in cluster.pod("member-0")["status"]["podIPs"]] == [
        cluster.pod("member-0")["status"]["podIP"]
    ]
    assert virtual(cluster, "kubernetes") == ["fd00:10:96::1"]
    assert [one["addressType"] for one in cluster.objects("endpointslices")] == ["IPv6"] * 5
    version = cluster.inside("curl", "-sk", "https://kubernetes.default.svc/version")
    assert json.loads(version)["major"] == "1"
    assert names(fetch(cluster, "both", count=24)) == {"member-0", "member-1"}
    (said,) = fetch(cluster, "member-1.members", 8080, pod="member-0")
    assert said.startswith("member-1 fd00:10:244::")
    assert cluster.complaint("up", "--ip-families", "ipv6,ipv4").count("homeport down") == 1


def test_a_cluster_gets_its_second_family_between_down_and_up(make_cluster: Make) -> None:
    needs("nft", "curl")
    cluster = make_cluster("grows")
    parts = [part for part in MANIFEST.read_text().split("---\n") if "ipFamilies: [IPv6]" not in part]
    manifest = cluster.state / "grows.yaml"
    manifest.write_text("---\n".join(parts))
    cluster.homeport("up", "-f", str(manifest), "--no-wait")
    cluster.down()
    cluster.homeport("up", "--ip-families", "ipv4,ipv6", "-f", str(manifest))
    assert len(virtual(cluster, "both")) == 1  # it got its addresses when there was one family
    cluster.kubectl("patch", "service", "both", "-p", '{"spec": {"ipFamilyPolicy": "RequireDualStack"}}')
    four, six = virtual(cluster, "both")
    for address in (four, six):
        assert names(fetch(cluster, address, count=24)) == {"member-0", "member-1"}
    assert cluster.objects("servicecidrs")[0]["spec"]["cidrs"] == ["10.96.0.0/16", "fd00:10:96::/112"]
