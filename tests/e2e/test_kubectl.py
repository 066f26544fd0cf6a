"""kubectl as people use it, new and old: the answers, the exit codes and what becomes of real pods."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import OLD_KUBECTL, Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import until
from tests.e2e.typist import Typist

SLEEPER = Path(__file__).parent / "manifests" / "sleeper.yaml"
SCRIPT = "trap 'exit 0' TERM; echo started; sleep 3600 & wait"


@dataclass(frozen=True)
class Kubectl:
    """One kubectl program in a namespace of its own."""

    cluster: Cluster
    program: str
    namespace: str

    def __call__(self, *words: str, code: int | None = 0, stdin: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, code=code, stdin=stdin, program=self.program)

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json"))

    def complaint(self, *words: str, stdin: str | None = None) -> str:
        """Run something that must fail; return what it says on standard error."""
        done = self.cluster.run(self.command(*words), code=1, stdin=stdin)
        return done.stderr

    def command(self, *words: str) -> list[str]:
        config = f"--kubeconfig={self.cluster.data / 'kubeconfig'}"
        return [self.program, config, f"--cache-dir={self.cluster.state / 'cache'}", "-n", self.namespace, *words]

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*words), env=self.cluster.env, text=True, stdout=subprocess.PIPE, **options
        )

    def rolled_out(self, what: str) -> None:
        self("rollout", "status", what, "--timeout=60s")


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nft", "kubectl")
    cluster = make_cluster("kubectl")
    cluster.homeport("up")
    return cluster


def _old() -> str:
    for path in (OLD_KUBECTL, Path("/opt/kubectl120/usr/bin/kubectl")):
        if path.exists():
            return str(path)
    if os.environ.get("CI"):
        pytest.fail("CI lacks the old kubectl")
    pytest.skip("no old kubectl (tools/test-packages unpacks one)")


@pytest.fixture(scope="module", params=["new", "old"])
def k(request: pytest.FixtureRequest, cluster: Cluster) -> Kubectl:
    program = "kubectl" if request.param == "new" else _old()
    kubectl = Kubectl(cluster, program, request.param)
    kubectl("create", "namespace", request.param)
    kubectl("apply", "-f", str(SLEEPER))
    kubectl.rolled_out("statefulset/db")
    kubectl.rolled_out("deployment/web")
    return kubectl


# ------------------------------------------------------------------------------------------------ looking


def columns(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_get_prints_the_columns_people_know(k: Kubectl) -> None:
    header, *rows = columns(k("get", "pods"))
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert {tuple(row[:4]) for row in rows if row[0].startswith("db-")} == {
        ("db-0", "1/1", "Running", "0"),
        ("db-1", "1/1", "Running", "0"),
    }
    assert columns(k("get", "statefulset"))[1][:2] == ["db", "2/2"]
    assert columns(k("get", "deploy"))[1][:4] == ["web", "1/1", "1", "1"]
    assert columns(k("get", "pvc"))[1][:2] == ["data-db-0", "Bound"]
    assert columns(k("get", "svc", "db"))[1][:5] == ["db", "ClusterIP", "None", "<none>", "5432/TCP"]


def test_get_wide_tells_address_and_node(k: Kubectl) -> None:
    header, row = columns(k("get", "pod", "db-0", "-o", "wide"))
    assert header[-4:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert row[5:] == [k.json("get", "pod", "db-0")["status"]["podIP"], "homeport", "<none>", "<none>"]


def test_get_in_every_format(k: Kubectl) -> None:
    assert k.json("get", "pods")["kind"] == "List"
    assert k.json("get", "pod/db-0")["kind"] == "Pod"
    assert re.search(r"^  name: db-0$", k("get", "pod", "db-0", "-o", "yaml"), re.MULTILINE)
    assert k("get", "pod", "db-0", "-o", "name") == "pod/db-0\n"
    assert k("get", "pod", "db-0", "-o", "jsonpath={.spec.containers[*].name}") == "db"
    assert k("get", "pod", "db-0", "-o", "custom-columns=N:.metadata.name", "--no-headers") == "db-0\n"
    assert k("get", "pod", "db-0", "-o", "go-template={{.status.phase}}") == "Running"


def test_get_selects(k: Kubectl) -> None:
    assert k("get", "pods", "-l", "app=db", "-o", "name") == "pod/db-0\npod/db-1\n"
    assert k("get", "pods", "-l", "app in (db),app!=web", "-o", "name") == "pod/db-0\npod/db-1\n"
    assert k("get", "pods", "--field-selector=metadata.name=db-1", "-o", "name") == "pod/db-1\n"
    assert "db-0" in k("get", "pods", "--field-selector=status.phase=Running,spec.nodeName=homeport", "-o", "name")
    assert k("get", "pods", "--field-selector=status.phase=Failed", "-o", "name") == ""
    everywhere = columns(k("get", "pods", "-A"))
    assert everywhere[0][0] == "NAMESPACE"
    assert {k.namespace} <= {row[0] for row in everywhere[1:]}
    assert {"pod/db-0", "statefulset.apps/db", "service/db"} <= set(k("get", "all", "-o", "name").split())


def test_a_watch_tells_changes_as_they_happen(k: Kubectl) -> None:
    with k.start("get", "configmaps", "-w", "-o", "name") as watch:
        assert watch.stdout is not None
        k("create", "configmap", "watched", "--from-literal=a=b")
        for line in watch.stdout:
            if line == "configmap/watched\n":
                break
        watch.terminate()
    k("delete", "configmap", "watched")


def test_describe_tells_the_story_of_a_pod(k: Kubectl) -> None:
    text = k("describe", "pod", "db-0")
    for fact in (
        r"^Name:\s+db-0$",
        r"^Node:\s+homeport/10\.244\.0\.1$",
        r"^Status:\s+Running$",
        r"^Controlled By:\s+StatefulSet/db$",
        r"Container ID:\s+crun://[0-9a-f]{64}|Container ID:\s+runc://[0-9a-f]{64}",
        r"ClaimName:\s+data-db-0",
        r"Normal\s+Scheduled\s+\S+\s+default-scheduler\s+Successfully assigned \w+/db-0 to homeport",
        r"Normal\s+Started\s+\S+\s+kubelet",
    ):
        assert re.search(fact, text, re.MULTILINE), fact


@pytest.mark.parametrize("what", ["statefulset/db", "deployment/web", "service/db", "pvc/data-db-0", "node/homeport"])
def test_describe_knows_every_kind_of_a_workload(k: Kubectl, what: str) -> None:
    text = k("describe", what)
    assert re.search(rf"^Name:\s+{what.partition('/')[2]}$", text, re.MULTILINE)
    assert "error" not in text.lower()


def test_events_are_told(k: Kubectl) -> None:
    reasons = {one["reason"] for one in k.json("get", "events")["items"] if one["involvedObject"]["name"] == "db-0"}
    assert {"Scheduled", "Pulled", "Created", "Started"} <= reasons


def test_what_is_not_there_is_an_error(k: Kubectl) -> None:
    assert k.complaint("get", "pod", "nope") == 'Error from server (NotFound): pods "nope" not found\n'
    assert "the server doesn't have a resource type" in k.complaint("get", "frobs")
    assert k("get", "pods", "-l", "app=nope") == ""


# ------------------------------------------------------------------------------------------------ changing


def test_apply_twice_changes_nothing(k: Kubectl) -> None:
    before = k.json("get", "statefulset", "db")["metadata"]
    said = dict(line.rsplit(" ", 1) for line in k("apply", "-f", str(SLEEPER)).splitlines())
    assert (said["service/db"], said["deployment.apps/web"]) == ("unchanged", "unchanged")
    after = k.json("get", "statefulset", "db")["metadata"]  # kubectl says "configured" of any set with claim templates
    assert (after["generation"], after["resourceVersion"]) == (before["generation"], before["resourceVersion"])


def test_apply_removes_what_the_manifest_no_longer_has(k: Kubectl) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three"}, "data": {"a": "1", "b": "2"}}
    k("apply", "-f", "-", stdin=json.dumps(body))
    k("patch", "configmap", "three", "--type=merge", "-p", '{"data": {"other": "3"}}')
    assert k("apply", "-f", "-", stdin=json.dumps({**body, "data": {"a": "1"}})) == "configmap/three configured\n"
    assert k.json("get", "configmap", "three")["data"] == {"a": "1", "other": "3"}


def test_diff_and_dry_runs_change_nothing(k: Kubectl, tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(SLEEPER.read_text().replace("replicas: 2", "replicas: 5"))
    assert k("diff", "-f", str(SLEEPER)) == ""
    assert re.search(r"^-  replicas: 2\n\+  replicas: 5$", k("diff", "-f", str(changed), code=1), re.MULTILINE)
    for where in ("server", "client"):
        assert "statefulset.apps/db configured" in k("apply", f"--dry-run={where}", "-f", str(changed))
    assert k.json("get", "statefulset", "db")["spec"]["replicas"] == 2


def test_create_refuses_what_exists(k: Kubectl) -> None:
    k("create", "configmap", "once", "--from-literal=a=b")
    assert "already exists" in k.complaint("create", "configmap", "once", "--from-literal=a=b")


def test_edit(k: Kubectl, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/before/after/' \"$1\"\n")
    editor.chmod(0o755)
    k("create", "configmap", "edited", "--from-literal=a=before")
    words = k.command("edit", "configmap", "edited")
    k.cluster.run(["env", f"EDITOR={editor}", *words])
    assert k.json("get", "configmap", "edited")["data"] == {"a": "after"}


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "S"}]}]}}}}'),
        ("merge", '{"metadata": {"labels": {"tier": "front"}}}'),
        ("json", '[{"op": "add", "path": "/metadata/annotations/note", "value": "x"}]'),
    ],
)
def test_patch_in_three_ways(k: Kubectl, kind: str, patch: str) -> None:
    assert k("patch", "deployment", "web", f"--type={kind}", "-p", patch).startswith("deployment.apps/web patched")
    k.rolled_out("deployment/web")
    (container,) = k.json("get", "deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "homeport.local/host", "a merge by name keeps the rest"


def test_label_and_annotate(k: Kubectl) -> None:
    k("label", "pod", "db-0", "role=primary")
    k("annotate", "pod", "db-0", "why=because")
    assert k("get", "pods", "-l", "role=primary", "-o", "name") == "pod/db-0\n"
    assert "already has a value" in k.complaint("label", "pod", "db-0", "role=replica")
    k("label", "pod", "db-0", "role-")
    assert k.json("get", "pod", "db-0")["metadata"]["annotations"]["why"] == "because"
    assert "role" not in k.json("get", "pod", "db-0")["metadata"]["labels"]


def test_invalid_objects_are_refused_with_the_field(k: Kubectl) -> None:
    said = k.complaint("create", "service", "clusterip", "Bad_Name", "--tcp=80")
    assert "metadata.name" in said
    said = k.complaint("patch", "statefulset", "db", "-p", '{"spec": {"serviceName": "other"}}')
    assert "updates to statefulset spec for fields other than" in said
    said = k.complaint("apply", "-f", "-", stdin='{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}')
    assert "spec.containers: Required value" in said


# ------------------------------------------------------------------------------------------------ rolling


def test_scale_and_wait(k: Kubectl) -> None:
    k("scale", "statefulset", "db", "--replicas=3")
    k.rolled_out("statefulset/db")
    k("wait", "pod/db-2", "--for=condition=Ready", "--timeout=30s")
    k("scale", "statefulset", "db", "--replicas=2")
    k("wait", "pod/db-2", "--for=delete", "--timeout=30s", code=None)  # an old one fails when it is gone already
    assert k("get", "pods", "-l", "app=db", "-o", "name") == "pod/db-0\npod/db-1\n"
    assert "timed out" in k.complaint("wait", "pod/db-0", "--for=condition=Nonsense", "--timeout=1s")


@pytest.mark.parametrize(("what", "container"), [("statefulset/db", "db"), ("deployment/web", "web")])
def test_a_rollout_there_and_back(k: Kubectl, what: str, container: str) -> None:
    def images() -> set[str]:
        pods = k.json("get", "pods", "-l", f"app={container}")["items"]
        return {pod["spec"]["containers"][0]["image"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    k("set", "image", what, f"{container}=homeport.local/host:2")
    k.rolled_out(what)
    assert images() == {"homeport.local/host:2"}
    history = [row[0] for row in columns(k("rollout", "history", what)) if row[0].isdigit()]
    assert len(history) >= 2
    k("rollout", "undo", what)
    k.rolled_out(what)
    assert images() == {"homeport.local/host"}


@pytest.mark.parametrize("what", ["statefulset/db", "deployment/web"])
def test_rollout_restart_replaces_every_pod(k: Kubectl, what: str) -> None:
    def uids() -> set[str]:
        pods = k.json("get", "pods", "-l", f"app={what.partition('/')[2]}")["items"]
        return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    before = uids()
    k("rollout", "restart", what)
    k.rolled_out(what)
    assert len(uids()) == len(before)
    assert not uids() & before


# ------------------------------------------------------------------------------------------------ deleting


def _deployment(k: Kubectl, name: str) -> None:
    k("create", "deployment", name, "--image=homeport.local/host", "--", "sh", "-c", SCRIPT)
    k.rolled_out(f"deployment/{name}")


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_deleting_an_owner_deletes_what_it_owns(k: Kubectl, cascade: str) -> None:
    _deployment(k, cascade)
    k("delete", "deployment", cascade, f"--cascade={cascade}")
    k("wait", "pod", "-l", f"app={cascade}", "--for=delete", "--timeout=30s", code=None)
    until(lambda: k("get", "rs,pods", "-l", f"app={cascade}", "-o", "name") == "", "the garbage collector")


def test_orphans_stay(k: Kubectl) -> None:
    _deployment(k, "parent")
    k("delete", "deployment", "parent", "--cascade=orphan")
    (left,) = k.json("get", "rs", "-l", "app=parent")["items"]
    assert "ownerReferences" not in left["metadata"]
    k("delete", "rs", "-l", "app=parent")
    k("wait", "pod", "-l", "app=parent", "--for=delete", "--timeout=30s", code=None)


def test_a_deleted_replica_comes_back_under_its_name(k: Kubectl) -> None:
    before = k.json("get", "pod", "db-1")["metadata"]["uid"]
    k("delete", "pod", "db-1")
    k("wait", "pod/db-1", "--for=condition=Ready", "--timeout=30s")
    assert k.json("get", "pod", "db-1")["metadata"]["uid"] != before


def test_a_forced_delete_is_immediate(k: Kubectl) -> None:
    k("run", "stubborn", "--image=homeport.local/host", "--restart=Never", "--", "sleep", "3600")
    k("wait", "pod/stubborn", "--for=condition=Ready", "--timeout=30s")
    k("delete", "pod", "stubborn", "--force", "--grace-period=0")
    assert "NotFound" in k.complaint("get", "pod", "stubborn")


# ------------------------------------------------------------------------------------------------ streams


def test_logs(k: Kubectl) -> None:
    assert k("logs", "db-0") == "started\n"
    assert k("logs", "statefulset/db", "-c", "db").endswith("started\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z started\n", k("logs", "db-0", "--timestamps"))
    assert "container nope is not valid for pod db-0" in k.complaint("logs", "db-0", "-c", "nope")


def test_logs_of_a_crashed_container(k: Kubectl) -> None:
    script = "if [ -e /data/once ]; then echo second; trap 'exit 0' TERM; sleep 3600 & wait; fi; touch /data/once; "
    script += "for n in 1 2 3; do echo line $n; done; echo failed >&2; exit 3"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "crashed"},
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "image": "homeport.local/host",
                    "command": ["sh", "-c", script],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
    k("apply", "-f", "-", stdin=json.dumps(pod))
    path = "{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].state.running}"
    until(lambda: k("get", "pod", "crashed", "-o", f"jsonpath={path}").startswith("1{"), "a restart")
    assert set(k("logs", "crashed", "--previous").splitlines()) == {"line 1", "line 2", "line 3", "failed"}
    assert k("logs", "crashed", "--previous", "--tail=1").count("\n") == 1
    assert k("logs", "crashed", "--tail=5") == "second\n"
    ended = k.json("get", "pod", "crashed")["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    k("delete", "pod", "crashed")


def test_logs_follow_until_the_container_ends(k: Kubectl) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo hello; sleep 3600 & wait"
    k("run", "talker", "--image=homeport.local/host", "--restart=Never", "--", "sh", "-c", script)
    k("wait", "pod/talker", "--for=condition=Ready", "--timeout=30s")
    with k.start("logs", "-f", "talker") as follow:
        assert follow.stdout is not None
        assert follow.stdout.readline() == "hello\n"
        k("delete", "pod", "talker", "--wait=false")
        assert follow.stdout.read() == "bye\n"
        assert follow.wait(30) == 0


def test_exec_gives_output_and_exit_code(k: Kubectl) -> None:
    assert k("exec", "db-0", "--", "hostname") == "db-0\n"
    k("exec", "db-0", "--", "sh", "-c", "exit 7", code=7)
    done = k.cluster.run(k.command("exec", "db-0", "--", "sh", "-c", "echo out; echo err >&2"))
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert (
        "no such file or directory" in k.cluster.run(k.command("exec", "db-0", "--", "nope"), code=None).stderr.lower()
    )
    assert "NotFound" in k.complaint("exec", "nope", "--", "true")


def test_exec_passes_standard_input(k: Kubectl) -> None:
    text = "".join(f"line {n}\n" for n in range(20_000))
    assert k("exec", "-i", "db-0", "--", "cat", stdin=text) == text
    assert k("exec", "-i", "db-0", "--", "wc", "-c", stdin=text).strip() == str(len(text))


def test_exec_with_a_terminal(k: Kubectl) -> None:
    typist = Typist(k.command("exec", "-it", "db-0", "--", "sh"), k.cluster.env)
    typist.type("tty && echo a$((1 + 1))b\r")
    typist.sees("a2b")
    assert "/dev/" in typist.text
    typist.type("exit 5\r")
    typist.sees("exit 5")
    assert typist.leaves() == 5


def test_run_once_and_remove(k: Kubectl) -> None:
    words = ("--image=homeport.local/host", "--restart=Never", "--", "sh", "-c", "read -r line; echo got $line")
    assert "got this" in k("run", "-i", "--rm", "once", *words, stdin="this\n")
    assert "not found" in k.complaint("get", "pod", "once")


def test_copy_there_and_back(k: Kubectl, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(300_000))
    k("cp", str(sent), "db-0:/tmp/copied")
    k("cp", "db-0:/tmp/copied", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == sent.read_bytes()


def test_port_forward(k: Kubectl) -> None:
    serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
    k("run", "served", "--image=homeport.local/host", "--restart=Never", "--", "python3", "-c", serve)
    k("wait", "pod/served", "--for=condition=Ready", "--timeout=30s")
    with k.start("port-forward", "pod/served", ":8000", stderr=subprocess.STDOUT) as forward:
        assert forward.stdout is not None
        first = forward.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+) -> 8000", first)
        assert port, first
        ask = ["python3", "-c", _GET, f"http://127.0.0.1:{port[1]}/"]
        until(lambda: k.cluster.run(ask, code=None).stdout == "200\n", "the server in the pod")
        for _ in range(3):
            assert k.cluster.run(ask).stdout == "200\n"
        forward.terminate()
    k("delete", "pod", "served", "--force", "--grace-period=0")


_GET = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).status)"


def test_attach_shows_what_is_written_from_now_on(k: Kubectl) -> None:
    script = "while read -r line; do echo got $line; done"
    overrides = {"spec": {"containers": [_stdin_container(script)]}}
    words = ["--image=homeport.local/host", "--restart=Never", f"--overrides={json.dumps(overrides)}"]
    k("run", "listener", *words)
    k("wait", "pod/listener", "--for=condition=Ready", "--timeout=30s")
    with k.start("attach", "-i", "listener", stdin=subprocess.PIPE) as attach:
        assert attach.stdin is not None
        assert attach.stdout is not None
        attach.stdin.write("something\n")
        attach.stdin.flush()
        assert attach.stdout.readline() == "got something\n"
        attach.stdin.close()
        attach.wait(30)
    until(lambda: k.json("get", "pod", "listener")["status"]["phase"] == "Succeeded", "the end of standard input")


def _stdin_container(script: str) -> dict[str, Any]:
    return {
        "name": "listener",
        "image": "homeport.local/host",
        "command": ["sh", "-c", script],
        "stdin": True,
        "stdinOnce": True,
    }


@pytest.fixture(scope="module", autouse=True)
def _namespaces_go(cluster: Cluster) -> Iterator[None]:
    yield
    for namespace in ("new", "old"):
        cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s", timeout=70)
    assert cluster.objects("pods", "-A") == []
