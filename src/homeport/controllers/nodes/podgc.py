"""Pods nobody will finish: on nodes that are gone, terminating without ever having run, or too many that have ended.

Source: workloads 15 and node 5.12 of the specification.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import InformerFactory, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers.nodes.health import decode_node
from homeport.controllers.nodes.lifecycle import NODES
from homeport.errors import NotFound

__all__ = ["QUARANTINE_SECONDS", "Doomed", "PodCollector", "doomed"]

PODS = find("Pod")
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
ENDED_LIMIT: Final = 12500
PERIOD_SECONDS: Final = 20.0
QUARANTINE_SECONDS: Final = 40.0


@dataclass(frozen=True, slots=True)
class Doomed:
    """A pod to remove; `message` "" means that its end is nobody's disruption."""

    pod: Mapping[str, Any]
    message: str = ""


def doomed(
    pods: Iterable[Mapping[str, Any]],
    nodes: Mapping[str, Mapping[str, Any]],
    lost: Iterable[str],
    *,
    limit: int = ENDED_LIMIT,
) -> list[Doomed]:
    """Return the pods to remove by force.

    nodes  the cluster's nodes by name
    lost   names known to be missing for the whole quarantine
    """
    lost_nodes = frozenset(lost)
    found: list[Doomed] = []
    ended = []
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        if node in lost_nodes:
            found.append(Doomed(pod, "PodGC: node no longer exists"))
        elif pod_rules.is_terminating(pod) and (not node or (node in nodes and _out_of_service(nodes[node]))):
            found.append(Doomed(pod))
        elif pod_rules.is_terminal(pod):
            ended.append(pod)
    ended.sort(key=lambda pod: ((pod.get("status") or {}).get("reason") != "Evicted", _created(pod)))
    return found + [Doomed(pod) for pod in ended[: max(0, len(ended) - limit)]]


def _created(pod: Mapping[str, Any]) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]


def _out_of_service(raw: Mapping[str, Any]) -> bool:
    node = decode_node(raw)
    return not node.ready and any(taint.key == OUT_OF_SERVICE for taint in node.taints)


class PodCollector:
    """Removes them. It has one key: looking at all pods."""

    component = "pod-garbage-collector"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[str] = WorkQueue(self.component)
        self._missing: dict[str, float] = {}  # since when a node that pods name has been missing
        self._pods = informers.informer(PODS)
        self._nodes = informers.informer(NODES)
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(lambda _: self._queue.add_after("pods", PERIOD_SECONDS))

    async def run(self) -> None:
        """Collect; ends by cancellation only."""
        await self._pods.synced.wait()
        await self._nodes.synced.wait()
        self._queue.add("pods")
        await self._queue.process(self.sync)

    async def sync(self, _: str) -> None:
        """Look at all pods once. Raises ApiError to be called again."""
        nodes = {node["metadata"]["name"]: node for node in self._nodes.list()}
        pods = self._pods.list()
        lost = await self._lost(pods, nodes)
        for entry in doomed(pods, nodes, lost):
            await self._remove(entry)

    async def _lost(self, pods: Sequence[Object], nodes: Mapping[str, Object]) -> list[str]:
        """Return the nodes missing long enough, the server's word taken on each."""
        now = self._clock.now()
        named = {(pod.get("spec") or {}).get("nodeName") or "" for pod in pods} - nodes.keys() - {""}
        self._missing = {name: self._missing.get(name, now) for name in named}
        lost = []
        for name, since in self._missing.items():
            if now < since + QUARANTINE_SECONDS:
                self._queue.add_after("pods", since + QUARANTINE_SECONDS - now)
                continue
            try:
                await self._client.get(NODES, None, name)
            except NotFound:
                lost.append(name)
        return lost

    async def _remove(self, entry: Doomed) -> None:
        namespace, name = key_of(entry.pod)
        uid = entry.pod["metadata"]["uid"]
        status: dict[str, Any] = {}
        if not pod_rules.is_terminal(entry.pod):
            status["phase"] = "Failed"
        if entry.message:
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": entry.message,
                "lastTransitionTime": rfc3339(self._clock.now()),
            }
            status["conditions"] = [condition]
        try:
            if status:
                patch = {"metadata": {"uid": uid}, "status": status}
                await self._client.patch(PODS, namespace, name, patch, kind=PatchType.STRATEGIC, subresource="status")
            await self._client.delete(PODS, namespace, name, uid=uid, grace_seconds=0)
        except NotFound:
            return  # it went by itself

    def _pod_changed(self, pod: Object) -> None:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        suspicious = pod_rules.is_terminating(pod) or pod_rules.is_terminal(pod)
        if suspicious or (node and self._nodes.get(None, node) is None):
            self._queue.add_after("pods", PERIOD_SECONDS)
