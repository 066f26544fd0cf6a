"""Pods a NoExecute taint drives out, at once or when their patience ends.

Source: workloads 15 of the specification.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers.nodes.health import Taint, decode_node
from homeport.controllers.nodes.lifecycle import NODES, PODS_BY_NODE, node_of
from homeport.errors import NotFound

__all__ = ["TaintEviction", "patience"]

PODS = find("Pod")


def patience(tolerations: Sequence[dict[str, Any]], taints: Sequence[Taint]) -> float | None:
    """Return the seconds a pod may stay beside these taints, None for ever, 0 when it must go now.

    Each taint is tolerated as the first toleration that matches it says; of several taints the least patient decides.
    """
    seconds: list[float] = []
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        matching = next((toleration for toleration in tolerations if _tolerates(toleration, taint)), None)
        if matching is None:
            return 0.0
        if (limit := matching.get("tolerationSeconds")) is not None:
            seconds.append(max(0.0, float(limit)))
    return min(seconds, default=None)


def _tolerates(toleration: dict[str, Any], taint: Taint) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.effect:
        return False
    if toleration.get("key") and toleration["key"] != taint.key:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == taint.value


class TaintEviction:
    """Evicts from tainted nodes. Pods are its keys."""

    component = "taint-eviction-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._events = EventRecorder(client, clock, self.component)
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._since: dict[str, float] = {}  # when a pod's patience began, by its uid
        self._nodes = informers.informer(NODES)
        self._pods = informers.informer(PODS, indexers={PODS_BY_NODE: node_of})
        self._nodes.add_handler(add=self._node_seen, update=self._node_changed)
        self._pods.add_handler(add=self._pod_seen, update=lambda _, pod: self._pod_seen(pod), delete=self._pod_gone)

    async def run(self) -> None:
        """Evict; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            await self._nodes.synced.wait()
            await self._pods.synced.wait()
            await self._queue.process(self.sync, workers=4)

    async def sync(self, key: Key) -> None:
        """Evict one pod, or set the time for it. Raises ApiError to be called again."""
        pod = self._pods.get(*key)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return
        uid = pod["metadata"]["uid"]
        node = next((self._nodes.get(None, name) for name in node_of(pod)), None)
        taints = [taint for taint in decode_node(node).taints if taint.effect == "NoExecute"] if node else []
        seconds = patience((pod.get("spec") or {}).get("tolerations") or (), taints)
        now = self._clock.now()
        if not seconds and self._since.pop(uid, None) is not None:  # it is to stay, or to go at once
            self._events.normal(pod, "TaintManagerEviction", f"Cancelling deletion of Pod {key[0]}/{key[1]}")
        if seconds is None:
            return
        if not seconds:
            await self._evict(pod)
            return
        due = self._since.setdefault(uid, now) + seconds
        if due > now:
            self._queue.add_after(key, due - now)
            return
        await self._evict(pod)

    async def _evict(self, pod: Object) -> None:
        namespace, name = key_of(pod)
        uid = pod["metadata"]["uid"]
        self._events.normal(pod, "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}")
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": rfc3339(self._clock.now()),
        }
        patch = {"metadata": {"uid": uid}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(PODS, namespace, name, patch, kind=PatchType.STRATEGIC, subresource="status")
            await self._client.delete(PODS, namespace, name, uid=uid)
        except NotFound:
            return  # it went by itself
        self._since.pop(uid, None)

    def _node_seen(self, node: Object) -> None:
        for pod in self._pods.by_index(PODS_BY_NODE, node["metadata"]["name"]):
            self._queue.add(key_of(pod))

    def _node_changed(self, old: Object, new: Object) -> None:
        if decode_node(old).taints != decode_node(new).taints:
            self._node_seen(new)

    def _pod_seen(self, pod: Object) -> None:
        if any(self._tainted(name) for name in node_of(pod)):
            self._queue.add(key_of(pod))

    def _tainted(self, name: str) -> bool:
        node = self._nodes.get(None, name)
        taints = (node.get("spec") or {}).get("taints") if node is not None else None
        return any(taint["effect"] == "NoExecute" for taint in taints or ())

    def _pod_gone(self, pod: Object) -> None:
        self._since.pop(pod["metadata"]["uid"], None)
