"""A namespace put back to a moment is as it was seen at that moment, whatever happened in between."""

import asyncio
import random
from typing import Any

import pytest

from homeport.clock import milli_time, parse_time
from homeport.explain.history import Change, rewound
from homeport.explain.model import Snapshot
from homeport.testing.loop import VirtualClock
from tests.server.inprocess import MERGE, PODS, SERVICES, Asker, pod, running

pytestmark = pytest.mark.virtual
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
KINDS = {"Pod": PODS, "Service": SERVICES, "PersistentVolumeClaim": CLAIMS}


def body(kind: str, name: str) -> Any:
    if kind == "Pod":
        return pod(name)
    if kind == "Service":
        return {"metadata": {"name": name}, "spec": {"clusterIP": "None", "selector": {"app": name}}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"metadata": {"name": name}, "spec": spec}


async def disturb(ask: Asker, rng: random.Random) -> None:
    """Make, change or delete one of a few objects, by name the same ones again and again."""
    kind, name = rng.choice([*KINDS]), f"one-{rng.randrange(3)}"
    path = f"{KINDS[kind]}/{name}"
    if (await ask("GET", path)).status == 404:
        await ask.create(KINDS[kind], body(kind, name))
    elif rng.random() < 0.4:
        await ask("DELETE", f"{path}?gracePeriodSeconds=0", {"metadata": {}})
        await ask("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)
    else:
        await ask("PATCH", path, {"metadata": {"labels": {"v": str(rng.random())}}}, content_type=MERGE)


async def present(ask: Asker) -> Snapshot:
    objects = {}
    for kind, path in KINDS.items():
        items = (await ask.get(path))["items"]
        objects[kind] = tuple(sorted(({"kind": kind, **one} for one in items), key=lambda one: one["metadata"]["name"]))
    return Snapshot("default", "cluster.local", objects)


def comparable(seen: Snapshot) -> list[Any]:
    """Return a snapshot's objects without what is added when they are read, or told of."""
    return [
        {
            **{name: value for name, value in obj.items() if name != "apiVersion"},
            "metadata": {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"},
        }
        for kind in KINDS
        for obj in seen.of(kind)
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_every_moment_is_as_it_was(seed: int) -> None:
    rng, clock = random.Random(seed), VirtualClock()
    seen: list[tuple[float, Snapshot]] = []
    async with running() as ask:
        for _ in range(60):
            await disturb(ask, rng)
            await asyncio.sleep(rng.choice((0.004, 0.5)))
            seen.append((parse_time(milli_time(clock.now())), await present(ask)))
            await asyncio.sleep(0.004)
        now = await present(ask)
        for moment, was in seen:
            told = await ask.get(f"/homeport/history?after={milli_time(moment)}&first=true")
            assert parse_time(told["knownSince"]) <= moment
            back = rewound(now, map(Change.read, told["changes"]), moment)
            assert comparable(back) == comparable(was)
