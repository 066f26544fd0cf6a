"""The steps of a history: what people do to workloads, and what goes wrong around them, each a line of text.

    10 scale db 3          ten seconds later somebody asks for three replicas
    0 crash db-0 137       at once the program in db-0 ends with exit code 137

Objects that do not exist are let alone, and requests that nobody answers are given up: any list of steps can be played.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.resources import Resource, find
from homeport.client.contract import PatchType
from homeport.errors import ApiError
from homeport.node.pod import ProbeKind
from homeport.testing.faults import TROUBLES, Rule
from homeport.testing.simulation import DNS, Simulation
from homeport.testing.workloads import CONTAINER, DEPLOYMENT, SET, Workload

__all__ = ["KINDS", "Player", "Step", "parse_step"]

SETS: Final = find(SET, "apps")
DEPLOYMENTS: Final = find(DEPLOYMENT, "apps")
REVISIONS: Final = find("ControllerRevision", "apps")
REPLICA_SETS: Final = find("ReplicaSet", "apps")
PODS: Final = find("Pod")
CLAIMS: Final = find("PersistentVolumeClaim")
NODES: Final = find("Node")
NAMESPACES: Final = find("Namespace")
_PROBES: Final = {"readiness": ProbeKind.READINESS, "liveness": ProbeKind.LIVENESS}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens, `wait` seconds after the one before it."""

    wait: float
    kind: str
    what: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.wait:g} {self.kind} {self.what} {self.value}".rstrip()


def parse_step(text: str) -> Step:
    """Return the step of a line: `<seconds> <kind> [what] [value]`. Raises ValueError."""
    wait, kind, what, value, *more = [*text.split(), "", "", "", ""][: max(4, len(text.split()))]
    if kind not in KINDS:
        raise ValueError(f"{text!r}: {kind!r} is no kind of step; one of: {', '.join(KINDS)}")
    if any(more):
        raise ValueError(f"{text!r} says too much: <seconds> <kind> [what] [value]")
    if kind == "refuse" and what not in TROUBLES:
        raise ValueError(f"{text!r}: requests fail by one of: {', '.join(TROUBLES)}")
    return Step(float(wait), kind, what, value)


class Player:
    """Performs steps on a simulation, for the workloads of one history."""

    def __init__(self, simulation: Simulation, world: Sequence[Workload]) -> None:
        self.simulation = simulation
        self.world = {workload.name: workload for workload in world}
        self.client = simulation.client("history")
        namespaces = {workload.namespace for workload in world}
        self.namespace = sorted(namespaces)[0] if namespaces else "default"

    async def perform(self, step: Step) -> None:
        """Do what a step says; where nobody answers, or what it needs is not there, nothing happens."""
        self.simulation.say(" ".join(str(step).split()[1:]).replace("_", " "))
        try:
            await KINDS[step.kind](self, step)
        except (ApiError, OSError) as error:
            self.simulation.say(f"that did not happen: {error}")

    async def create(self, workload: Workload) -> None:
        """Create what is missing of a workload, its namespace included."""
        find_object = self.simulation.find
        if find_object(NAMESPACES, None, workload.namespace) is None:
            body: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": workload.namespace}}
            await self.client.create(NAMESPACES, body)
        for body in map(dict, workload.manifests()):
            resource = find(body["kind"], body["apiVersion"].rpartition("/")[0])
            if find_object(resource, workload.namespace, workload.name) is None:
                await self.client.create(resource, body)

    async def patch(self, name: str, patch: Mapping[str, Any]) -> None:
        workload = self.world.get(name)
        if workload is not None:
            resource = _resource(workload)
            await self.client.patch(resource, workload.namespace, name, patch, kind=PatchType.STRATEGIC)

    async def evict(self, pod: str) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.namespace}}
        await self.client.create(PODS, body, self.namespace, subresource="eviction", name=pod)

    async def mend(self) -> None:
        """Make everything well again: every fault ends, every node is there, every workload exists and goes on."""
        simulation = self.simulation
        simulation.say("everything is made well again")
        simulation.go_on()
        await simulation.start_engine()
        simulation.faults.clear()
        simulation.reach.reunite()
        simulation.names.failing = False
        simulation.behaviours.by_pod.clear()
        for machine in simulation.machines.values():
            machine.images.failing.clear()
            simulation.return_node(machine.name)
        await asyncio.sleep(1.0)
        for node in simulation.objects(NODES):
            if node["spec"].get("unschedulable"):
                await self._cordon(node["metadata"]["name"], False)
        for workload in self.world.values():
            await self._return(workload)
            if workload.kind == DEPLOYMENT:
                await self.patch(workload.name, {"spec": {"paused": False}})

    async def _return(self, workload: Workload) -> None:
        """Create what is missing of a workload, once what is on its way out has gone."""
        async with asyncio.timeout(1800):
            while True:
                objects = [
                    self.simulation.find(NAMESPACES, None, workload.namespace),
                    self.simulation.find(_resource(workload), workload.namespace, workload.name),
                ]
                if not any(obj is not None and obj["metadata"].get("deletionTimestamp") for obj in objects):
                    break
                await asyncio.sleep(5.0)
        await self.create(workload)

    async def _cordon(self, node: str, cordoned: bool) -> None:
        await self.client.patch(NODES, None, node, {"spec": {"unschedulable": cordoned or None}})

    # What people do

    async def scale(self, step: Step) -> None:
        await self.patch(step.what, {"spec": {"replicas": int(step.value)}})

    async def image(self, step: Step) -> None:
        container = {"name": CONTAINER, "image": step.value}
        await self.patch(step.what, {"spec": {"template": {"spec": {"containers": [container]}}}})

    async def partition(self, step: Step) -> None:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": int(step.value)}}
        await self.patch(step.what, {"spec": {"updateStrategy": rolling}})

    async def strategy(self, step: Step) -> None:
        strategy = {"type": step.value, "rollingUpdate": None} if step.value == "OnDelete" else {"type": step.value}
        await self.patch(step.what, {"spec": {"updateStrategy": strategy}})

    async def start(self, step: Step) -> None:
        await self.patch(step.what, {"spec": {"ordinals": {"start": int(step.value)}}})

    async def retention(self, step: Step) -> None:
        scaled, _, deleted = step.value.partition(",")
        policy = {"whenScaled": scaled, "whenDeleted": deleted}
        await self.patch(step.what, {"spec": {"persistentVolumeClaimRetentionPolicy": policy}})

    async def pause(self, step: Step) -> None:
        await self.patch(step.what, {"spec": {"paused": step.value != "off"}})

    async def rollback(self, step: Step) -> None:
        """Take the template of the revision before, as `kubectl rollout undo` does."""
        workload = self.world.get(step.what)
        if workload is None:
            return
        owned = self.simulation.objects(REVISIONS if workload.kind == SET else REPLICA_SETS, workload.namespace)
        images = [found for tree in sorted(owned, key=_revision) if (found := _image_of(tree, workload.name))]
        if len(images) > 1:
            await self.image(Step(0.0, "image", step.what, images[-2]))

    async def delete(self, step: Step) -> None:
        workload = self.world.get(step.what)
        if workload is not None:
            await self.client.delete(
                _resource(workload), workload.namespace, step.what, propagation=step.value or "Background"
            )

    async def create_again(self, step: Step) -> None:
        if step.what in self.world:
            await self.create(self.world[step.what])

    async def delete_namespace(self, step: Step) -> None:
        await self.client.delete(NAMESPACES, None, self.namespace)

    async def delete_pod(self, step: Step) -> None:
        grace = int(step.value) if step.value else None
        await self.client.delete(PODS, self.namespace, step.what, grace_seconds=grace)

    async def evict_pod(self, step: Step) -> None:
        await self.evict(step.what)

    async def drain(self, step: Step) -> None:
        """Cordon a node and ask once for each of its pods to leave."""
        await self._cordon(step.what, True)
        for pod in self.simulation.objects(PODS):
            if pod["spec"].get("nodeName") == step.what:
                try:
                    await self.evict(pod["metadata"]["name"])
                except ApiError as error:
                    self.simulation.say(f"{pod['metadata']['name']} stays: {error}")

    async def uncordon(self, step: Step) -> None:
        await self._cordon(step.what, False)

    # What goes wrong

    async def crash(self, step: Step) -> None:
        await self.simulation.crash(self.namespace, step.what, int(step.value or 1))

    async def run_out_of_memory(self, step: Step) -> None:
        await self.simulation.crash(self.namespace, step.what, oom=True)

    async def fail_probe(self, step: Step) -> None:
        self.simulation.fail_probe(self.namespace, step.what, _PROBES[step.value])

    async def recover(self, step: Step) -> None:
        for kind in _PROBES.values():
            self.simulation.fail_probe(self.namespace, step.what, kind, fails=False)

    async def slow_start(self, step: Step) -> None:
        self.simulation.slow_start(self.namespace, step.what, float(step.value))

    async def fail_image(self, step: Step) -> None:
        self.simulation.fail_image(step.what)

    async def restore_image(self, step: Step) -> None:
        self.simulation.fail_image(step.what, fails=False)

    async def lose_node(self, step: Step) -> None:
        if step.what in self.simulation.machines:
            await self.simulation.lose_node(step.what)

    async def kill_agent(self, step: Step) -> None:
        if step.what in self.simulation.machines:
            await self.simulation.kill_agent(step.what)

    async def return_node(self, step: Step) -> None:
        if step.what in self.simulation.machines:
            self.simulation.return_node(step.what)

    async def cut(self, step: Step) -> None:
        self.simulation.cut(step.what)

    async def join(self, step: Step) -> None:
        self.simulation.join(step.what)

    async def part(self, step: Step) -> None:
        self.simulation.part(self.namespace, step.what, step.value)

    async def reunite(self, step: Step) -> None:
        self.simulation.reunite()

    async def refuse(self, step: Step) -> None:
        self.simulation.faults.add(Rule(step.what, chance=float(step.value or 1)))

    async def heal(self, step: Step) -> None:
        self.simulation.faults.rules.clear()

    async def drop_watches(self, step: Step) -> None:
        self.simulation.faults.drop_watches(step.what)

    async def expire_watches(self, step: Step) -> None:
        self.simulation.faults.expire_watches(step.what)

    async def restart_control(self, step: Step) -> None:
        if self.simulation.serving:
            await self.simulation.kill_control()
            self.simulation.start_control()

    async def kill_engine(self, step: Step) -> None:
        await self.simulation.kill_engine()

    async def start_engine(self, step: Step) -> None:
        await self.simulation.start_engine()

    async def stall(self, step: Step) -> None:
        self.simulation.stall()

    async def go_on(self, step: Step) -> None:
        self.simulation.go_on()

    async def fail_names(self, step: Step) -> None:
        self.simulation.fail_names()

    async def freeze_names(self, step: Step) -> None:
        self.simulation.cut(DNS)

    async def restore_names(self, step: Step) -> None:
        self.simulation.fail_names(fails=False)
        self.simulation.join(DNS)

    async def jump(self, step: Step) -> None:
        self.simulation.jump(float(step.value or step.what))


KINDS: Final[Mapping[str, Callable[[Player, Step], Awaitable[None]]]] = {
    name: getattr(Player, name)
    for name in (
        "scale", "image", "partition", "strategy", "start", "retention", "pause", "rollback", "delete", "create_again",
        "delete_namespace", "delete_pod", "evict_pod", "drain", "uncordon", "crash", "run_out_of_memory", "fail_probe",
        "recover", "slow_start", "fail_image", "restore_image", "lose_node", "kill_agent", "return_node", "cut", "join",
        "part", "reunite", "refuse", "heal", "drop_watches", "expire_watches", "restart_control", "kill_engine",
        "start_engine", "stall", "go_on", "fail_names", "freeze_names", "restore_names", "jump",
    )
}  # fmt: skip
"""Every kind of step, and what it does."""


def _resource(workload: Workload) -> Resource:
    return SETS if workload.kind == SET else DEPLOYMENTS


def _revision(tree: Any) -> tuple[int, str]:
    annotations = tree["metadata"].get("annotations") or {}
    number = tree.get("revision") or annotations.get("deployment.kubernetes.io/revision", 0)
    return int(number), tree["metadata"]["name"]


def _image_of(tree: Any, owner: str) -> str:
    if not any(one["name"] == owner for one in tree["metadata"].get("ownerReferences") or ()):
        return ""
    spec = tree["data"]["spec"] if "data" in tree else tree["spec"]
    return str(spec["template"]["spec"]["containers"][0]["image"])
