"""What an election needs of the API: exact times, and of several writers one that wins. Source: workloads 20."""

import asyncio
import json
from typing import Any

import pytest

from homeport.api.exchange import Request
from homeport.client.inprocess import InProcessTransport
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.simulation import ADMIN
from tests.controllers.requests import create, put

PLACE = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


def lease(**spec: Any) -> dict[str, Any]:
    body = {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0, **spec}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": body}


def race(homeport: SimulatedCluster, method: str, path: str, bodies: list[dict[str, Any]]) -> list[int]:
    """Send requests at once; return their codes in order."""
    transport = InProcessTransport(homeport.simulation.server.handle, ADMIN)
    headers = {"accept": "application/json", "content-type": "application/json"}

    async def send() -> list[int]:
        requests = [Request(method, path, (), headers, json.dumps(body).encode()) for body in bodies]
        return [one.status for one in await asyncio.gather(*map(transport.send, requests))]

    return sorted(homeport.run(send()))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00.123456Z"),
        ("2026-01-01T00:00:00.100000Z", "2026-01-01T00:00:00.100000Z"),
        ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000Z"),
        ("2026-01-01T02:00:00.5+02:00", "2026-01-01T00:00:00.500000Z"),
    ],
)
def test_times_keep_their_microseconds(homeport: SimulatedCluster, given: str, kept: str) -> None:
    code, made = create(homeport, lease(acquireTime=given, renewTime=given))
    assert code == 201
    assert (made["spec"]["acquireTime"], made["spec"]["renewTime"]) == (kept, kept)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"leaseDurationSeconds": 0}, 422),
        ({"leaseDurationSeconds": -1}, 422),
        ({"leaseTransitions": -1}, 422),
        ({"renewTime": "yesterday"}, 400),
    ],
)
def test_what_cannot_be_is_refused(homeport: SimulatedCluster, spec: dict[str, Any], code: int) -> None:
    seen, answer = create(homeport, lease(**spec))
    assert seen == code, answer


def test_a_released_lease_has_no_holder(homeport: SimulatedCluster) -> None:
    _, made = create(homeport, lease())
    released = {**made, "spec": {**made["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}
    code, answer = put(homeport, released)
    assert (code, answer["spec"].get("holderIdentity", "")) == (200, "")


def test_of_many_who_create_one_wins(homeport: SimulatedCluster) -> None:
    bodies = [lease(holderIdentity=f"h{number}") for number in range(8)]
    assert race(homeport, "POST", PLACE, bodies) == [201, *[409] * 7]


def test_of_many_who_renew_from_the_same_record_one_wins(homeport: SimulatedCluster) -> None:
    _, made = create(homeport, lease())
    bodies = [{**made, "spec": {**made["spec"], "holderIdentity": f"h{number}"}} for number in range(8)]
    assert race(homeport, "PUT", f"{PLACE}/l", bodies) == [200, *[409] * 7]


def test_a_record_read_before_another_write_is_stale(homeport: SimulatedCluster) -> None:
    _, made = create(homeport, lease())
    assert put(homeport, {**made, "spec": {**made["spec"], "leaseTransitions": 1}})[0] == 200
    code, refusal = put(homeport, {**made, "spec": {**made["spec"], "leaseTransitions": 2}})
    assert (code, refusal["reason"]) == (409, "Conflict")
