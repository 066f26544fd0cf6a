"""Waiting until objects are ready, by watches, with progress for people."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.resources import Resource, find
from homeport.cli.progress import Progress
from homeport.client.informer import Informer, InformerFactory
from homeport.client.readiness import SERVICE_LABEL, Verdict, verdict
from homeport.clock import parse_time

__all__ = ["ExpectedNode", "Target", "wait_until_ready"]

NODE_LEASES: Final = "kube-node-lease"
_OWNERS: Final = {"StatefulSet", "Deployment", "DaemonSet", "ReplicaSet", "ReplicationController"}


@dataclass(frozen=True, slots=True)
class Target:
    """Something that must become ready."""

    resource: Resource
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.resource.singular}/{self.name}"


@dataclass(frozen=True, slots=True)
class ExpectedNode:
    """A node whose agent must have renewed its lease since `since`, in seconds since the epoch.

    The agent does so once it has looked at its pods; older news say nothing. The heartbeats in the node's conditions
    would not do: they count whole seconds, and an agent can die and come back within one.
    """

    name: str
    since: float


class _World:
    """The collections that readiness is judged on, kept fresh by watches."""

    def __init__(self, client: Any, targets: Sequence[Target], node: ExpectedNode | None) -> None:
        self.targets, self.node = targets, node
        self.changed = asyncio.Event()
        self.factory = InformerFactory(client, random.Random())
        self.pods = self._informer(find("Pod"))
        self.sets = self._informer(find("ReplicaSet", "apps"))
        self.slices = self._informer(find("EndpointSlice", "discovery.k8s.io"))
        self.nodes = self._informer(find("Node"))
        self.leases = self._informer(find("Lease", "coordination.k8s.io"))
        self.found = {target.resource.gvk: self._informer(target.resource) for target in targets}

    def _informer(self, resource: Resource) -> Informer:
        informer = self.factory.informer(resource)
        informer.on_change(lambda _: self.changed.set())
        return informer

    def judge(self) -> dict[str, Verdict]:
        """Return the verdict on each target, by its printed name."""
        verdicts = {str(target): self._judge(target) for target in self.targets}
        if self.node is not None:
            verdicts[f"node/{self.node.name}"] = self._judge_node(self.node)
        return verdicts

    def _judge(self, target: Target) -> Verdict:
        obj = self.found[target.resource.gvk].get(target.namespace, target.name)
        if obj is None:
            return Verdict(False, "it to appear (was it deleted?)")
        judged = {**obj, "kind": target.resource.kind}
        if _serves(target):
            return verdict(judged, self.pods.list(target.namespace), self._slices_of(obj))
        return verdict(judged, self._pods_of(obj) if target.resource.kind in _OWNERS else ())

    def _slices_of(self, service: Any) -> list[Any]:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        return [
            one
            for one in self.slices.list(namespace)
            if (one["metadata"].get("labels") or {}).get(SERVICE_LABEL) == name
        ]

    def _pods_of(self, obj: Any) -> list[Any]:
        owners = {obj["metadata"]["uid"]}
        namespace = obj["metadata"]["namespace"]
        owners |= {one["metadata"]["uid"] for one in self.sets.list(namespace) if _owner(one) in owners}
        return [pod for pod in self.pods.list(namespace) if _owner(pod) in owners]

    def newest_slice(self) -> int:
        """Return the newest resourceVersion of a slice of the Services waited for; 0 without any."""
        services = (self.found[one.resource.gvk].get(one.namespace, one.name) for one in self.targets if _serves(one))
        slices = [one for service in services if service is not None for one in self._slices_of(service)]
        return max((int(one["metadata"]["resourceVersion"]) for one in slices), default=0)

    def _judge_node(self, expected: ExpectedNode) -> Verdict:
        node = self.nodes.get(None, expected.name)
        if node is None:
            return Verdict(False, "the node agent to register")
        lease = self.leases.get(NODE_LEASES, expected.name)
        renewed = (lease or {}).get("spec", {}).get("renewTime")
        if renewed is None or parse_time(renewed) < expected.since:
            return Verdict(False, "the node agent to look after its pods")
        for condition in node.get("status", {}).get("conditions") or ():
            if condition["type"] == "Ready":
                ready = condition["status"] == "True"
                return Verdict(ready, "" if ready else condition.get("message", ""))
        return Verdict(False, "the node agent to report")


def _serves(target: Target) -> bool:
    return target.resource.kind == "Service"


def _owner(obj: Any) -> str:
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


async def wait_until_ready(
    client: Any,
    targets: Sequence[Target],
    timeout: float,
    *,
    node: ExpectedNode | None,
    progress: Progress,
    applied: Callable[[str], Awaitable[None]],
) -> list[str]:
    """Return [] once everything is ready, else one line for each that is not when `timeout` seconds are over.

    applied  returns once EndpointSlices up to a resourceVersion are in effect
    """
    world = _World(client, targets, node)
    feeding = asyncio.create_task(world.factory.run())
    verdicts: dict[str, Verdict] = {}
    try:
        async with asyncio.timeout(timeout):
            await world.factory.synced()
            while True:
                world.changed.clear()
                verdicts = world.judge()
                progress.show(verdicts)
                if all(one.ready for one in verdicts.values()):
                    if newest := world.newest_slice():
                        await applied(str(newest))
                    return []
                await world.changed.wait()
    except TimeoutError:
        late = [f"{name} waits for {one.waits_for}" for name, one in verdicts.items() if not one.ready]
        none = "the API gave no complete list" if not verdicts else "the proxy does not lead connections there yet"
        return late or [none]
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
