"""The cluster's network through the command line: it balances, survives its node process, and leaves no trace."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from homeport.engine.hoststate import snapshot
from tests.e2e.cluster import Cluster, Make, ready_statefulset
from tests.e2e.conftest import needs

EXAMPLE = Path(__file__).parents[2] / "examples" / "web"
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  type: NodePort
  sessionAffinity: ClientIP
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: outer}
spec:
  type: LoadBalancer
  loadBalancerIP: 10.98.0.40
  selector: {app: web}
  ports: [{port: 8000, targetPort: http}]
"""

ASK = """
import http.client, json, sys, time
from collections import Counter
host, port, count, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
seen = Counter()
for _ in range(count):
    try:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request("GET", "/")
        seen[connection.getresponse().read().decode().strip()] += 1
        connection.close()
    except OSError as error:
        seen[type(error).__name__] += 1
    time.sleep(pause)
print(json.dumps(seen))
"""


def ask(cluster: Cluster, host: str, count: int, port: int = 80) -> Counter[str]:
    """Return who answered, or the errors, of so many connections from inside."""
    return Counter(json.loads(cluster.inside(sys.executable, "-c", ASK, host, str(port), str(count), "0")))


@pytest.fixture(scope="module")
def web(make_cluster: Make) -> Cluster:
    needs("kubectl", "nft")
    cluster = make_cluster("network")
    cluster.homeport("up", "-f", str(EXAMPLE))
    cluster.kubectl("apply", "-f", "-", stdin=SERVICES)
    ready_statefulset(cluster, "web", 3)
    return cluster


def test_connections_spread_over_the_replicas(web: Cluster) -> None:
    answers = ask(web, "web-balanced", 600)
    assert answers.keys() == {"web-0", "web-1", "web-2"}
    assert sum((count - 200) ** 2 / 200 for count in answers.values()) < 18.42  # exceeded once in 10,000 runs


def test_nobody_behind_a_service_is_said_at_once(web: Cluster) -> None:
    assert ask(web, "nobody", 3) == {"ConnectionRefusedError": 3}


def test_a_client_keeps_its_replica_by_either_address(web: Cluster) -> None:
    by_name = ask(web, "sticky", 10)
    assert len(by_name) == 1
    assert ask(web, "10.244.0.1", 10, 30080) == by_name


def test_an_address_of_the_pool_leads_to_the_replicas(web: Cluster) -> None:
    seen = ask(web, "10.98.0.40", 60, 8000)  # from the node; pods come by the same rules
    assert sorted(seen) == ["web-0", "web-1", "web-2"]


def test_the_api_has_a_virtual_address(web: Cluster) -> None:
    status = web.inside(
        "curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "https://kubernetes.default.svc/version"
    )
    assert status == "200"


def test_no_connection_is_lost_when_the_node_process_is_killed(web: Cluster) -> None:
    sticky = ask(web, "sticky", 1)
    command = [sys.executable, "-m", "homeport", "run", "--name", web.name, "--"]
    load = subprocess.Popen(
        [*command, sys.executable, "-c", ASK, "web-balanced", "80", "600", "0.005"],
        env=web.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    record = web.data / "run" / "node.process"
    before = json.loads(record.read_text())["pid"]
    os.kill(before, signal.SIGKILL)
    out, _ = load.communicate(timeout=60)
    answers = Counter(json.loads(out))
    assert answers.keys() == {"web-0", "web-1", "web-2"}
    assert answers.total() == 600
    assert json.loads(record.read_text())["pid"] != before
    assert ask(web, "sticky", 5).keys() == sticky.keys()
    web.kubectl("delete", "pod", "web-1", "--wait=true")
    ready_statefulset(web, "web", 3)
    assert ask(web, "web-balanced", 60).keys() == {"web-0", "web-1", "web-2"}


def test_the_host_is_as_it_was(make_cluster: Make) -> None:
    needs("ip", "nft")
    before = snapshot()
    cluster = make_cluster("clean")
    cluster.homeport("up", "-f", str(EXAMPLE))
    assert before.difference(snapshot()) == []
    cluster.down()
    assert before.difference(snapshot()) == []
