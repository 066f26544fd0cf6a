"""`why` and `top` say what is: of a cluster at work, and of one that waits."""

import json
import os
import re
import subprocess
import sys

import pytest

from homeport.clock import milli_time, parse_time
from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO, fetch, pids, until

BROKEN = """
apiVersion: v1
kind: Service
metadata: {name: typo}
spec:
  selector: {app: ecko}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: never}
spec:
  containers:
  - name: main
    image: homeport.local/host
    command: [sleep, infinity]
    readinessProbe:
      exec: {command: ["false"]}
      periodSeconds: 1
"""

LEAST = """
apiVersion: v1
kind: Service
metadata: {name: least, annotations: {homeport.local/balance: least-connections}}
spec:
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080}]
"""

HOLD = """
import socket, sys
held = [socket.create_connection((sys.argv[1], 80)) for _ in range(6)]
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def echo(make_cluster: Make) -> Cluster:
    needs("kubectl", "nft")
    cluster = make_cluster("explaining")
    cluster.homeport("up", "-f", str(ECHO))
    cluster.homeport("apply", "-f", "-", stdin=BROKEN)
    return cluster


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("pod/echo-0",), 0, "Pod echo-0 is ready; it waits for nothing."),
        (("sts", "echo"), 0, "StatefulSet echo is ready (2/2 pods); it waits for nothing."),
        (("name", "echo-1.echo-peers"), 0, "pod echo-1 is a ready endpoint of Service echo-peers."),
        (("name", "echo-2.echo-peers"), 1, "StatefulSet echo wants 2 replicas, echo-0 to echo-1."),
        (("svc/typo",), 1, "no pod has the labels it selects (app=ecko)"),
        (("pvc/data-echo-0",), 0, "is bound to volume"),
        (("node/homeport",), 0, "Node homeport is ready; it waits for nothing."),
        (("svc/kube-dns",), 1, "Namespace kube-system: has a Service kube-dns: give -n kube-system"),
        (("conn", "echo-0", "->", "echo"), 0, "Pod echo-0 reaches 2 of 2 endpoints of Service echo"),
        (("conn", "default/echo-0", "kube-system/kube-dns:53"), 0, "Pod echo-0 connects to 10.96.0.10 itself"),
        (("conn", "echo-0", "10.96.0.1:443"), 0, "reaches the one endpoint of Service kubernetes"),
        (("conn", "echo-0", "10.96.99.99"), 1, "no Service has this virtual address"),
        (("conn", "echo-0", "db.example.com"), 1, "no way leads out of the cluster's network"),
    ],
)
def test_why(echo: Cluster, words: tuple[str, ...], code: int, sentence: str) -> None:
    assert sentence in echo.homeport("why", *words, code=code)


def test_the_choices_of_connections_under_way_are_told(echo: Cluster) -> None:
    command = echo.command("exec", "-i", "echo-0", "--", "python3", "-c", HOLD, "echo")
    with subprocess.Popen(command, env=echo.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        assert held.stdout.readline() == "held\n"
        said = echo.homeport("why", "conn", "echo-0", "echo")
        held.stdin.close()
    (line,) = [line for line in said.splitlines() if "connections under way: " in line]
    assert sum(map(int, re.findall(r"(\d+) to echo-[01] ", line))) == 6


def test_the_rule_that_is_told_is_the_kernels(echo: Cluster) -> None:
    seen = json.loads(echo.homeport("why", "conn", "echo-0", "echo", "-o", "json"))
    (rule,) = [one["says"] for one in seen["evidence"] if one["object"] == "table ip homeport"]
    inside = ["nsenter", "--target", str(pids(echo)["node"]), "--net"] if os.geteuid() == 0 else []
    if inside:
        held = echo.run([*inside, "nft", "list", "map", "ip", "homeport", "services"]).stdout
        assert rule.removeprefix("services { ").removesuffix(" }") in held


def test_dig_tells_who_stands_behind_each_record(echo: Cluster) -> None:
    assert "; Pod echo-0, ready, an endpoint of Service echo-peers" in echo.homeport("dig", "echo-0.echo-peers")
    seen = json.loads(echo.homeport("dig", "echo", "-o", "json"))
    assert seen["answer"][0]["behind"]["says"] == "a virtual address before echo-0, echo-1"
    (address,) = echo.homeport("dig", "+short", "echo-1.echo-peers").split()
    assert "Pod echo-1" in echo.homeport("dig", "-x", address)
    assert ";; WHY: " in echo.homeport("dig", "ecko", code=1)
    assert "homeport run -- dig" in echo.complaint("dig", "@10.96.0.10", "echo", code=2)


def test_why_tells_how_it_was(echo: Cluster) -> None:
    before = json.loads(echo.homeport("why", "sts/echo", "--since", "1h", "-o", "json"))
    assert any(one["says"] == "became ready" for one in before["history"])
    echo.homeport("delete", "svc", "echo-peers")
    try:
        assert "has no Service echo-peers" in echo.homeport("why", "name", "echo-0.echo-peers", code=1)
        gone = json.loads(echo.homeport("why", "svc/echo-peers", "--since", "1m", "-o", "json", code=1))["history"]
        (deleted,) = (one["time"] for one in gone if one["says"] == "deleted: it is gone")
        just_before = milli_time(parse_time(deleted) - 0.001)
        was = echo.homeport("why", "name", "echo-0.echo-peers", "--at", just_before)
        assert "pod echo-0 is a ready endpoint" in was
        assert "has no Service" in echo.homeport("why", "name", "echo-0.echo-peers", "--at", deleted, code=1)
    finally:
        echo.homeport("up", "-f", str(ECHO))
    told = echo.complaint("why", "svc/echo", "--at", "1h")
    assert "nobody remembers how it was" in told
    assert "changes are known since" in told


def test_a_namespace_that_is_not_there_is_told(echo: Cluster) -> None:
    assert "there is no namespace 'defualt' (there is 'default')" in echo.complaint("why", "svc/echo", "-n", "defualt")
    assert "No Services found in defualt namespace." in echo.complaint("top", "svc", "-n", "defualt", code=0)


def test_why_repeats_what_a_probe_says(echo: Cluster) -> None:
    until(lambda: "Readiness probe failed" in echo.homeport("why", "pod/never", code=1), "a probe to fail")
    seen = json.loads(echo.homeport("why", "pod/never", "-o", "json", code=1))
    assert not seen["fine"]
    assert "its readiness probe has not succeeded yet" in seen["sentence"]
    assert any(one["object"].startswith("Event Unhealthy") for one in seen["evidence"])


@pytest.mark.parametrize("service", ["echo", "least"])
def test_top_counts_connections_by_pod(echo: Cluster, service: str) -> None:
    echo.homeport("up", "-f", "-", stdin=LEAST)  # returns when connections are led there
    command = echo.command("run", "--", sys.executable, "-c", HOLD, service)
    with subprocess.Popen(command, env=echo.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        assert held.stdout.readline() == "held\n"
        fetch(echo, f"http://{service}", 10)
        seen = json.loads(echo.homeport("top", "svc", service, "-o", "json"))
        held.stdin.close()
    rows, (total,) = seen["endpoints"], seen["services"]
    assert {row["pod"] for row in rows} == {"echo-0", "echo-1"}
    assert all(row["listed"] for row in rows)
    assert total["live"] == sum(row["live"] for row in rows) >= 6
    assert total["picks"] == sum(row["picks"] for row in rows) >= 16
    assert 'services "nobody" not found' in echo.complaint("top", "svc", "nobody")
