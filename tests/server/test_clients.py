"""Clients of others find a Kubernetes API: kubectl new and old, the official Python client, lightkube."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.loopback import Address, listening

KUBECTLS = ["/usr/bin/kubectl", "/opt/kubectl120/usr/bin/kubectl"]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "nginx:1", ports: [{containerPort: 80}]}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with listening(tmp_path_factory.mktemp("server")) as found:
        yield found


class Kubectl:
    """One binary in one namespace, with a cache of its own."""

    def __init__(self, binary: str, address: Address, home: Path, namespace: str) -> None:
        if not Path(binary).exists():
            pytest.skip(f"{binary} is not installed")
        self._command = [binary, "--kubeconfig", str(address.kubeconfig), "--cache-dir", str(home / "cache")]
        self._environment = {**os.environ, "HOME": str(home), "KUBECTL_SKEW_WARNING": "false"}
        self._namespace = namespace
        self("create", "namespace", namespace)

    def __call__(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        done = subprocess.run(
            [*self._command, "-n", self._namespace, *arguments],
            input=stdin,
            text=True,
            capture_output=True,
            env=self._environment,
            timeout=60,
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))


@pytest.fixture(params=KUBECTLS, ids=["new", "old"])
def kubectl(request: pytest.FixtureRequest, address: Address, tmp_path: Path) -> Kubectl:
    age = "new" if request.param == KUBECTLS[0] else "old"
    name = request.node.originalname.removeprefix("test_kubectl_").replace("_", "-")[:40].strip("-")
    return Kubectl(request.param, address, tmp_path, f"{age}-{name}")


def test_kubectl_applies_edits_and_deletes(kubectl: Kubectl) -> None:
    assert "created" in kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "configured" in kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 3"))
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    kubectl("scale", "deploy/web", "--replicas", "5")
    kubectl("set", "image", "deploy/web", "c=nginx:2")
    kubectl("rollout", "restart", "deploy/web")
    kubectl("label", "deploy", "web", "tier=front")
    kubectl("annotate", "deploy", "web", "note=x")
    kubectl("patch", "deploy", "web", "-p", '{"spec":{"minReadySeconds":4}}')
    kubectl("patch", "deploy", "web", "--type", "json", "-p", '[{"op":"add","path":"/spec/paused","value":true}]')
    found = kubectl.json("deploy", "web")
    assert (found["spec"]["replicas"], found["spec"]["minReadySeconds"], found["spec"]["paused"]) == (5, 4, True)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    assert found["metadata"]["labels"] == {"app": "web", "tier": "front"}
    kubectl("delete", "deploy", "web", "--wait")
    assert "NotFound" in kubectl("get", "deploy", "web", check=False)


def test_kubectl_applies_lists_element_by_element(kubectl: Kubectl) -> None:
    sidecar = '      - {name: side, image: "b:1", env: [{name: A, value: "1"}, {name: B, value: "2"}]}\n'
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT + sidecar)
    kubectl("set", "env", "deploy/web", "-c", "c", "FROM=outside")
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT + sidecar.replace(', {name: B, value: "2"}', ""))
    first, side = kubectl.json("deploy", "web")["spec"]["template"]["spec"]["containers"]
    assert first["env"] == [{"name": "FROM", "value": "outside"}]
    assert side["env"] == [{"name": "A", "value": "1"}]
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert [c["name"] for c in kubectl.json("deploy", "web")["spec"]["template"]["spec"]["containers"]] == ["c"]


def test_kubectl_knows_who_it_is_and_what_it_may(address: Address, tmp_path: Path) -> None:
    kubectl = Kubectl(KUBECTLS[0], address, tmp_path, "who")
    assert "system:masters" in kubectl("auth", "whoami")
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"


def test_kubectl_explains_fields(address: Address, tmp_path: Path) -> None:
    kubectl = Kubectl(KUBECTLS[0], address, tmp_path, "explain")
    text = kubectl("explain", "statefulset.spec.template.spec.containers.ports")
    assert "containerPort" in text
    assert "-required-" in text


def test_kubectl_lists_by_selector_and_shows_tables(kubectl: Kubectl) -> None:
    for name, app in (("a", "x"), ("b", "y")):
        kubectl("run", name, "--image", "nginx:1", "--labels", f"app={app}", "--restart", "Never")
    assert kubectl("get", "pods", "-l", "app=x", "-o", "name").split() == ["pod/a"]
    assert kubectl("get", "pods", "--field-selector", "metadata.name=b", "-o", "name").split() == ["pod/b"]
    header, *rows = kubectl("get", "pods", "-o", "wide").splitlines()
    assert header.split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row.split()[:3] for row in rows] == [["a", "0/1", "Pending"], ["b", "0/1", "Pending"]]
    assert "Image:" in kubectl("describe", "pod", "a")
    everywhere = kubectl("get", "pods", "-A")
    assert everywhere.splitlines()[0].split()[0] == "NAMESPACE"
    assert kubectl("get", "all").count("pod/") == 2


def test_kubectl_creates_from_arguments(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c", "--from-literal=k=v")
    kubectl("create", "secret", "generic", "s", "--from-literal=k=v")
    kubectl("create", "deployment", "d", "--image", "nginx:1")
    kubectl("create", "service", "clusterip", "e", "--tcp=80:8080")
    kubectl("create", "serviceaccount", "sa")
    kubectl("expose", "deployment", "d", "--port", "80")
    assert kubectl.json("configmap", "c")["data"] == {"k": "v"}
    assert kubectl.json("secret", "s")["data"] == {"k": "dg=="}
    assert kubectl.json("service", "d")["spec"]["selector"] == {"app": "d"}
    assert kubectl.json("service", "e")["spec"]["ports"][0]["targetPort"] == 8080


def test_kubectl_waits_and_sees_changes(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c")
    assert "deleted" in kubectl("delete", "configmap", "c", "--wait")
    watching = subprocess.Popen(
        [*kubectl._command, "-n", kubectl._namespace, "get", "configmaps", "-w", "-o", "name"],
        stdout=subprocess.PIPE,
        env=kubectl._environment,
        text=True,
    )
    try:
        kubectl("create", "configmap", "seen")
        assert watching.stdout is not None
        assert watching.stdout.readline().strip() == "configmap/seen"
    finally:
        watching.kill()
        watching.communicate()


def test_kubectl_replaces_and_refuses(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=DEPLOYMENT)
    kubectl("replace", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 7"))
    assert kubectl.json("deploy", "web")["spec"]["replicas"] == 7
    assert "AlreadyExists" in kubectl("create", "-f", "-", stdin=DEPLOYMENT, check=False)
    refused = kubectl(
        "apply", "-f", "-", stdin=DEPLOYMENT.replace("{app: web}}\n    spec", "{app: no}}\n    spec"), check=False
    )
    assert "selector" in refused


def test_kubectl_validates_strictly_by_default(address: Address, tmp_path: Path) -> None:
    kubectl = Kubectl(KUBECTLS[0], address, tmp_path, "strict")
    refused = kubectl("create", "-f", "-", stdin=DEPLOYMENT.replace("replicas:", "replicass:"), check=False)
    assert 'unknown field "spec.replicass"' in refused


def test_the_python_client_works(address: Address) -> None:
    from kubernetes import client, config, watch

    configuration = client.Configuration()
    config.load_kube_config(str(address.kubeconfig), client_configuration=configuration)
    with client.ApiClient(configuration) as connection:
        core, apps = client.CoreV1Api(connection), client.AppsV1Api(connection)
        core.create_namespace({"metadata": {"name": "py"}})
        made = core.create_namespaced_config_map("py", {"metadata": {"name": "a"}, "data": {"k": "v"}})
        assert core.read_namespaced_config_map("a", "py").data == {"k": "v"}
        core.patch_namespaced_config_map("a", "py", {"data": {"k": "w"}})
        stream = watch.Watch().stream(
            core.list_namespaced_config_map, "py", resource_version=made.metadata.resource_version, timeout_seconds=1
        )
        seen = [(event["type"], event["object"].data) for event in stream]
        assert seen == [("MODIFIED", {"k": "w"})]
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        body = {
            "metadata": {"name": "s"},
            "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template},
        }
        apps.create_namespaced_stateful_set("py", body)
        apps.patch_namespaced_stateful_set_scale("s", "py", {"spec": {"replicas": 4}})
        assert apps.read_namespaced_stateful_set("s", "py").spec.replicas == 4
        with pytest.raises(client.ApiException) as refused:
            core.read_namespaced_pod("nope", "py")
        assert refused.value.status == 404
        core.delete_namespaced_config_map("a", "py")
        assert core.list_namespaced_config_map("py").items == []


def test_lightkube_works(address: Address) -> None:
    from lightkube import Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap, Namespace

    connection = Client(KubeConfig.from_file(str(address.kubeconfig)), namespace="light")
    connection.create(Namespace(metadata=ObjectMeta(name="light")))
    connection.create(ConfigMap(metadata=ObjectMeta(name="a"), data={"k": "v"}))
    connection.patch(ConfigMap, "a", {"data": {"k": "w"}})
    assert [found.data for found in connection.list(ConfigMap)] == [{"k": "w"}]
    connection.delete(ConfigMap, "a")
    assert list(connection.list(ConfigMap)) == []
    connection._client._client.close()  # it offers no other way to close its sockets
