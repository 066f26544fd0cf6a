"""How many pods a ReplicaSet makes, and which it lets go first."""

from dataclasses import replace

import pytest

from homeport.controllers.replicaset.model import Condition, Plan, Pod, ReplicaSet, Status
from homeport.controllers.replicaset.reconcile import deletion_order, reconcile
from homeport.controllers.replicaset.status import encode, report

NOW = 10_000.0
TEMPLATE = {"metadata": {"labels": {"app": "r"}}, "spec": {}}


def replica_set(replicas: int, **changes: object) -> ReplicaSet:
    return replace(ReplicaSet("default", "r", "uid", 1, replicas, 0, TEMPLATE, False, Status()), **changes)


def pod(name: str, **changes: object) -> Pod:
    plain = Pod(
        name, name, {"app": "r"}, node="n", phase="Running", ready=True,
        ready_since=NOW - 100, available_after=0.0, created=NOW - 100,
    )  # fmt: skip
    return replace(plain, **changes)


def test_the_number_of_active_pods_is_what_counts():
    pods = [pod("a"), pod("b", phase="Failed"), pod("c", terminating=True)]
    assert reconcile(replica_set(3), pods, [], NOW) == Plan(create=2)
    assert reconcile(replica_set(1), pods, [], NOW) == Plan()
    assert reconcile(replica_set(0), pods, [], NOW) == Plan(delete=(pods[0],))
    assert reconcile(replica_set(0, deleting=True), pods, [], NOW) == Plan()
    assert reconcile(replica_set(900), [], [], NOW) == Plan(create=500)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"node": ""}, {"phase": "Pending"}, id="without a node"),
        pytest.param({"phase": "Pending"}, {"phase": "Unknown"}, id="pending"),
        pytest.param({"phase": "Unknown"}, {"ready": False}, id="unknown"),
        pytest.param({"ready": False}, {"deletion_cost": -5}, id="not ready"),
        pytest.param({"deletion_cost": -1}, {}, id="cheaper"),
        pytest.param({"ready_since": NOW - 10}, {"restarts": 9}, id="ready for a shorter time"),
        pytest.param({"ready_since": None}, {"ready_since": NOW - 1}, id="ready since nobody knows when"),
        pytest.param({"restarts": 2}, {"restarts": 1, "sidecar_restarts": 9}, id="restarted more often"),
        pytest.param({"sidecar_restarts": 1}, {"created": NOW - 10}, id="its sidecars did"),
        pytest.param({"created": NOW - 10}, {}, id="younger"),
    ],
)
def test_table_8_3_the_first_difference_decides(first, second):
    one, other = pod("b", **first), pod("a", **second)
    assert deletion_order([other, one], [], NOW) == [one, other]


def test_table_8_3_ages_of_the_same_magnitude_are_told_apart_by_uid_only():
    old, young = pod("a", ready_since=NOW - 110), pod("b", ready_since=NOW - 90)
    assert deletion_order([young, old], [], NOW) == [old, young]


def test_table_8_3_of_pods_that_share_a_node_one_goes_first():
    pods = [pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n2")]
    assert deletion_order(pods, pods, NOW)[-1] == pods[0]


def test_status_counts():
    pods = [
        pod("a"),
        pod("b", ready=False, available_after=None),
        pod("c", labels={}, available_after=NOW + 5),
        pod("d", terminating=True),
        pod("e", phase="Failed", ready=False),
    ]
    status = report(replica_set(3), pods, None, NOW, "now")
    assert encode(status) == {
        "replicas": 3,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "observedGeneration": 1,
        "terminatingReplicas": 1,
    }


def test_a_failure_is_told_once_and_taken_back_when_all_went_well():
    failing = report(replica_set(1), [], ("FailedCreate", "quota"), NOW, "t1")
    assert failing.conditions == (Condition("ReplicaFailure", "True", "FailedCreate", "quota", "t1"),)
    again = report(replica_set(1, status=failing), [], ("FailedCreate", "other"), NOW, "t2")
    assert again.conditions == failing.conditions
    assert report(replica_set(1, status=failing), [], None, NOW, "t3").conditions == ()
