"""One sentence for what autoscalers, Jobs, budgets and controllers that may not act wait for, and what frees them."""

from typing import Any

import pytest

from homeport.explain.autoscalers import explain_autoscaler
from homeport.explain.budgets import explain_budget
from homeport.explain.jobs import explain_job
from homeport.explain.workloads import explain_workload
from tests.explain.objects import claim, owned, pod, seen, statefulset, warning

QUOTA = 'pods "web-abc" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def autoscaler(*conditions: dict[str, Any], **behavior: Any) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": 80}
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"},
        "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    if behavior:
        spec["behavior"] = behavior
    status = {"currentReplicas": 3, "conditions": list(conditions)}
    metadata = {"name": "web", "namespace": "default", "uid": "uid-hpa"}
    return {"kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec, "status": status}


ABLE = condition("AbleToScale", "True", "ReadyForNewScale")
ACTIVE = condition("ScalingActive", "True", "ValidMetricFound")


@pytest.mark.parametrize(
    ("objects", "fine", "sentence"),
    [
        ([], False, "does not exist in namespace default"),
        ([autoscaler()], False, "waits for its first look at its target, 15 s after it was made"),
        (
            [autoscaler(condition("AbleToScale", "False", "FailedGetScale", "x"))], False,
            "waits for StatefulSet web, which does not exist",
        ),
        (
            [autoscaler(condition("AbleToScale", "False", "FailedUpdateScale", "no way"))], False,
            "cannot scale StatefulSet web: no way",
        ),
        (
            [autoscaler(ABLE, condition("ScalingActive", "False", "ScalingDisabled"))], False,
            "does nothing while StatefulSet web asks for no replicas; scale it to 1 or more, and it goes on",
        ),
        (
            [autoscaler(ABLE, condition("ScalingActive", "False", "F", "missing request for cpu in container c"))],
            False, "waits for figures: missing request for cpu in container c; state that request in the pod template",
        ),
        (
            [autoscaler(condition("AbleToScale", "True", "ScaleDownStabilized"), ACTIVE)], True,
            "keeps 3 replicas of StatefulSet web: fewer would do, but only once nothing higher was asked for in the "
            "last 300 s",
        ),
        (
            [autoscaler(ABLE, ACTIVE, condition("ScalingLimited", "True", "TooManyReplicas"))], True,
            "keeps 3 replicas of StatefulSet web: more are asked for than maxReplicas allows",
        ),
        ([autoscaler(ABLE, ACTIVE)], True,
         "keeps 3 replicas of StatefulSet web at cpu: <unknown>/80%; it waits for nothing"),
    ],
)  # fmt: skip
def test_autoscalers(objects: list[Any], fine: bool, sentence: str) -> None:
    found = explain_autoscaler(seen(*objects), "web")
    assert (found.fine, found.sentence) == (fine, f"HorizontalPodAutoscaler web {sentence}.")


def job(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    metadata = {"name": "sums", "namespace": "default", "uid": "uid-job"}
    return {
        "kind": "Job", "metadata": metadata, "spec": {"completions": 3, "backoffLimit": 4},
        "status": {**status, "conditions": list(conditions)},
    }  # fmt: skip


def worker(name: str, **more: Any) -> dict[str, Any]:
    made = pod(name, **more)
    made["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "sums", "uid": "uid-job", "controller": True}]
    return made


@pytest.mark.parametrize(
    ("objects", "fine", "sentence"),
    [
        ([job(condition("Complete", "True", ""))], True, "is complete; it waits for nothing"),
        (
            [job(condition("Failed", "True", "BackoffLimitExceeded", "it did"))], False,
            "has failed for good (BackoffLimitExceeded: it did); make it anew to try again",
        ),
        ([job(condition("Suspended", "True", "JobSuspended"))], False,
         "is suspended; set spec.suspend to false, and it goes on"),
        ([job(succeeded=1), worker("sums-a"), worker("sums-b")], False,
         "waits for sums-a, sums-b to end (1/3 done)"),
        (
            [job(), worker("sums-a", ready=False)], False,
            "waits for pod sums-a: container main: running, its readiness probe has not succeeded yet (0/3 done)",
        ),
        ([job(failed=2)], False, "waits for its back-off before it tries again: 2 failed, 4 may (0/3 done)"),
        ([job()], False, "waits for its pods to be made (0/3 done)"),
    ],
)  # fmt: skip
def test_jobs(objects: list[Any], fine: bool, sentence: str) -> None:
    found = explain_job(seen(*objects), "sums")
    assert (found.fine, found.sentence) == (fine, f"Job sums {sentence}.")


def budget(allowed: int, healthy: int, desired: int, *conditions: dict[str, Any]) -> dict[str, Any]:
    status = {
        "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": 2,
        "conditions": list(conditions),
    }  # fmt: skip
    spec = {"selector": {"matchLabels": {"app": "web"}}}
    return {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
        "status": status,
    }


@pytest.mark.parametrize(
    ("objects", "fine", "sentence"),
    [
        ([budget(1, 2, 1)], True, "lets 1 of its pods be evicted now"),
        ([budget(0, 0, 1)], False, "selects no pod"),
        (
            [budget(0, 1, 2), pod("web-0"), pod("web-1", ready=False)], False,
            "lets nothing be evicted: 1 pods are healthy and 2 must be; it waits for web-1 to be ready",
        ),
        (
            [budget(0, 1, 1), pod("web-0")], False,
            "lets nothing be evicted: all 1 healthy pods must stay (1 wanted); it allows one when there are more pods, "
            "or when it asks for fewer",
        ),
        (
            [budget(0, 1, 1, condition("DisruptionAllowed", "False", "SyncFailed", "found no one")), pod("web-0")],
            False,
            "lets nothing be evicted: found no one",
        ),
    ],
)  # fmt: skip
def test_budgets(objects: list[Any], fine: bool, sentence: str) -> None:
    found = explain_budget(seen(*objects), "web")
    assert (found.fine, found.sentence) == (fine, f"PodDisruptionBudget web {sentence}.")


def deployment(*conditions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "default", "uid": "uid-web"}
    status = {"replicas": 2, "availableReplicas": 1, "updatedReplicas": 1, "conditions": list(conditions)}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 3, **spec}, "status": status}


@pytest.mark.parametrize(
    ("obj", "sentence"),
    [
        (
            deployment(condition("ReplicaFailure", "True", "FailedCreate", QUOTA)),
            f"Deployment web may not make its pods: {QUOTA}; raise the quota, or delete what uses it up (1/3 ready).",
        ),
        (
            deployment(paused=True),
            "Deployment web is paused and rolls nothing out; `kubectl rollout resume` lets it go on (1/3 ready).",
        ),
        (
            deployment(condition("Progressing", "False", "ProgressDeadlineExceeded")),
            "Deployment web has missed its progress deadline and waits for 2 more ready pods (1/3 ready).",
        ),
    ],
)
def test_controllers_that_may_not_act(obj: dict[str, Any], sentence: str) -> None:
    assert explain_workload(seen(obj), "Deployment", "web").sentence == sentence


def test_a_claim_of_a_former_pod_is_waited_for() -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    templates = [{"metadata": {"name": "data"}}]
    obj = statefulset(2, ready=1, persistentVolumeClaimRetentionPolicy=policy, volumeClaimTemplates=templates)
    former = claim("data-web-1", ownerReferences=[{"kind": "Pod", "name": "web-1", "uid": "uid-former"}])
    found = explain_workload(seen(obj, owned(pod("web-0")), former), "StatefulSet", "web")
    assert found.sentence == (
        "StatefulSet web waits for claim data-web-1, which belongs to a former pod of that name, to be collected; then "
        "it goes on (1/2 ready)."
    )


def test_what_a_set_was_refused_is_told() -> None:
    said = warning(
        "StatefulSet", "web", "FailedCreate", f"Create Pod web-1 in StatefulSet web failed error: {QUOTA}", 4
    )
    sentence = explain_workload(seen(statefulset(2, ready=1), owned(pod("web-0")), said), "StatefulSet", "web").sentence
    assert "exceeded quota: q" in sentence
