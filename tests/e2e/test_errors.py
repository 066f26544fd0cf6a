"""Whatever goes wrong, the person is told what it is, where it is, and what to do; the exit code says so to scripts."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO

Write = Callable[[str, str], str]


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nft")
    cluster = make_cluster("errors")
    cluster.homeport("up")
    return cluster


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def pod(name: str, image: str = "homeport.local/host", **container: object) -> str:
    containers = [{"name": "main", "image": image, **container}]
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}}
    )


# ------------------------------------------------------------------------------------------------ manifests


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiVersion: v1\nkind: Servce\nmetadata: {name: x}\n", ("kind", "Servce", "Service")),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: x\n", ("not valid YAML", "line")),
        ("apiVersion: v1\nkind: Service\n", ("metadata.name",)),
        ("kind: Service\nmetadata: {name: x}\n", ("apiVersion",)),
        ("just text\n", ("an object",)),
    ],
)
def test_an_unusable_manifest_is_refused_before_anything_is_sent(
    cluster: Cluster, write: Write, text: str, words: tuple[str, ...]
) -> None:
    path = write("bad.yaml", text)
    said = cluster.complaint("up", "-f", str(ECHO), "-f", path)
    for word in (path, *words):
        assert word in said
    assert cluster.objects("statefulsets") == []


@pytest.mark.parametrize("text", ["", "# only a comment\n---\n"])
def test_a_file_without_objects_is_an_error(cluster: Cluster, write: Write, text: str) -> None:
    assert "no objects found" in cluster.complaint("up", "-f", write("empty.yaml", text))


def test_the_second_document_is_named(cluster: Cluster, write: Write) -> None:
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n"
    said = cluster.complaint("apply", "-f", write("two.yaml", f"{good}---\napiVersion: v1\nkind: Oops\n"))
    assert "two.yaml" in said
    assert "document 2" in said


def test_a_mistyped_field_is_an_error_that_names_it(cluster: Cluster, write: Write) -> None:
    said = cluster.complaint("up", "-f", write("typo.yaml", pod("typo", comand=["sleep", "1"])))
    assert "typo.yaml" in said
    assert 'unknown field "spec.containers[0].comand"' in said


def test_an_invalid_value_is_an_error_that_names_the_field(cluster: Cluster, write: Write) -> None:
    said = cluster.complaint("up", "-f", write("port.yaml", pod("port", ports=[{"containerPort": 99999}])))
    assert "spec.containers[0].ports[0].containerPort" in said
    assert "between 1 and 65535" in said


def test_one_bad_object_does_not_hide_the_good_ones(cluster: Cluster, write: Write) -> None:
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside}\n"
    path = write("mixed.yaml", f"{pod('Bad_Name')}\n---\n{good}")
    said = cluster.complaint("up", "-f", path)
    assert "metadata.name" in said
    assert "configmap/beside created" in said


def test_a_missing_file_is_named(cluster: Cluster, tmp_path: Path) -> None:
    assert f"{tmp_path}/nothing.yaml: no such file" in cluster.complaint("up", "-f", f"{tmp_path}/nothing.yaml")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no manifests in this directory" in cluster.complaint("up", "-f", str(empty))


def test_the_servers_warnings_are_shown(cluster: Cluster) -> None:
    body = '{"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "old"}}'
    done = cluster.run(cluster.command("apply", "-f", "-"), stdin=body)
    assert "Warning: v1 Endpoints is deprecated" in done.stderr


# ------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--without", "dns,foo"), ("foo", "choose from", "scheduler")),
        (("--image", "nginx"), ("PATTERN=TARGET", "homeport.local/host")),
        (("--image", "nginx=NOT A REFERENCE"), ("NOT", "PATTERN=TARGET")),
        (("--without", "dns"), ("other settings (without: none instead of dns)", "homeport down")),
    ],
)
def test_a_bad_option_says_what_would_be_good(
    cluster: Cluster, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    said = cluster.complaint("up", *options)
    for word in words:
        assert word in said


@pytest.mark.parametrize("name", ["Bad_Name", "-x", "a" * 41, "../x"])
def test_a_bad_cluster_name_is_refused(cluster: Cluster, name: str) -> None:
    for command in ("up", "down", "status"):
        done = cluster.run([cluster.python, "-m", "homeport", command, f"--name={name}"], code=1)
        assert "lower-case letters, digits and dashes" in done.stderr


def test_a_mistyped_command_gets_a_suggestion(cluster: Cluster) -> None:
    assert "Did you mean 'status'?" in cluster.run([cluster.python, "-m", "homeport", "statsu"], code=2).stderr


@pytest.mark.parametrize(
    "command",
    [
        ("get", "pods"),
        ("run", "true"),
        ("exec", "x", "true"),
        ("logs", "x"),
        ("apply", "-f", str(ECHO)),
        ("delete", "pod", "x"),
        ("dig", "x"),
    ],
)
def test_commands_without_a_cluster_say_how_to_start_one(make_cluster: Make, command: tuple[str, ...]) -> None:
    said = make_cluster("absent").complaint(*command)
    assert "homeport up --name absent" in said


def test_what_is_not_there_is_named(cluster: Cluster) -> None:
    assert 'pods "nope" not found' in cluster.complaint("get", "pod", "nope")
    assert 'pods "nope" not found' in cluster.complaint("logs", "nope")
    assert 'pods "nope" not found' in cluster.complaint("exec", "nope", "--", "true")
    assert 'pods "nope" not found' in cluster.complaint("delete", "pod", "nope")
    assert "no such resource" in cluster.complaint("get", "frobs")
    assert "cannot run nosuchprogram" in cluster.complaint("run", "--", "nosuchprogram", code=127)


# ------------------------------------------------------------------------------------------------ the machine


def test_a_taken_port_is_named(make_cluster: Make) -> None:
    cluster = make_cluster("port-taken")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        said = cluster.complaint("up", "--api-port", port)
        assert f"port {port}" in said
        assert "--api-port" in said
    assert not json.loads(cluster.homeport("status", "-o", "json", code=1))["running"]
    cluster.homeport("up", "--api-port", port)
    assert cluster.status()["api"]["server"] == f"https://127.0.0.1:{port}"


HIDE = """
for name in $1; do
  path=$(command -v "$name" || find /usr/lib /lib -name "$name" -print -quit)
  [ -n "$path" ] && mount --bind /dev/null "$(readlink -f "$path")" || exit 77
done
shift
exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="hides programs in a mount namespace")
def test_a_missing_runtime_is_named_with_its_package(make_cluster: Make) -> None:
    needs("crun", "runc")
    base = make_cluster("without-crun")
    cluster = Cluster(base.name, base.state, prefix=("unshare", "--mount", "sh", "-c", HIDE, "sh", "crun runc"))
    said = cluster.complaint("up", "--timeout", "20")
    assert "crun" in said
    done = cluster.run([cluster.python, "-m", "homeport", "doctor"], code=1)
    assert re.search(r"mend it: .*crun", done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="hides programs in a mount namespace")
def test_without_nftables_services_are_balanced_all_the_same(make_cluster: Make) -> None:
    needs("nft")
    base = make_cluster("without-nftables")
    cluster = Cluster(
        base.name, base.state, prefix=("unshare", "--mount", "sh", "-c", HIDE, "sh", "nft libnftables.so.1")
    )
    words = [cluster.python, "-m", "homeport", "up", "--name", cluster.name, "-f", str(ROOT / "examples" / "web")]
    said = cluster.run(words).stderr
    assert "balanced in user space" in said
    assert re.search(r"mend it: .*nftables", said)
    ask = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do curl -s http://web-balanced/; echo; done"
    answers = set(cluster.homeport("run", "--", "sh", "-c", ask).split())
    assert answers == {"web-0", "web-1", "web-2"}
    cluster.down()


def test_data_of_a_newer_version_is_left_alone(make_cluster: Make) -> None:
    cluster = make_cluster("newer")
    cluster.homeport("up", "--without", "node,dns,proxy")
    cluster.down()
    path = cluster.data / "engine.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({**tree, "format": 999, "version": "99.1"}))
    said = cluster.complaint("up")
    assert "99.1" in said
    assert "upgrade homeport" in said
    path.write_text("{ not json")
    assert "engine.json" in cluster.complaint("up")
    path.write_text(json.dumps(tree))
    cluster.homeport("up")


def test_a_second_engine_on_the_same_data_is_refused(cluster: Cluster) -> None:
    words = [cluster.python, "-m", "homeport.engine.control", "--data", str(cluster.data)]
    done = cluster.run(words, code=1)
    assert "another engine runs on" in done.stderr
    assert "homeport down" in done.stderr
    assert cluster.status()["running"]


def test_a_place_that_cannot_be_written_is_named(make_cluster: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cluster = Cluster("nowhere", tmp_path / "file")
    said = cluster.complaint("up")
    assert str(tmp_path / "file") in said
    assert "XDG_STATE_HOME" in said


FULL = """
mount -t tmpfs -o size=1m tmpfs "$1" || exit 77
export XDG_STATE_HOME="$1"
head -c 1000000 /dev/zero >"$1/filler" 2>/dev/null
shift
"$@" up --name full --without node,dns,proxy
code=$?
"$@" down --name full
exit $code
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_named(cluster: Cluster, tmp_path: Path) -> None:
    words = ["unshare", "--mount", "sh", "-c", FULL, "sh", str(tmp_path), cluster.python, "-m", "homeport"]
    done = cluster.run(words, code=None)
    assert done.returncode == 1, done.stderr
    assert "no space left" in done.stderr.lower()
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b broken gzip"])
def test_an_unreadable_archive_is_named(cluster: Cluster, tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(content)
    said = cluster.complaint("image", "load", str(archive))
    assert str(archive) in said
    assert "Traceback" not in said


# ------------------------------------------------------------------------------------------------ waiting


WAITING = ["sh", "-c", "trap 'exit 0' TERM; sleep 99 & wait"]
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": "no"}


@pytest.fixture(scope="module")
def late(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Bring up what never becomes ready; give the tables, and what is said to be waited for by object."""
    path = tmp_path_factory.mktemp("late") / "late.yaml"
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "lost"}, "spec": CLAIM}
    never_ready = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    objects = [
        pod("unpullable", "127.0.0.1:1/nothing/here:1"),
        pod("never", "nothing/here:1", imagePullPolicy="Never"),
        pod("missing", command=["nosuchprogram"]),
        pod("failing", command=["sh", "-c", "exit 3"], readinessProbe={"exec": {"command": ["true"]}}),
        pod("unready", command=WAITING, readinessProbe=never_ready),
        pod("huge", resources={"requests": {"cpu": "1000"}}),
        json.dumps(claim),
    ]
    path.write_text("\n---\n".join(objects))
    done = cluster.run(cluster.command("up", "-f", str(path), "--timeout", "5"), code=1)
    told = re.findall(r"^not ready after 5 s: (\S+) waits for (.*)$", done.stderr, re.MULTILINE)
    yield done.stdout, dict(told)
    cluster.homeport("delete", "-f", str(path))


Late = tuple[str, dict[str, str]]


def test_an_image_that_cannot_be_pulled(late: Late) -> None:
    table, told = late
    said = told["pod/unpullable"]
    assert re.match(r"container main: (ErrImagePull|ImagePullBackOff): ", said)
    assert "127.0.0.1:1/nothing/here:1" in said
    assert "connection refused" in said
    assert re.search(r"^unpullable\s+0/1\s+(ErrImagePull|ImagePullBackOff)", table, re.MULTILINE)


@pytest.mark.parametrize(
    ("what", "clause"),
    [
        ("pod/never", 'container main: ErrImageNeverPull: Container image "nothing/here:1" is not present'),
        ("pod/missing", 'exec: "nosuchprogram": executable file not found'),
        ("pod/failing", "ended with exit code 3 (Error)"),
        ("pod/unready", "container main: running, its readiness probe has not succeeded yet"),
        ("pod/huge", "not scheduled: 0/1 nodes are available: 1 Insufficient cpu"),
        ("persistentvolumeclaim/lost", "a volume for it (phase Pending)"),
    ],
)
def test_every_other_way_of_not_getting_ready(late: Late, what: str, clause: str) -> None:
    assert clause in late[1][what]


# ------------------------------------------------------------------------------------------------ piped


def test_piped_output_has_no_colours_and_no_cursor_movement(cluster: Cluster) -> None:
    done = cluster.run(cluster.command("up", "-f", str(ECHO)))
    assert "\x1b" not in done.stdout + done.stderr
    assert re.search(r"^echo\s+ClusterIP\s.*\s2$", done.stdout, re.MULTILINE), "both pods are listed by now"
    assert "\r" not in done.stdout + done.stderr
    assert re.search(r"^echo-0\s+1/1\s+Running\s+10\.244\.\d+\.\d+\s+echo-0\.echo-peers", done.stdout, re.MULTILINE)
    status = cluster.homeport("status")
    assert "\x1b" not in status
    assert json.loads(cluster.homeport("up", "-o", "json"))["ready"] is True
    cluster.homeport("delete", "-f", str(ECHO))


@pytest.mark.parametrize("command", ["up", "down", "get", "run", "image", "exec", "logs", "dig", "kubeconfig"])
def test_help_fits_eighty_columns_and_shows_how(cluster: Cluster, command: str) -> None:
    environment = {**cluster.env, "COLUMNS": "80"}
    words = [cluster.python, "-m", "homeport", command, "--help"]
    done = subprocess.run(words, env=environment, text=True, capture_output=True, check=True)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Usage: " in done.stdout
