"""Rows of Jobs, CronJobs, budgets and priority classes (api-machinery 15.6)."""

from typing import Final

from homeport.api.tables.cells import (
    AGE,
    NAME,
    NONE,
    Cells,
    Printer,
    Tree,
    age,
    containers,
    human_duration,
    narrow,
    selector_text,
    since,
    wide,
)
from homeport.clock import parse_time

__all__ = ["BUDGET", "CRON_JOB", "JOB", "PRIORITY_CLASS"]


def _job(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    names, images = containers(spec["template"]["spec"])
    return [
        tree["metadata"].get("name", ""),
        _state(tree),
        _completions(spec, status.get("succeeded", 0)),
        _duration(status, now),
        age(tree, now),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _state(tree: Tree) -> str:
    conditions = tree.get("status", {}).get("conditions") or ()
    true = {each.get("type") for each in conditions if each.get("status") == "True"}
    for kind in ("Complete", "Failed"):
        if kind in true:
            return kind
    if "deletionTimestamp" in tree["metadata"]:
        return "Terminating"
    return next((kind for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if kind in true), "Running")


def _completions(spec: Tree, succeeded: int) -> str:
    if (wanted := spec.get("completions")) is not None:
        return f"{succeeded}/{wanted}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(status: Tree, now: float) -> str:
    started, ended = status.get("startTime"), status.get("completionTime")
    if not started:
        return ""
    return human_duration((parse_time(ended) if ended else now) - parse_time(started))


def _cron_job(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    job = spec["jobTemplate"]["spec"]
    names, images = containers(job["template"]["spec"])
    suspend = spec.get("suspend")
    last = status.get("lastScheduleTime")
    return [
        tree["metadata"].get("name", ""),
        spec.get("schedule", ""),
        spec.get("timeZone", NONE),
        "<unset>" if suspend is None else str(suspend),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age(tree, now),
        names,
        images,
        selector_text(job.get("selector")),
    ]


def _budget(tree: Tree, now: float) -> Cells:
    spec = tree["spec"]
    return [
        tree["metadata"].get("name", ""),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        tree.get("status", {}).get("disruptionsAllowed", 0),
        age(tree, now),
    ]


def _priority_class(tree: Tree, now: float) -> Cells:
    return [
        tree["metadata"].get("name", ""),
        tree.get("value", 0),
        tree.get("globalDefault", False),
        age(tree, now),
        tree.get("preemptionPolicy", ""),
    ]


JOB: Final = Printer(
    (
        NAME,
        narrow("Status"),
        narrow("Completions"),
        narrow("Duration"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ),
    _job,
)
CRON_JOB: Final = Printer(
    (
        NAME,
        narrow("Schedule"),
        narrow("Timezone"),
        narrow("Suspend", "boolean"),
        narrow("Active", "integer"),
        narrow("Last Schedule"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ),
    _cron_job,
)
BUDGET: Final = Printer(
    (NAME, narrow("Min Available"), narrow("Max Unavailable"), narrow("Allowed Disruptions", "integer"), AGE), _budget
)
PRIORITY_CLASS: Final = Printer(
    (NAME, narrow("Value", "integer"), narrow("Global-Default", "boolean"), AGE, narrow("PreemptionPolicy")),
    _priority_class,
)
