"""The engine may end at any moment: wherever it is started anew, the same pods are made and the same rest is reached.

Each worked sequence is played once without a break. Every group of writes to the store is a point where the engine
could have ended just before; from each, a new server, new controllers and a new scheduler go on with what was stored,
while pods run on.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import pytest

from homeport.api.resources import find
from homeport.client.contract import PatchType
from homeport.client.rest import RestClient
from homeport.store.contract import Event
from homeport.testing.simulation import Simulation, Snapshot, run_simulated
from homeport.testing.story import is_heartbeat
from tests.conformance.workloads import headless, statefulset

SETS, PODS, CLAIMS = find("StatefulSet", "apps"), find("Pod"), find("PersistentVolumeClaim")
REVISIONS, SERVICES = find("ControllerRevision", "apps"), find("Service")
QUIET_SECONDS = 30.0
LATENCY_SECONDS = 0.02
"""How long a message is under way at most, so that the parts of the engine do not act in step."""

OLD, NEW = "example.org/web:1", "example.org/web:2"
_decode = msgspec.json.Decoder().decode

Act = Callable[[RestClient], Awaitable[object]]


class Sequence(NamedTuple):
    """What is there before, if anything, and what somebody then does."""

    before: dict[str, Any] | None
    act: Act


def web(replicas: int = 3, **spec: Any) -> dict[str, Any]:
    return statefulset("web", OLD, replicas, probe=True, claims=True, **spec)


def create(tree: dict[str, Any]) -> Act:
    return lambda client: client.create(SETS, tree, "default")


def patch(body: dict[str, Any]) -> Act:
    return lambda client: client.patch(SETS, "default", "web", body, kind=PatchType.STRATEGIC)


TEMPLATE = {"spec": {"containers": [{"name": "webserver", "image": NEW}]}}
SEQUENCES = {
    "create, ordered": Sequence(None, create(web())),
    "create, parallel": Sequence(None, create(web(podManagementPolicy="Parallel"))),
    "start moves up": Sequence(web(), patch({"spec": {"ordinals": {"start": 2}}})),
    "start moves down": Sequence(web(2, ordinals={"start": 3}), patch({"spec": {"ordinals": {"start": 2}}})),
    "a low pod is deleted": Sequence(web(), lambda client: client.delete(PODS, "default", "web-0")),
    "a rolling update": Sequence(web(), patch({"spec": {"template": TEMPLATE}})),
}


class Rest(NamedTuple):
    """Where a run ended: what exists, and how often each pod was made."""

    objects: dict[str, Any]
    created: Counter[str]


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_restart_at_any_point_changes_nothing(name: str) -> None:
    sequence = SEQUENCES[name]
    points, whole = run_simulated(lambda: _uninterrupted(sequence))
    assert len(points) > 10
    for point in points:
        resumed = run_simulated(lambda point=point: _resumed(point))
        assert resumed.created == whole.created, f"restarted after {point.elapsed:g} s"
        assert resumed.objects == whole.objects, f"restarted after {point.elapsed:g} s"


async def _uninterrupted(sequence: Sequence) -> tuple[list[Snapshot], Rest]:
    """Play a sequence; return it at every moment before something was written, and its end."""
    points: list[Snapshot] = []
    watched = False

    def written(event: Event) -> None:
        beside = is_heartbeat(event) or event.key.startswith("/registry/events/")
        if watched and not beside and event.revision == simulation.store.revision + 1:
            now = _at_once(simulation.snapshot())
            points.append(replace(now, moments=now.moments[:-1]))

    simulation = Simulation(on_change=written)
    async with simulation:
        simulation.faults.latency_seconds = LATENCY_SECONDS
        client = simulation.client("test")
        await client.create(SERVICES, headless(), "default")
        if sequence.before is not None:
            await client.create(SETS, sequence.before, "default")
            assert await simulation.rest(QUIET_SECONDS)
        await sequence.act(client)
        watched = True
        return points, await _rest(simulation)


async def _resumed(point: Snapshot) -> Rest:
    async with Simulation(snapshot=point) as simulation:
        simulation.faults.latency_seconds = LATENCY_SECONDS
        return await _rest(simulation)


async def _rest(simulation: Simulation) -> Rest:
    await asyncio.sleep(1)
    assert await simulation.rest(QUIET_SECONDS)
    found = {
        f"{resource.kind} {tree['metadata']['name']}": _lasting(tree)
        for resource in (SETS, PODS, CLAIMS, REVISIONS)
        for tree in simulation.objects(resource, "default")
    }
    created = Counter(
        _decode(event.entry.value)["metadata"]["name"]
        for _, event in simulation.story.changes()
        if event.key.startswith("/registry/pods/") and event.previous is None and event.entry is not None
    )
    return Rest(found, created)


def _at_once(coroutine: Coroutine[Any, Any, Snapshot]) -> Snapshot:
    """Return what a coroutine gives that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        snapshot: Snapshot = done.value
        return snapshot
    raise AssertionError("it waits")


def _lasting(tree: dict[str, Any]) -> dict[str, Any]:
    """Return what of an object does not depend on when, where and as which one of its name it was made."""
    metadata, status = tree["metadata"], tree.get("status") or {}
    owners = [(one["kind"], one["name"]) for one in metadata.get("ownerReferences") or ()]
    kept = {"labels": metadata.get("labels"), "owners": owners, "finalizers": metadata.get("finalizers")}
    match tree["kind"]:
        case "Pod":
            (container,) = tree["spec"]["containers"]
            states = [(one["ready"], one["restartCount"]) for one in status["containerStatuses"]]
            return {**kept, "image": container["image"], "phase": status["phase"], "states": states}
        case "PersistentVolumeClaim":
            return {**kept, "phase": status["phase"]}
        case "ControllerRevision":
            return {**kept, "data": tree["data"], "revision": tree["revision"]}
    return {**kept, "spec": tree["spec"], "status": status, "generation": metadata["generation"]}
