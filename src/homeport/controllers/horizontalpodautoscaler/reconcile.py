"""What an autoscaler does about its target, given everything it knows. Nothing here touches anything.

Source: workloads 21.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homeport.controllers.horizontalpodautoscaler.model import (
    SCALING_ACTIVE,
    Autoscaler,
    Condition,
    Memory,
    Metric,
    Note,
    Pod,
    PodUsage,
    Scale,
)
from homeport.controllers.horizontalpodautoscaler.pace import pace
from homeport.controllers.horizontalpodautoscaler.replicas import Proposal, Unmeasured, propose

__all__ = ["Decision", "Figures", "decide", "needs_figures"]

_DISABLED = Condition(
    SCALING_ACTIVE, False, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero"
)
_ABOVE = "Current number of replicas above Spec.MaxReplicas"
_BELOW = "Current number of replicas below Spec.MinReplicas"
_NO_CUSTOM = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"
_NO_EXTERNAL = (
    "unable to fetch metrics from external metrics API: no external metrics API (external.metrics.k8s.io) registered"
)
_REASONS = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """The target's pods and what they use; `failure` when nobody could tell, `refusal` when the selector is no good."""

    pods: Sequence[Pod] = ()
    usage: Mapping[str, PodUsage] | None = None
    failure: str = ""
    refusal: Condition | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do.

    replicas    the size the target is to have; None leaves it alone
    reason      why, for the event
    measured    the proposal of each metric, in order; None where it could not be told
    conditions  in the order they are set
    notes       events about metrics that could not be told
    failure     why nothing could be decided; the pass is a failed one
    """

    replicas: int | None = None
    reason: str = ""
    measured: tuple[Proposal | None, ...] = ()
    conditions: tuple[Condition, ...] = ()
    notes: tuple[Note, ...] = ()
    memory: Memory = field(default_factory=Memory)
    failure: str = ""


def needs_figures(scaler: Autoscaler, scale: Scale) -> bool:
    """Whether metrics decide: not where a bound does, nor for a target that was set to nothing."""
    return scale.wanted != 0 and scaler.low <= scale.wanted <= scaler.high


def decide(scaler: Autoscaler, scale: Scale, figures: Figures, memory: Memory, now: float) -> Decision:
    """Return what to do about a target of this size.

    figures  only looked at when `needs_figures`
    """
    current = scale.wanted
    if current == 0:
        return Decision(conditions=(_DISABLED,), memory=memory)
    if current > scaler.high:
        return Decision(scaler.high, _ABOVE, memory=memory)
    if current < scaler.low:
        return Decision(scaler.low, _BELOW, memory=memory)
    if figures.refusal is not None:
        refusal = figures.refusal
        return Decision(conditions=(refusal,), memory=memory, failure=_why_refused(refusal))
    return _measured(scaler, current, figures, memory, now)


def _why_refused(refusal: Condition) -> str:
    missing = "the HPA target's scale is missing a selector"
    return "selector is required" if refusal.message == missing else refusal.message


def _measured(scaler: Autoscaler, current: int, figures: Figures, memory: Memory, now: float) -> Decision:
    proposals: list[Proposal | None] = []
    notes: list[Note] = []
    failures: list[tuple[Condition, str]] = []
    wanted, name = 0, ""
    for metric in scaler.metrics:
        try:
            proposal = _propose(scaler, metric, current, figures, now)
        except Unmeasured as error:
            reason = _REASONS.get(metric.kind, "InvalidMetricSourceType")
            notes.append(Note(reason, str(error)))
            text = f"the HPA was unable to compute the replica count: {error}"
            failures.append((Condition(SCALING_ACTIVE, False, reason, text), _prefixed(metric, str(error))))
            proposals.append(None)
            continue
        proposals.append(proposal)
        if wanted == 0 or proposal.replicas > wanted:
            wanted, name = proposal.replicas, _name(metric)
    failure = ""
    if failures:
        count, total = len(failures), len(scaler.metrics)
        failure = f"invalid metrics ({count} invalid out of {total}), first error is: {failures[0][1]}"
        if count >= total or wanted < current:
            condition = failures[0][0]
            return Decision(None, "", tuple(proposals), (condition,), tuple(notes), memory, failure)
    text = f"the HPA was able to successfully calculate a replica count from {name}"
    active = Condition(SCALING_ACTIVE, True, "ValidMetricFound", text)
    reason = f"{name} above target" if wanted > current else "All metrics below target" if wanted < current else ""
    paced = pace(scaler, current, wanted, memory, now)
    conditions = (active, *paced.conditions)
    replicas = None if paced.replicas == current else paced.replicas
    return Decision(replicas, reason, tuple(proposals), conditions, tuple(notes), paced.memory)


def _propose(scaler: Autoscaler, metric: Metric, current: int, figures: Figures, now: float) -> Proposal:
    if metric.kind not in ("Resource", "ContainerResource"):
        raise Unmeasured(_unanswered(metric))
    what = "usage" if metric.average is not None else "utilization"
    try:
        if metric.average is None and metric.utilization is None:
            raise Unmeasured(
                "invalid resource metric source: neither an average utilization target nor an average value (usage) "
                "target was set"
            )
        if figures.usage is None:
            raise Unmeasured(f"unable to get metrics for resource {metric.resource}: {figures.failure}")
        return propose(metric, current, figures.pods, figures.usage, scaler.tolerances, now)
    except Unmeasured as error:
        raise Unmeasured(f"failed to get {metric.resource} {what}: {error}") from None


def _unanswered(metric: Metric) -> str:
    """Say why a metric of a source that is not served cannot be told."""
    match metric.kind:
        case "Pods":
            return f"unable to get metric {_metric_name(metric, 'pods')}: {_NO_CUSTOM}"
        case "Object":
            described = metric.shown["object"].get("describedObject") or {}
            about = f"{described.get('kind', '')} {described.get('name', '')}"
            return f"unable to get metric {_metric_name(metric, 'object')}: {_NO_CUSTOM} on {about}"
        case "External":
            return f"unable to get external metric {_metric_name(metric, 'external')}: {_NO_EXTERNAL}"
        case kind:
            return f'unknown metric source type "{kind}"'


def _metric_name(metric: Metric, source: str) -> str:
    name: str = ((metric.shown.get(source) or {}).get("metric") or {}).get("name", "")
    return name


def _prefixed(metric: Metric, why: str) -> str:
    match metric.kind:
        case "Resource":
            return f"failed to get {metric.resource} resource metric value: {why}"
        case "ContainerResource":
            return f"failed to get {metric.container} container metric value: {why}"
        case "Pods":
            return f"failed to get pods metric value: {why}"
        case "Object":
            return f"failed to get object metric value: {why}"
        case "External":
            return f"failed to get {_metric_name(metric, 'external')} external metric value: {why}"
        case _:
            return why


def _name(metric: Metric) -> str:
    if metric.average is not None:
        return f"{metric.resource} resource"
    kind = "container resource" if metric.kind == "ContainerResource" else "resource"
    return f"{metric.resource} {kind} utilization (percentage of request)"
