"""Rules beyond those recorded from a server: `rules.yaml` breaks one per entry."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.objects import (
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    NODE,
    SERVICE,
    SLICE,
    STATEFUL_SET,
    STORAGE_CLASS,
    claim,
    created,
    refusals,
    service,
    updated,
    workload,
)

from homeport.api.resources import Gvk
from homeport.api.validation.errors import (
    GoStruct,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    refused,
    required,
    too_many,
)

CASES = yaml.safe_load((Path(__file__).parent / "rules.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["refused"].partition(":")[0])
def test_a_broken_rule_is_named(case: Any) -> None:
    group, _, version = case["body"]["apiVersion"].rpartition("/")
    found = refusals(Gvk(group, version, case["body"]["kind"]), case["body"])
    assert any(text.startswith(case["refused"]) for text in found), found


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (required("a"), "a: Required value"),
        (required("a", "why"), "a: Required value: why"),
        (refused("a", 'x"y', "why"), 'a: Invalid value: "x\\"y": why'),
        (refused("a", True, "why"), "a: Invalid value: true: why"),
        (refused("a", ["x"], "why"), 'a: Invalid value: ["x"]: why'),
        (refused("a", None, "why"), "a: Invalid value: null: why"),
        (not_supported("a", "x", ("b", "c")), 'a: Unsupported value: "x": supported values: "b", "c"'),
        (duplicate("a", "x"), 'a: Duplicate value: "x"'),
        (forbidden("a", "why"), "a: Forbidden: why"),
        (too_many("a", 5, 3), "a: Too many: 5: must have at most 3 items"),
        (
            duplicate("a", GoStruct("core.v1.Taint", {"key": "k", "effect": "NoExecute"})),
            'a: Duplicate value: {"Key":"k","Value":"","Effect":"NoExecute","TimeAdded":null}',
        ),
    ],
)
def test_errors_read_as_upstream_writes_them(error: Any, text: str) -> None:
    assert str(error) == text


def test_equal_texts_are_said_once_but_all_causes_are_kept() -> None:
    twice = [forbidden("a", "why"), forbidden("a", "why"), required("b")]
    status = invalid(DEPLOYMENT, "d", twice).as_status()
    assert status["message"] == 'Deployment.apps "d" is invalid: [a: Forbidden: why, b: Required value]'
    assert len(status["details"]["causes"]) == 3
    assert status["details"]["group"] == "apps"


def test_a_broken_stored_template_does_not_keep_a_set_from_being_scaled() -> None:
    old = created(STATEFUL_SET, workload())
    old["spec"]["template"]["spec"]["containers"][0]["image"] = ""
    body = {**old, "spec": {**old["spec"], "replicas": 0}}
    assert updated(STATEFUL_SET, old, body)[1] == []


def test_quantities_are_compared_by_value() -> None:
    template = {"metadata": {"name": "d"}, "spec": claim()["spec"]}
    old = created(STATEFUL_SET, workload(volumeClaimTemplates=[template]))
    same = {"metadata": {"name": "d"}, "spec": {**claim()["spec"], "resources": {"requests": {"storage": "1024Mi"}}}}
    assert updated(STATEFUL_SET, old, workload(volumeClaimTemplates=[same]))[1] == []


def test_a_bound_claim_may_grow_and_shrink_to_what_it_holds() -> None:
    old = created(CLAIM, claim())
    old["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}

    def resized(size: str) -> list[str]:
        return updated(CLAIM, old, claim(resources={"requests": {"storage": size}}))[1]

    assert resized("2Gi") == []
    assert resized("512Mi") == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_status_counters_keep_to_each_other() -> None:
    old = created(STATEFUL_SET, workload())
    body = {**old, "status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3, "currentReplicas": -1}}
    assert updated(STATEFUL_SET, old, body, "status")[1] == [
        "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas",
    ]


def test_what_was_immutable_stays() -> None:
    config = created(CONFIG_MAP, {"metadata": {"name": "c"}, "immutable": True, "data": {"a": "1"}})
    assert updated(CONFIG_MAP, config, {"metadata": {"name": "c"}, "data": {"a": "2"}})[1] == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]
    storage = created(STORAGE_CLASS, {"metadata": {"name": "s"}, "provisioner": "p.example.com"})
    assert updated(STORAGE_CLASS, storage, {"metadata": {"name": "s"}, "provisioner": "q.example.com"})[1] == [
        'provisioner: Invalid value: "q.example.com": field is immutable'
    ]


def test_an_unchanged_bad_endpoint_is_put_up_with() -> None:
    bad = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}
    old = created(SLICE, bad)
    assert updated(SLICE, old, {**bad, "metadata": {"name": "s", "labels": {"a": "b"}}})[1] == []
    assert updated(SLICE, old, {**bad, "endpoints": [{"addresses": ["127.0.0.2"]}]})[1] != []


def test_a_namespace_phase_follows_its_deletion() -> None:
    old = created(NAMESPACE, {"metadata": {"name": "n"}})
    assert updated(NAMESPACE, old, {**old, "status": {"phase": "Terminating"}}, "status")[1] == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_an_address_of_a_node_is_listed_once() -> None:
    old = created(NODE, {"metadata": {"name": "n"}})
    address = {"type": "InternalIP", "address": "192.0.2.1"}
    assert updated(NODE, old, {**old, "status": {"addresses": [address, address]}}, "status")[1] == [
        'status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"192.0.2.1"}'
    ]


def test_ingress_status_belongs_to_load_balancers() -> None:
    old = created(SERVICE, service())
    body = {**old, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    assert updated(SERVICE, old, body, "status")[1] == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]
