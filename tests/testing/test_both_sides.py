"""What holds of simulated and of real pods alike: one suite, both sides."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homeport.errors import NotFound
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.facade import Cluster, WaitedTooLong
from homeport.testing.real import RealCluster

MANIFEST = Path(__file__).parent / "manifests" / "real.yaml"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

SIDES = [
    pytest.param("simulated", id="simulated"),
    pytest.param("real", id="real", marks=[pytest.mark.real, pytest.mark.timeout(300)]),
]


@pytest.fixture(scope="module", params=SIDES)
def side(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    if request.param == "real" and shutil.which("nft", path=PATH) is None and not os.environ.get("CI"):
        pytest.skip("not installed: nft (tools/test-packages installs it)")
    made: Cluster = SimulatedCluster(seed=3, nodes=1) if request.param == "simulated" else RealCluster()
    yield made
    made.close()


@pytest.fixture
def both(side: Cluster) -> Cluster:
    """The set with two replicas, whatever the test before left."""
    side.apply(MANIFEST)
    side.wait("sts/db", until=lambda obj: obj["status"].get("readyReplicas") == obj["spec"]["replicas"] == 2)
    if isinstance(side, SimulatedCluster):
        for name in ("db-0", "db-1"):
            pod = side.pods[name]
            pod.prints("ready")
            pod.on_exec(["cat"], lambda command, stdin: stdin)
            pod.on_exec(["sh", "-c", "exit 3"], code=3, errors="no\n")
            before = pod.uid
            pod.delete()
            side.wait(f"pod/{name}", until=lambda obj, before=before: obj["metadata"]["uid"] != before)
            side.wait(f"pod/{name}")
    side.wait("sts/db")
    return side


def restarts(number: int) -> Any:
    return lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] >= number


def test_objects_are_found_and_changed(both: Cluster) -> None:
    assert [pod.name for pod in both.pods] == ["db-0", "db-1"]
    assert both.find("sts/nobody") is None
    with pytest.raises(NotFound):
        both.get("sts/nobody")
    both.patch("sts/db", {"metadata": {"labels": {"tier": "data"}}})
    assert [one["metadata"]["name"] for one in both.list("sts", selector="tier=data")] == ["db"]
    assert both.get("sts/db")["metadata"]["labels"]["tier"] == "data"


def test_replicas_come_and_go_and_claims_stay(both: Cluster) -> None:
    both.scale("sts/db", 3)
    both.wait("sts/db", ready=3)
    assert len(both.pods) == 3
    both.scale("sts/db", 1)
    both.wait("pod/db-1", gone=True)
    assert len(both.claims) >= 3
    both.scale("sts/db", 2)
    both.wait("sts/db", ready=2)


def test_names_and_addresses_lead_to_pods(both: Cluster) -> None:
    pods = {pod.name: pod.ip for pod in both.pods}
    assert both.resolve("db-1.db") == (pods["db-1"],)
    assert set(both.resolve("db")) == set(pods.values())
    assert both.resolve("db-9.db") == ()
    assert len(both.resolve("_sql._tcp.db", "SRV")) == 2
    assert set(both.endpoints("db-read")) == {f"{ip}:5432" for ip in pods.values()}


def test_a_crash_restarts_the_container_and_keeps_the_pod(both: Cluster) -> None:
    pod = both.pods["db-0"]
    before, count = pod.uid, pod.restarts
    pod.crash()
    both.wait("pod/db-0", until=restarts(count + 1))
    both.wait("pod/db-0")
    assert (pod.uid, pod.ready) == (before, True)
    assert any(event.reason == "Started" for event in both.events("pod/db-0"))


def test_a_deleted_pod_returns_with_its_name_and_data(both: Cluster) -> None:
    pod, claim = both.pods["db-1"], both.claims["data-db-1"]
    claim.write("rows/1", b"kept")
    before = pod.uid
    pod.delete()
    both.wait("pod/db-1", until=lambda obj: obj["metadata"]["uid"] != before)
    both.wait("sts/db", ready=2)
    assert claim.read("rows/1") == b"kept"
    assert "rows/1" in claim.files()


def test_commands_and_logs(both: Cluster) -> None:
    pod = both.pods["db-0"]
    assert pod.logs() == "ready\n"
    done = pod.exec(["cat"], stdin="text")
    assert (done.code, done.output) == (0, "text")
    failed = both.exec("db-0", ["sh", "-c", "exit 3"])
    assert failed.code == 3
    if isinstance(both, RealCluster):
        assert both.exec("db-0", ["sh", "-c", "cat > /data/from-inside"], stdin="inside").code == 0
        assert both.claims["data-db-0"].read("from-inside") == b"inside"


def test_waiting_in_vain_says_for_what(both: Cluster) -> None:
    with pytest.raises(WaitedTooLong, match=r"sts/db is not ready=9 after 1 s: 2 ready"):
        both.wait("sts/db", ready=9, timeout=1)
    with pytest.raises(WaitedTooLong, match="pod/nobody does not exist after 1 s"):
        both.wait("pod/nobody", timeout=1)


def test_the_agent_and_the_controllers_may_be_killed(both: Cluster) -> None:
    before = {pod.name: (pod.uid, pod.restarts) for pod in both.pods}
    node = next(iter(both.nodes))
    node.kill_agent()
    node.start()
    both.restart_controllers()
    both.scale("sts/db", 3)
    both.wait("sts/db", ready=3)
    assert node.ready
    assert {pod.name: (pod.uid, pod.restarts) for pod in both.pods if pod.name != "db-2"} == before
    both.scale("sts/db", 2)
    both.wait("pod/db-2", gone=True)


def test_time_passes_and_things_come_to_rest(both: Cluster) -> None:
    before = both.now
    both.advance(seconds=0.5)
    assert both.now - before >= 0.5
    both.settle(quiet=1.0)
    assert both.pods["db-0"].ready


def test_kubectl_and_clients(both: Cluster) -> None:
    assert both.clients.httpx.get("/version").json()["major"] == "1"
    if shutil.which("kubectl"):
        assert both.kubectl("get", "pods", "-o", "name").split() == ["pod/db-0", "pod/db-1"]


def test_calls_can_be_awaited_and_given_up(both: Cluster) -> None:
    async def test() -> None:
        waiting = asyncio.create_task(both.aio.wait("pod/db-2", timeout=100))
        await both.aio.scale("sts/db", 3)
        await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await both.aio.advance(seconds=1e12 if isinstance(both, SimulatedCluster) else 60)
        assert await both.aio.find("sts/db")
        await both.aio.do(both.pods["db-2"].delete, grace=0)
        await both.aio.scale("sts/db", 2)
        await both.aio.wait("pod/db-2", gone=True)

    asyncio.run(test())
