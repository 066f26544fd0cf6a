"""Pods that were to be evicted and were not: after two minutes they no longer say so. Source: `workloads` 13.1."""

from contextlib import suppress
from typing import Final

from homeport.api import pods as pod_rules
from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, parse_time, rfc3339
from homeport.errors import NotFound

__all__ = ["STALE_SECONDS", "StaleDisruptions", "stale_at"]

PODS: Final = find("Pod")
STALE_SECONDS: Final = 120.0
_BY_KUBELET: Final = "TerminationByKubelet"


def stale_at(pod: Object) -> float | None:
    """Return the epoch second a pod's `DisruptionTarget` is stale from; None when it cannot be, or is not there."""
    if pod_rules.is_terminating(pod) or pod_rules.is_terminal(pod):
        return None
    condition = pod_rules.condition(pod, "DisruptionTarget")
    if condition is None or condition.get("status") != "True" or condition.get("reason") == _BY_KUBELET:
        return None
    since = condition.get("lastTransitionTime")
    return (parse_time(since) if since else 0.0) + STALE_SECONDS


class StaleDisruptions:
    """Takes the mark from pods that stayed."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue("stale-disruption")
        self._pods = informers.informer(PODS)
        self._pods.on_change(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._pods.synced.wait()
        await self._queue.process(self._sync, workers=1)

    def _changed(self, pod: Object) -> None:
        if stale_at(pod) is not None:
            self._queue.add(key_of(pod))

    async def _sync(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is None or (when := stale_at(pod)) is None:
            return
        now = self._clock.now()
        if when > now:
            self._queue.add_after(key, when - now)
            return
        condition = {
            "type": "DisruptionTarget",
            "status": "False",
            "lastTransitionTime": rfc3339(now),
            "reason": None,
            "message": None,
        }
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"conditions": [condition]}}
        with suppress(NotFound):
            await self._client.patch(PODS, *key, patch, kind=PatchType.STRATEGIC, subresource="status")
