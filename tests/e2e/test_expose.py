"""Services reached from the host, through its loopback address."""

import json
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO, until

NODE_PORT = """
apiVersion: v1
kind: Service
metadata: {name: outside}
spec:
  type: NodePort
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture(scope="module")
def echo(make_cluster: Make) -> Cluster:
    needs("nft")
    cluster = make_cluster("expose")
    cluster.homeport("up", "-f", str(ECHO))
    return cluster


def get(local: str) -> str:
    with closing(urllib.request.urlopen(f"http://{local}/", timeout=5)) as answer:
        return str(answer.read().decode().strip())


def refused(local: str) -> bool:
    try:
        get(local)
    except (urllib.error.URLError, ConnectionError):
        return True
    return False


def exposed(cluster: Cluster, *arguments: str) -> list[str]:
    rows = json.loads(cluster.homeport("expose", *arguments, "-o", "json"))["exposed"]
    return [row["local"] for row in rows]


def test_a_service_is_reached_from_the_host_until_it_is_no_longer_exposed(echo: Cluster) -> None:
    assert echo.status()["exposed"] == []
    (local,) = exposed(echo, "svc/echo")
    assert {get(local) for _ in range(30)} == {"echo-0", "echo-1"}
    assert exposed(echo, "svc/echo") == [local]
    assert exposed(echo, "--list") == [local]
    assert [one["service"] for one in echo.status()["exposed"]] == ["echo"]
    assert "expose" in {one["name"] for one in echo.status()["processes"]}
    assert exposed(echo, "svc/echo", "--remove") == [local]
    until(lambda: refused(local), "the listener to close")


def test_it_is_kept_over_a_restart_and_a_killed_process(echo: Cluster) -> None:
    (local,) = exposed(echo, "svc/echo")
    pid = next(one["pid"] for one in echo.status()["processes"] if one["name"] == "expose")
    Path(f"/proc/{pid}").stat()
    echo.run(["kill", "-KILL", str(pid)])
    until(lambda: not refused(local), "the process to come back")
    echo.down()
    assert refused(local)
    echo.homeport("up", "-f", str(ECHO))
    until(lambda: not refused(local), "the port to be exposed again")
    assert get(local) in {"echo-0", "echo-1"}


def test_what_cannot_be_exposed_says_why(echo: Cluster) -> None:
    (local,) = exposed(echo, "svc/echo")
    echo.homeport("apply", "-f", "-", stdin=NODE_PORT)
    port = local.rpartition(":")[2]
    assert f"port {port} leads to Service default/echo already" in echo.complaint("expose", "outside", "--port", port)
    assert "has no TCP port 81; it has 80" in echo.complaint("expose", "svc/echo", "--port", "18081:81")
    assert "has no address of its own" in echo.complaint("expose", "svc/echo-peers")
    api = echo.status()["api"]["server"].rpartition(":")[2]
    assert "cannot be used: " in echo.complaint("expose", "svc/outside", "--port", api)
    assert "cannot be used: " in echo.complaint("expose", "svc/outside", "--port", api)  # as before
    echo.homeport("expose", "svc/outside", "--remove")


def test_node_ports_are_reached_when_asked_for(echo: Cluster) -> None:
    echo.homeport("apply", "-f", "-", stdin=NODE_PORT)
    local = f"127.0.0.1:{echo.objects('svc/outside')[0]['spec']['ports'][0]['nodePort']}"
    assert refused(local)
    echo.down()
    echo.homeport("up", "--node-ports", "-f", str(ECHO))
    until(lambda: not refused(local), "the node port to answer on the host")
