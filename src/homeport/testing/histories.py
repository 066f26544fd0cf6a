"""Random histories: some workloads, and a list of steps that change them and break things around them.

A history is a value: made from a seed, written to a file, run as often as wanted, and still one with steps left out.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import yaml

from homeport.api.resources import Resource, find
from homeport.client.contract import PatchType
from homeport.testing.faults import TROUBLES
from homeport.testing.invariants import Invariants, Violation
from homeport.testing.simulation import CONTROL, Simulation
from homeport.testing.steps import DEPLOYMENTS, SETS, Player, Step, parse_step
from homeport.testing.workloads import SET, Workload, parse_workload, random_world

__all__ = ["History", "Step", "make_history", "parse_history", "play", "without"]

LENGTH: Final = 12
LATENCY_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 60.0
PATIENT_SECONDS: Final = 1100.0
"""Longer than any back-off (1,000 s between the retries of a controller): what has not moved for so long never will."""
LIMIT_SECONDS: Final = 8 * 3600.0
FIXED_POINT_SECONDS: Final = 60.0

BUDGETS: Final = find("PodDisruptionBudget", "policy")
_HOLDING_UP: Final = frozenset({"refuse", "stall"})


@dataclass(frozen=True, slots=True)
class History:
    """What is played: on how many nodes, with which workloads, step by step. `str` is a file `parse_history` reads."""

    seed: int
    nodes: int
    world: tuple[Workload, ...]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        lines = [f"seed: {self.seed}", f"nodes: {self.nodes}", "world:"]
        lines += [f"- {workload}" for workload in self.world]
        return "\n".join([*lines, "steps:" if self.steps else "steps: []", *(f"- {step}" for step in self.steps)])


def parse_history(text: str) -> History:
    """Return the history of a file. Raises ValueError with what is wrong."""
    tree = yaml.safe_load(text)
    if not isinstance(tree, dict) or not {"world", "steps"} <= tree.keys() <= {"seed", "nodes", "world", "steps"}:
        raise ValueError("a history has `world` and `steps`, and may have `seed` and `nodes`")
    world = tuple(parse_workload(str(line)) for line in tree["world"])
    steps = tuple(parse_step(str(line)) for line in tree["steps"])
    return History(int(tree.get("seed", 0)), int(tree.get("nodes", 2)), world, steps)


_WAITS: Final = (0.0, 0.0, 0.0, 0.01, 0.01, 0.05, 0.05, 0.3, 0.3, 2.0, 2.0, 10.0, 10.0, 60.0, 60.0, 400.0)
_ANY: Final = {
    "scale": 6, "image": 6, "rollback": 2, "delete": 1, "create_again": 2, "delete_pod": 5, "evict_pod": 3, "drain": 2,
    "uncordon": 2, "crash": 4, "run_out_of_memory": 1, "fail_probe": 4, "recover": 3, "slow_start": 2, "fail_image": 1,
    "restore_image": 1, "lose_node": 2, "return_node": 5, "cut": 2, "join": 3, "kill_agent": 2, "part": 2, "reunite": 1,
    "refuse": 3, "heal": 2, "drop_watches": 2, "expire_watches": 2, "restart_control": 2, "kill_engine": 3,
    "start_engine": 3, "stall": 2, "go_on": 3, "freeze_names": 1, "restore_names": 1, "jump": 1,
}  # fmt: skip
_OF_SETS: Final = {"partition": 3, "strategy": 2, "start": 2, "retention": 2}
_OF_DEPLOYMENTS: Final = {"pause": 3}


def make_history(seed: int, length: int = LENGTH) -> History:
    """Return the history of a seed."""
    rng = random.Random(seed)
    nodes, world = rng.randint(1, 3), random_world(rng)
    return History(seed, nodes, world, tuple(_step(rng, nodes, world) for _ in range(length)))


def _step(rng: random.Random, nodes: int, world: Sequence[Workload]) -> Step:
    workload = rng.choice(world)
    kinds = _ANY | (_OF_SETS if workload.kind == SET else _OF_DEPLOYMENTS)
    if workload.namespace != "default":
        kinds = kinds | {"delete_namespace": 2}
    kind = rng.choices(list(kinds), weights=list(kinds.values()))[0]
    wait, name = rng.choice(_WAITS), workload.name
    pod, other = f"{name}-{rng.randrange(4)}", f"{name}-{rng.randrange(4)}"
    node, image = f"node-{rng.randint(1, nodes)}", f"{name}:{rng.randint(1, 3)}"
    match kind:
        case "scale":
            return Step(wait, kind, name, str(rng.randint(0, 5)))
        case "image":
            return Step(wait, kind, name, image)
        case "partition":
            return Step(wait, kind, name, str(rng.choice((0, 0, 1, 2, 9))))
        case "strategy":
            return Step(wait, kind, name, rng.choice(("OnDelete", "RollingUpdate")))
        case "start":
            return Step(wait, kind, name, str(rng.randint(0, 3)))
        case "retention":
            return Step(
                wait, kind, name, rng.choice(("Retain,Retain", "Delete,Retain", "Retain,Delete", "Delete,Delete"))
            )
        case "pause":
            return Step(wait, kind, name, rng.choice(("on", "off")))
        case "delete":
            return Step(wait, kind, name, rng.choice(("Orphan", "Orphan", "Background", "Foreground")))
        case "rollback" | "create_again":
            return Step(wait, kind, name)
        case "fail_image" | "restore_image":
            return Step(wait, kind, image)
        case "fail_probe":
            return Step(wait, kind, pod, rng.choice(("readiness", "readiness", "liveness")))
        case "crash":
            return Step(wait, kind, pod, str(rng.choice((0, 1, 143))))
        case "slow_start":
            return Step(wait, kind, pod, str(rng.choice((3, 15, 45))))
        case "delete_pod":
            return Step(wait, kind, pod, rng.choice(("", "", "1")))
        case "part":
            return Step(wait, kind, pod, other) if pod != other else Step(wait, "reunite")
        case "lose_node" | "return_node" | "kill_agent" | "drain" | "uncordon":
            return Step(wait, kind, node)
        case "cut" | "join":
            return Step(wait, kind, rng.choice((node, CONTROL)))
        case "refuse":
            return Step(wait, kind, rng.choice(TROUBLES), str(rng.choice((0.1, 0.3, 1))))
        case "jump":
            return Step(wait, kind, str(rng.choice((-30, 5, 3600))))
        case "evict_pod" | "run_out_of_memory" | "recover":
            return Step(wait, kind, pod)
    return Step(wait, kind)


async def play(history: History) -> str:
    """Play a history to its end, in a simulation of its own; returns its story's hash. Raises Violation."""
    invariants = Invariants()
    async with Simulation(
        seed=history.seed, nodes=history.nodes, on_change=invariants.changed, on_start=invariants.started
    ) as simulation:
        invariants.attach(simulation)
        simulation.faults.latency_seconds = LATENCY_SECONDS
        try:
            player = Player(simulation, history.world)
            for workload in history.world:
                await player.create(workload)
            for step in history.steps:
                await asyncio.sleep(step.wait)
                invariants.before(step)
                await player.perform(step)
                simulation.check()
                invariants.check()
            invariants.disturbed()
            await player.mend()
            await _come_to_rest(simulation, invariants, patient=_needs_patience(history))
            await _stay(simulation)
            invariants.check()
        except Violation as violation:
            violation.add_note(simulation.story.text())
            raise
        return simulation.digest()


def _needs_patience(history: History) -> bool:
    """Whether a component may still wait: one that was refused or cut off tries again within 1,000 s at most.

    An eviction that a stalled store cut in two is taken back after 2 minutes (13.1).
    """
    held_up = any(step.kind in _HOLDING_UP or (step.kind == "cut" and step.what == CONTROL) for step in history.steps)
    return held_up or history.seed % 16 == 0


async def _come_to_rest(simulation: Simulation, invariants: Invariants, patient: bool) -> None:
    """Wait until nothing moves and all is as it should be; where it is not yet, as long as anything may still come."""
    for quiet, touches in ((QUIET_SECONDS, False), (PATIENT_SECONDS, True), (PATIENT_SECONDS, False)):
        await _rest(simulation, quiet)
        if await _touch(simulation, (BUDGETS,)):
            await _rest(simulation, QUIET_SECONDS)
        findings = await invariants.at_rest()
        if not findings and not (patient and quiet == QUIET_SECONDS):
            return
        if touches:
            simulation.say("the workloads are touched")
            await _touch(simulation, (SETS, DEPLOYMENTS))
    if findings:
        raise Violation(findings[0])


async def _rest(simulation: Simulation, quiet: float) -> None:
    if not await simulation.rest(quiet, LIMIT_SECONDS):
        raise Violation("rest: the cluster does not come to rest")


async def _touch(simulation: Simulation, resources: Sequence[Resource]) -> int:
    """Touch objects, as a person would, and return how many there were.

    Nothing else wakes a set that waited for a former claim to vanish (6.3), a Deployment given up after 15 failures
    (19), or a budget whose workload was scaled without a pod's coming or going (13.1), but a look at everything that
    upstream takes twice a day.
    """
    found = [(resource, tree["metadata"]) for resource in resources for tree in simulation.objects(resource)]
    patch = {"metadata": {"annotations": {"touched": f"{simulation.now:.0f}"}}}
    client = simulation.client("person")
    for resource, metadata in found:
        await client.patch(resource, metadata["namespace"], metadata["name"], patch, kind=PatchType.STRATEGIC)
    return len(found)


async def _stay(simulation: Simulation) -> None:
    """Rest is a fixed point: an engine and agents that begin anew find nothing to do. Raises Violation."""
    simulation.say("everything is restarted, and nothing should change")
    before = len(simulation.story.moments)
    await simulation.kill_engine()
    await simulation.start_engine()
    for machine in simulation.machines.values():
        await machine.kill()
        machine.start()
    await asyncio.sleep(FIXED_POINT_SECONDS)
    simulation.check()
    changes = [moment for moment in simulation.story.moments[before:] if moment.at >= simulation.last_change]
    if simulation.now - simulation.last_change < FIXED_POINT_SECONDS:
        what: Any = next((moment.what for moment in changes if not isinstance(moment.what, str)), "something")
        raise Violation(f"fixed point: {getattr(what, 'key', what)} changed after a restart at rest")


def without(history: History, left_out: Sequence[int]) -> History:
    """Return a history without some of its steps, by index; their waits go to the next one."""
    steps: list[Step] = []
    owed = 0.0
    for index, step in enumerate(history.steps):
        if index in left_out:
            owed += step.wait
        else:
            steps.append(replace(step, wait=step.wait + owed))
            owed = 0.0
    return replace(history, steps=tuple(steps))
