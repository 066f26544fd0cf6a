"""The load balancer as a program of its own: over HTTPS, with no more rights than its manifest gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster, CommandFailed, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO, fetch, kill, pids, until

RBAC = ROOT / "examples" / "proxy" / "rbac.yaml"


def test_it_plays_the_part_the_engine_leaves_out(make_cluster: Make, tmp_path: Path) -> None:
    needs("kubectl", "nft")
    if os.geteuid() != 0:
        pytest.skip("sets packet-filter rules in the cluster's network as itself: needs root")
    cluster = make_cluster("proxy-alone")
    cluster.homeport("up", "--without", "proxy", "-f", str(ECHO))
    cluster.homeport("apply", "-f", str(RBAC))
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    config["clusters"][0]["cluster"]["server"] = "https://10.244.0.1:6443"  # as it is reached from inside
    token = cluster.kubectl("-n", "kube-system", "create", "token", "homeport-proxy").strip()
    config["users"][0]["user"] = {"token": token}
    address = cluster.objects("svc/echo")[0]["spec"]["clusterIP"]
    kubeconfig = tmp_path / "proxy.kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    words = ("proxy", "--kubeconfig", str(kubeconfig), "--node-address", "10.244.0.1", "--real-address", "10.96.0.10")
    with subprocess.Popen(
        cluster.command("run", "--", sys.executable, "-m", "homeport", *words), env=cluster.env
    ) as own:
        try:
            until(lambda: _answers(cluster, address) == {"echo-0", "echo-1"}, "both replicas to be led to")
            kill([pids(cluster)["control"]])
            assert _answers(cluster, address) == {"echo-0", "echo-1"}
            cluster.homeport("up", "--without", "proxy")
            cluster.kubectl("scale", "statefulset/echo", "--replicas=1")
            cluster.kubectl("wait", "pod/echo-1", "--for=delete", "--timeout=30s")
            until(lambda: _answers(cluster, address) == {"echo-0"}, "the smaller set to be known")
        finally:
            own.terminate()
    assert own.returncode == 0


def _answers(cluster: Cluster, address: str) -> set[str]:
    """Who answers by the virtual address; nobody before there are rules."""
    try:
        return set(fetch(cluster, f"http://{address}", 20))
    except CommandFailed:
        return set()
