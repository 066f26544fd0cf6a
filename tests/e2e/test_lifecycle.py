"""Starting, dying and coming back: nothing lost, nobody disturbed, nothing left on the host."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from homeport.engine.hoststate import snapshot
from homeport.node.runtime.state import Records, living_containers, living_sandboxes
from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import (
    ECHO,
    fetch,
    identity,
    inhabited,
    kill,
    network_namespaces,
    pids,
    serves,
    traces,
    until,
)

PARTS = {"control", "node", "dns", "holder"}


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nft", "ip")
    return make_cluster("life")


@pytest.fixture
def running(cluster: Cluster) -> Cluster:
    cluster.homeport("up", "-f", str(ECHO))
    return cluster


def test_the_host_is_the_same_before_while_and_after(cluster: Cluster) -> None:
    before = snapshot()
    cluster.homeport("up", "-f", str(ECHO))
    serves(cluster)
    spaces = network_namespaces(cluster)
    assert len(spaces) == 3
    assert before.difference(snapshot()) == []
    cluster.down()
    assert before.difference(snapshot()) == []
    assert inhabited(spaces) == set()
    assert traces(cluster.data) == []


def test_status_tells_what_scripts_need(running: Cluster) -> None:
    seen = running.status()
    assert seen["running"]
    assert seen["cluster"] == "life"
    assert seen["data"] == str(running.data)
    assert {one["name"] for one in seen["processes"]} == PARTS
    assert all(one["pid"] > 0 and one["memoryBytes"] > 0 and Path(one["log"]).exists() for one in seen["processes"])
    assert seen["versions"].keys() == {"homeport", "kubernetes"}
    assert seen["api"]["server"].startswith("https://127.0.0.1:")
    assert Path(seen["api"]["kubeconfig"]).stat().st_mode & 0o777 == 0o600
    assert seen["dns"]["host"] == "127.0.0.1"
    assert seen["dns"]["port"] > 0
    assert seen["node"] == {"name": "homeport", "ready": True}
    counts = {"pods": 2, "services": 4, "statefulsets": 1, "deployments": 0, "persistentvolumeclaims": 2}
    assert seen["counts"] == counts


@pytest.mark.parametrize("part", ["node", "dns", "holder"])
def test_a_killed_part_comes_back_and_pods_notice_nothing(running: Cluster, part: str) -> None:
    before, old = identity(running), pids(running)[part]
    kill([old])
    until(lambda: pids(running).get(part, old) != old, f"{part} to be started again")
    name = "echo-0.echo-peers.default.svc.cluster.local"
    until(lambda: bool(running.resolve(name)), "the cluster's DNS to answer again")
    serves(running)
    assert identity(running) == before
    running.kubectl("delete", "pod", "echo-1")
    running.homeport("up", "-f", str(ECHO))
    serves(running)
    after = identity(running)
    assert after["echo-0"] == before["echo-0"]
    assert after["echo-1"][0] != before["echo-1"][0]


def test_after_control_was_killed_the_next_up_takes_over(running: Cluster) -> None:
    before, url = identity(running), running.status()["api"]["server"]
    kill([pids(running)["control"]])
    assert set(fetch(running, "http://echo.default.svc.cluster.local", 3)) <= before.keys(), (
        "pods serve without the API"
    )
    running.homeport("status", code=1)
    running.homeport("up", "-f", str(ECHO))
    assert identity(running) == before
    assert running.status()["api"]["server"] == url, "a kubeconfig in use stays right"
    assert set(pids(running)) == PARTS
    serves(running)


def test_after_every_process_was_killed_the_next_up_adopts_the_pods(running: Cluster) -> None:
    before, host = identity(running), snapshot()
    kill(pids(running).values())
    assert pids(running) == {}
    running.homeport("up", "-f", str(ECHO))
    assert identity(running) == before
    assert host.difference(snapshot()) == []
    serves(running)
    running.kubectl("scale", "statefulset/echo", "--replicas=3")
    running.wait("pod/echo-2", "--for=condition=Ready")
    assert fetch(running, "http://echo-2.echo-peers.default.svc.cluster.local:8080") == ["echo-2"]
    running.kubectl("scale", "statefulset/echo", "--replicas=2")
    running.wait("pod/echo-2", "--for=delete")


def test_down_after_every_process_was_killed_leaves_nothing(running: Cluster) -> None:
    spaces = network_namespaces(running)
    kill(pids(running).values())
    assert inhabited(spaces), "the pods live on"
    running.down()
    assert inhabited(spaces) == set()
    assert traces(running.data) == []


def test_a_pod_that_died_while_nobody_watched_is_started_again(running: Cluster) -> None:
    before = identity(running)
    containers = Records(running.data / "run").containers()
    (victim,) = [one for one in containers if before["echo-1"][1][0][0].endswith(one.id)]
    assert victim.process is not None
    kill([*pids(running).values(), victim.process.pid])
    running.homeport("up", "-f", str(ECHO))
    after = identity(running)
    assert after["echo-0"] == before["echo-0"]
    (container, restarts) = after["echo-1"][1][0]
    assert container != before["echo-1"][1][0][0]
    assert restarts == before["echo-1"][1][0][1] + 1
    serves(running)


def test_after_everything_died_at_once_as_in_a_power_cut(running: Cluster) -> None:
    running.homeport("exec", "echo-1", "--", "sh", "-c", "echo kept >/data/power; sync")
    before = identity(running)
    run = running.data / "run"
    kill([*pids(running).values(), *living_containers(run), *living_sandboxes(run)])
    running.homeport("up", "-f", str(ECHO))
    after = identity(running)
    assert {name: pod[0] for name, pod in after.items()} == {name: pod[0] for name, pod in before.items()}
    assert running.homeport("exec", "echo-1", "--", "cat", "/data/power") == "kept\n"
    serves(running)


@pytest.mark.parametrize("place", ["deep/" + "/".join(["directory" * 4] * 6), "with space/and 'quotes'", "ümläut/日本"])
def test_the_data_may_lie_anywhere(tmp_path: Path, place: str) -> None:
    cluster = Cluster("anywhere", tmp_path / place)
    try:
        cluster.homeport("up", "-f", str(ECHO))
        serves(cluster)
        assert cluster.homeport("exec", "echo-0", "--", "hostname") == "echo-0\n"
        assert cluster.kubectl("logs", "echo-0") == "listening\n"
    finally:
        cluster.down("--purge")


def test_data_and_names_outlive_down(running: Cluster) -> None:
    running.homeport("exec", "echo-0", "--", "sh", "-c", "echo kept >/data/note")
    url = running.status()["api"]["server"]
    running.down()
    running.homeport("up")
    running.homeport("up", "-f", str(ECHO))
    assert running.homeport("exec", "echo-0", "--", "cat", "/data/note") == "kept\n"
    assert running.status()["api"]["server"] == url
    serves(running)


def test_two_clusters_with_the_same_addresses_side_by_side(running: Cluster, make_cluster: Make) -> None:
    other = make_cluster("other")
    other.homeport("up", "-f", str(ECHO))
    serves(other)
    serves(running)
    gateways = [one.inside("ip", "-o", "-4", "address", "show", "scope", "global") for one in (running, other)]
    assert "10.244.0.1/16" in gateways[0]
    assert gateways[0] == gateways[1]
    assert not {pod[0] for pod in identity(running).values()} & {pod[0] for pod in identity(other).values()}
    other.down()
    serves(running)


def _up(cluster: Cluster, *options: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "homeport", "up", "--name", cluster.name, *options]
    return subprocess.Popen(words, env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ups_at_the_same_time_share_one_engine(make_cluster: Make) -> None:
    cluster = make_cluster("race")
    started = [_up(cluster, "-f", str(ECHO)) for _ in range(3)]
    for process in started:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, f"{out}\n{err}"
    assert len(list(cluster.objects("pods"))) == 2
    serves(cluster)
    cluster.down()
    assert traces(cluster.data) == []


@pytest.mark.parametrize("seen", ["started", "created", "ready"])
def test_ctrl_c_during_up_leaves_a_cluster_that_the_next_up_completes(make_cluster: Make, seen: str) -> None:
    cluster = make_cluster("stopped")
    process = _up(cluster, "-f", str(ECHO))
    assert process.stderr is not None
    for line in process.stderr:
        if f" {seen}" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in ((130,) if seen == "started" else (130, 0)), "0: it was ready before the signal came"
    assert "Traceback" not in err
    assert (f"`homeport down --name {cluster.name}` stops it" in err) == (process.returncode == 130)
    cluster.homeport("up", "-f", str(ECHO))
    serves(cluster)
    cluster.down()
    assert traces(cluster.data) == []


def test_ctrl_c_before_the_engine_is_ready_leaves_nothing_half_started(make_cluster: Make) -> None:
    cluster = make_cluster("early")
    process = _up(cluster)
    until(lambda: (cluster.data / "engine.json").exists(), "the engine to be started")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert "Traceback" not in err
    cluster.homeport("up", "-f", str(ECHO))
    serves(cluster)


def test_down_without_up_is_no_error(make_cluster: Make) -> None:
    cluster = make_cluster("never")
    cluster.down()
    cluster.down("--purge")
    assert not cluster.data.exists()


@pytest.mark.parametrize(
    ("without", "remaining"),
    [
        ("node,dns,proxy", {"control"}),
        ("node", PARTS),
        ("dns", PARTS - {"dns"}),
        ("proxy,scheduler,controllers", PARTS),
        ("node,scheduler,controllers,dns,proxy", {"control"}),
    ],
)
def test_parts_can_be_left_out(make_cluster: Make, without: str, remaining: set[str]) -> None:
    cluster = make_cluster(f"without-{len(without)}")
    cluster.homeport("up", "--without", without)
    assert set(pids(cluster)) == remaining
    seen = cluster.status()
    assert (seen["dns"] is None) == ("dns" in without)
    cluster.homeport("up")
    assert set(pids(cluster)) == remaining, "kept for the next start"
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    cluster.down()
    assert traces(cluster.data) == []


def test_purge_removes_everything(make_cluster: Make) -> None:
    cluster = make_cluster("purged")
    cluster.homeport("up", "-f", str(ECHO))
    cluster.down("--purge")
    assert not cluster.data.exists()
    assert traces(cluster.data) == []
