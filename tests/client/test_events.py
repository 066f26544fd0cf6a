import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homeport.api.exchange import Request, Response, User
from homeport.client.events import SIMILAR_PREFIX, EventRecorder
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.errors import Forbidden
from homeport.testing.loop import VirtualClock
from tests.client.objects import ObjectServer

pytestmark = pytest.mark.virtual

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "web-0", "namespace": "shop", "uid": "u1", "resourceVersion": "7"},
}


@asynccontextmanager
async def recording(server: ObjectServer) -> AsyncIterator[EventRecorder]:
    client = RestClient(InProcessTransport(server.handle, User("kubelet")), "kubelet/1")
    recorder = EventRecorder(client, VirtualClock(), "kubelet", "node-1")
    task = asyncio.create_task(recorder.run())
    yield recorder
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def events(server: ObjectServer) -> list[dict[str, Any]]:
    return list(server.objects.values())


async def test_an_event_says_who_saw_what_where() -> None:
    server = ObjectServer()
    async with recording(server) as recorder:
        recorder.normal(POD, "Started", "Container started", field_path="spec.containers{web}")
        recorder.warning({**POD, "metadata": {"name": "n1"}, "kind": "Node"}, "NodeNotReady", "gone")
    first, second = events(server)
    assert first["metadata"]["namespace"] == "shop"
    assert first["metadata"]["name"].startswith("web-0.")
    assert first["involvedObject"] == {
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-0",
        "uid": "u1",
        "apiVersion": "v1",
        "resourceVersion": "7",
        "fieldPath": "spec.containers{web}",
    }
    assert first["source"] == {"component": "kubelet", "host": "node-1"}
    assert (first["type"], first["reason"], first["message"]) == ("Normal", "Started", "Container started")
    assert (first["count"], first["firstTimestamp"]) == (1, "2026-01-01T00:00:00Z")
    assert (second["type"], second["metadata"]["namespace"]) == ("Warning", "default")


async def test_components_that_speak_at_the_same_moment_are_both_heard() -> None:
    server = ObjectServer()
    clock = VirtualClock()
    for component in ("kubelet", "default-scheduler", "taint-eviction-controller"):
        client = RestClient(InProcessTransport(server.handle, User(component)), component)
        recorder = EventRecorder(client, clock, component)
        recorder.normal(POD, "Said", component)
        task = asyncio.create_task(recorder.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len({event["metadata"]["name"] for event in events(server)}) == 3


async def test_equal_events_are_counted() -> None:
    server = ObjectServer()
    async with recording(server) as recorder:
        for _ in range(3):
            recorder.warning(POD, "BackOff", "Back-off restarting")
            await asyncio.sleep(60)
    (event,) = events(server)
    assert event["count"] == 3
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z")
    assert server.requests == ["POST", "PATCH", "PATCH"]


async def test_an_event_that_aged_out_is_made_anew() -> None:
    server = ObjectServer()
    async with recording(server) as recorder:
        recorder.normal(POD, "Pulled", "x")
        await asyncio.sleep(1)
        server.objects.clear()
        recorder.normal(POD, "Pulled", "x")
    (event,) = events(server)
    assert event["count"] == 2
    assert server.requests == ["POST", "PATCH", "POST"]


async def test_many_similar_events_become_one() -> None:
    server = ObjectServer()
    async with recording(server) as recorder:
        for n in range(14):
            recorder.normal(POD, "Scheduled", f"try {n}")
            await asyncio.sleep(1)
    assert len(events(server)) == 10
    combined = events(server)[-1]
    assert (combined["count"], combined["message"]) == (5, f"{SIMILAR_PREFIX}try 13")


async def test_one_objects_flood_is_stopped_and_others_are_not() -> None:
    server = ObjectServer()
    async with recording(server) as recorder:
        for _ in range(40):
            recorder.warning(POD, "Unhealthy", "probe failed")
        recorder.normal({**POD, "metadata": {"uid": "u1", "name": "web-1"}}, "Started", "x")  # type: ignore[dict-item]
        await asyncio.sleep(301)
        assert [event["count"] for event in events(server)] == [25, 1]
        recorder.warning(POD, "Unhealthy", "probe failed")
    assert [event["count"] for event in events(server)] == [26, 1]


async def test_an_absent_server_is_waited_for_a_refusal_is_not() -> None:
    server = ObjectServer()
    async with recording(server) as recorder:
        server.failures.extend([ConnectionRefusedError("down")] * 3)
        recorder.normal(POD, "Started", "a")
        await asyncio.sleep(31)
        assert [event["message"] for event in events(server)] == ["a"]
        server.failures.append(Forbidden("namespace is being terminated"))
        recorder.normal(POD, "Started", "b")
        recorder.normal(POD, "Started", "c")
    assert [event["message"] for event in events(server)] == ["a", "c"]


async def test_events_of_one_instant_have_different_names() -> None:
    server = ObjectServer()
    async with recording(server) as recorder:
        for reason in ("Pulling", "Pulled", "Created", "Started"):
            recorder.normal(POD, reason, "x")
    assert len(events(server)) == 4


@pytest.mark.parametrize(("count", "last"), [(1, 0.01), (5, 0.21), (600, 0.01 * 600 + 0.04 * 499)])
async def test_a_crowd_of_events_leaves_the_server_to_others(count: int, last: float) -> None:
    """Each write takes 10 ms here: four times as long nothing is sent, unless five hundred wait."""
    server, loop = ObjectServer(), asyncio.get_running_loop()
    began, sent = loop.time(), []

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.01)
        sent.append(loop.time() - began)
        return await server.handle(request)

    recorder = EventRecorder(RestClient(InProcessTransport(slow, User("kubelet")), "kubelet/1"), VirtualClock(), "k")
    task = asyncio.create_task(recorder.run())
    for number in range(count):
        recorder.normal({**POD, "metadata": {"uid": "u1", "name": f"web-{number}"}}, "Started", "started")
    await asyncio.sleep(60)
    task.cancel()
    assert len(sent) == count
    assert sent[-1] == pytest.approx(last, abs=0.005)
