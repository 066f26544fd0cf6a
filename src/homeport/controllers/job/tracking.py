"""Counting pods once each: first their uids are written down, then they lose their finalizer, then they are counted.

So a pod deleted by hand is not lost, and one that is seen twice is not counted twice. Source: `workloads` 11; KEP-2307.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from homeport.api.job_indexes import format_indexes
from homeport.controllers.job.model import Condition, Job, Plan, Pod, Status
from homeport.controllers.job.policies import verdict
from homeport.controllers.job.reconcile import failed

__all__ = ["Noted", "complete", "counted", "finish", "note", "with_condition", "with_suspension"]

MOST_UNCOUNTED: Final = 500
REACHED: Final = ("CompletionsReached", "Reached expected number of succeeded pods")


@dataclass(frozen=True, slots=True)
class Noted:
    """The status to write before any pod loses its finalizer, and the pods that then do.

    end   the final condition, `Complete` or `Failed`, once nothing is left to count
    all   whether every pod that ended is in it
    """

    status: Status
    strip: tuple[Pod, ...]
    end: Condition | None
    all: bool


def complete(job: Job, plan: Plan, active: int) -> Condition | None:
    """Return the condition of a Job that has as many successes as it wants, and no pod left."""
    if active or plan.end is not None:
        return None
    succeeded = plan.view.succeeded
    if succeeded >= job.completions if job.completions is not None else succeeded > 0:
        return Condition("SuccessCriteriaMet", "True", *REACHED)
    return None


def note(job: Job, status: Status, pods: Sequence[Pod], plan: Plan, end: Condition | None, stamp: str) -> Noted:
    """Write down what ended, and the interim condition; `status` has the counters of this pass already.

    end    how the Job ends, if it does and all its pods were told to go
    stamp  now, as a timestamp
    """
    tracked = [pod for pod in pods if pod.tracked]
    status = counted(status, {pod.uid for pod in tracked})
    succeeded, lost = list(status.uncounted_succeeded), list(status.uncounted_failed)
    strip: list[Pod] = []
    new_indexes = 0
    everything = True
    for pod in sorted(tracked, key=lambda pod: -1 if pod.index is None else pod.index) if job.indexed else tracked:
        gone = failed(job, pod)
        if not _settled(job, pod, plan, end, gone):
            continue
        strip.append(pod)
        has_place = not job.indexed or (pod.index is not None and pod.index < (job.completions or 0))
        if pod.phase == "Succeeded" and pod.uid not in lost:
            if job.indexed:
                new_indexes += has_place
            elif pod.uid not in succeeded:
                succeeded.append(pod.uid)
        elif has_place and pod.uid not in lost and (gone or _ends_in_failure(end)) and verdict(job, pod).counts:
            lost.append(pod.uid)
        if new_indexes + len(succeeded) + len(lost) >= MOST_UNCOUNTED:
            everything = False  # the rest follows: each write queues the Job again
            break
    status = replace(status, uncounted_succeeded=tuple(succeeded), uncounted_failed=tuple(lost))
    if job.indexed:
        status = replace(status, succeeded=len(plan.view.done), completed_indexes=format_indexes(plan.view.done))
        if job.per_index is not None:
            status = replace(status, failed_indexes=format_indexes(plan.view.lost))
    if end is not None and end.kind in ("FailureTarget", "SuccessCriteriaMet"):
        if status.true(end.kind) is None:
            status = with_condition(status, end, stamp)
        end = replace(end, kind="Failed" if end.kind == "FailureTarget" else "Complete")
    return Noted(status, tuple(strip), end, everything)


def _ends_in_failure(end: Condition | None) -> bool:
    """Whether pods that were still going count as failed: those of a Job that failed do."""
    return end is not None and end.kind != "SuccessCriteriaMet"


def _settled(job: Job, pod: Pod, plan: Plan, end: Condition | None, gone: bool) -> bool:
    """Whether a pod may lose its finalizer: it is over, or the Job is."""
    if job.deleting or end is not None or pod.phase == "Succeeded":
        return True
    if not gone:
        return False
    delayed = None if pod.index is None else plan.view.delayed.get(pod.index)
    return delayed is None or delayed.uid != pod.uid


def counted(status: Status, still_tracked: Collection[str]) -> Status:
    """Move pods without a finalizer from the lists to the counters."""
    succeeded = tuple(uid for uid in status.uncounted_succeeded if uid in still_tracked)
    lost = tuple(uid for uid in status.uncounted_failed if uid in still_tracked)
    return replace(
        status,
        succeeded=status.succeeded + len(status.uncounted_succeeded) - len(succeeded),
        failed=status.failed + len(status.uncounted_failed) - len(lost),
        uncounted_succeeded=succeeded,
        uncounted_failed=lost,
    )


def finish(status: Status, noted: Noted, stamp: str) -> Status | None:
    """Return the status of the Job that is over; None while pods are uncounted or still going."""
    if noted.end is None or not noted.all or status.terminating:
        return None
    if status.uncounted_succeeded or status.uncounted_failed:
        return None
    done = with_condition(status, noted.end, stamp)
    return replace(done, completed=stamp) if noted.end.kind == "Complete" else done


def with_suspension(status: Status, suspended: bool, stamp: str) -> tuple[Status, str]:
    """Return the status with its `Suspended` condition, and the reason of the event if that changed.

    The start is forgotten while nothing runs, and counts anew afterwards.
    """
    present = next((each for each in status.conditions if each.kind == "Suspended"), None)
    if suspended and (present is None or present.status != "True"):
        status = with_condition(status, Condition("Suspended", "True", "JobSuspended", "Job suspended"), stamp)
        return replace(status, started=""), "Suspended"
    if not suspended and present is not None and present.status != "False":
        status = with_condition(status, Condition("Suspended", "False", "JobResumed", "Job resumed"), stamp)
        return replace(status, started=stamp), "Resumed"
    return status, ""


def with_condition(status: Status, condition: Condition, stamp: str) -> Status:
    """Put a condition in, in the place of one of its type."""
    fresh = replace(condition, probed=stamp, since=stamp)
    kept: Iterable[Condition] = status.conditions
    if any(each.kind == condition.kind for each in kept):
        return replace(status, conditions=tuple(fresh if each.kind == condition.kind else each for each in kept))
    return replace(status, conditions=(*kept, fresh))
