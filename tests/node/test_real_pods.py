"""Pods as real processes: the whole engine started by its command, looked at with kubectl."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real
HOMEPORT = [sys.executable, "-c", "from homeport.cli import main; main()"]
HOST_IMAGE = "homeport.local/host"


class Cluster:
    """One engine with its data in a folder of its own, short because sockets live in it."""

    def __init__(self, state: Path) -> None:
        self._environment = {**os.environ, "XDG_STATE_HOME": str(state), "HOME": str(state)}
        self.data = state / "homeport" / "default"
        self._environment["KUBECONFIG"] = str(self.data / "kubeconfig")

    def homeport(self, *arguments: str) -> str:
        return self._run([*HOMEPORT, *arguments]).stdout

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run(["kubectl", *arguments], stdin, check)

    def _run(self, command: list[str], stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, env=self._environment, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["kubectl", *arguments], env=self._environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def pod(self, name: str, script: str, *, wait: str = "condition=Ready", **spec: Any) -> None:
        container = {"name": "main", "image": HOST_IMAGE, "command": ["sh", "-c", script]}
        container |= spec.pop("container", {})
        body = {"terminationGracePeriodSeconds": 5, "containers": [container], **spec}
        tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(tree))
        self.kubectl("wait", f"--for={wait}", f"pod/{name}", "--timeout=30s")

    def get(self, name: str) -> Any:
        return json.loads(self.kubectl("get", "pod", name, "-o", "json").stdout)

    def sh(self, pod: str, script: str) -> str:
        return self.kubectl("exec", pod, "-c", "main", "--", "sh", "-c", script).stdout

    def process(self, name: str) -> int:
        """Return the pid of one of the engine's processes."""
        for line in self.homeport("status").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == name and words[1].isdigit():
                return int(words[1])
        raise AssertionError(f"no process {name}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not shutil.which("kubectl"):
        pytest.fail("kubectl is needed")
    state = Path(tempfile.mkdtemp(prefix="hp-real-"))
    made = Cluster(state)
    try:
        made.homeport("up")
        yield made
    finally:
        made.homeport("down")
        shutil.rmtree(state, ignore_errors=True)


FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.2; done"


def test_a_pod_knows_who_it_is(cluster: Cluster) -> None:
    variable = {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    cluster.pod("who", FOREVER, hostname="me", subdomain="us", container={"env": [variable]})
    address = cluster.get("who")["status"]["podIP"]
    assert cluster.sh("who", "hostname; echo $ADDRESS; echo $KUBERNETES_SERVICE_HOST").split() == [
        "me", address, "10.96.0.1",
    ]  # fmt: skip
    assert f"{address}\tme.us.default.svc.cluster.local\tme" in cluster.sh("who", "cat /etc/hosts")
    assert "nameserver 10.96.0.10" in cluster.sh("who", "cat /etc/resolv.conf")
    assert "kube-root" not in cluster.sh("who", "ls /var/run/secrets/kubernetes.io/serviceaccount")
    assert cluster.sh("who", "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace") == "default"


def test_volumes_are_what_they_say(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "settings", "--from-literal=mode=fast")
    volumes = [
        {"name": "work", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "settings", "configMap": {"name": "settings"}},
    ]
    mounts = [
        {"name": "work", "mountPath": "/area"},
        {"name": "work", "mountPath": "/part", "subPath": "deep/er"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "settings", "mountPath": "/settings"},
        {"name": "settings", "mountPath": "/one", "subPath": "mode"},
    ]
    cluster.pod("volumes", FOREVER, volumes=volumes, container={"volumeMounts": mounts})
    assert cluster.sh("volumes", "echo x > /part/file; cat /area/deep/er/file; stat -c %a /area").split() == [
        "x",
        "777",
    ]
    assert cluster.sh("volumes", "df --output=fstype,size /memory | tail -1").split() == ["tmpfs", "1024"]
    assert cluster.sh("volumes", "cat /settings/mode /one") == "fastfast"
    refused = cluster.kubectl("exec", "volumes", "--", "sh", "-c", "echo x > /settings/mode", check=False)
    assert "Read-only file system" in refused.stderr
    cluster.kubectl("patch", "configmap", "settings", "-p", '{"data":{"mode":"slow"}}')
    followed = (
        'for i in $(seq 100); do [ "$(cat /settings/mode)" = slow ] && break; sleep 0.05; done; cat /settings/mode /one'
    )
    assert cluster.sh("volumes", followed) == "slowfast"


def test_a_killed_agent_leaves_pods_as_they_are(cluster: Cluster) -> None:
    cluster.pod("kept", FOREVER)
    before = cluster.get("kept")["status"]
    pid = cluster.process("node")
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while cluster.kubectl("exec", "kept", "--", "true", check=False).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cluster.process("node") != pid
    after = cluster.get("kept")["status"]
    assert after["containerStatuses"] == before["containerStatuses"]
    assert after["podIP"] == before["podIP"]


def test_a_process_that_ends_is_started_again(cluster: Cluster) -> None:
    cluster.pod("again", FOREVER)
    cluster.kubectl("exec", "again", "--", "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)", check=False)
    cluster.kubectl("exec", "again", "--", "kill", "-TERM", "1", check=False)
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/again", "--timeout=20s"
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/again", "--timeout=20s")


def test_a_job_ends_and_keeps_its_logs_and_last_words(cluster: Cluster) -> None:
    script = "echo working; echo bad >&2; echo because > /dev/termination-log; exit 3"
    cluster.pod("job", script, wait="jsonpath={.status.phase}=Failed", restartPolicy="Never")
    ended = cluster.get("job")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "because\n")
    assert sorted(cluster.kubectl("logs", "job").stdout.split()) == ["bad", "working"]


def test_exec_has_a_terminal_and_attach_the_main_process(cluster: Cluster) -> None:
    cluster.pod("talk", "read line; echo got $line", restartPolicy="Never", container={"stdin": True})
    # The size follows the start, as a message of its own: the command may see the terminal before it has one.
    sized = 'for n in $(seq 100); do stty size | grep -q "33 99" && break; sleep 0.05; done; stty size'
    command = f"kubectl exec -it talk -- sh -c 'tty; {sized}'"
    terminal = cluster._run(["script", "-qec", f"stty rows 33 cols 99; {command}", "/dev/null"]).stdout
    assert "/dev/pts/" in terminal
    assert "33 99" in terminal
    assert "got hello" in cluster.kubectl("attach", "-i", "talk", stdin="hello\n").stdout
    assert cluster.kubectl("logs", "talk").stdout == "got hello\n"


def test_port_forward_reaches_a_listener_on_the_pods_loopback(cluster: Cluster) -> None:
    server = (
        "import socket\ns = socket.create_server(('127.0.0.1', 7000))\n"
        "while True:\n c, _ = s.accept(); c.sendall(c.recv(100).upper()); c.close()\n"
    )
    probe = {"exec": {"command": ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 7000))"]}}
    command = {
        "command": ["python3", "-c", server],
        "readinessProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 5},
    }
    cluster.pod("listen", "", container=command)
    forward = cluster.start("port-forward", "listen", ":7000")
    try:
        assert forward.stdout is not None
        line = forward.stdout.readline()
        port = int(line.split("127.0.0.1:")[1].split(" ")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"hello")
            assert connection.recv(100) == b"HELLO"
    finally:
        forward.kill()
        forward.communicate()


def test_probes_reach_pods_over_the_network(cluster: Cluster) -> None:
    script = "mkdir -p /tmp/www; cd /tmp/www; echo ok > index.html; exec python3 -m http.server 8080"
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    cluster.pod("http", script, container={"readinessProbe": probe, "ports": [{"name": "http", "containerPort": 8080}]})


def test_nothing_is_left_of_deleted_pods(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "--all")
    deadline = time.monotonic() + 30
    while list((cluster.data / "pods").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list((cluster.data / "pods").iterdir()) == []
    assert not [entry for entry in (cluster.data / "logs").iterdir() if entry.is_dir()]
