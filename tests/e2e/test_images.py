"""Images from archives, from a registry, and under other names, run as pods."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import traces
from tests.node.images.building import busybox_archives
from tests.node.images.test_registry import registry

WAIT = "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("busybox", "skopeo")
    directory = tmp_path_factory.mktemp("archives") / "made"
    busybox_archives(directory)
    return directory


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nft")
    return make_cluster("images")


@pytest.fixture(scope="module")
def running(cluster: Cluster, archives: Path) -> Cluster:
    """The cluster with the image loaded before it ever ran."""
    cluster.homeport("image", "load", str(archives / "docker.tar"))
    cluster.homeport("up")
    return cluster


def run_pod(cluster: Cluster, name: str, image: str, script: str = WAIT, policy: str = "IfNotPresent") -> None:
    """Bring up a pod that runs a shell of the image."""
    container = {"name": "main", "image": image, "imagePullPolicy": policy, "args": ["sh", "-c", script]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}
    done = cluster.run(cluster.command("up", "-f", "-", "--timeout", "60"), stdin=json.dumps(pod))
    assert f"pod/{name} ready" in done.stderr


def test_a_loaded_image_is_listed_whether_the_engine_runs_or_not(cluster: Cluster, archives: Path) -> None:
    (loaded,) = json.loads(cluster.homeport("image", "load", str(archives / "docker.tar"), "-o", "json"))
    assert loaded["reference"] == "example.org/busybox:1"
    assert loaded["id"].startswith("sha256:")
    assert "example.org/busybox:1" in cluster.homeport("image", "list")
    cluster.homeport("up")
    listed = json.loads(cluster.homeport("image", "list", "-o", "json"))["images"]
    assert {image["reference"]: image["id"] for image in listed}["example.org/busybox:1"] == loaded["id"]


@pytest.mark.parametrize("form", ["docker.tar", "docker.tar.gz", "oci", "oci.tar"])
def test_every_form_of_archive_gives_the_same_image(running: Cluster, archives: Path, form: str) -> None:
    (loaded,) = json.loads(running.homeport("image", "load", str(archives / form), "-o", "json"))
    assert loaded["reference"] == "example.org/busybox:1"
    name = form.replace(".", "-")
    run_pod(running, name, "example.org/busybox:1")
    assert running.homeport("exec", name, "--", "cat", "/etc/greeting") == "hello from layer two\n"
    running.homeport("exec", name, "--", "test", "-e", "/etc/gone", code=1)
    running.homeport("exec", name, "--", "test", "-e", "/old/removed", code=1)
    assert running.homeport("exec", name, "--", "sh", "-c", "echo $WORD") == "from image\n"
    running.homeport("exec", name, "--", "test", "-e", "/usr/bin/python3", code=1)


def test_what_a_pod_writes_stays_its_own(running: Cluster) -> None:
    for name in ("writer", "reader"):
        run_pod(running, name, "example.org/busybox:1")
    running.homeport("exec", "writer", "--", "sh", "-c", "echo changed >/etc/greeting")
    assert running.homeport("exec", "writer", "--", "cat", "/etc/greeting") == "changed\n"
    assert running.homeport("exec", "reader", "--", "cat", "/etc/greeting") == "hello from layer two\n"


def test_an_alias_stands_in_for_an_image_nobody_can_pull(running: Cluster) -> None:
    running.homeport("image", "alias", "registry.invalid/*=example.org/busybox:1")
    assert "registry.invalid/*" in running.homeport("image", "list")
    run_pod(running, "aliased", "registry.invalid/team/app:7")
    assert running.homeport("exec", "aliased", "--", "cat", "/etc/greeting") == "hello from layer two\n"
    notes = [event["message"] for event in running.objects("events") if event["involvedObject"]["name"] == "aliased"]
    assert any("alias of example.org/busybox:1" in note for note in notes), notes


def test_an_alias_given_to_up_is_kept(running: Cluster) -> None:
    running.homeport("up", "--image", "also.invalid/app=homeport.local/host")
    aliases = json.loads(running.homeport("image", "list", "-o", "json"))["aliases"]
    assert any(text.startswith("also.invalid/app") for text in aliases)
    run_pod(running, "hosted", "also.invalid/app")
    running.homeport("exec", "hosted", "--", "test", "-e", "/usr/bin/python3")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> Iterator[str]:
    """A registry on loopback that has the image as `app:1`."""
    needs("docker-registry", "skopeo")
    with registry(tmp_path_factory.mktemp("registry")) as address:
        copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
        subprocess.run([*copy, f"docker-archive:{archives}/docker.tar", f"docker://{address}/app:1"], check=True)
        yield address


def test_an_image_is_pulled_from_a_registry(running: Cluster, address: str) -> None:
    run_pod(running, "pulled", f"{address}/app:1", policy="Always")
    assert running.homeport("exec", "pulled", "--", "cat", "/link") == "hello from layer two\n"
    (status,) = running.pod("pulled")["status"]["containerStatuses"]
    assert status["imageID"].startswith(f"{address}/app@sha256:")
    assert f"{address}/app:1" in running.homeport("image", "list")


def test_a_tag_the_registry_does_not_have_is_told(running: Cluster, address: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "untagged"},
        "spec": {"containers": [{"name": "main", "image": f"{address}/app:none"}]},
    }
    done = running.run(running.command("up", "-f", "-", "--timeout", "3"), code=1, stdin=json.dumps(pod))
    assert f"{address}/app:none: not found" in done.stderr


def test_images_outlive_the_engine(running: Cluster) -> None:
    before = json.loads(running.homeport("image", "list", "-o", "json"))
    running.down()
    assert json.loads(running.homeport("image", "list", "-o", "json")) == before
    assert traces(running.data) == []
