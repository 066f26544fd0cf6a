"""Rules of a Job's status: other managers write it as well, and may not turn an end into something else.

A rule that looks at one state alone counts only where the write changes what it looks at, so that an old fault does
not stop later writes. Source: `workloads` 11; Kubernetes 1.36, Job status validation.
"""

from typing import Any

from homeport.api.job_indexes import BadIndexes, parse_indexes
from homeport.api.validation.common import not_negative
from homeport.api.validation.errors import OMITTED, FieldError, duplicate, refused, required
from homeport.api.validation.metadata import validate_metadata_update

__all__ = ["validate_job_status"]

Tree = dict[str, Any]


def validate_job_status(new: Tree, old: Tree) -> list[FieldError]:
    after, before = new.get("status", {}), old.get("status", {})
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += not_negative(after, ("active", "succeeded", "failed", "ready", "terminating"), "status")
    errors += _uncounted(after.get("uncountedTerminatedPods") or {})
    errors += _ending(new["spec"], after, before)
    errors += _indexes(new["spec"], after, before)
    ready = after.get("ready")
    if ready is not None and ready > after.get("active", 0) and _changed(after, before, "ready", "active"):
        errors.append(refused("status.ready", ready, "cannot set more ready pods than active"))
    errors += _successes(new["spec"], after)
    return errors + _transitions(new["spec"], after, before)


def _true(status: Tree, kind: str) -> bool:
    return any(each.get("type") == kind and each.get("status") == "True" for each in status.get("conditions") or ())


def _finished(status: Tree) -> bool:
    return _true(status, "Complete") or _true(status, "Failed")


def _changed(after: Tree, before: Tree, *fields: str) -> bool:
    return any(after.get(field) != before.get(field) for field in fields)


def _conditions(text: str) -> FieldError:
    return refused("status.conditions", OMITTED, text)


def _uncounted(uncounted: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for kind in ("succeeded", "failed"):
        for index, uid in enumerate(uncounted.get(kind) or ()):
            path = f"status.uncountedTerminatedPods.{kind}[{index}]"
            if not uid:
                errors.append(refused(path, uid, "must not be empty"))
            elif uid in seen:
                errors.append(duplicate(path, uid))
            seen.add(uid)
    return errors


def _ending(spec: Tree, after: Tree, before: Tree) -> list[FieldError]:
    """Rules of the end: which conditions go together, which times, and that nothing is left over."""
    errors: list[FieldError] = []
    complete, failed, finished = _true(after, "Complete"), _true(after, "Failed"), _finished(after)
    complete_changes, failed_changes = complete != _true(before, "Complete"), failed != _true(before, "Failed")
    finished_changes = finished != _finished(before)
    times_change = _changed(after, before, "completionTime")
    started, ended = after.get("startTime"), after.get("completionTime")
    if complete and failed and (complete_changes or failed_changes):
        errors.append(_conditions("cannot set Complete=True and Failed=true conditions"))
    target = _true(after, "FailureTarget")
    if complete and target and (complete_changes or target != _true(before, "FailureTarget")):
        errors.append(_conditions("cannot set Complete=True and FailureTarget=true conditions"))
    if complete_changes or times_change:
        if ended and not complete:
            text = "cannot set completionTime when there is no Complete=True condition"
            errors.append(refused("status.completionTime", ended, text))
        if complete and not ended:
            errors.append(required("status.completionTime", "completionTime is required for Complete jobs"))
    if started and ended and ended < started and (times_change or _changed(after, before, "startTime")):
        errors.append(refused("status.completionTime", ended, "must be equal to or after `startTime`"))
    if failed and not target and (failed_changes or _changed(after, before, "failedIndexes")):
        errors.append(_conditions("cannot set Failed=True condition without the FailureTarget=true condition"))
    met = _true(after, "SuccessCriteriaMet")
    if complete and not met and (complete_changes or met != _true(before, "SuccessCriteriaMet")):
        errors.append(_conditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"))
    if finished and after.get("active") and (finished_changes or _changed(after, before, "active")):
        errors.append(refused("status.active", after["active"], "active>0 is invalid for finished job"))
    nothing_to_do = spec.get("suspend") and spec.get("completions") == 0
    if finished and not started and not nothing_to_do and (finished_changes or _changed(after, before, "startTime")):
        errors.append(required("status.startTime", "startTime is required for finished job"))
    uncounted = after.get("uncountedTerminatedPods") or {}
    if (
        finished
        and any(uncounted.values())
        and (finished_changes or _changed(after, before, "uncountedTerminatedPods"))
    ):
        shown = {"Succeeded": uncounted.get("succeeded"), "Failed": uncounted.get("failed")}
        errors.append(refused("status.uncountedTerminatedPods", shown, "must be empty for finished job"))
    if finished and after.get("terminating") and (finished_changes or _changed(after, before, "terminating")):
        errors.append(refused("status.terminating", after["terminating"], "terminating>0 is invalid for finished job"))
    return errors


def _indexes(spec: Tree, after: Tree, before: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    completions, completed, failed = (
        spec.get("completions"),
        after.get("completedIndexes", ""),
        after.get("failedIndexes"),
    )
    completed_changes, failed_changes = (
        _changed(after, before, "completedIndexes"),
        _changed(after, before, "failedIndexes"),
    )
    done: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    if completions is not None:
        done, why = _parsed(completed, completions)
        if why and completed_changes:
            errors.append(refused("status.completedIndexes", completed, f"error parsing completedIndexes: {why}"))
        lost, why = _parsed(failed or "", completions)
        if why and failed_changes and "backoffLimitPerIndex" in spec:
            errors.append(refused("status.failedIndexes", failed, f"error parsing failedIndexes: {why}"))
    if completed and completed_changes and spec.get("completionMode") != "Indexed":
        text = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errors.append(refused("status.completedIndexes", completed, text))
    if failed is not None and failed_changes and "backoffLimitPerIndex" not in spec:
        text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errors.append(refused("status.failedIndexes", failed, text))
    if (both := done & lost) and (completed_changes or failed_changes):
        text = f"failedIndexes and completedIndexes overlap at index: {min(both)}"
        errors.append(refused("status.failedIndexes", failed, text))
    return errors


def _parsed(text: str, completions: int) -> tuple[frozenset[int], str]:
    try:
        return parse_indexes(text, completions), ""
    except BadIndexes as error:
        return frozenset(), str(error)


def _successes(spec: Tree, after: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    met = _true(after, "SuccessCriteriaMet")
    if met and _true(after, "Failed"):
        errors.append(_conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions"))
    if met and _true(after, "FailureTarget"):
        errors.append(_conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"))
    if "successPolicy" in spec and not met and _true(after, "Complete"):
        text = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        errors.append(_conditions(text))
    return errors


def _transitions(spec: Tree, after: Tree, before: Tree) -> list[FieldError]:
    """Rules of the way from one state to the next."""
    errors = [
        _conditions(f"cannot disable the terminal {kind}=True condition")
        for kind in ("Failed", "Complete", "FailureTarget")
        if _true(before, kind) and not _true(after, kind)
    ]
    if after.get("failed", 0) < before.get("failed", 0):
        errors.append(refused("status.failed", after.get("failed", 0), "cannot decrease the failed counter"))
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    if not elastic and after.get("succeeded", 0) < before.get("succeeded", 0):
        errors.append(refused("status.succeeded", after.get("succeeded", 0), "cannot decrease the succeeded counter"))
    ended, had_ended = after.get("completionTime"), before.get("completionTime")
    if ended and had_ended and ended != had_ended:
        errors.append(refused("status.completionTime", ended, "field is immutable"))
    started = before.get("startTime")
    if started and after.get("startTime") != started and not spec.get("suspend") and not _resuming(after, before):
        text = "field is immutable for unsuspended job once set"
        errors.append(refused("status.startTime", after.get("startTime"), text))
    if _true(before, "SuccessCriteriaMet") and not _true(after, "SuccessCriteriaMet"):
        errors.append(_conditions("cannot disable the SuccessCriteriaMet=True condition"))
    if _true(before, "Complete") and not _true(before, "SuccessCriteriaMet") and _true(after, "SuccessCriteriaMet"):
        text = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        errors.append(_conditions(text))
    return errors


def _resuming(after: Tree, before: Tree) -> bool:
    lifted = any(
        each.get("type") == "Suspended" and each.get("status") == "False" for each in after.get("conditions") or ()
    )
    return _true(before, "Suspended") and lifted
