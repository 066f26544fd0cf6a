"""The scheduler's picture of the cluster: what the informers say, and what it has itself decided since.

A pod is *assumed* on its node from the decision until the informer shows it there, so that the next decision counts it.
"""

from collections.abc import Mapping

from homeport.scheduler.model import Node, NodeState, Pod, Snapshot
from homeport.scheduler.tally import Tally

__all__ = ["ClusterCache"]


class ClusterCache:
    """Nodes with their pods, kept up to date change by change; `snapshot` is a view, for one decision."""

    def __init__(self) -> None:
        self._states: dict[str, NodeState] = {}
        self._homeless: dict[str, dict[str, Pod]] = {}  # pods on nodes not seen yet
        self._placed: dict[str, str] = {}  # node by pod uid
        self._assumed: set[str] = set()
        self._tally = Tally()
        self.namespaces: dict[str, Mapping[str, str]] = {}

    def snapshot(self) -> Snapshot:
        return Snapshot(self._states, self.namespaces, self._tally)

    def put_node(self, node: Node) -> None:
        known = self._states.get(node.name)
        if known is not None:
            known.node = node
            return
        state = self._states[node.name] = NodeState(node)
        for pod in self._homeless.pop(node.name, {}).values():
            state.put(pod)
            self._tally.put(pod, node.name)

    def drop_node(self, name: str) -> None:
        state = self._states.pop(name, None)
        if state is not None and state.pods:
            self._homeless[name] = state.pods
            for pod in state.pods.values():
                self._tally.drop(pod)

    def put_pod(self, pod: Pod) -> None:
        """Take note of a pod that is bound, as the server tells."""
        self._assumed.discard(pod.uid)
        self._place(pod, pod.node)

    def assume(self, pod: Pod, node: str) -> None:
        """Count a pod on the node just chosen for it."""
        self._assumed.add(pod.uid)
        self._place(pod, node)

    def drop_pod(self, uid: str) -> bool:
        """Forget a pod that is gone, has ended, or was not bound after all; tell whether that freed anything."""
        self._assumed.discard(uid)
        node = self._placed.pop(uid, None)
        if node is None:
            return False
        state = self._states.get(node)
        if state is not None:
            self._tally.drop(state.pods[uid])
            state.drop(uid)
        else:
            self._homeless.get(node, {}).pop(uid, None)
        return True

    def _place(self, pod: Pod, node: str) -> None:
        if self._placed.get(pod.uid, node) != node:
            assumed = pod.uid in self._assumed
            self.drop_pod(pod.uid)
            if assumed:
                self._assumed.add(pod.uid)
        self._placed[pod.uid] = node
        state = self._states.get(node)
        if state is not None:
            before = state.pods.get(pod.uid)
            if before is not None:
                self._tally.drop(before)
            state.put(pod)
            self._tally.put(pod, node)
        else:
            self._homeless.setdefault(node, {})[pod.uid] = pod
