"""Defaults of Jobs and CronJobs (workloads 11, 12)."""

from typing import Any, Final

from homeport.api.defaults.pods import pod_spec

__all__ = ["cron_job", "job"]

Tree = dict[str, Any]

MOST_FAILURES: Final = 2**31 - 1


def job(tree: Tree) -> None:
    spec = tree["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", MOST_FAILURES if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if labels and not tree["metadata"].get("labels"):
        tree["metadata"]["labels"] = dict(labels)
    _template(spec)


def cron_job(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    _template(spec["jobTemplate"]["spec"])


def _template(spec: Tree) -> None:
    pod_spec(spec["template"]["spec"])
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern["status"] = pattern.get("status") or "True"
