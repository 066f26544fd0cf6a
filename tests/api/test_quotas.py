"""ResourceQuotas: what objects count for, which quotas see them, and how a refusal reads."""

from typing import Any

import pytest

from homeport.api import quotas
from homeport.api.resources import RESOURCES, find

PODS, SERVICES, CLAIMS, MAPS = (find(kind) for kind in ("Pod", "Service", "PersistentVolumeClaim", "ConfigMap"))


def pod(phase: str = "Running", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "1"}}
    containers = [{"name": "c", "resources": resources}]
    return {
        "metadata": {"name": "p"}, "spec": {"containers": containers, **spec}, "status": {"phase": phase},
    }  # fmt: skip


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    zero = dict.fromkeys(hard, "0")
    status = {"hard": hard, "used": zero if used is None else used}
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}, "status": status}


@pytest.mark.parametrize(
    ("kind", "tree", "expected"),
    [
        (
            PODS, pod(),
            {
                "count/pods": "1", "pods": "1", "cpu": "200m", "requests.cpu": "200m", "limits.cpu": "1",
                "memory": "64Mi", "requests.memory": "64Mi",
            },
        ),
        (PODS, pod("Succeeded"), {"count/pods": "1"}),
        (MAPS, {}, {"count/configmaps": "1", "configmaps": "1"}),
        (find("Deployment", "apps"), {}, {"count/deployments.apps": "1"}),
        (
            SERVICES, {"spec": {"type": "NodePort", "ports": [{}, {}]}},
            {"count/services": "1", "services": "1", "services.loadbalancers": "0", "services.nodeports": "2"},
        ),
        (
            SERVICES,
            {"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"nodePort": 1}, {}]}},
            {"count/services": "1", "services": "1", "services.loadbalancers": "1", "services.nodeports": "1"},
        ),
        (
            CLAIMS, {"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}},
            {
                "count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "1Gi",
                "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
            },
        ),
    ],
)  # fmt: skip
def test_usage(kind: Any, tree: dict[str, Any], expected: dict[str, str]) -> None:
    assert quotas.encode(quotas.usage(kind, tree, 0.0)) == dict(sorted(expected.items()))


def test_events_count_for_nothing() -> None:
    assert quotas.usage(find("Event"), {}, 0.0) == {}


@pytest.mark.parametrize(
    ("spec", "seen"),
    [
        ({}, True),
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["NotBestEffort", "NotTerminating"]}, True),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, False),
        ({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}, True),
        ({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}]}}, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, False),
    ],
)  # fmt: skip
def test_scopes(spec: dict[str, Any], seen: bool) -> None:
    assert quotas.reads(quota({"pods": "1"}, **spec), PODS, pod(priorityClassName="high")) is seen


def test_a_scope_leaves_other_kinds_out() -> None:
    assert not quotas.reads(quota({"configmaps": "1"}, scopes=["NotTerminating"]), MAPS, {"spec": {}})


@pytest.mark.parametrize(
    ("hard", "used", "why"),
    [
        ({"pods": "1"}, {"pods": "0"}, ""),
        ({"pods": "1"}, {"pods": "1"}, "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        (
            {"pods": "1", "requests.cpu": "1"}, {"pods": "1", "requests.cpu": "900m"},
            "exceeded quota: q, requested: pods=1,requests.cpu=200m, used: pods=1,requests.cpu=900m, "
            "limited: pods=1,requests.cpu=1",
        ),
        ({"pods": "1"}, {}, "status unknown for quota: q, resources: pods"),
        ({"limits.memory": "1"}, None, "failed quota: q: must specify limits.memory for: c"),
    ],
)  # fmt: skip
def test_refusals(hard: dict[str, str], used: dict[str, str] | None, why: str) -> None:
    added = quotas.charge(PODS, pod(), None, 0.0)
    assert quotas.refusal(quota(hard, used), PODS, pod(), added) == why


def test_an_update_is_charged_for_what_it_adds() -> None:
    small, large = ({"spec": {"resources": {"requests": {"storage": size}}}} for size in ("1Gi", "3Gi"))
    assert quotas.encode(quotas.charge(CLAIMS, large, small, 0.0)) == {"requests.storage": "2Gi"}
    assert quotas.charge(CLAIMS, small, large, 0.0) == {}


def test_only_kinds_a_quota_names_are_looked_at() -> None:
    assert [each.kind for each in quotas.counted_kinds(RESOURCES, ["pods", "count/jobs.batch"])] == ["Pod", "Job"]


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({}, False),
        ({"tolerations": [{"operator": "Exists"}]}, False),
        ({"activeDeadlineSeconds": 5}, True),
        ({"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}, True),
        ({"containers": [{"name": "c", "image": "b", "resources": {"requests": {"cpu": "1"}}}]}, False),
        ({"initContainers": [{"name": "i", "resources": {"limits": {"cpu": "1"}}}]}, True),
        ({"resources": {"requests": {"cpu": "2"}}}, True),
    ],
)
def test_few_updates_of_a_pod_are_a_quota_s_business(change: dict[str, Any], matters: bool) -> None:
    spec = {"containers": [{"name": "c", "image": "a", "resources": {"requests": {"cpu": "1"}}}]}
    assert quotas.changes_usage({"spec": {**spec, **change}}, {"spec": spec}) == matters
