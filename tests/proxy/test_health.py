"""Health checks: the answers as values, and over HTTP."""

import asyncio
import json
import socket
from ipaddress import IPv4Address

import pytest

from homeport.proxy.codec import eligible
from homeport.proxy.health import HealthServer, proxy_answer, service_answer
from homeport.proxy.model import ServiceRules
from homeport.testing.loop import VirtualClock


def rules(ready: int, port: int = 32000) -> ServiceRules:
    return ServiceRules(("db", "pg-lb"), (), (), port, ready)


@pytest.mark.parametrize(
    ("ready", "healthy", "status"), [(1, True, 200), (3, True, 200), (0, True, 503), (1, False, 503)]
)
def test_a_balancer_is_told_to_come_while_something_is_ready_here(ready: int, healthy: bool, status: int) -> None:
    answer = service_answer(rules(ready), healthy)
    assert answer.status == status
    assert answer.headers == {"X-Load-Balancing-Endpoint-Weight": str(ready)}
    assert json.loads(answer.body)["localEndpoints"] == ready


def test_the_body_is_upstreams() -> None:
    assert service_answer(rules(1), True).body == (
        '{\n\t"service": {\n\t\t"namespace": "db",\n\t\t"name": "pg-lb"\n\t},\n'
        '\t"localEndpoints": 1,\n\t"serviceProxyHealthy": true\n}'
    )


def test_the_proxy_answers_for_itself() -> None:
    assert proxy_answer("/healthz", True, 0, 60).status == 200
    assert proxy_answer("/livez", False, 0, 60).status == 503
    assert proxy_answer("/other", True, 0, 60).status == 404


def test_a_node_on_its_way_out_is_not_recommended_and_yet_lives() -> None:
    """Services-dns 17.3."""
    told = proxy_answer("/healthz", True, 0, 60, eligible=False)
    assert (told.status, json.loads(told.body)["nodeEligible"]) == (503, False)
    assert proxy_answer("/livez", True, 0, 60, eligible=False).status == 200
    assert eligible(None)
    assert eligible({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "other"}]}})
    assert not eligible({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}})
    assert not eligible({"metadata": {"name": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"}})


def test_every_answer_says_what_it_is() -> None:
    head, _, body = service_answer(rules(2), True).encode().decode().partition("\r\n\r\n")
    assert head.split("\r\n") == [
        "HTTP/1.1 200 OK",
        "Content-Type: application/json",
        "X-Content-Type-Options: nosniff",
        "X-Load-Balancing-Endpoint-Weight: 2",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def get(port: int) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /anything HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.splitlines()[0], body


async def test_listeners_follow_the_services() -> None:
    port, moved = free_port(), free_port()
    own = free_port()
    server = HealthServer([IPv4Address("127.0.0.1")], VirtualClock(), lambda: (True, 0.0), port=own)
    await server.start()
    await server.update({("db", "pg-lb"): rules(1, port)})
    assert (await get(port))[0] == "HTTP/1.1 200 OK"
    await server.update({("db", "pg-lb"): rules(0, port)})
    assert (await get(port))[0] == "HTTP/1.1 503 Service Unavailable"
    await server.update({("db", "pg-lb"): rules(1, moved)})
    assert (await get(moved))[0] == "HTTP/1.1 200 OK"
    with pytest.raises(ConnectionRefusedError):
        await get(port)
    assert (await get(own))[0] == "HTTP/1.1 404 Not Found"
    await server.close()
    with pytest.raises(ConnectionRefusedError):
        await get(moved)
