"""Simulated clusters of both address families, and of IPv6 alone."""

import pytest

from homeport.testing.cluster import SimulatedCluster

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  clusterIP: None
  ipFamilyPolicy: PreferDualStack
  selector: {app: db}
  ports: [{name: sql, port: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: db}
  ports: [{port: 80, targetPort: 5432}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: "db:1"}]
"""


@pytest.mark.homeport(families=("IPv4", "IPv6"))
def test_pods_names_and_services_are_of_both(homeport: SimulatedCluster) -> None:
    homeport.apply(MANIFEST)
    homeport.wait("sts/db")
    homeport.advance(seconds=1)
    pods = [homeport.pods[f"db-{number}"] for number in range(3)]
    assert all(ip.startswith(("10.244.", "fd00:10:244::")[n]) for pod in pods for n, ip in enumerate(pod.ips))
    assert len({ip for pod in pods for ip in pod.ips}) == 6
    assert homeport.resolve("db-1.db", "AAAA") == (pods[1].ips[1],)
    assert set(homeport.resolve("db", "AAAA")) == {pod.ips[1] for pod in pods}
    assert len(homeport.resolve("front", "AAAA")) == len(homeport.resolve("front")) == 1
    assert set(homeport.endpoints("front")) == {
        text for pod in pods for text in (f"{pod.ips[0]}:5432", f"[{pod.ips[1]}]:5432")
    }
    nodes = homeport.list("nodes")
    assert all(len([a for a in one["status"]["addresses"] if a["type"] == "InternalIP"]) == 2 for one in nodes)
    homeport.delete("service/front")
    homeport.advance(seconds=1)
    parents = {one["spec"]["parentRef"]["name"] for one in homeport.list("ipaddresses")}
    assert parents == {"kubernetes"}


@pytest.mark.homeport(families=("IPv6",))
def test_a_cluster_of_ipv6_alone(homeport: SimulatedCluster) -> None:
    homeport.apply(MANIFEST)
    homeport.wait("sts/db")
    homeport.advance(seconds=1)
    assert homeport.pods["db-0"].ip.startswith("fd00:10:244::")
    assert homeport.resolve("db") == ()
    assert len(homeport.resolve("db", "AAAA")) == 3
    fork = homeport.fork()
    assert fork.pods["db-0"].ips == homeport.pods["db-0"].ips
    fork.close()
