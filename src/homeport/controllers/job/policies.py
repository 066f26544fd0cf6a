"""What a failed pod means to a Job, and which successes are enough. Source: `workloads` 11; KEP-3329, KEP-3998."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.api.job_indexes import read_indexes
from homeport.controllers.job.model import Job, Pod

__all__ = ["Verdict", "success_rule", "verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first rule that fits a failed pod; `message` when it fails the whole Job."""

    action: str = ""
    message: str = ""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


def verdict(job: Job, pod: Pod) -> Verdict:
    """Return what the Job's policy makes of a pod that failed; without a rule it counts."""
    for number, rule in enumerate(job.failure_policy):
        action = rule.get("action", "")
        if codes := rule.get("onExitCodes"):
            found = _container(pod, codes)
            if found is None:
                continue
            why = f"Container {found[0]} for pod {job.namespace}/{pod.name} failed with exit code {found[1]}"
        else:
            kind = _condition(pod, rule.get("onPodConditions") or ())
            if kind is None:
                continue
            why = f"Pod {job.namespace}/{pod.name} has condition {kind}"
        message = f"{why} matching {action} rule at index {number}" if action == "FailJob" else ""
        return Verdict(action, message)
    return Verdict()


def _container(pod: Pod, codes: Mapping[str, Any]) -> tuple[str, int] | None:
    name, values = codes.get("containerName"), codes.get("values") or ()
    for container, code in pod.containers:
        if name in (None, container) and (code in values) == (codes.get("operator") == "In"):
            return container, code
    return None


def _condition(pod: Pod, patterns: Sequence[Mapping[str, Any]]) -> str | None:
    wanted = {(pattern.get("type"), pattern.get("status", "True")) for pattern in patterns}
    return next((kind for kind, status in pod.conditions if (kind, status) in wanted), None)


def success_rule(job: Job, done: frozenset[int]) -> int | None:
    """Return the number of the first rule that the indexes that succeeded fulfil."""
    if not done:
        return None
    for number, rule in enumerate(job.success_policy):
        count = rule.get("succeededCount")
        if (text := rule.get("succeededIndexes")) is None:
            if count is not None and len(done) >= count:
                return number
            continue
        wanted = read_indexes(text, job.completions or 0)
        if wanted and (wanted <= done or (count is not None and len(wanted & done) >= count)):
            return number
    return None
