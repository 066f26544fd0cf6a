"""All of it as an ordinary user: no privilege, no helper, and the host is left as it was."""

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeport.engine.hoststate import snapshot
from tests.e2e.cluster import Cluster
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO, fetch, identity, inhabited, kill, network_namespaces, pids, serves, traces
from tests.e2e.ordinary import ordinary_cluster, ordinary_place
from tests.isolated import ORDINARY_UID

SEED = Path(__file__).parents[1] / "seed"

pytestmark = pytest.mark.rootless


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with ordinary_place() as path:
        yield path


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Cluster]:
    needs("nft", "ip", "setpriv", "nginx")
    cluster = ordinary_cluster("rootless", place)
    yield cluster
    cluster.down("--purge")


@pytest.fixture(scope="module")
def seeded(cluster: Cluster) -> Cluster:
    cluster.homeport("up", "-f", str(SEED))
    return cluster


def test_the_user_is_ordinary(seeded: Cluster) -> None:
    uid = os.geteuid() or ORDINARY_UID
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids(seeded).values()} == {uid}
    assert {path.stat().st_uid for path in seeded.data.iterdir()} == {uid}
    assert seeded.data.stat().st_mode & 0o777 == 0o700


def test_every_pod_is_ready(seeded: Cluster) -> None:
    assert len(identity(seeded)) == 9
    for pod in seeded.objects("pods"):
        conditions = {one["type"]: one["status"] for one in pod["status"]["conditions"]}
        assert conditions["Ready"] == "True", pod["metadata"]["name"]


def test_names_and_the_virtual_address_lead_to_pods(seeded: Cluster) -> None:
    name = "my-statefulset-1.my-headless-service.default.svc.cluster.local"
    assert seeded.resolve(name) == {seeded.pod("my-statefulset-1")["status"]["podIP"]}
    pods = {f"my-statefulset-{n}" for n in range(3)}
    assert set(fetch(seeded, "http://my-service", 40)) == pods
    assert seeded.resolve("external-db.default.svc.cluster.local", "CNAME") == {"db.example.com."}


def test_programs_run_inside_as_the_same_user(seeded: Cluster) -> None:
    uid = str(os.geteuid() or ORDINARY_UID)
    assert seeded.inside("id", "-u").strip() == uid
    assert seeded.inside("sh", "-c", "exit 9", code=9) == ""
    (seeded.state / "mine").write_text("")
    seeded.inside("sh", "-c", f"test -e {seeded.state}/mine && touch {seeded.state}/made")
    assert (seeded.state / "made").stat().st_uid == int(uid)


def test_logs_and_exec(seeded: Cluster) -> None:
    seeded.homeport("up", "-f", str(ECHO))
    assert seeded.homeport("logs", "echo-0") == "listening\n"
    assert seeded.homeport("exec", "echo-0", "--", "hostname") == "echo-0\n"
    seeded.homeport("exec", "echo-0", "--", "sh", "-c", "exit 5", code=5)
    assert seeded.homeport("exec", "-i", "echo-0", "--", "cat", stdin="typed\n") == "typed\n"
    assert seeded.kubectl("exec", "echo-0", "--", "hostname") == "echo-0\n"
    seeded.homeport("exec", "echo-0", "--", "sh", "-c", "echo kept >/data/note")
    seeded.kubectl("delete", "pod", "echo-0")
    seeded.homeport("up", "-f", str(ECHO))
    assert seeded.homeport("exec", "echo-0", "--", "cat", "/data/note") == "kept\n"


def test_the_host_reaches_a_service(seeded: Cluster) -> None:
    (row,) = json.loads(seeded.homeport("expose", "svc/echo", "-o", "json"))["exposed"]
    with urllib.request.urlopen(f"http://{row['local']}/", timeout=5) as answer:
        assert answer.read().decode().strip() in {"echo-0", "echo-1"}
    counted = json.loads(seeded.homeport("top", "svc", "echo", "-o", "json"))["endpoints"]
    assert sum(one["picks"] for one in counted) >= 1
    assert seeded.status()["balancing"]["healthy"] is True


def test_pods_are_adopted_after_every_process_was_killed(seeded: Cluster) -> None:
    before, host = identity(seeded), snapshot()
    kill(pids(seeded).values())
    seeded.homeport("up", "-f", str(ECHO))
    assert identity(seeded) == before
    serves(seeded)
    assert host.difference(snapshot()) == []


def test_down_leaves_nothing_but_the_data(seeded: Cluster) -> None:
    spaces, host = network_namespaces(seeded), snapshot()
    seeded.down()
    assert inhabited(spaces) == set()
    assert traces(seeded.data) == []
    assert host.difference(snapshot()) == []


def test_the_host_is_the_same_from_the_first_start_on(cluster: Cluster) -> None:
    host = snapshot()
    cluster.homeport("up")
    assert host.difference(snapshot()) == []


def test_doctor_finds_what_is_needed(cluster: Cluster) -> None:
    said = cluster.run([cluster.python, "-m", "homeport", "doctor"]).stdout
    assert "MISS" not in said
    assert "user namespaces: allowed for ordinary users" in said
