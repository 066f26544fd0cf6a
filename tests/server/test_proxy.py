"""Requests passed on to pods and Services, through a node agent that forwards ports."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.loopback import Address, exchange, listening
from tests.server.test_protocol import plain

ANSWER = b"HTTP/1.1 200 Fine\r\ncontent-type: text/x-test\r\nlocation: /other\r\ncontent-length: 11\r\n\r\nhello there"


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, bytes]]:
    return []


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[str, bytes]]) -> Iterator[Address]:
    from websockets.sync.server import ServerConnection, unix_serve

    folder = tmp_path_factory.mktemp("proxy")

    def forward(connection: ServerConnection) -> None:
        assert connection.request is not None
        port = int(connection.request.path.rpartition("=")[2])
        connection.send(b"\x00" + port.to_bytes(2, "little"))
        connection.send(b"\x01" + port.to_bytes(2, "little"))
        if port == 81:
            connection.send(b"\x01error forwarding port 81: connection refused")
            return
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith((b"\r\n\r\n", b"body")):
            message = connection.recv()
            assert isinstance(message, bytes)
            assert message[:1] == b"\x00"
            received += message[1:]
        asked.append((connection.request.path, received))
        for byte in range(0, len(ANSWER), 40):
            connection.send(b"\x00" + ANSWER[byte : byte + 40])

    node = folder / "node.sock"
    with unix_serve(forward, str(node), subprotocols=["v4.channel.k8s.io"]) as server:  # type: ignore[list-item]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with listening(folder / "server", str(node)) as found:
            prepare(found)
            yield found
        server.shutdown()
        thread.join()


def ask(
    address: Address, method: str, path: str, body: bytes = b"", accept: str = "text/html"
) -> tuple[int, bytes, bytes]:
    """Return status, head and body."""
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\ncontent-length: {len(body)}\r\n"
    with plain(address) as connection:
        received = exchange(connection, head.encode() + b"connection: close\r\n\r\n" + body, b"no such bytes")
    top, _, rest = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), top, rest


def patch(address: Address, path: str, change: Any) -> int:
    body = json.dumps(change).encode()
    head = f"PATCH {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
    with plain(address) as connection:
        kind = b"content-type: application/merge-patch+json\r\n\r\n"
        received = exchange(connection, head.encode() + kind + body, b"no such bytes")
    return int(received.split()[1])


def prepare(address: Address) -> None:
    def create(path: str, tree: Any) -> None:
        status, _, body = ask(address, "POST", path, json.dumps(tree).encode(), "application/json")
        assert status == 201, body

    core = "/api/v1/namespaces/default"
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 8080}]}
    create(f"{core}/pods", {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [container]}})
    running = {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}}
    assert patch(address, f"{core}/pods/p/status", running) == 200
    for name, port in (("s", "web"), ("unnamed", ""), ("empty", "web"), ("alone", "web"), ("foreign", "web")):
        create(f"{core}/services", {"metadata": {"name": name}, "spec": {"ports": [{"name": port, "port": 80}]}})
    reference = {"kind": "Pod", "name": "p", "namespace": "default"}
    place = {"ip": "10.0.0.1", "targetRef": reference}
    for name, port in (("s", "web"), ("unnamed", "")):
        subset = {"addresses": [place], "ports": [{"name": port, "port": 9090}]}
        create(f"{core}/endpoints", {"metadata": {"name": name}, "subsets": [subset]})
    strangers = [
        {"ip": "10.0.0.1"},
        {"ip": "10.0.0.2", "targetRef": reference},
        {"ip": "10.0.0.1", "targetRef": {**reference, "namespace": "other"}},
        {"ip": "10.0.0.1", "targetRef": {**reference, "name": "gone"}},
    ]
    subset = {"addresses": strangers, "notReadyAddresses": [place], "ports": [{"name": "web", "port": 9090}]}
    create(f"{core}/endpoints", {"metadata": {"name": "foreign"}, "subsets": [subset]})
    create(f"{core}/endpoints", {"metadata": {"name": "empty"}})


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("pods/p", 8080),
        ("pods/p:7000", 7000),
        ("pods/http:p:7000", 7000),
        ("services/unnamed", 9090),
        ("services/s:web", 9090),
        ("services/http:s:80", 9090),
    ],
)
def test_a_request_reaches_the_port_its_name_means(
    address: Address, asked: list[tuple[str, bytes]], name: str, port: int
) -> None:
    path = f"/api/v1/namespaces/default/{name}/proxy/some/path/?a=b%20c&a=d"
    status, head, body = ask(address, "POST", path, b"the body")
    assert (status, body.count(b"hello there")) == (200, 1)
    assert b"content-type: text/x-test" in head
    assert b"location: /api/v1/namespaces/default/" in head
    way, request = asked[-1]
    assert way == f"/portForward/default/p?ports={port}"
    assert request.startswith(b"POST /some/path/?a=b+c&a=d HTTP/1.1\r\nhost: p:%d\r\n" % port)
    assert request.endswith(b"\r\n\r\nthe body")
    assert b"\r\naccept: text/html\r\n" in request


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("pods/nope/proxy/", 404, 'pods "nope" not found'),
        ("pods/p:81/proxy/", 503, "error trying to reach service: error forwarding port 81: connection refused"),
        ("services/s:99/proxy/", 503, 'no service port 99 found for service "s"'),
        ("services/empty/proxy/", 503, 'no endpoints available for service "empty"'),
        ("services/s/proxy/", 503, 'no endpoints available for service "s"'),  # of that name: none
        ("services/s:other/proxy/", 503, 'no endpoints available for service "s:other"'),
        ("services/foreign:80/proxy/", 503, 'no endpoints available for service "foreign:80"'),
        ("services/alone/proxy/", 404, 'services "alone" not found'),
        ("services/alone:80/proxy/", 404, 'services "alone" not found'),
        ("services/nope:80/proxy/", 404, 'services "nope" not found'),
        ("services/a:b:c:d/proxy/", 400, 'invalid service request "a:b:c:d"'),
    ],
)
def test_what_cannot_be_reached_is_told(address: Address, name: str, status: int, message: str) -> None:
    code, _, body = ask(address, "GET", f"/api/v1/namespaces/default/{name}")
    assert (code, json.loads(body)["message"]) == (status, message)


def test_a_missing_slash_is_put_in(address: Address) -> None:
    status, head, _ = ask(address, "GET", "/api/v1/namespaces/default/services/unnamed/proxy?x=1")
    assert status == 301
    assert b"location: /api/v1/namespaces/default/services/unnamed/proxy/?x=1" in head


def test_a_head_request_gets_no_body(address: Address) -> None:
    status, _, body = ask(address, "HEAD", "/api/v1/namespaces/default/pods/p/proxy/")
    assert (status, body) == (200, b"")
