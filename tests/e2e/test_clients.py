"""Programs written for Kubernetes: the official Python client and lightkube, with a running cluster."""

import gc
import socket
import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import kubernetes
import lightkube
import pytest
from kubernetes import watch as kubernetes_watch
from kubernetes.stream import portforward, stream
from lightkube.core.exceptions import ApiError
from lightkube.models.apps_v1 import StatefulSetSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import CascadeType, PatchType

from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO, until

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nft")
    cluster = make_cluster("clients")
    cluster.homeport("up", "-f", str(ECHO))
    return cluster


def _collect() -> None:
    """Let go of sockets which the official client leaves to the garbage collector, before another test is blamed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    _collect()


@pytest.fixture(scope="module")
def official(cluster: Cluster) -> Iterator[Any]:
    with kubernetes.config.new_client_from_config(str(cluster.data / "kubeconfig")) as client:
        yield client
        client.rest_client.pool_manager.clear()
    _collect()


@pytest.fixture(scope="module")
def core(official: Any) -> Any:
    return kubernetes.client.CoreV1Api(official)


@pytest.fixture(scope="module")
def apps(official: Any) -> Any:
    return kubernetes.client.AppsV1Api(official)


class TestOfficial:
    """The `kubernetes` package."""

    def test_lists_and_reads(self, core: Any, apps: Any) -> None:
        pods = core.list_namespaced_pod("default", label_selector="app=echo").items
        assert [pod.metadata.name for pod in pods] == ["echo-0", "echo-1"]
        assert all(pod.status.pod_ip and pod.status.phase == "Running" for pod in pods)
        assert apps.read_namespaced_stateful_set("echo", "default").status.ready_replicas == 2
        assert [node.metadata.name for node in core.list_node().items] == ["homeport"]

    def test_watches_a_pod_from_its_beginning_to_its_end(self, core: Any) -> None:
        body = {
            "metadata": {"name": "short"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "a", "image": "homeport.local/host", "command": ["true"]}],
            },
        }
        version = core.list_namespaced_pod("default").metadata.resource_version
        core.create_namespaced_pod("default", body)
        phases, deleted = [], False
        watch = kubernetes_watch.Watch()
        for event in watch.stream(
            core.list_namespaced_pod,
            "default",
            field_selector="metadata.name=short",
            resource_version=version,
            timeout_seconds=60,
        ):
            if not phases or event["object"].status.phase != phases[-1]:
                phases.append(event["object"].status.phase)
            if phases[-1] == "Succeeded" and not deleted:
                deleted = True
                core.delete_namespaced_pod("short", "default")
            if event["type"] == "DELETED":
                watch.stop()
        assert phases[0] == "Pending"
        assert phases[-1] == "Succeeded"

    def test_patches_and_scales(self, apps: Any, core: Any) -> None:
        apps.patch_namespaced_stateful_set_scale("echo", "default", {"spec": {"replicas": 3}})
        until(lambda: apps.read_namespaced_stateful_set("echo", "default").status.ready_replicas == 3, "echo-2")
        apps.patch_namespaced_stateful_set("echo", "default", {"spec": {"replicas": 2}})
        until(lambda: len(core.list_namespaced_pod("default", label_selector="app=echo").items) == 2, "echo-2 to go")

    def test_errors_carry_the_servers_status(self, core: Any) -> None:
        with pytest.raises(kubernetes.client.ApiException) as caught:
            core.read_namespaced_pod("nope", "default")
        assert (caught.value.status, caught.value.reason) == (404, "Not Found")
        assert '"reason":"NotFound"' in caught.value.body.replace(" ", "")
        with pytest.raises(kubernetes.client.ApiException) as caught:
            core.create_namespaced_config_map("default", {"metadata": {"name": "Bad_Name"}})
        assert caught.value.status == 422

    def test_reads_logs(self, core: Any) -> None:
        assert core.read_namespaced_pod_log("echo-0", "default") == "listening\n"
        assert core.read_namespaced_pod_log("echo-0", "default", tail_lines=0) == ""

    def test_runs_commands(self, core: Any) -> None:
        said = stream(
            core.connect_get_namespaced_pod_exec, "echo-1", "default", command=["hostname"], stdout=True, stderr=True
        )
        assert said == "echo-1\n"

    def test_talks_with_a_command(self, core: Any) -> None:
        shell = stream(
            core.connect_get_namespaced_pod_exec,
            "echo-1",
            "default",
            command=["sh"],
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        shell.write_stdin("echo heard\n")
        assert shell.readline_stdout(timeout=20) == "heard"
        shell.write_stdin("echo bad >&2\n")
        assert shell.readline_stderr(timeout=20) == "bad"
        shell.write_stdin("exit 6\n")
        shell.run_forever(timeout=20)
        assert shell.returncode == 6
        shell.close()

    def test_forwards_a_port(self, core: Any) -> None:
        forward = portforward(core.connect_get_namespaced_pod_portforward, "echo-0", "default", ports="8080")
        connection: socket.socket = forward.socket(8080)
        connection.settimeout(20)
        connection.sendall(b"GET / HTTP/1.0\r\nHost: echo-0\r\n\r\n")
        said = b""
        while part := connection.recv(65536):
            said += part
        assert said.startswith(b"HTTP/1.0 200")
        assert said.endswith(b"echo-0\n")
        connection.close()
        assert forward.error(8080) is None


@pytest.fixture(scope="module")
def light(cluster: Cluster) -> Iterator[lightkube.Client]:
    config = lightkube.KubeConfig.from_file(cluster.data / "kubeconfig")
    with closing(lightkube.Client(config=config, namespace="default", field_manager="test")) as client:
        yield client


class TestLightkube:
    """The `lightkube` package."""

    def test_a_statefulset_from_cradle_to_grave(self, light: lightkube.Client) -> None:
        template = PodTemplateSpec(
            metadata=ObjectMeta(labels={"app": "light"}),
            spec=PodSpec(containers=[Container(name="a", image="homeport.local/host", command=SLEEP)]),
        )
        spec = StatefulSetSpec(
            replicas=2, serviceName="light", selector=LabelSelector(matchLabels={"app": "light"}), template=template
        )
        light.create(StatefulSet(metadata=ObjectMeta(name="light"), spec=spec))
        ready = 0
        for _, seen in light.watch(StatefulSet, fields={"metadata.name": "light"}):
            ready = (seen.status.readyReplicas if seen.status else 0) or 0
            if ready == 2:
                break
        names = [pod.metadata.name for pod in light.list(Pod, labels={"app": "light"}) if pod.metadata]
        assert names == ["light-0", "light-1"]
        light.delete(StatefulSet, "light", cascade=CascadeType.BACKGROUND)
        until(lambda: not list(light.list(Pod, labels={"app": "light"})), "the set's pods to go")

    @pytest.mark.parametrize(
        ("kind", "patch"),
        [
            (PatchType.MERGE, {"data": {"b": "2"}}),
            (PatchType.STRATEGIC, {"data": {"b": "2"}}),
            (PatchType.JSON, [{"op": "add", "path": "/data/b", "value": "2"}]),
        ],
    )
    def test_patches(self, light: lightkube.Client, kind: PatchType, patch: Any) -> None:
        light.create(ConfigMap(metadata=ObjectMeta(name="patched"), data={"a": "1"}))
        assert light.patch(ConfigMap, "patched", patch, patch_type=kind).data == {"a": "1", "b": "2"}
        light.delete(ConfigMap, "patched")
        with pytest.raises(ApiError) as caught:
            light.get(ConfigMap, "patched")
        assert caught.value.status.reason == "NotFound"

    def test_scales_through_the_subresource(self, light: lightkube.Client) -> None:
        body = {
            "metadata": {"name": "scaled"},
            "spec": {
                "selector": {"matchLabels": {"app": "scaled"}},
                "template": {
                    "metadata": {"labels": {"app": "scaled"}},
                    "spec": {"containers": [{"name": "a", "image": "homeport.local/host", "command": SLEEP}]},
                },
            },
        }
        light.create(Deployment.from_dict(body))
        light.patch(Deployment.Scale, "scaled", {"spec": {"replicas": 2}})
        light.wait(Deployment, "scaled", for_conditions=["Available"])
        until(lambda: light.get(Deployment, "scaled").status.readyReplicas == 2, "two pods")
        light.delete(Deployment, "scaled")

    def test_reads_logs(self, light: lightkube.Client) -> None:
        assert list(light.log("echo-0")) == ["listening\n"]
