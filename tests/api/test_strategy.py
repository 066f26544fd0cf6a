"""What a write may touch, and what counts as a new generation."""

import copy

import pytest
from tests.api.objects import (
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    NOW,
    POD,
    SERVICE,
    SLICE,
    STATEFUL_SET,
    VOLUME,
    claim,
    created,
    pod,
    service,
    updated,
    workload,
)

from homeport.api import strategy
from homeport.api.qos import qos_class

SLICE_BODY = {"metadata": {"name": "s"}, "addressType": "IPv4"}


def test_a_new_object_starts_with_the_servers_status() -> None:
    body = {**workload(), "status": {"replicas": 9}}
    assert created(STATEFUL_SET, body)["status"] == {"replicas": 0, "availableReplicas": 0}
    assert created(SERVICE, {**service(), "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})[
        "status"
    ] == {"loadBalancer": {}}
    assert created(CLAIM, {**claim(), "status": {"phase": "Bound"}})["status"] == {"phase": "Pending"}


def claim_from(**sources: object) -> dict[str, object]:
    body = claim()
    return {**body, "spec": {**body["spec"], **sources}}


def test_a_claims_two_data_sources_say_the_same() -> None:
    other = {"apiGroup": None, "kind": "PersistentVolumeClaim", "name": "x"}
    for field in ("dataSource", "dataSourceRef"):
        spec = created(CLAIM, claim_from(**{field: other}))["spec"]
        assert spec["dataSource"] == spec["dataSourceRef"] == other
    crate = {"apiGroup": "example.com", "kind": "Crate", "name": "x"}
    assert "dataSourceRef" not in created(CLAIM, claim_from(dataSource=crate))["spec"]
    assert created(CLAIM, claim_from(dataSourceRef=crate))["spec"]["dataSource"] == crate
    elsewhere = created(CLAIM, claim_from(dataSourceRef={**crate, "namespace": "n"}))["spec"]
    assert not elsewhere.keys() & {"dataSource", "dataSourceRef"}


def test_what_clients_may_not_set_is_dropped() -> None:
    metadata = {"name": "w", "generation": 7, "selfLink": "/x", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    tree = created(DEPLOYMENT, {**workload(), "metadata": metadata})
    assert tree["metadata"] == {"name": "w", "namespace": "default", "generation": 1}
    assert "generation" not in created(CONFIG_MAP, {"metadata": {"name": "c", "generation": 7}})["metadata"]


def test_a_namespace_is_labelled_by_its_name_and_held_by_its_content() -> None:
    tree = created(NAMESPACE, {"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "other"}}})
    assert tree["metadata"]["labels"]["kubernetes.io/metadata.name"] == "n"
    assert tree["spec"]["finalizers"] == ["kubernetes"]


def test_claims_and_volumes_are_protected() -> None:
    assert created(CLAIM, claim())["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    volume = created(VOLUME, {"metadata": {"name": "v"}, "spec": {"hostPath": {"path": "/d"}}})
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert volume["status"]["lastPhaseTransitionTime"] == "2027-01-15T08:00:00Z"


def test_a_gated_pod_says_why_it_is_not_scheduled() -> None:
    (condition,) = created(POD, pod(schedulingGates=[{"name": "a.b/c"}]))["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")


@pytest.mark.parametrize(
    ("gvk", "body", "change", "moves"),
    [
        (STATEFUL_SET, workload(), {"spec": {**workload()["spec"], "replicas": 3}}, True),
        (STATEFUL_SET, workload(), {"metadata": {"name": "w", "annotations": {"a": "b"}}}, False),
        (DEPLOYMENT, workload(), {"metadata": {"name": "w", "annotations": {"a": "b"}}}, True),
        (DEPLOYMENT, workload(), {"metadata": {"name": "w", "labels": {"a": "b"}}}, False),
        (SLICE, SLICE_BODY, {"metadata": {"name": "s", "labels": {"a": "b"}}}, True),
        (SLICE, SLICE_BODY, {"metadata": {"name": "s", "annotations": {"a": "b"}}}, False),
    ],
)
def test_which_changes_are_a_new_generation(gvk, body, change, moves) -> None:
    new, _ = updated(gvk, created(gvk, body), {**body, **change})
    assert new["metadata"]["generation"] == (2 if moves else 1)


def test_a_write_to_the_object_leaves_the_status_and_the_other_way_round() -> None:
    old = created(STATEFUL_SET, workload())
    changed = {**workload(replicas=5), "status": {"replicas": 5}}
    main, _ = updated(STATEFUL_SET, old, changed)
    assert (main["spec"]["replicas"], main["status"]["replicas"]) == (5, 0)
    status, _ = updated(STATEFUL_SET, old, changed, "status")
    assert (status["spec"]["replicas"], status["status"]["replicas"]) == (1, 5)
    assert status["metadata"]["generation"] == 1


def test_the_servers_metadata_survives_any_write() -> None:
    old = created(CONFIG_MAP, {"metadata": {"name": "c"}})
    old["metadata"] |= {
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionTimestamp": "2026-01-02T00:00:00Z",
    }
    new, _ = updated(CONFIG_MAP, old, {"metadata": {"name": "c", "uid": "other"}})
    for field in ("uid", "creationTimestamp", "deletionTimestamp"):
        assert new["metadata"][field] == old["metadata"][field]


def test_labels_of_a_deployment_are_not_written_through_its_status() -> None:
    old = created(DEPLOYMENT, workload())
    body = {**workload(), "metadata": {"name": "w", "labels": {"a": "b"}, "annotations": {"revision": "1"}}}
    new, _ = updated(DEPLOYMENT, old, body, "status")
    assert "labels" not in new["metadata"]
    assert new["metadata"]["annotations"] == {"revision": "1"}


def test_a_namespace_is_finalized_through_its_own_path() -> None:
    old = created(NAMESPACE, {"metadata": {"name": "n"}})
    body = copy.deepcopy(old)
    body["spec"] = {}
    assert updated(NAMESPACE, old, body)[0]["spec"]["finalizers"] == ["kubernetes"]
    assert "finalizers" not in updated(NAMESPACE, old, body, "finalize")[0]["spec"]


def test_the_gate_of_max_unavailable_is_shut() -> None:
    rolling = {"rollingUpdate": {"maxUnavailable": 2, "partition": 0}}
    tree = created(STATEFUL_SET, workload(updateStrategy=rolling))
    assert tree["spec"]["updateStrategy"]["rollingUpdate"] == {"partition": 0}


def test_repeated_owners_are_dropped_with_a_word() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
    tree = created(CONFIG_MAP, {"metadata": {"name": "c", "ownerReferences": [owner, owner, {**owner, "name": "q"}]}})
    assert strategy.drop_duplicate_owners(tree).endswith("duplicate UID(s) observed: u")
    assert [each["name"] for each in tree["metadata"]["ownerReferences"]] == ["p", "q"]
    assert strategy.drop_duplicate_owners(tree) == ""


def test_an_unknown_subresource_is_a_mistake_of_the_caller() -> None:
    old = created(POD, pod())
    with pytest.raises(ValueError, match="no write rules"):
        strategy.prepare_for_update(POD, copy.deepcopy(old), old, "nonsense", now=NOW)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"example.com/gpu": "1"}}], "BestEffort"),
    ],
)
def test_quality_of_service(resources: list[dict], expected: str) -> None:
    assert qos_class({"containers": [{"resources": each} for each in resources]}) == expected


def test_pod_level_resources_stand_for_the_containers() -> None:
    amounts = {"cpu": "1", "memory": "1Gi"}
    spec = {"containers": [{"resources": {}}], "resources": {"requests": amounts, "limits": amounts}}
    assert qos_class(spec) == "Guaranteed"
