"""What is filled in where nothing was said, beyond what recordings hold."""

import pytest
from tests.api.objects import (
    DEPLOYMENT,
    NODE,
    POD,
    SECRET,
    SERVICE,
    SLICE,
    STATEFUL_SET,
    container,
    decoded,
    pod,
    service,
    workload,
)

from homeport.api.defaults.pods import container_requests, pull_policy


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
    ],
)
def test_only_a_moving_image_is_always_pulled(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_a_pod_gets_what_a_template_does_not() -> None:
    port = {"containerPort": 80}
    inner = container(ports=[port], resources={"limits": {"cpu": "1"}})["spec"] | {"hostNetwork": True}
    tree = decoded(POD, {"metadata": {"name": "p"}, "spec": inner})
    assert tree["spec"]["enableServiceLinks"] is True
    assert tree["spec"]["containers"][0]["ports"][0]["hostPort"] == 80
    assert tree["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    body = workload()
    body["spec"]["template"]["spec"] = inner
    template = decoded(DEPLOYMENT, body)["spec"]["template"]["spec"]
    assert "enableServiceLinks" not in template
    assert "hostPort" not in template["containers"][0]["ports"][0]
    assert "requests" not in template["containers"][0]["resources"]


def test_an_update_strategy_written_out_is_left_as_it_is() -> None:
    said = decoded(STATEFUL_SET, workload(updateStrategy={"type": "RollingUpdate"}))
    unsaid = decoded(STATEFUL_SET, workload())
    assert said["spec"]["updateStrategy"] == {"type": "RollingUpdate"}
    assert unsaid["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}


def test_defaults_do_not_change_what_they_made() -> None:
    for gvk, body in ((POD, pod()), (STATEFUL_SET, workload()), (DEPLOYMENT, workload()), (SERVICE, service())):
        once = decoded(gvk, body)
        assert decoded(gvk, once) == once


def test_pod_level_requests_follow_the_containers_then_the_limits() -> None:
    asked = {"name": "c", "image": "a:1", "resources": {"requests": {"cpu": "250m"}}}
    tree = decoded(
        POD, pod(containers=[asked, {**asked, "name": "d"}], resources={"limits": {"cpu": "1", "memory": "1Gi"}})
    )
    assert tree["spec"]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_init_containers_count_one_at_a_time_beside_their_sidecars() -> None:
    def asking(name: str, cpu: str, **more: str) -> dict:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [asking("a", "100m")],
        "initContainers": [asking("s", "200m", restartPolicy="Always"), asking("i", "500m")],
    }
    assert str(container_requests(spec)["cpu"]) == "700m"


def test_text_of_a_secret_becomes_data() -> None:
    tree = decoded(SECRET, {"metadata": {"name": "s"}, "stringData": {"a": "ä"}, "data": {"a": "eA==", "b": "eQ=="}})
    assert tree["data"] == {"a": "w6Q=", "b": "eQ=="}
    assert "stringData" not in tree


def test_allocatable_is_the_capacity_unless_said() -> None:
    tree = decoded(NODE, {"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "4"}}})
    assert tree["status"]["allocatable"] == {"cpu": "4"}


def test_one_address_is_the_first_of_many() -> None:
    assert decoded(POD, {**pod(), "status": {"podIP": "10.0.0.1"}})["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    assert decoded(POD, {**pod(), "status": {"podIPs": [{"ip": "10.0.0.2"}]}})["status"]["podIP"] == "10.0.0.2"


def test_affinity_has_its_timeout_and_nothing_without_affinity() -> None:
    spec = decoded(SERVICE, service(sessionAffinity="ClientIP"))["spec"]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    kept = service(sessionAffinity="None", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 5}})
    assert "sessionAffinityConfig" not in decoded(SERVICE, kept)["spec"]


def test_unnamed_ports_of_a_slice_have_the_empty_name() -> None:
    tree = decoded(SLICE, {"metadata": {"name": "s"}, "addressType": "IPv4", "ports": [{"port": 80}]})
    assert tree["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert tree["endpoints"] is None
