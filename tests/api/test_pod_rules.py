"""What pods may be, and what a live one may still become."""

import copy

import pytest
from tests.api.objects import POD, REPLICA_SET, container, created, pod, refusals, updated, workload


def mounted(volume: dict) -> dict:
    body = container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
    body["spec"]["volumes"] = [{"name": "v", **volume}]
    return body


SIDECAR = {"name": "s", "image": "a", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": 1}}}
LABEL_FIELD = {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}


@pytest.mark.parametrize(
    "body",
    [
        pod(),
        mounted({"emptyDir": {}}),
        mounted({"csi": {"driver": "inline.example.com"}}),
        container(env=[{"name": "with spaces", "value": "1"}, LABEL_FIELD]),
        container(resources={"limits": {"example.com/gpu": "1"}}),
        container(lifecycle={"preStop": {"sleep": {"seconds": 0}}}),
        pod(dnsConfig={"searches": ["_tcp.example.com."]}),
        pod(initContainers=[SIDECAR]),
        pod(imagePullSecrets=[{}]),
    ],
)
def test_what_is_allowed_passes(body: dict) -> None:
    assert refusals(POD, body) == []


def test_a_template_is_spared_what_only_pods_must_keep() -> None:
    body = workload()
    body["spec"]["template"]["spec"]["containers"][0]["image"] = " padded "
    assert refusals(REPLICA_SET, body) == []
    assert refusals(POD, container(image=" padded ")) == [
        'spec.containers[0].image: Invalid value: " padded ": must not have leading or trailing whitespace'
    ]


def changed(old: dict, **spec: object) -> tuple[dict, list[str]]:
    body = copy.deepcopy(old)
    body["spec"].update(spec)
    return updated(POD, old, body)


def test_an_image_may_change_and_counts_a_generation() -> None:
    old = created(POD, pod())
    containers = [{**old["spec"]["containers"][0], "image": "a:2"}]
    new, wrong = changed(old, containers=containers)
    assert wrong == []
    assert new["metadata"]["generation"] == 2


def test_a_frozen_field_is_listed_with_its_old_and_new_value() -> None:
    _, wrong = changed(created(POD, pod()), nodeName="n")
    assert len(wrong) == 1
    assert wrong[0].startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    )
    assert '\n- "NodeName": "",\n+ "NodeName": "n",\n' in wrong[0]


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ({}, {"activeDeadlineSeconds": 5}, []),
        ({"activeDeadlineSeconds": 5}, {"activeDeadlineSeconds": 4}, []),
        (
            {"activeDeadlineSeconds": 5},
            {"activeDeadlineSeconds": 6},
            ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"],
        ),
        ({"schedulingGates": [{"name": "a.b/c"}]}, {"schedulingGates": []}, []),
        ({"schedulingGates": [{"name": "a.b/c"}]}, {"nodeSelector": {"disk": "ssd"}}, []),
        (
            {"schedulingGates": [{"name": "a.b/c"}]},
            {"schedulingGates": [{"name": "a.b/d"}]},
            [
                "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, "
                "but found new scheduling gate 'a.b/d'"
            ],
        ),
        ({}, {"tolerations": [{"operator": "Exists"}]}, []),
    ],
)
def test_what_a_live_pod_may_change(before: dict, after: dict, wrong: list[str]) -> None:
    assert changed(created(POD, pod(**before)), **after)[1] == wrong


def test_resizing_keeps_the_class_and_touches_nothing_else() -> None:
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    old = created(POD, container(resources=resources))
    body = copy.deepcopy(old)
    body["spec"]["containers"][0] |= {
        "image": "other",
        "resources": {"requests": {"cpu": "150m"}, "limits": {"cpu": "200m"}},
    }
    new, wrong = updated(POD, old, body, "resize")
    assert wrong == []
    assert new["spec"]["containers"][0]["image"] == "a:1"
    assert new["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "150m"}
    body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "200m"}, "limits": {"cpu": "200m"}}
    assert updated(POD, old, body, "resize")[1] == []  # memory is not asked for, so it stays Burstable
    body["spec"]["containers"][0]["resources"] = {}
    assert (
        'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'
        in (updated(POD, old, body, "resize")[1])
    )


def test_ephemeral_containers_are_only_ever_added() -> None:
    old = created(POD, pod())
    one = {"name": "debug", "image": "busybox", "targetContainerName": "c"}
    body = copy.deepcopy(old)
    body["spec"]["ephemeralContainers"] = [one]
    with_one, wrong = updated(POD, old, body, "ephemeralcontainers")
    assert wrong == []
    gone = copy.deepcopy(with_one)
    gone["spec"]["ephemeralContainers"] = []
    assert updated(POD, with_one, gone, "ephemeralcontainers")[1] == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed\n'
    ]
    ported = copy.deepcopy(old)
    ported["spec"]["ephemeralContainers"] = [{**one, "ports": [{"containerPort": 1}]}]
    assert updated(POD, old, ported, "ephemeralcontainers")[1] == [
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
    ]


def test_a_container_that_ended_for_good_stays_ended() -> None:
    old = created(POD, pod(restartPolicy="Never"))
    ended = {"name": "c", "image": "a:1", "imageID": "", "ready": False, "restartCount": 0}
    old["status"]["containerStatuses"] = [{**ended, "state": {"terminated": {"exitCode": 0}}}]
    body = copy.deepcopy(old)
    body["status"]["containerStatuses"][0]["state"] = {"running": {}}
    assert updated(POD, old, body, "status")[1] == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
