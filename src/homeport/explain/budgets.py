"""What a PodDisruptionBudget holds back, and what would let an eviction through."""

from homeport.api.budgets import matching
from homeport.client.readiness import pod_trouble
from homeport.explain.model import Evidence, Explanation, Object, Snapshot, near

__all__ = ["explain_budget"]

_KIND = "PodDisruptionBudget"


def explain_budget(seen: Snapshot, name: str) -> Explanation:
    """Explain a budget, whether or not it exists."""
    subject = f"{_KIND} {name}"
    obj = seen.find(_KIND, name)
    if obj is None:
        there = near(name, seen.of(_KIND))
        return Explanation(subject, False, f"{subject} does not exist in namespace {seen.namespace}{there}.")
    status = obj.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    pods = [pod for pod in seen.of("Pod") if matching((obj,), pod)]
    evidence = [Evidence(subject, f"{healthy} healthy of {status.get('expectedPods', 0)}, {desired} wanted")]
    allowed = status.get("disruptionsAllowed", 0)
    if allowed:
        return Explanation(subject, True, f"{subject} lets {allowed} of its pods be evicted now.", tuple(evidence))
    for condition in status.get("conditions") or ():
        if condition.get("reason") == "SyncFailed":
            said = str(condition.get("message", "")).rstrip(".")
            return Explanation(subject, False, f"{subject} lets nothing be evicted: {said}.", tuple(evidence))
    if not pods:
        return Explanation(subject, False, f"{subject} selects no pod.", tuple(evidence))
    troubled = [pod for pod in pods if pod_trouble(pod)]
    evidence += [Evidence(f"Pod {pod['metadata']['name']}", pod_trouble(pod)) for pod in troubled]
    return Explanation(
        subject, False, f"{subject} lets nothing be evicted: {_why(healthy, desired, troubled)}.", tuple(evidence)
    )


def _why(healthy: int, desired: int, troubled: list[Object]) -> str:
    if troubled:
        names = ", ".join(str(pod["metadata"]["name"]) for pod in troubled)
        return f"{healthy} pods are healthy and {desired} must be; it waits for {names} to be ready"
    return (
        f"all {healthy} healthy pods must stay ({desired} wanted); it allows one when there are more pods, or when it "
        "asks for fewer"
    )
