"""The load balancer as a program of its own: over HTTPS, with no more rights than its manifest gives."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.alone import prepared
from tests.e2e.cluster import Cluster, CommandFailed, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO, fetch, kill, pids, until

SIX = """
apiVersion: v1
kind: Service
metadata: {name: six}
spec:
  ipFamilies: [IPv6]
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080}]
"""
RANGES = ("--pods", "10.244.0.0/16,fd00:10:244::/64", "--services", "10.96.0.0/16,fd00:10:96::/112")
PLACE = (
    *("--node-address", "10.244.0.1", "--node-address", "fd00:10:244::1"),
    *("--real-address", "10.96.0.10", "--real-address", "fd00:10:96::a"),
)


def test_it_plays_the_part_the_engine_leaves_out(make_cluster: Make, tmp_path: Path) -> None:
    """In both families, over a killed API server."""
    needs("kubectl", "nft")
    if os.geteuid() != 0:
        pytest.skip("sets packet-filter rules in the cluster's network as itself: needs root")
    cluster = make_cluster("proxy-alone")
    cluster.homeport("up", "--without", "proxy", "--ip-families", "ipv4,ipv6", "-f", str(ECHO))
    cluster.homeport("apply", "-f", "-", stdin=SIX)
    kubeconfig = prepared(cluster, "proxy", tmp_path)
    inside = "server: https://10.244.0.1:6443"  # the API as it is reached from there
    kubeconfig.write_text(re.sub(r"server: .*", inside, kubeconfig.read_text()))
    four, six = (cluster.objects(f"svc/{name}")[0]["spec"]["clusterIP"] for name in ("echo", "six"))
    words = ("proxy", "--kubeconfig", str(kubeconfig), *RANGES, *PLACE, "--node", "homeport")
    both = {"echo-0", "echo-1"}
    said = tmp_path / "said"
    command = cluster.command("run", "--", sys.executable, "-m", "homeport", *words)
    with said.open("w") as log, subprocess.Popen(command, env=cluster.env, stderr=log) as own:
        try:
            until(lambda: _answers(cluster, four) == both, "both replicas to be led to")
            until(lambda: _answers(cluster, six) == both, "both replicas to be led to by IPv6")
            kill([pids(cluster)["control"]])
            assert _answers(cluster, four) == both
            cluster.homeport("up", "--without", "proxy")
            cluster.kubectl("scale", "statefulset/echo", "--replicas=1")
            cluster.kubectl("wait", "pod/echo-1", "--for=delete", "--timeout=30s")
            for address in (four, six):
                until(lambda address=address: _answers(cluster, address) == {"echo-0"}, "the smaller set to be known")  # type: ignore[misc]
        finally:
            own.terminate()
    assert own.returncode == 0
    assert "forbidden" not in said.read_text()


def _answers(cluster: Cluster, address: str) -> set[str]:
    """Who answers by the virtual address; nobody before there are rules."""
    try:
        return set(fetch(cluster, f"http://[{address}]" if ":" in address else f"http://{address}", 20))
    except CommandFailed:
        return set()
