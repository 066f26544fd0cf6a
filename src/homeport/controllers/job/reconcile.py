"""What a Job needs now: pods to create or delete, or its end. Nothing here touches anything.

Source: `workloads` 11; KEP-2307 (tracking by finalizer), KEP-3850 (failures per index), KEP-3939 (replacement).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from homeport.api.job_indexes import read_indexes
from homeport.clock import parse_time
from homeport.controllers.job.model import Backoff, Condition, Job, NewPod, Plan, Pod, View
from homeport.controllers.job.policies import success_rule, verdict

__all__ = ["BURST", "failed", "pause", "reconcile", "survey"]

BURST: Final = 500
FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 600.0
_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


def reconcile(job: Job, pods: Sequence[Pod], backoff: Backoff, now: float) -> Plan:
    """Return the step of this pass. `backoff` is what the last pass knew of failures."""
    view = survey(job, pods)
    plan = Plan(view, _backoff(backoff, view))
    end = _end(job, pods, view, now)
    if end is not None:
        return replace(plan, end=end, delete=view.active)
    plan = replace(plan, wake_after=_until_deadline(job, now))
    return plan if job.deleting else _managed(job, pods, replace(plan, managed=True), now)


def failed(job: Job, pod: Pod) -> bool:
    """Whether a pod is to be replaced; one that is told to go counts as failed, unless only its end does."""
    if pod.phase == "Failed":
        return True
    return not job.replace_when_failed and pod.terminating and pod.phase != "Succeeded"


def survey(job: Job, pods: Sequence[Pod]) -> View:
    """Count the pods, and those that ended and are in no counter yet."""
    active = tuple(pod for pod in pods if pod.active)
    fresh = [pod for pod in pods if pod.tracked and _in_range(job, pod)]
    status = job.status
    succeeded = tuple(p for p in fresh if p.phase == "Succeeded" and p.uid not in status.uncounted_succeeded)
    lost = tuple(p for p in fresh if failed(job, p) and p.uid not in status.uncounted_failed)
    view = View(
        active=active,
        terminating=sum(pod.terminating and pod.phase not in ("Succeeded", "Failed") for pod in pods),
        succeeded=status.succeeded + len(succeeded) + len(status.uncounted_succeeded),
        failed=status.failed + sum(verdict(job, pod).counts for pod in lost) + len(status.uncounted_failed),
        new_succeeded=succeeded,
        new_failed=lost,
    )
    return _indexed(job, fresh, view) if job.indexed else view


def _in_range(job: Job, pod: Pod) -> bool:
    return not job.indexed or (pod.index is not None and pod.index < (job.completions or 0))


def _indexed(job: Job, fresh: Iterable[Pod], view: View) -> View:
    completions = job.completions or 0
    done = set(read_indexes(job.status.completed_indexes, completions))
    done.update(pod.index for pod in fresh if pod.phase == "Succeeded" and pod.index is not None)
    view = replace(view, done=frozenset(done), succeeded=len(done))
    if job.per_index is None:
        return view
    lost = set(read_indexes(job.status.failed_indexes or "", completions))
    lost.update(pod.index for pod in fresh if pod.index is not None and _index_failed(job, pod))
    running = {pod.index for pod in view.active}
    delayed: dict[int, Pod] = {}
    for pod in fresh:
        if pod.index is None or not failed(job, pod) or pod.index in done | lost | running:
            continue
        last = delayed.get(pod.index)
        if last is None or (sum(last.failures) <= sum(pod.failures) and pod.ended >= last.ended):
            delayed[pod.index] = pod
    return replace(view, lost=frozenset(lost), delayed=delayed)


def _index_failed(job: Job, pod: Pod) -> bool:
    if not failed(job, pod):
        return False
    ruling = verdict(job, pod)
    return ruling.action == "FailIndex" or (ruling.counts and pod.failures[0] >= (job.per_index or 0))


def _backoff(backoff: Backoff, view: View) -> Backoff:
    """Count the failures since the last success, this pass's included."""
    ended = sorted(pod.ended for pod in view.new_failed)
    if view.new_succeeded:
        success = max(pod.ended for pod in view.new_succeeded)
        ended, backoff = [when for when in ended if when > success], Backoff()
    return Backoff(backoff.failures + len(ended), ended[-1]) if ended else backoff


def pause(failures: int, last: float, now: float) -> float:
    """Return the seconds still to wait before the next pod."""
    if failures == 0:
        return 0.0
    whole: float = min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE)
    return max(0.0, whole - (now - last))


def _end(job: Job, pods: Iterable[Pod], view: View, now: float) -> Condition | None:
    """Return the condition that ends the Job: one already there, a failure, or enough successes by its policy."""
    if (met := job.status.true("SuccessCriteriaMet")) is not None:
        return met
    if (target := job.status.true("FailureTarget")) is not None:
        return replace(target, kind="Failed")
    for pod in pods:
        if job.failure_policy and failed(job, pod) and (message := verdict(job, pod).message):
            return _target("PodFailurePolicy", message)
    if view.failed > job.backoff_limit or _restarted_too_often(job, pods):
        return _target("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = _until_deadline(job, now)
    if left is not None and left <= 0:
        return _target("DeadlineExceeded", "Job was active longer than specified deadline")
    if job.per_index is not None and view.lost:
        if job.most_failed_indexes is not None and len(view.lost) > job.most_failed_indexes:
            message = "Job has exceeded the specified maximal number of failed indexes"
            return _target("MaxFailedIndexesExceeded", message)
        if len(view.lost) + len(view.done) >= (job.completions or 0):
            return _target("FailedIndexes", "Job has failed indexes")
    if job.indexed and (rule := success_rule(job, view.done)) is not None:
        return Condition("SuccessCriteriaMet", "True", "SuccessPolicy", f"Matched rules at index {rule}")
    return None


def _target(reason: str, message: str) -> Condition:
    return Condition("FailureTarget", "True", reason, message)


def _restarted_too_often(job: Job, pods: Iterable[Pod]) -> bool:
    if not job.restarts_in_place:
        return False
    restarts = sum(pod.restarts for pod in pods if pod.phase in ("Running", "Pending"))
    return restarts >= max(job.backoff_limit, 1)


def _until_deadline(job: Job, now: float) -> float | None:
    """Return the seconds left; None without a deadline, and while the Job does not run."""
    if job.deadline_seconds is None or job.suspended:
        return None
    started = parse_time(job.status.started) if job.status.started else now
    return job.deadline_seconds - (now - started)


def _managed(job: Job, pods: Sequence[Pod], plan: Plan, now: float) -> Plan:
    view, active = plan.view, len(plan.view.active)
    if job.suspended:
        return replace(plan, delete=tuple(_dispensable(job, view.active, active)))
    if job.completions is None:
        wanted = active if view.succeeded > 0 else job.parallelism
    else:
        wanted = max(0, min(job.parallelism, job.completions - view.succeeded))
    delete = _dispensable(job, view.active, max(0, active - wanted))[:BURST]
    if delete:
        return replace(plan, delete=tuple(delete))
    missing = wanted - active - (view.terminating if job.replace_when_failed else 0)
    if missing <= 0:
        return plan
    if job.per_index is None:
        wait = pause(plan.backoff.failures, plan.backoff.last, now)
        if wait > 0:
            return replace(plan, wake_after=_sooner(plan.wake_after, wait))
    missing = min(missing, BURST)
    if not job.indexed:
        return replace(plan, create=(NewPod(),) * missing)
    return _indexes(job, pods, plan, missing, now)


def _indexes(job: Job, pods: Iterable[Pod], plan: Plan, missing: int, now: float) -> Plan:
    """Choose the lowest indexes without a pod, of those that need not wait after a failure."""
    view = plan.view
    taken = view.done | view.lost | {pod.index for pod in view.active}
    if job.replace_when_failed:
        taken |= {pod.index for pod in pods if pod.terminating and pod.phase not in ("Succeeded", "Failed")}
    free = [index for index in range(job.completions or 0) if index not in taken][:missing]
    if job.per_index is None:
        return replace(plan, create=tuple(NewPod(index) for index in free))
    waits = {index: _index_pause(view.delayed, index, now) for index in free}
    create = tuple(NewPod(index, _failures(job, view.delayed.get(index))) for index in free if waits[index] <= 0)
    if free and not create:
        return replace(plan, wake_after=_sooner(plan.wake_after, min(waits.values())))
    return replace(plan, create=create)


def _index_pause(delayed: Mapping[int, Pod], index: int, now: float) -> float:
    last = delayed.get(index)
    return 0.0 if last is None else pause(sum(last.failures) + 1, last.ended, now)


def _failures(job: Job, last: Pod | None) -> tuple[int, int]:
    if last is None:
        return 0, 0
    counted, ignored = last.failures
    return (counted + 1, ignored) if verdict(job, last).counts else (counted, ignored + 1)


def _dispensable(job: Job, active: Sequence[Pod], number: int) -> list[Pod]:
    """Return pods to delete: those whose index is no index, or has a better pod; then as many as are too many."""
    remove: list[Pod] = []
    left = list(active)
    if job.indexed:
        by_index: dict[int, list[Pod]] = {}
        left = []
        for pod in active:
            if pod.index is None or pod.index >= (job.completions or 0):
                remove.append(pod)
            else:
                by_index.setdefault(pod.index, []).append(pod)
        for same in by_index.values():
            *worse, best = sorted(same, key=_worth)
            remove += worse
            left.append(best)
    return remove + sorted(left, key=_worth)[: max(0, number - len(remove))]


def _worth(pod: Pod) -> tuple[object, ...]:
    """Sort key: the pod that has got less far goes first; among equals the younger."""
    since = pod.ready_since or 0.0
    return bool(pod.node), _PHASES.get(pod.phase, 0), pod.ready, -since, -pod.restarts, -pod.created


def _sooner(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)
