"""The shell of node health: one timer per node, set back by every sign of life.

Source: workloads 15 of the specification.
"""

import asyncio
from typing import Final

from homeport.api import pods as pod_rules
from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers.nodes.health import (
    Node,
    deadline,
    decode_node,
    encode_condition,
    encode_taints,
    eviction_interval,
    silenced,
    taints_for,
)
from homeport.errors import NotFound

__all__ = ["PODS_BY_NODE", "NodeLifecycle", "node_of"]

NODES = find("Node")
PODS = find("Pod")
LEASES = find("Lease", "coordination.k8s.io")
LEASE_NAMESPACE: Final = "kube-node-lease"
PODS_BY_NODE: Final = "node"
ZONE_LABELS: Final = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


def node_of(pod: Object) -> list[str]:
    name = (pod.get("spec") or {}).get("nodeName")
    return [name] if name else []


class NodeLifecycle:
    """Watches over nodes. Their names are its keys."""

    component = "node-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._events = EventRecorder(client, clock, self.component)
        self._queue: WorkQueue[str] = WorkQueue("node-lifecycle")
        self._seen: dict[str, float] = {}  # when each node last showed a sign of life, by our clock
        self._unready_told: set[str] = set()  # nodes whose pods have been told of it
        self._next_eviction = 0.0
        self._nodes = informers.informer(NODES)
        self._pods = informers.informer(PODS, indexers={PODS_BY_NODE: node_of})
        self._leases = informers.informer(LEASES, LEASE_NAMESPACE)
        self._nodes.add_handler(add=self._node_seen, update=self._node_changed, delete=self._node_gone)
        self._leases.add_handler(add=self._lease_renewed, update=lambda _, lease: self._lease_renewed(lease))

    async def run(self) -> None:
        """Watch; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            for informer in (self._nodes, self._pods, self._leases):
                await informer.synced.wait()
            await self._queue.process(self.sync)

    async def sync(self, name: str) -> None:
        """Judge one node. Raises ApiError to be called again."""
        raw = self._nodes.get(None, name)
        if raw is None:
            return
        node, now = decode_node(raw), self._clock.now()
        due = deadline(self._seen.setdefault(name, now), node)
        if due > now:
            self._queue.add_after(name, due - now)
        else:
            changes = silenced(node, rfc3339(now))
            if changes:
                status = {"status": {"conditions": [encode_condition(condition) for condition in changes]}}
                await self._client.patch(NODES, None, name, status, kind=PatchType.STRATEGIC, subresource="status")
                return  # the change comes back and is judged then
        await self._taint(raw, node, now)
        await self._tell_pods(raw, node, now)

    async def _taint(self, raw: Object, node: Node, now: float) -> None:
        may_evict = self._may_evict(node, now)
        taints = taints_for(node, may_evict=may_evict, now=rfc3339(now))
        if taints is None:
            return
        version = raw["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": encode_taints(taints) or None}}
        try:
            await self._client.patch(NODES, None, node.name, patch)
        except NotFound:
            return

    def _may_evict(self, node: Node, now: float) -> bool:
        """Whether an unready node's pods may be evicted: one node at a time.

        Never when no node is well, and not where most of a zone is unwell: the trouble may be on this side then.
        """
        if node.ready:
            return False
        if not any(decode_node(other).ready for other in self._nodes.list()):
            return False
        if any(taint.effect == "NoExecute" and taint.key.startswith("node.kubernetes.io/") for taint in node.taints):
            return True
        interval = eviction_interval([decode_node(other).ready for other in self._same_zone(node.name)])
        if interval is None:
            return False
        if now < self._next_eviction:
            self._queue.add_after(node.name, self._next_eviction - now)
            return False
        self._next_eviction = now + interval
        return True

    def _same_zone(self, name: str) -> list[Object]:
        """Return the nodes of a node's zone, itself included."""
        nodes = self._nodes.list()
        zone = next((_zone(node) for node in nodes if node["metadata"]["name"] == name), None)
        return [node for node in nodes if _zone(node) == zone]

    async def _tell_pods(self, raw: Object, node: Node, now: float) -> None:
        """Mark the pods of a node that has just become unready as unready themselves."""
        if node.ready:
            self._unready_told.discard(node.name)
            return
        if node.name in self._unready_told:
            return
        pods = [pod for pod in self._pods.by_index(PODS_BY_NODE, node.name) if pod_rules.is_ready(pod)]
        for pod in pods:
            meta = pod["metadata"]
            condition = {"type": "Ready", "status": "False", "lastTransitionTime": rfc3339(now)}
            patch = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": [condition]}}
            try:
                await self._client.patch(
                    PODS, meta["namespace"], meta["name"], patch, kind=PatchType.STRATEGIC, subresource="status"
                )
            except NotFound:
                continue  # it has gone
            self._events.warning(pod, "NodeNotReady", "Node is not ready")
        self._unready_told.add(node.name)

    def _node_seen(self, node: Object) -> None:
        name = node["metadata"]["name"]
        self._seen[name] = self._clock.now()
        self._queue.add(name)
        self._events.normal(node, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")

    def _node_changed(self, old: Object, new: Object) -> None:
        if _heartbeats(old) != _heartbeats(new):
            self._seen[new["metadata"]["name"]] = self._clock.now()
        was, became = decode_node(old), decode_node(new)
        self._queue.add(became.name)
        if was.ready and not became.ready:
            self._events.normal(new, "NodeNotReady", f"Node {became.name} status is now: NodeNotReady")
        if was.ready != became.ready:
            for other in self._nodes.list():  # whether all are unready decides about each
                self._queue.add(other["metadata"]["name"])

    def _node_gone(self, node: Object) -> None:
        name = node["metadata"]["name"]
        self._seen.pop(name, None)
        self._unready_told.discard(name)
        self._events.normal(node, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")

    def _lease_renewed(self, lease: Object) -> None:
        name = lease["metadata"]["name"]
        self._seen[name] = self._clock.now()
        node = self._nodes.get(None, name)
        if node is not None and not decode_node(node).ready:
            self._queue.add(name)


def _zone(node: Object) -> tuple[str, ...]:
    labels = node["metadata"].get("labels") or {}
    return tuple(labels.get(key, "") for key in ZONE_LABELS)


def _heartbeats(node: Object) -> list[tuple[str, str, str]]:
    """Return what of the status only the node itself writes."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return [
        (c["type"], c.get("status", ""), c.get("lastHeartbeatTime") or "")
        for c in conditions
        if c.get("reason") not in ("NodeStatusUnknown", "NodeStatusNeverUpdated")
    ]
