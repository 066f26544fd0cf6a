"""Daemons on the nodes of a cluster: what their pods are made of, and when they go. Source: workloads 10."""

from typing import Any

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import create, put, status

LABELS = {"app": "d"}


def daemon_set(homeport: SimulatedCluster, pod: dict[str, Any] | None = None, **spec: Any) -> None:
    body = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "d:1"}], **(pod or {})}
    template = {"metadata": {"labels": LABELS}, "spec": body}
    spec = {"selector": {"matchLabels": LABELS}, "template": template, **spec}
    tree = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": spec}
    code, answer = create(homeport, tree)
    assert code == 201, answer
    homeport.settle()


def pods(homeport: SimulatedCluster) -> list[dict[str, Any]]:
    return list(homeport.list("pod", selector="app=d"))


def reasons(homeport: SimulatedCluster) -> list[str]:
    return [event.reason for event in homeport.events("daemonset/d")]


def test_a_daemon_pod_carries_its_template_its_node_and_its_patience(homeport: SimulatedCluster) -> None:
    daemon_set(homeport, {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}})
    tree = homeport.get("daemonset/d")
    assert tree["metadata"]["annotations"]["deprecated.daemonset.template.generation"] == "1"
    assert (tree["spec"]["updateStrategy"]["rollingUpdate"], tree["spec"]["revisionHistoryLimit"]) == (
        {"maxUnavailable": 1, "maxSurge": 0},
        10,
    )
    (revision,) = homeport.list("controllerrevision", selector="app=d")
    digest = revision["metadata"]["labels"]["controller-revision-hash"]
    assert revision["metadata"]["name"] == f"d-{digest}"
    for pod in pods(homeport):
        metadata, spec = pod["metadata"], pod["spec"]
        assert metadata["generateName"] == "d-"
        assert (metadata["labels"]["controller-revision-hash"], metadata["labels"]["pod-template-generation"]) == (
            digest,
            "1",
        )
        (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [spec["nodeName"]]}]}
        tolerated = {(one["key"].removeprefix("node.kubernetes.io/"), one["effect"]) for one in spec["tolerations"]}
        assert tolerated == {
            ("not-ready", "NoExecute"),
            ("unreachable", "NoExecute"),
            *((name, "NoSchedule") for name in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")),
        }
        assert all(one["operator"] == "Exists" and "tolerationSeconds" not in one for one in spec["tolerations"])
    homeport.patch("daemonset/d", image="d:2")
    generation = homeport.get("daemonset/d")["metadata"]["annotations"]["deprecated.daemonset.template.generation"]
    assert generation == "2"


def test_a_daemon_on_the_network_of_its_host_also_bears_that_there_is_none(homeport: SimulatedCluster) -> None:
    daemon_set(homeport, {"hostNetwork": True})
    (first, *_) = pods(homeport)
    assert "node.kubernetes.io/network-unavailable" in {one["key"] for one in first["spec"]["tolerations"]}


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"maxUnavailable": 1, "maxSurge": 1}, "may not be set when maxUnavailable is non-zero"),
        ({"maxUnavailable": 0, "maxSurge": 0}, "cannot be 0 when maxSurge is 0"),
    ],
)
def test_one_limit_of_a_rollout_is_zero_and_one_is_not(
    homeport: SimulatedCluster, limits: dict[str, int], complaint: str
) -> None:
    daemon_set(homeport)
    tree = homeport.get("daemonset/d")
    strategy = {"type": "RollingUpdate", "rollingUpdate": limits}
    code, refusal = put(homeport, {**tree, "spec": {**tree["spec"], "updateStrategy": strategy}})
    assert code == 422
    assert complaint in refusal["message"]


def test_the_selector_stays(homeport: SimulatedCluster) -> None:
    daemon_set(homeport)
    tree = homeport.get("daemonset/d")
    selector = {"matchLabels": {**LABELS, "more": "x"}}
    template = {**tree["spec"]["template"], "metadata": {"labels": {**LABELS, "more": "x"}}}
    code, refusal = put(homeport, {**tree, "spec": {**tree["spec"], "selector": selector, "template": template}})
    assert (code, "field is immutable" in refusal["message"]) == (422, True)


def test_failed_daemons_are_replaced_after_ever_longer_pauses(homeport: SimulatedCluster) -> None:
    daemon_set(homeport, {"nodeSelector": {"kubernetes.io/hostname": "node-1"}})
    pauses = []
    for _ in range(6):
        (pod,) = pods(homeport)
        name = pod["metadata"]["name"]
        status(homeport, f"pod/{name}", {"phase": "Failed"})
        began = homeport.now
        homeport.wait(f"pod/{name}", gone=True)
        pauses.append(homeport.now - began)
        homeport.wait("daemonset/d", until=lambda tree: tree["status"]["numberReady"] == 1)
    assert pauses[0] < 1
    assert [round(each) for each in pauses[1:]] == [1, 2, 4, 8, 16]
    assert reasons(homeport).count("FailedDaemonPod") == 6


def test_a_daemon_that_ended_well_is_replaced_at_once(homeport: SimulatedCluster) -> None:
    daemon_set(homeport, {"nodeSelector": {"kubernetes.io/hostname": "node-1"}})
    (pod,) = pods(homeport)
    status(homeport, f"pod/{pod['metadata']['name']}", {"phase": "Succeeded"})
    homeport.advance(seconds=0.5)
    (again,) = pods(homeport)
    assert again["metadata"]["uid"] != pod["metadata"]["uid"]
    assert "SucceededDaemonPod" in reasons(homeport)


def test_lost_and_cordoned_nodes_keep_their_daemons(homeport: SimulatedCluster) -> None:
    daemon_set(homeport)
    before = {pod["metadata"]["uid"] for pod in pods(homeport)}
    homeport.nodes["node-1"].lose()
    homeport.patch("node/node-2", {"spec": {"unschedulable": True}})
    homeport.advance(minutes=15)
    assert {pod["metadata"]["uid"] for pod in pods(homeport)} == before
    seen = homeport.get("daemonset/d")["status"]  # a silent node is not asked to run one: it is tainted NoSchedule
    assert (seen["desiredNumberScheduled"], seen["numberReady"], seen["numberMisscheduled"]) == (1, 1, 1)


@pytest.mark.parametrize(("effect", "stays"), [("NoSchedule", True), ("NoExecute", False)])
def test_a_taint_keeps_new_daemons_away_and_perhaps_drives_out_old_ones(
    homeport: SimulatedCluster, effect: str, stays: bool
) -> None:
    daemon_set(homeport)
    homeport.patch("node/node-1", {"spec": {"taints": [{"key": "example.com/x", "effect": effect}]}})
    homeport.settle()
    assert [pod["spec"]["nodeName"] for pod in pods(homeport)].count("node-1") == stays
    homeport.patch("daemonset/d", {"metadata": {"labels": {"looked": "at"}}})  # a taint alone wakes no set, as upstream
    homeport.settle()
    seen = homeport.get("daemonset/d")["status"]
    assert (seen["desiredNumberScheduled"], seen["numberMisscheduled"]) == (1, int(stays))


def test_old_revisions_go_beyond_the_limit_but_not_those_in_use(homeport: SimulatedCluster) -> None:
    daemon_set(homeport, revisionHistoryLimit=1)
    for image in ("d:2", "d:3", "d:4"):
        homeport.patch("daemonset/d", image=image)
        homeport.settle()
    assert sorted(one["revision"] for one in homeport.list("controllerrevision", selector="app=d")) == [3, 4]
    homeport.patch("daemonset/d", {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}})
    for image in ("d:5", "d:6", "d:7"):
        homeport.patch("daemonset/d", image=image)
        homeport.settle()
    kept = sorted(one["revision"] for one in homeport.list("controllerrevision", selector="app=d"))
    assert kept == [4, 7]  # the one of the past that is kept is that of the pods that run


def revisions(homeport: SimulatedCluster) -> list[dict[str, Any]]:
    return list(homeport.list("controllerrevision"))


def test_conditions_of_others_stay_in_the_status(homeport: SimulatedCluster) -> None:
    daemon_set(homeport)
    condition = {"type": "Mine", "status": "True", "reason": "Set", "message": "by hand", "lastTransitionTime": None}
    assert status(homeport, "daemonset/d", {"conditions": [condition]})[0] == 200
    homeport.patch("daemonset/d", image="d:2")
    homeport.settle()
    tree = homeport.get("daemonset/d")
    assert tree["status"]["observedGeneration"] == 2
    assert [each["type"] for each in tree["status"]["conditions"]] == ["Mine"]


def test_a_revision_that_lost_its_label_gets_its_name(homeport: SimulatedCluster) -> None:
    daemon_set(homeport)
    (revision,) = revisions(homeport)
    name = revision["metadata"]["name"]
    homeport.patch(f"controllerrevision/{name}", {"metadata": {"labels": {"controller-revision-hash": None}}})
    homeport.patch("daemonset/d", {"metadata": {"labels": {"wake": "up"}}})
    homeport.settle()
    (revision,) = revisions(homeport)
    assert revision["metadata"]["labels"]["controller-revision-hash"] == name


def test_a_revision_without_the_labels_is_let_go(homeport: SimulatedCluster) -> None:
    daemon_set(homeport)
    (revision,) = revisions(homeport)
    homeport.patch(f"controllerrevision/{revision['metadata']['name']}", {"metadata": {"labels": {"app": "other"}}})
    homeport.patch("daemonset/d", {"metadata": {"labels": {"wake": "up"}}})
    homeport.settle()
    assert "ownerReferences" not in homeport.get(f"controllerrevision/{revision['metadata']['name']}")["metadata"]


def test_a_second_revision_of_the_same_template_goes(homeport: SimulatedCluster) -> None:
    daemon_set(homeport)
    (first,) = revisions(homeport)
    labels = {**first["metadata"]["labels"], "controller-revision-hash": "other"}
    double = {**first, "metadata": {"name": "d-other", "labels": labels}, "revision": 5}
    assert create(homeport, double)[0] == 201
    homeport.patch("daemonset/d", {"metadata": {"labels": {"wake": "up"}}})
    homeport.settle()
    assert [each["metadata"]["name"] for each in revisions(homeport)] == ["d-other"]
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in pods(homeport)} == {"other"}
