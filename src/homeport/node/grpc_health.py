"""One gRPC health check: the few HTTP/2 frames a single unary call needs.

Source: RFC 9113, gRPC over HTTP/2, gRPC health checking protocol v1.

A probe speaks to one server once, so nothing of HTTP/2's multiplexing is needed: literal headers out, frames in,
the reply's enum read from its protobuf bytes. Header blocks that come back are only searched for `grpc-status`.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

__all__ = ["check", "header_block", "parse_reply", "request_bytes"]

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME_LIMIT: Final = 1 << 20
_SERVING_STATUS: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header_block(headers: Iterable[tuple[str, str]]) -> bytes:
    """Return an HPACK block of literals that are never indexed and not Huffman coded (RFC 7541, 6.2.2)."""
    out = bytearray()
    for name, value in headers:
        out.append(0)
        for text in (name.encode(), value.encode()):
            out += _integer(len(text), 7) + text
    return bytes(out)


def _integer(value: int, prefix_bits: int) -> bytes:
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes((value,))
    out, value = bytearray((limit,)), value - limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def request_bytes(authority: str, service: str, version: str) -> bytes:
    """Return everything the client sends for `Health.Check`."""
    name = service.encode()
    message = b"\x0a" + _integer_varint(len(name)) + name if name else b""
    headers = header_block(
        (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("user-agent", f"kube-probe/{version}"),
            ("te", "trailers"),
        )
    )
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"\x00\x01\x00\x00\x00\x00")  # SETTINGS_HEADER_TABLE_SIZE 0: no dynamic table
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, body)
    )


def _integer_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def parse_reply(body: bytes) -> str:
    """Return the serving status' name from a length-prefixed HealthCheckResponse; empty when there is none."""
    if len(body) < 5:
        return ""
    message = body[5:]
    if not message:
        return _SERVING_STATUS[0]
    if message[0] == 0x08 and len(message) > 1:
        return _SERVING_STATUS.get(message[1], str(message[1]))
    return ""


async def check(address: str, port: int, service: str, timeout: float, version: str) -> tuple[bool, str]:
    """Return success and the text for the event; never raises for what the server does."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        async with asyncio.timeout(timeout):
            status = await _call(address, port, where, service, version)
    except (OSError, asyncio.IncompleteReadError):
        return False, f'timeout: failed to connect service "{where}" within {timeout:g}s: context deadline exceeded'
    if status == "SERVING":
        return True, "service healthy"
    if status in _SERVING_STATUS.values():
        return False, f'service unhealthy (responded with "{status}")'
    return False, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"


async def _call(address: str, port: int, where: str, service: str, version: str) -> str:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(request_bytes(where, service, version))
        body = bytearray()
        while True:
            head = await reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            if length > _FRAME_LIMIT:
                return ""
            payload = await reader.readexactly(length)
            if kind == _SETTINGS and not flags & _ACK:
                writer.write(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                writer.write(_frame(_PING, _ACK, 0, payload))
            elif kind == _DATA:
                body += payload
            if kind in (_RST, _GOAWAY) or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
                return parse_reply(bytes(body))
    finally:
        writer.close()
