"""Any client reaches the virtual cluster over HTTPS, while time stands still, jumps or flows."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest

from homeport.clock import parse_time
from homeport.testing.clients import ClientMissing, KubectlFailed
from homeport.testing.cluster import SimulatedCluster

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@needs_kubectl
def test_kubectl_as_a_subprocess(db: SimulatedCluster) -> None:
    done = subprocess.run(
        ["kubectl", f"--kubeconfig={db.kubeconfig}", "get", "pods", "-o", "name"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["pod/db-0", "pod/db-1", "pod/db-2"]
    db.kubectl("scale", "sts/db", "--replicas=4")
    db.wait("sts/db", ready=4)
    assert "db-3" in db.kubectl("get", "pods")
    with pytest.raises(KubectlFailed, match="not found"):
        db.kubectl("get", "pod", "nobody")


@needs_kubectl
def test_kubectl_waits_while_time_flows(db: SimulatedCluster) -> None:
    db.patch("sts/db", image="db:2")
    before = db.now
    with db.running(speed=600):
        assert "complete" in db.kubectl("rollout", "status", "sts/db", "--timeout=60s")
    stopped = db.now
    assert stopped > before
    assert db.now == stopped
    assert {pod.image for pod in db.pods} == {"db:2"}


@needs_kubectl
def test_kubectl_reads_logs_and_runs_commands(db: SimulatedCluster) -> None:
    db.pods["db-0"].prints("listening")
    db.pods["db-0"].on_exec(["psql", "-c"], lambda command, stdin: f"{command[-1]}: 1 row\n")
    db.pods["db-0"].on_exec(["false"], code=3)
    db.pods["db-0"].crash()
    db.advance(minutes=1)
    assert db.kubectl("logs", "db-0") == "listening\n"
    assert db.kubectl("exec", "db-0", "--", "psql", "-c", "select") == "select: 1 row\n"
    with pytest.raises(KubectlFailed, match="exit code 3"):
        db.kubectl("exec", "db-0", "--", "false")
    with pytest.raises(KubectlFailed, match="programs of db-0 are simulated"):
        db.kubectl("exec", "db-0", "--", "ls")


def test_time_stands_still_between_calls(db: SimulatedCluster) -> None:
    assert db.kubeconfig.exists()
    before = db.now
    for _ in range(3):
        assert db.clients.httpx.get("/api/v1/namespaces/default/pods").status_code == 200
    assert db.now == before


def test_the_official_client(db: SimulatedCluster) -> None:
    from kubernetes import client

    api = client.CoreV1Api(db.clients.kubernetes)
    assert [pod.metadata.name for pod in api.list_namespaced_pod("default").items] == ["db-0", "db-1", "db-2"]
    apps = client.AppsV1Api(db.clients.kubernetes)
    apps.patch_namespaced_stateful_set_scale("db", "default", {"spec": {"replicas": 1}})
    db.wait("sts/db", ready=1)
    assert len(api.list_namespaced_pod("default").items) == 1


def test_lightkube(db: SimulatedCluster) -> None:
    from lightkube.resources.apps_v1 import StatefulSet

    found = db.clients.lightkube.get(StatefulSet, "db", namespace="default")
    assert found.status.readyReplicas == 3


def test_kr8s(db: SimulatedCluster) -> None:
    pytest.importorskip("kr8s")
    assert [pod.name for pod in db.clients.kr8s.get("pods", namespace="default")] == ["db-0", "db-1", "db-2"]


def test_a_client_that_is_not_installed_is_named(db: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkube", None)
    with pytest.raises(ClientMissing, match=r"clients\.lightkube needs the package 'lightkube': pip install lightkube"):
        _ = db.clients.lightkube


def test_what_happens_at_once_has_happened_when_a_call_returns(cluster: SimulatedCluster) -> None:
    http = cluster.clients.httpx
    service = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        "kind": "Service",
    }
    cluster.apply({"apiVersion": "v1", **service})
    assert http.get("/api/v1/namespaces/default/endpoints/web").status_code == 200


class Operator(threading.Thread):
    """A client with a mind of its own: labels every pod it sees created, through a watch."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        super().__init__(daemon=True)
        self.http = cluster.clients.httpx
        self.path = "/api/v1/namespaces/default/pods"
        self.seen: list[str] = []
        self.error: Exception | None = None

    def run(self) -> None:
        with self.http.stream("GET", self.path, params={"watch": "true"}, timeout=None) as response:
            for line in response.iter_lines():
                event: dict[str, Any] = json.loads(line)
                name = event["object"]["metadata"]["name"]
                if event["type"] == "ADDED":
                    self.seen.append(name)
                    body = json.dumps({"metadata": {"labels": {"seen": "yes"}}})
                    headers = {"content-type": "application/merge-patch+json"}
                    self.http.patch(f"{self.path}/{name}", content=body, headers=headers).raise_for_status()


def test_an_operator_keeps_up_with_hours_that_pass_at_once(db: SimulatedCluster) -> None:
    db.patience = 0.5
    operator = Operator(db)
    operator.start()
    db.advance(seconds=1)
    db.pods["db-1"].delete()
    began = db.now
    db.advance(hours=1)
    created = [line for line in db.story().splitlines() if "pod/db-1 created" in line]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not all("seen" in pod.object["metadata"]["labels"] for pod in db.pods):
        time.sleep(0.01)  # a busy machine may be slower than our patience
    assert operator.seen == ["db-0", "db-1", "db-2", "db-1"]
    assert db.now == began + 3600
    assert len(created) == 2


def test_the_address_stays_when_the_world_is_restored(db: SimulatedCluster) -> None:
    http, saved = db.clients.httpx, db.snapshot()
    db.delete("sts/db")
    db.settle()
    assert http.get("/api/v1/namespaces/default/pods").json()["items"] == []
    db.restore(saved)
    assert len(http.get("/api/v1/namespaces/default/pods").json()["items"]) == 3


def test_what_is_not_used_costs_nothing(cluster: SimulatedCluster) -> None:
    cluster.advance(seconds=1)
    assert not any(thread.name == "homeport" for thread in threading.enumerate())
    place = cluster.kubeconfig.parent
    assert any(thread.name == "homeport" for thread in threading.enumerate())
    cluster.close()
    assert not place.exists()
    assert not any(thread.name == "homeport" for thread in threading.enumerate())


def test_faults_reach_clients_outside(db: SimulatedCluster) -> None:
    http, path = db.clients.httpx, "/api/v1/namespaces/default/configmaps"
    body = {"metadata": {"name": "one"}}
    db.fail_requests("too-many-requests", component="python-httpx", count=1)
    assert http.post(path, json=body).status_code == 429
    db.fail_requests("lost-answer", component="python-httpx", count=1)
    assert http.post(path, json=body).status_code == 504
    assert http.get(f"{path}/one").status_code == 200  # it was done all the same
    assert http.post(path, json=body).status_code == 409


def test_watches_of_clients_outside_break_and_expire(db: SimulatedCluster) -> None:
    for end, last in ((db.drop_watches, ""), (db.expire_watches, "ERROR")):
        seen: list[str] = []
        opened = threading.Event()

        def follow(seen: list[str] = seen, opened: threading.Event = opened) -> None:
            params = {"watch": "true"}
            with db.clients.httpx.stream("GET", "/api/v1/pods", params=params, timeout=30) as response:
                for line in response.iter_lines():
                    seen.append(json.loads(line)["type"])
                    opened.set()

        watching = threading.Thread(target=follow)
        watching.start()
        assert opened.wait(30)
        end()
        watching.join(30)
        assert not watching.is_alive()
        assert (seen[-1] == "ERROR") == (last == "ERROR")


def test_bookmarks_are_no_news_to_wait_for(db: SimulatedCluster) -> None:
    opened = threading.Event()
    seen: list[str] = []

    def follow() -> None:
        params = {"watch": "true", "allowWatchBookmarks": "true"}
        with db.clients.httpx.stream("GET", "/api/v1/configmaps", params=params, timeout=60) as response:
            for line in response.iter_lines():
                seen.append(json.loads(line)["type"])
                opened.set()

    watching = threading.Thread(target=follow)
    watching.start()
    assert opened.wait(30)
    db.advance(seconds=1)
    db.patience = 5.0
    began = time.monotonic()
    db.advance(hours=2)
    assert time.monotonic() - began < 60
    db.drop_watches()
    watching.join(30)
    assert seen.count("BOOKMARK") > 20


def test_async_clients_may_live_in_virtual_time(db: SimulatedCluster) -> None:
    httpx = pytest.importorskip("httpx")
    path, url, tls = "/api/v1/namespaces/default/configmaps", db.clients.url, db.clients.tls

    async def operator(client: Any) -> None:
        while True:
            await asyncio.sleep(3600)  # its hourly round
            found = (await client.get(path)).json()["items"]
            await client.post(path, json={"metadata": {"name": f"round-{len(found)}"}})

    async def test() -> float:
        async with httpx.AsyncClient(base_url=url, verify=tls, trust_env=False) as client:
            working = asyncio.create_task(operator(client))
            await asyncio.sleep(6 * 3600 + 60)
            working.cancel()
            await asyncio.wait([working])
            return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert db.run(test()) >= 6 * 3600
    assert time.monotonic() - began < 60
    made = [one for one in db.list("configmap", namespace="default") if one["metadata"]["name"].startswith("round-")]
    hours = [parse_time(one["metadata"]["creationTimestamp"]) for one in made]
    assert len(made) == 6
    assert sorted(after - before for before, after in pairwise(sorted(hours))) == [3600.0] * 5


class Greeter(BaseHTTPRequestHandler):
    """Answers every GET with the path."""

    def do_GET(self) -> None:
        body = f"hello from {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def test_a_server_of_the_test_answers_at_a_pods_port(db: SimulatedCluster) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            db.pods["db-1"].listen(5432, ("127.0.0.1", server.server_port))
            http, proxies = db.clients.httpx, "/api/v1/namespaces/default/pods"
            assert http.get(f"{proxies}/db-1:5432/proxy/rows").text == "hello from /rows"
            assert http.get(f"{proxies}/db-0:5432/proxy/rows").status_code == 503
            db.pods["db-1"].delete()
            db.settle()
            assert http.get(f"{proxies}/db-1:5432/proxy/rows").text == "hello from /rows"
        finally:
            server.shutdown()
            serving.join()
