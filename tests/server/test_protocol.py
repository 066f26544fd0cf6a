"""HTTP as clients speak it: keep-alive, pipelining, streams, upgrades, limits, and who is at the other end."""

import json
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.loopback import Address, exchange, listening


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with listening(tmp_path_factory.mktemp("server")) as found:
        yield found


@contextmanager
def plain(address: Address) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(address.unix))
        yield connection


@contextmanager
def secure(address: Address, certificate: tuple[Path, Path] | None = None) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(address.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    if certificate:
        context.load_cert_chain(*certificate)
    with (
        socket.create_connection((address.host, address.port), 20) as raw,
        context.wrap_socket(raw, server_hostname="kubernetes.default.svc") as wrapped,
    ):
        yield wrapped


def test_requests_sent_ahead_are_answered_in_order(address: Address) -> None:
    with plain(address) as connection:
        paths = ["/healthz", "/api/v1/namespaces/nope", "/version", "/livez"]
        sent = b"".join(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode() for path in paths[:-1])
        sent += f"GET {paths[-1]} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
        received = exchange(connection, sent, b"no such bytes")
        statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [b"200", b"404", b"200", b"200"]


def test_a_request_may_come_in_pieces(address: Address) -> None:
    body = json.dumps({"metadata": {"name": "pieces"}}).encode()
    head = (
        b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    with plain(address) as connection:
        for byte in head + body[:-1]:
            connection.sendall(bytes([byte]))
        assert exchange(connection, body[-1:], b"}\n").startswith(b"HTTP/1.1 201 ")


def test_a_client_that_expects_it_is_told_to_continue(address: Address) -> None:
    head = (
        b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 30\r\nexpect: 100-continue\r\n\r\n"
    )
    with plain(address) as connection:
        assert exchange(connection, head, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = exchange(connection, b'{"metadata":{"name":"patient"}', b"}\n")
        assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_beyond_the_limit_is_refused_and_the_connection_ends(address: Address) -> None:
    size = 3 * 1024 * 1024 + 1
    head = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size
    with plain(address) as connection:
        answer = exchange(connection, head + b"x" * size, b"no such bytes")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["reason"] == "RequestEntityTooLarge"


def test_what_is_no_http_is_refused(address: Address) -> None:
    with plain(address) as connection:
        assert exchange(connection, b"hello\r\n\r\n", b"no such bytes").startswith(b"HTTP/1.1 400 ")


def test_the_answer_to_head_has_no_body(address: Address) -> None:
    with plain(address) as connection:
        answer = exchange(
            connection, b"HEAD /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"no such bytes"
        )
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b""
        assert b"content-length: " in head


def test_a_watch_is_chunked_and_ends_with_the_last_chunk(address: Address) -> None:
    request = b"GET /api/v1/namespaces?watch=1&timeoutSeconds=1 HTTP/1.1\r\nhost: x\r\n\r\n"
    with plain(address) as connection:
        received = exchange(connection, request, b"\r\n0\r\n\r\n")
        head, _, body = received.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert body.count(b'"type":"ADDED"') == 4
        # the connection lives on
        assert exchange(connection, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", b"ok").startswith(b"HTTP/1.1 200 ")


def test_garbage_and_sudden_ends_leave_the_server_alive(address: Address) -> None:
    rng = random.Random(5)
    request = (
        b"POST /api/v1/namespaces/default/configmaps?dryRun=All HTTP/1.1\r\nhost: x\r\n"
        b"content-type: application/json\r\ncontent-length: 21\r\n\r\n" + b'{"metadata":{"a":"b"}}'
    )
    for _ in range(150):
        spoiled = bytearray(request * rng.randint(1, 3))
        for _ in range(rng.randint(0, 6)):
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        with plain(address) as connection:
            connection.sendall(spoiled[: rng.randrange(len(spoiled))])
            if rng.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
    with plain(address) as connection:
        assert exchange(connection, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", b"ok").startswith(b"HTTP/1.1 200 ")


def test_a_head_without_end_is_refused(address: Address) -> None:
    with plain(address) as connection:
        head = b"GET / HTTP/1.1\r\n" + b"a: %b\r\n" % (b"x" * 1000) * 1200
        try:
            answer = exchange(connection, head, b"no such bytes")
        except ConnectionError:
            return  # closed before all of it was sent
        assert answer.startswith(b"HTTP/1.1 400 ")


def test_tls_offers_no_http2(address: Address) -> None:
    with secure(address) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", b"403"),
        ("authorization: Bearer secret\r\n", b"200"),
        ("authorization: Bearer wrong\r\n", b"401"),
        ("authorization: Basic eDp5\r\n", b"401"),
    ],
)
def test_a_bearer_token_says_who_asks(address: Address, header: str, status: bytes) -> None:
    with secure(address) as connection:
        request = f"GET /api/v1/namespaces HTTP/1.1\r\nhost: x\r\n{header}connection: close\r\n\r\n".encode()
        assert exchange(connection, request, b"no such bytes")[9:12] == status


def test_a_client_certificate_says_who_asks(address: Address) -> None:
    certificate = (address.pki.path("admin", "crt"), address.pki.path("admin", "key"))
    with secure(address, certificate) as connection:
        request = b"GET /api/v1/namespaces HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        assert exchange(connection, request, b"no such bytes")[9:12] == b"200"


def test_a_stranger_may_look_at_the_health_and_nothing_else(address: Address) -> None:
    with secure(address) as connection:
        assert b" 200 " in exchange(connection, b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n", b"ok")
        refused = exchange(connection, b"GET /apis HTTP/1.1\r\nhost: x\r\n\r\n", b"}\n")
        assert b'forbidden: User \\"system:anonymous\\" cannot get path \\"/apis\\"' in refused


def test_a_process_of_this_user_may_ask_for_another(address: Address) -> None:
    request = (
        b"GET /api/v1/namespaces HTTP/1.1\r\nhost: x\r\nx-remote-user: system:anonymous\r\nconnection: close\r\n\r\n"
    )
    with plain(address) as connection:
        assert exchange(connection, request, b"no such bytes")[9:12] == b"403"


def test_an_upgrade_is_tunnelled_byte_for_byte(tmp_path: Path) -> None:
    node = tmp_path / "node.sock"
    heads: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(node))
        listener.listen()

        def agent() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                head, _, early = received.partition(b"\r\n\r\n")
                heads.append(head)
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: SPDY/3.1\r\n\r\n")
                while early != b"early and late":
                    early += connection.recv(65536)
                connection.sendall(early.upper())

        thread = threading.Thread(target=agent)
        thread.start()
        with listening(tmp_path / "server", str(node)) as address, plain(address) as connection:
            pod = json.dumps(
                {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
            ).encode()
            create = b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(
                pod
            )
            assert exchange(connection, create + pod, b"}\n").startswith(b"HTTP/1.1 201 ")
            request = (
                b"POST /api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&stdout=true HTTP/1.1\r\nhost: x\r\n"
                b"connection: Upgrade\r\nupgrade: SPDY/3.1\r\nx-stream-protocol-version: v4.channel.k8s.io\r\n\r\n"
            )
            answer = exchange(connection, request + b"early", b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert exchange(connection, b" and late", b"EARLY AND LATE").endswith(b"EARLY AND LATE")
        thread.join()
    assert heads[0].startswith(b"POST /exec/default/p/c?command=ls&command=-l&stdout=true HTTP/1.1\r\n")
    assert b"x-stream-protocol-version: v4.channel.k8s.io" in heads[0]
    assert b"authorization" not in heads[0].lower()


def test_logs_are_streamed_from_the_node(tmp_path: Path) -> None:
    node = tmp_path / "node.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(node))
        listener.listen()

        def agent() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(65536).startswith(b"GET /containerLogs/default/p/c?follow=true HTTP/1.1\r\n")
                connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nline\n\r\n0\r\n\r\n")

        thread = threading.Thread(target=agent)
        thread.start()
        with listening(tmp_path / "server", str(node)) as address, plain(address) as connection:
            pod = json.dumps(
                {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
            ).encode()
            create = b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(
                pod
            )
            exchange(connection, create + pod, b"}\n")
            request = b"GET /api/v1/namespaces/default/pods/p/log?follow=true HTTP/1.1\r\nhost: x\r\n\r\n"
            answer = exchange(connection, request, b"0\r\n\r\n")
            assert b"5\r\nline\n\r\n" in answer
        thread.join()


def test_an_answer_under_way_goes_out_before_the_end(tmp_path: Path) -> None:
    with listening(tmp_path) as address, plain(address) as connection:
        request = b"GET /api/v1/namespaces?watch=1&resourceVersion=0 HTTP/1.1\r\nhost: x\r\n\r\n"
        received = exchange(connection, request, b'"type":"ADDED"')
        stopper = threading.Thread(target=address.stop)
        stopper.start()
        while piece := connection.recv(65536):
            received += piece
        stopper.join()
    assert received.endswith(b"0\r\n\r\n")


def test_a_write_whose_client_leaves_is_done_or_not_but_never_half(address: Address) -> None:
    body = b'{"metadata":{"name":"left"},"spec":{"containers":[{"name":"c","image":"i"}]}}'
    create = b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    for _ in range(20):
        with plain(address) as connection:
            connection.sendall(create + body)
        with plain(address) as connection:
            connection.sendall(b"DELETE /api/v1/namespaces/default/pods/left HTTP/1.1\r\nhost: x\r\n\r\n")
        with plain(address) as connection:
            ask = b"GET /api/v1/namespaces/default/pods/left HTTP/1.1\r\nhost: x\r\n\r\n"
            while b"deletionTimestamp" in exchange(connection, ask, b"}\n"):
                pass  # marked, and gone a commit later: never only marked


def test_an_upgrade_while_the_node_is_away_is_refused_with_its_reason(tmp_path: Path) -> None:
    with listening(tmp_path / "server", str(tmp_path / "absent.sock")) as address, plain(address) as connection:
        pod = json.dumps(
            {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
        ).encode()
        create = b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(pod)
        exchange(connection, create + pod, b"}\n")
        request = (
            b"POST /api/v1/namespaces/default/pods/p/exec?command=ls&stdout=true HTTP/1.1\r\nhost: x\r\n"
            b"connection: upgrade\r\nupgrade: SPDY/3.1\r\n\r\n"
        )
        answer = exchange(connection, request, b"}\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    status = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert status["reason"] == "ServiceUnavailable"
    assert "the node does not answer now" in status["message"]
