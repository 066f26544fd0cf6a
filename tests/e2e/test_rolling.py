"""A rolled application loses nothing: no refused connection, no broken answer, no flow moved or reset."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make, ready_statefulset
from tests.e2e.conftest import needs
from tests.e2e.observe import fetch

MANIFEST = Path(__file__).parent / "manifests" / "rolling.yaml"
LOAD_SECONDS = 40
REQUESTS = 100_000

HOLD = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=10)
for line in sys.stdin:
    connection.request("GET", "/")
    print(connection.getresponse().read().decode().strip(), flush=True)
"""
"""Asks over one connection, once for each line it is given."""


@pytest.fixture(scope="module")
def rolling(make_cluster: Make) -> Cluster:
    needs("kubectl", "nft", "nginx", "wrk")
    cluster = make_cluster("rolling")
    cluster.homeport("up", "-f", str(MANIFEST))
    return cluster


def address(cluster: Cluster) -> str:
    found: str = cluster.objects("svc/rolling")[0]["spec"]["clusterIP"]
    return found


def test_no_request_fails_while_replicas_are_replaced(rolling: Cluster) -> None:
    """Every request has a connection of its own, so each is balanced anew."""
    load = subprocess.Popen(
        rolling.command(
            "run", "--", "wrk", "-t2", "-c20", f"-d{LOAD_SECONDS}s", "-H", "Connection: close",
            f"http://{address(rolling)}/",
        ),
        env=rolling.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    before = {pod["metadata"]["uid"] for pod in rolling.objects("pods")}
    rolls = 0
    while rolls < 2:
        rolling.kubectl("rollout", "restart", "statefulset/rolling")
        ready_statefulset(rolling, "rolling", 3)
        rolls += 1
    assert load.poll() is None, "the load ended before the replicas were replaced"
    said, _ = load.communicate(timeout=LOAD_SECONDS + 20)
    assert load.returncode == 0
    assert not before & {pod["metadata"]["uid"] for pod in rolling.objects("pods")}
    done = re.search(r"(\d+) requests in", said)
    assert done is not None, said
    assert int(done[1]) >= REQUESTS, said
    assert "Socket errors" not in said, said  # wrk prints these lines only when there was any
    assert "Non-2xx" not in said, said


def test_a_pod_on_its_way_out_keeps_its_flows_and_gets_no_new_ones(rolling: Cluster) -> None:
    command = rolling.command("run", "--", sys.executable, "-c", HOLD, address(rolling))
    with subprocess.Popen(
        command, env=rolling.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as held:
        assert held.stdin is not None
        assert held.stdout is not None

        def ask() -> str:
            print(file=held.stdin)
            return held.stdout.readline().strip()  # type: ignore[union-attr]

        pod = ask()
        assert pod in {"rolling-0", "rolling-1", "rolling-2"}
        rolling.kubectl("delete", "pod", pod, "--wait=false")
        leaving = rolling.pod(pod)
        assert leaving["metadata"].get("deletionTimestamp")
        assert [ask() for _ in range(20)] == [pod] * 20
        assert pod not in fetch(rolling, f"http://{address(rolling)}/", 20)
        assert ask() == pod
        assert rolling.pod(pod)["metadata"]["uid"] == leaving["metadata"]["uid"], "it went before it was looked at"
        held.stdin.close()
        assert held.wait(10) == 0
    ready_statefulset(rolling, "rolling", 3)
