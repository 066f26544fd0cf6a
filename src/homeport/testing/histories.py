"""Random histories: a StatefulSet, and a list of steps that change it and break things around it.

A history is a value: made from a seed, run as often as wanted, and still one with steps left out.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import PatchType
from homeport.errors import NotFound
from homeport.node.pod import ProbeKind
from homeport.testing.faults import TROUBLES, Rule
from homeport.testing.invariants import Invariants, Violation
from homeport.testing.simulation import CONTROL, Simulation

__all__ = ["History", "Step", "make_history", "play", "without"]

SETS: Final = find("StatefulSet", "apps")
SERVICES: Final = find("Service")
PODS: Final = find("Pod")
NAMESPACE: Final = "default"
NAME: Final = "db"
LATENCY_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 1100.0
"""Longer than any back-off (1,000 s between the retries of a controller): what has not moved for so long never will."""
LIMIT_SECONDS: Final = 8 * 3600.0
FIXED_POINT_SECONDS: Final = 120.0
RECOVERY_SECONDS: Final = 120.0
"""How long after a disturbance informers may still be catching up."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens, `wait` seconds after the one before it. Steps whose object is missing do nothing."""

    wait: float
    kind: str
    what: str = ""
    number: float = 0.0

    def __str__(self) -> str:
        number = f" {self.number:g}" if self.number else ""
        return f"after {self.wait:g} s: {self.kind.replace('_', ' ')} {self.what}{number}".rstrip()


@dataclass(frozen=True, slots=True)
class History:
    """What is played. `policy` is the set's podManagementPolicy; `when_scaled` its retention policy for claims."""

    seed: int
    nodes: int
    replicas: int
    policy: str
    claims: bool
    when_scaled: str
    minimum_ready_seconds: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        claims = f", claims ({self.when_scaled} when scaled)" if self.claims else ""
        head = f"seed {self.seed}: {self.replicas} × {self.policy} on {self.nodes} nodes{claims}"
        if self.minimum_ready_seconds:
            head += f", minReadySeconds {self.minimum_ready_seconds}"
        return "\n".join([head, *(f"  {number}. {step}" for number, step in enumerate(self.steps, 1))])


_KINDS: Final = {
    "scale": 6, "image": 5, "crash": 4, "run_out_of_memory": 1, "fail_readiness": 3, "fail_liveness": 2,
    "recover": 3, "slow_start": 2, "delete_pod": 4, "fail_image": 1, "restore_image": 1, "lose_node": 2,
    "return_node": 3, "cut": 2, "join": 3, "kill_agent": 2, "start_agent": 3, "refuse": 3, "heal": 2,
    "drop_watches": 2, "expire_watches": 2, "restart_control": 3, "jump": 1,
}  # fmt: skip
_WAITS: Final = (0.0, 0.0, 0.01, 0.05, 0.3, 2.0, 10.0, 60.0, 400.0)


def make_history(seed: int, length: int = 16) -> History:
    """Return the history of a seed."""
    rng = random.Random(seed)
    nodes = rng.choice([1, 2, 3])
    steps = tuple(_step(rng, nodes) for _ in range(length))
    return History(
        seed, nodes, rng.randint(1, 4), rng.choice(["OrderedReady", "OrderedReady", "Parallel"]), rng.random() < 0.6,
        rng.choice(["Retain", "Delete"]), rng.choice([0, 0, 5]), steps,
    )  # fmt: skip


def _step(rng: random.Random, nodes: int) -> Step:
    kind = rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0]
    wait, pod = rng.choice(_WAITS), f"{NAME}-{rng.randrange(4)}"
    node = f"node-{rng.randint(1, nodes)}"
    match kind:
        case "scale":
            return Step(wait, kind, NAME, rng.randint(0, 5))
        case "image" | "fail_image" | "restore_image":
            return Step(wait, kind, f"db:{rng.randint(1, 3)}")
        case "crash":
            return Step(wait, kind, pod, rng.choice([0, 1, 143]))
        case "slow_start":
            return Step(wait, kind, pod, rng.choice([3, 15, 45]))
        case "delete_pod":
            return Step(wait, kind, pod, rng.choice([0, 0, 1]))
        case "lose_node" | "return_node" | "kill_agent" | "start_agent":
            return Step(wait, kind, node)
        case "cut" | "join":
            return Step(wait, kind, rng.choice([node, CONTROL]))
        case "refuse":
            return Step(wait, kind, rng.choice(TROUBLES), rng.choice([0.1, 0.3, 1.0]))
        case "jump":
            return Step(wait, kind, "", rng.choice([-30, 5, 3600]))
        case "heal" | "drop_watches" | "expire_watches" | "restart_control":
            return Step(wait, kind)
    return Step(wait, kind, pod)


async def play(history: History) -> str:
    """Play a history to its end, in a simulation of its own; returns its story's hash. Raises Violation."""
    invariants = Invariants()
    async with Simulation(
        seed=history.seed, nodes=history.nodes, on_change=invariants.changed, on_start=invariants.started
    ) as simulation:
        invariants.attach(simulation)
        simulation.faults.latency_seconds = LATENCY_SECONDS
        try:
            await _create(simulation, history)
            for step in history.steps:
                await asyncio.sleep(step.wait)
                await _perform(simulation, invariants, step)
                simulation.check()
                invariants.check()
            await _recover(simulation, history.nodes)
            for _ in range(2):
                if not await simulation.rest(QUIET_SECONDS, LIMIT_SECONDS):
                    raise Violation("rest: the cluster does not come to rest")
                await _touch(simulation)
            if not await simulation.rest(QUIET_SECONDS, LIMIT_SECONDS):
                raise Violation("rest: the cluster does not come to rest")
            await invariants.at_rest()
            await _stay(simulation)
        except Violation as violation:
            violation.add_note(simulation.story.text())
            raise
        return simulation.digest()


async def _touch(simulation: Simulation) -> None:
    """Touch the set, as a person would: one that waited for a former claim to vanish is woken by nothing else (6.3)."""
    simulation.say("the set is touched")
    patch = {"metadata": {"annotations": {"touched": f"{simulation.now:.0f}"}}}
    await simulation.client("person").patch(SETS, NAMESPACE, NAME, patch, kind=PatchType.STRATEGIC)


async def _stay(simulation: Simulation) -> None:
    """Rest is a fixed point: components that begin anew find nothing to do. Raises Violation."""
    simulation.say("everything is restarted, and nothing should change")
    before = len(simulation.story.moments)
    await simulation.kill_control()
    simulation.start_control()
    for machine in simulation.machines.values():
        await machine.kill()
        machine.start()
    await asyncio.sleep(FIXED_POINT_SECONDS)
    simulation.check()
    changes = [moment for moment in simulation.story.moments[before:] if moment.at >= simulation.last_change]
    if simulation.now - simulation.last_change < FIXED_POINT_SECONDS and changes:
        raise Violation(
            f"fixed point: {getattr(changes[0].what, 'key', changes[0].what)} changed after a restart at rest"
        )


def _template(history: History) -> Any:
    probe: dict[str, Any] = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}
    container: dict[str, Any] = {"name": "db", "image": "db:1", "readinessProbe": probe, "livenessProbe": probe}
    if history.claims:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 5}
    return {"metadata": {"labels": {"app": NAME}}, "spec": spec}


async def _create(simulation: Simulation, history: History) -> None:
    client = simulation.client("history")
    metadata = {"name": NAME, "namespace": NAMESPACE}
    service = {"clusterIP": "None", "selector": {"app": NAME}, "ports": [{"port": 80}]}
    await client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    spec: dict[str, Any] = {
        "serviceName": NAME,
        "replicas": history.replicas,
        "podManagementPolicy": history.policy,
        "minReadySeconds": history.minimum_ready_seconds,
        "selector": {"matchLabels": {"app": NAME}},
        "template": _template(history),
    }
    if history.claims:
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenScaled": history.when_scaled, "whenDeleted": "Retain"}
    await client.create(SETS, {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec})


async def _perform(simulation: Simulation, invariants: Invariants, step: Step) -> None:
    client, what = simulation.client("history"), step.what
    match step.kind:
        case "scale":
            patch: dict[str, Any] = {"spec": {"replicas": int(step.number)}}
            await client.patch(SETS, NAMESPACE, NAME, patch, kind=PatchType.STRATEGIC)
        case "image":
            container = {"name": "db", "image": what}
            patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
            await client.patch(SETS, NAMESPACE, NAME, patch, kind=PatchType.STRATEGIC)
        case "crash":
            await simulation.crash(NAMESPACE, what, int(step.number))
        case "run_out_of_memory":
            await simulation.crash(NAMESPACE, what, oom=True)
        case "fail_readiness" | "fail_liveness":
            kind = ProbeKind.READINESS if step.kind == "fail_readiness" else ProbeKind.LIVENESS
            simulation.fail_probe(NAMESPACE, what, kind)
        case "recover":
            for kind in ProbeKind:
                simulation.fail_probe(NAMESPACE, what, kind, fails=False)
        case "slow_start":
            simulation.slow_start(NAMESPACE, what, step.number)
        case "delete_pod":
            simulation.say(f"somebody deletes {what}")
            try:
                await client.delete(PODS, NAMESPACE, what, grace_seconds=1 if step.number else None)
            except NotFound:
                return
        case "fail_image" | "restore_image":
            simulation.fail_image(what, fails=step.kind == "fail_image")
        case "lose_node":
            await simulation.lose_node(what)
        case "kill_agent":
            await simulation.kill_agent(what)
        case "return_node" | "start_agent":
            simulation.return_node(what)
        case "cut":
            simulation.cut(what)
        case "join":
            simulation.join(what)
        case "refuse":
            simulation.say(f"requests fail: {what}, {step.number:.0%}")
            simulation.faults.add(Rule(what, chance=step.number))
        case "heal":
            simulation.say("requests succeed again")
            simulation.faults.rules.clear()
        case "drop_watches":
            simulation.say("watches break")
            simulation.faults.drop_watches()
        case "expire_watches":
            simulation.say("watches expire")
            simulation.faults.expire_watches()
        case "restart_control":
            simulation.say("controllers and scheduler are restarted")
            await simulation.kill_control()
            simulation.start_control()
        case "jump":
            simulation.jump(step.number)
    if step.kind in _DISTURBANCES:
        forever = step.kind in ("cut", "refuse")
        invariants.disturbed(float("inf") if forever else RECOVERY_SECONDS)


_DISTURBANCES: Final = frozenset(
    {"cut", "join", "refuse", "heal", "drop_watches", "expire_watches", "restart_control", "jump"}
)


async def _recover(simulation: Simulation, nodes: int) -> None:
    """Make everything well again."""
    simulation.say("everything is made well again")
    simulation.faults.clear()
    for namespace, pod in list(simulation.behaviours.by_pod):
        simulation.behaviours.by_pod.pop((namespace, pod))
    for number in (1, 2, 3):
        simulation.fail_image(f"db:{number}", fails=False)
    for number in range(1, nodes + 1):
        simulation.return_node(f"node-{number}")


def without(history: History, left_out: Sequence[int]) -> History:
    """Return a history without some of its steps, by index; their waits go to the next one."""
    steps: list[Step] = []
    owed = 0.0
    for index, step in enumerate(history.steps):
        if index in left_out:
            owed += step.wait
        else:
            steps.append(Step(step.wait + owed, step.kind, step.what, step.number))
            owed = 0.0
    return History(
        history.seed, history.nodes, history.replicas, history.policy, history.claims, history.when_scaled,
        history.minimum_ready_seconds, tuple(steps),
    )  # fmt: skip
