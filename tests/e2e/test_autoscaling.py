"""Processor time of real processes, counted, told by `kubectl top`, and answered with more pods."""

import pytest

from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import until

BURNING = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: burner}
spec:
  serviceName: burner
  replicas: 1
  selector: {matchLabels: {app: burner}}
  template:
    metadata: {labels: {app: burner}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: homeport.local/host
        command: [busybox, sh, -c, "while [ $(hostname) = burner-0 ]; do :; done; exec sleep 3600"]
        resources: {requests: {cpu: 50m}}
"""


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("kubectl", "busybox")
    made = make_cluster("autoscaling")
    made.homeport("up")
    return made


def test_a_pod_that_burns_processor_time_gets_company(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=BURNING)
    cluster.kubectl("autoscale", "statefulset", "burner", "--min=1", "--max=2", "--cpu-percent=60")
    cluster.kubectl("rollout", "status", "statefulset/burner", "--timeout=60s")

    def burns() -> bool:
        rows = [row.split() for row in cluster.kubectl("top", "pods", "--no-headers", code=None).splitlines()]
        return any(name == "burner-0" and int(cpu.rstrip("m")) > 60 and memory != "0Mi" for name, cpu, memory in rows)

    until(burns, "usage of the burner", 60)
    assert cluster.kubectl("top", "nodes", "--no-headers").split()[0] == "homeport"
    cluster.wait("statefulset/burner", "--for=jsonpath={.spec.replicas}=2", timeout=120)
    assert "SuccessfulRescale" in cluster.kubectl("describe", "hpa", "burner")
