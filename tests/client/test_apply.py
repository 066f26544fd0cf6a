"""Three-way apply: what is wanted, what was wanted last time, what others made of it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homeport.api.exchange import User
from homeport.api.patch.merge_facts import merge_facts
from homeport.api.resources import find
from homeport.client.apply import Outcome, apply, removals
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.server.app import Server
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock

SERVICE = find("Service")


def service(*ports: int, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", **metadata},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": f"p{port}", "port": port} for port in ports]},
    }


TABLE: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"spec": {"replicas": 3}}, {"spec": {}}, {"spec": {"replicas": None}}),
    ({"spec": {"replicas": 3}}, {"spec": {"replicas": 2}}, {}),
    (
        {"metadata": {"labels": {"a": "1", "b": "2"}}},
        {"metadata": {"labels": {"b": "3"}}},
        {"metadata": {"labels": {"a": None}}},
    ),
    ({"metadata": {"labels": {"a": "1"}}}, {"metadata": {}}, {"metadata": {"labels": {"a": None}}}),
    (
        {"spec": {"ports": [{"port": 1}, {"port": 2}]}},
        {"spec": {"ports": [{"port": 2}]}},
        {"spec": {"ports": [{"$patch": "delete", "port": 1}]}},
    ),
    ({"spec": {"externalIPs": ["192.0.2.1"]}}, {"spec": {"externalIPs": []}}, {}),
]


@pytest.mark.parametrize(("last", "wanted", "expected"), TABLE)
def test_removals(last: dict[str, Any], wanted: dict[str, Any], expected: dict[str, Any]) -> None:
    assert removals(last, wanted, merge_facts(SERVICE.gvk)) == expected


@asynccontextmanager
async def served() -> AsyncIterator[RestClient]:
    store = MemoryStore()
    async with Server(store, VirtualClock(), random.Random(5)) as server:
        yield RestClient(InProcessTransport(server.handle, User("admin", groups=("system:masters",))), "test")
    await store.close()


@pytest.mark.virtual
async def test_a_second_apply_writes_nothing() -> None:
    async with served() as client:
        first, made = await apply(client, SERVICE, service(80), "default")
        again, same = await apply(client, SERVICE, service(80), "default")
        assert (first, again) == (Outcome.CREATED, Outcome.UNCHANGED)
        assert made["metadata"]["resourceVersion"] == same["metadata"]["resourceVersion"]


@pytest.mark.virtual
async def test_what_is_not_wanted_any_more_goes_and_what_others_added_stays() -> None:
    async with served() as client:
        _, made = await apply(client, SERVICE, service(80, 81, labels={"mine": "1"}), "default")
        await client.patch(SERVICE, "default", "web", {"metadata": {"labels": {"theirs": "2"}}})
        outcome, changed = await apply(client, SERVICE, service(81), "default")
        assert outcome is Outcome.CONFIGURED
        assert [port["port"] for port in changed["spec"]["ports"]] == [81]
        assert changed["metadata"]["labels"] == {"theirs": "2"}
        assert changed["spec"]["clusterIP"] == made["spec"]["clusterIP"]
