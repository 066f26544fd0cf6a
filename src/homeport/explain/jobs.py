"""What a Job waits for: its pods, a back-off, somebody to resume it."""

from collections.abc import Iterator

from homeport.client.readiness import pod_trouble
from homeport.explain.model import Evidence, Explanation, Object, Snapshot, near
from homeport.explain.pods import explain_pod, pod_clause

__all__ = ["explain_job"]


def explain_job(seen: Snapshot, name: str) -> Explanation:
    """Explain a Job, whether or not it exists."""
    subject = f"Job {name}"
    obj = seen.find("Job", name)
    if obj is None:
        there = near(name, seen.of("Job"))
        return Explanation(subject, False, f"{subject} does not exist in namespace {seen.namespace}{there}.")
    conditions = {each["type"]: each for each in (obj.get("status") or {}).get("conditions") or ()}
    evidence = tuple(_evidence(obj))
    for kind in ("Complete", "Failed", "Suspended"):
        if conditions.get(kind, {}).get("status") == "True":
            return Explanation(subject, kind == "Complete", _ended(subject, kind, conditions[kind]), evidence)
    pods = sorted(seen.owned("Pod", obj), key=lambda pod: str(pod["metadata"]["name"]))
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") in ("Pending", "Running")]
    progress = f" ({_count(obj)} done)"
    for pod in running:
        if pod_trouble(pod):
            clause = f"pod {pod['metadata']['name']}: {pod_clause(seen, pod)}".rstrip(".")
            shown = (*explain_pod(seen, pod["metadata"]["name"]).evidence, *evidence)
            return Explanation(subject, False, f"{subject} waits for {clause}{progress}.", shown)
    if running:
        names = ", ".join(pod["metadata"]["name"] for pod in running)
        return Explanation(subject, False, f"{subject} waits for {names} to end{progress}.", evidence)
    failed = (obj.get("status") or {}).get("failed", 0)
    warnings = seen.warnings(obj)
    if warnings and not failed:
        said = " ".join(str(warnings[-1].get("message", "")).split()).rstrip(".")
        return Explanation(subject, False, f"{subject} waits for its pods; last said: {said}{progress}.", evidence)
    if failed:
        limit = obj["spec"].get("backoffLimit", 6)
        text = f"{subject} waits for its back-off before it tries again: {failed} failed, {limit} may{progress}."
        return Explanation(subject, False, text, evidence)
    return Explanation(subject, False, f"{subject} waits for its pods to be made{progress}.", evidence)


def _ended(subject: str, kind: str, condition: Object) -> str:
    said = " ".join(str(condition.get("message", "")).split()).rstrip(".")
    match kind:
        case "Complete":
            return f"{subject} is complete; it waits for nothing."
        case "Failed":
            return f"{subject} has failed for good ({condition.get('reason', '')}: {said}); make it anew to try again."
        case _:
            return f"{subject} is suspended; set spec.suspend to false, and it goes on."


def _count(obj: Object) -> str:
    done = (obj.get("status") or {}).get("succeeded", 0)
    wanted = obj["spec"].get("completions")
    return str(done) if wanted is None else f"{done}/{wanted}"


def _evidence(obj: Object) -> Iterator[Evidence]:
    subject, spec, status = f"Job {obj['metadata']['name']}", obj["spec"], obj.get("status") or {}
    counts = ", ".join(f"{status[name]} {name}" for name in ("active", "succeeded", "failed") if status.get(name))
    yield Evidence(subject, f"{counts or 'no pods yet'}; parallelism {spec.get('parallelism', 1)}")
    if limit := spec.get("activeDeadlineSeconds"):
        yield Evidence(subject, f"activeDeadlineSeconds {limit}: it fails when it takes longer")
