"""The autoscalers' shell: every 15 s a target's scale is read, its pods' usage asked for, and the scale written.

Source: workloads 19 and 21.
"""

import logging
from asyncio import TaskGroup
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from homeport.api.resources import METRICS, RESOURCES, Resource, find
from homeport.api.selectors import LabelSelector, parse_label_selector
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.horizontalpodautoscaler.codec import (
    decode_autoscaler,
    decode_pod,
    decode_scale,
    decode_usage,
    encode_metrics,
    status_of,
    with_conditions,
)
from homeport.controllers.horizontalpodautoscaler.model import ABLE_TO_SCALE, SCALING_ACTIVE, Condition, Memory
from homeport.controllers.horizontalpodautoscaler.pace import begin, remember_change
from homeport.controllers.horizontalpodautoscaler.reconcile import Decision, Figures, decide, needs_figures
from homeport.controllers.indices import index_by_label, selected
from homeport.errors import ApiError, BadRequest, Conflict, NotFound

__all__ = ["HorizontalPodAutoscalerController"]

AUTOSCALERS: Final = find("HorizontalPodAutoscaler", "autoscaling")
PODS: Final = find("Pod")
POD_METRICS: Final = next(each for each in METRICS if each.kind == "PodMetrics")
SYNC_SECONDS: Final = 15.0
CONFLICTS: Final = 5
WORKERS: Final = 5
_SUCCEEDED: Final = Condition(
    ABLE_TO_SCALE, True, "SucceededGetScale", "the HPA controller was able to get the target's current scale"
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """What is kept about one autoscaler between its passes."""

    memory: Memory = field(default_factory=Memory)
    selector: LabelSelector | None = None


class _NoTarget(Exception):
    """The target's scale cannot be had; the text says why."""


class HorizontalPodAutoscalerController:
    """Scales targets by load. Autoscalers are its keys."""

    component = "horizontal-pod-autoscaler"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._events = EventRecorder(client, clock, self.component)
        self._known: dict[Key, _Known] = {}
        self._scalers = informers.informer(AUTOSCALERS)
        self._pods = informers.informer(PODS)
        self._scalers.add_handler(add=self._seen, delete=self._gone)

    async def run(self) -> None:
        """Scale; ends by cancellation only."""
        await self._scalers.synced.wait()
        await self._pods.synced.wait()
        async with TaskGroup() as group:
            self._events.begin(group)
            await self._queue.process(self.sync, workers=WORKERS)

    def _seen(self, obj: Object) -> None:
        index_by_label(self._pods)  # from the first autoscaler on
        self._known.setdefault(key_of(obj), _Known())
        self._queue.add_after(key_of(obj), SYNC_SECONDS)

    def _gone(self, obj: Object) -> None:
        self._known.pop(key_of(obj), None)

    async def sync(self, key: Key) -> None:
        """Make one pass over one autoscaler; the next comes 15 s later, whatever came of this one."""
        obj = self._scalers.get(*key)
        if obj is None:
            return
        self._queue.add_after(key, SYNC_SECONDS)
        try:
            await self._pass(key, obj, self._known.setdefault(key, _Known()))
        except (ApiError, OSError) as error:
            _log.info("autoscaler %s/%s: %s", *key, error)

    async def _pass(self, key: Key, obj: Object, known: _Known) -> None:
        now = self._clock.now()
        before = obj.get("status") or {}
        try:
            target, scale_tree = await self._scale(key[0], obj["spec"]["scaleTargetRef"])
        except _NoTarget as error:
            self._events.warning(obj, "FailedGetScale", str(error))
            why = f"the HPA controller was unable to get the target's current scale: {error}"
            failed = Condition(ABLE_TO_SCALE, False, "FailedGetScale", why)
            await self._write(obj, with_conditions(before, (failed,), now))
            return
        scaler, scale = decode_autoscaler(obj), decode_scale(scale_tree)
        known.memory = begin(known.memory, scale.wanted, now)
        figures = await self._figures(key, obj, known, scale_tree) if needs_figures(scaler, scale) else Figures()
        decision = decide(scaler, scale, figures, known.memory, now)
        known.memory = decision.memory
        for note in decision.notes:
            self._events.warning(obj, note.reason, note.message)
        conditions = [_SUCCEEDED, *decision.conditions]
        desired, scaled_at = scale.wanted, None
        if decision.failure:
            desired = before.get("desiredReplicas", 0)
            self._events.warning(obj, "FailedComputeMetricsReplicas", decision.failure)
        elif decision.replicas is not None:
            outcome = await self._rescale(obj, target, scale_tree, decision, decision.replicas)
            conditions.append(outcome)
            if outcome.status:
                desired, scaled_at = decision.replicas, now
                known.memory = remember_change(scaler.behavior, known.memory, scale.wanted, desired, now)
            else:
                desired = before.get("desiredReplicas", 0)
        status = with_conditions(before, conditions, now)
        metrics = encode_metrics(scaler, decision.measured)
        await self._write(obj, status_of(status, scale.wanted, desired, metrics, scaled_at))

    # The target

    async def _scale(self, namespace: str, reference: Mapping[str, Any]) -> tuple[Resource, Object]:
        """Return the target's kind and its scale. Raises _NoTarget."""
        kind, version = reference.get("kind", ""), reference.get("apiVersion", "")
        group = version.rpartition("/")[0]
        target = next((each for each in RESOURCES if (each.group, each.kind) == (group, kind)), None)
        if target is None:
            raise _NoTarget(f'no matches for kind "{kind}" in group "{group}"')
        if not target.has_subresource("scale"):
            raise _NoTarget("the server could not find the requested resource")
        try:
            return target, await self._client.get(target, namespace, reference.get("name", ""), subresource="scale")
        except ApiError as error:
            raise _NoTarget(str(error)) from error

    async def _rescale(
        self, obj: Object, target: Resource, scale: Object, decision: Decision, replicas: int
    ) -> Condition:
        """Write the target's scale, again where somebody else wrote it in between; return what came of it."""
        for attempt in range(CONFLICTS):
            body = {**scale, "spec": {**scale["spec"], "replicas": replicas}}
            try:
                await self._client.update(target, body, subresource="scale")
            except ApiError as error:
                if isinstance(error, Conflict) and attempt < CONFLICTS - 1:
                    metadata = scale["metadata"]
                    scale = await self._client.get(target, metadata["namespace"], metadata["name"], subresource="scale")
                    continue
                text = f"New size: {replicas}; reason: {decision.reason}; error: {error}"
                self._events.warning(obj, "FailedRescale", text)
                why = f"the HPA controller was unable to update the target scale: {error}"
                return Condition(ABLE_TO_SCALE, False, "FailedUpdateScale", why)
            break
        self._events.normal(obj, "SuccessfulRescale", f"New size: {replicas}; reason: {decision.reason}")
        text = f"the HPA controller was able to update the target scale to {replicas}"
        return Condition(ABLE_TO_SCALE, True, "SucceededRescale", text)

    # Its pods

    async def _figures(self, key: Key, obj: Object, known: _Known, scale: Object) -> Figures:
        text = (scale.get("status") or {}).get("selector", "")
        if not text:
            self._events.warning(obj, "SelectorRequired", "selector is required")
            return _refused("InvalidSelector", "the HPA target's scale is missing a selector")
        try:
            selector = parse_label_selector(text)
        except BadRequest as error:
            why = f"couldn't convert selector into a corresponding internal selector object: {error}"
            self._events.warning(obj, "InvalidSelector", why)
            return _refused("InvalidSelector", why)
        known.selector = selector
        pods = selected(self._pods, key[0], selector)
        rivals = self._rivals(key[0], pods)
        if len(rivals) > 1:
            why = f"pods by selector {text} are controlled by multiple HPAs: [{' '.join(rivals)}]"
            self._events.warning(obj, "AmbiguousSelector", why)
            return _refused("AmbiguousSelector", why)
        seen = [decode_pod(pod) for pod in pods]
        try:
            listing = await self._client.list(POD_METRICS, key[0], label_selector=text)
        except ApiError as error:
            return Figures(seen, None, f"unable to fetch metrics from resource metrics API: {error}")
        return Figures(seen, decode_usage(listing.items))

    def _rivals(self, namespace: str, pods: list[Object]) -> list[str]:
        """Return the autoscalers of a namespace whose targets have some of these pods."""
        found = []
        for (place, name), other in sorted(self._known.items(), key=lambda item: item[0][1]):
            selector = other.selector
            if place != namespace or selector is None:
                continue
            if any(selector.matches(pod["metadata"].get("labels")) for pod in pods):
                found.append(f"{place}/{name}")
        return found

    async def _write(self, obj: Object, status: dict[str, Any]) -> None:
        if status == (obj.get("status") or {}):
            return
        try:
            await self._client.update(AUTOSCALERS, {**obj, "status": status}, subresource="status")
        except NotFound:
            return
        except ApiError as error:
            self._events.warning(obj, "FailedUpdateStatus", str(error))
            raise


def _refused(reason: str, message: str) -> Figures:
    return Figures(refusal=Condition(SCALING_ACTIVE, False, reason, message))
