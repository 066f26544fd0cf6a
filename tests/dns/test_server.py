"""Real sockets on loopback: the fast path, the parsed path and TCP say the same."""

import asyncio
import random
import socket
import ssl
import struct
from pathlib import Path

import dns.message

from homeport.clock import WallClock
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings
from homeport.server.pki import Pki
from tests.dns.test_zone import TABLE, upstream
from tests.dns.worked import WORKED, endpoints
from tests.vectors.replay_dns import FixedClock, fill


def bound(kind: socket.SocketKind, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    if kind == socket.SOCK_STREAM:  # the port was chosen for UDP: a closed connection may still linger on it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


async def ask(port: int, query: bytes, host: str = "127.0.0.1") -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect((host, port))
        await loop.sock_sendall(asker, query)
        async with asyncio.timeout(5):
            return await loop.sock_recv(asker, 65535)


async def serving() -> tuple[DnsServer, int]:
    server = DnsServer(DnsSettings(shuffle=False), FixedClock(), random.Random(7), upstream)
    fill(server, WORKED)
    server.synced()
    udp = bound(socket.SOCK_DGRAM)
    port = udp.getsockname()[1]
    await server.serve_udp(udp)
    await server.serve_tcp(bound(socket.SOCK_STREAM, port))
    return server, port


async def test_first_second_and_tcp_answers_are_equal() -> None:
    server, port = await serving()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for text, _ in TABLE:
            name, kind = text.split()
            absolute = name if name.endswith(".") else f"{name}.svc.cluster.local."
            query = dns.message.make_query(absolute, kind).to_wire()
            first, second = await ask(port, query), await ask(port, query)
            writer.write(struct.pack("!H", len(query)) + query)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            third = await reader.readexactly(size)
            assert first == second == third, text
        writer.close()
    finally:
        await server.close()


async def test_a_change_is_answered_at_once() -> None:
    server, port = await serving()
    query = dns.message.make_query("pg-2.pg.db.svc.cluster.local.", "A").to_wire()
    try:
        assert dns.message.from_wire(await ask(port, query)).rcode() == dns.rcode.NXDOMAIN
        fill(server, [endpoints("db", "pg", ("10.244.1.12", "pg-2", True), ports=(("pg", 5432),))])
        server.changed([("db", "pg")])
        assert [str(r) for r in dns.message.from_wire(await ask(port, query)).answer[0]] == ["10.244.1.12"]
    finally:
        await server.close()


async def test_many_who_ask_the_same_at_once_have_one_reply_made() -> None:
    server, port = await serving()
    query = dns.message.make_query("pg-1.pg.db.svc.cluster.local.", "A").to_wire()
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.connect(("127.0.0.1", port))
            for _ in range(100):
                asker.send(query)
            asker.setblocking(False)
            async with asyncio.timeout(5):
                assert len({await loop.sock_recv(asker, 512) for _ in range(100)}) == 1
        assert (server.counts.made.total(), server.given()) == (1, 99)
    finally:
        await server.close()


async def test_tcp_answers_several_messages_of_one_segment() -> None:
    server, port = await serving()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        wires = [dns.message.make_query(f"{n}.svc.cluster.local.", "A").to_wire() for n in ("pg-rw.db", "dual.web")]
        writer.write(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
        ids = set()
        for _ in wires:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            ids.add(dns.message.from_wire(await reader.readexactly(size)).id)
        assert ids == {dns.message.from_wire(wire).id for wire in wires}
        writer.close()
    finally:
        await server.close()


async def test_what_was_asked_is_answered_before_the_connection_ends() -> None:
    server, port = await serving()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        wires = [dns.message.make_query(f"pg-{n}.pg.db.svc.cluster.local.", "A").to_wire() for n in range(50)]
        writer.write(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
        writer.write_eof()
        async with asyncio.timeout(5):
            stream = await reader.read()
        assert len(_messages(stream)) == 50
        writer.close()
    finally:
        await server.close()


def _messages(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        (size,) = struct.unpack("!H", stream[:2])
        found.append(stream[2 : 2 + size])
        stream = stream[2 + size :]
    return found


async def test_closing_does_not_wait_for_idle_connections() -> None:
    server, port = await serving()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\0")
    await writer.drain()
    async with asyncio.timeout(5):
        await server.close()
        assert await reader.read() == b""
    writer.close()


async def test_dns_over_tls_says_the_same(tmp_path: Path) -> None:
    server, _ = await serving()
    pki = Pki(tmp_path, WallClock(), random.Random(1))
    made = pki.server(["dns.test"])
    (tmp_path / "both.pem").write_bytes(made.certificate + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    listening = bound(socket.SOCK_STREAM)
    port = listening.getsockname()[1]
    await server.serve_tcp(listening, context)
    trusting = ssl.create_default_context(cadata=pki.ca_pem.decode())
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="dns.test")
        query = dns.message.make_query("pg-0.pg.db.svc.cluster.local.", "A").to_wire()
        writer.write(struct.pack("!H", len(query)) + query)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        assert await reader.readexactly(size) == await server.respond(query, True)
        writer.close()
        await writer.wait_closed()
    finally:
        await server.close()
