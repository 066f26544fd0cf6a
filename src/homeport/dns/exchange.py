"""One question to one other server: UDP with a fresh port and id (RFC 5452), TCP when the answer was cut.

Runs in the network namespace of whoever runs the loop, so a host-side process asks with the host's own routes.
"""

import asyncio
import random
import struct
from dataclasses import dataclass
from typing import Final

from homeport.dns.message import FormatError, Header, Opt, Query, encode, parse_message
from homeport.dns.records import Answer, Question, Rcode

__all__ = ["Resolver", "answers", "encode_query", "exchange"]

PAYLOAD: Final = 1232
"""The largest UDP answer asked for: it fits one packet everywhere."""

MAX_QUERY: Final = 512


@dataclass(frozen=True, slots=True)
class Resolver:
    """Where another server listens."""

    host: str
    port: int = 53


class _Once(asyncio.DatagramProtocol):
    """Waits for the reply to one datagram, and ignores what does not answer it."""

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done() and answers(self.wire, data):
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


def answers(query: bytes, reply: bytes) -> bool:
    """Tell whether a message is a reply to that query: same id, same question; the name's case may differ (0x20)."""
    if len(reply) < 12 or reply[:2] != query[:2] or not reply[2] & 0x80:
        return False
    if reply[4:6] != b"\x00\x01":
        return reply[4:6] == b"\x00\x00" and reply[3] & 0xF != Rcode.NOERROR  # refusals may leave the question out
    end = query.index(0, 12) + 1
    return reply[12:end].lower() == query[12:end].lower() and reply[end : end + 4] == query[end : end + 4]


def encode_query(query: Query) -> bytes:
    """Return a query's wire form."""
    wire = bytearray(encode(query, Answer(authoritative=False), limit=MAX_QUERY, opt=query.opt))
    wire[2] &= 0x7F  # a question, not a reply
    return bytes(wire)


async def exchange(resolver: Resolver, question: Question, rng: random.Random) -> tuple[Header, Answer]:
    """Return one server's answer. Raises OSError, FormatError or EOFError; the time limit is the caller's.

    A server that finds the OPT record malformed is asked again without (RFC 6891, 7).
    """
    opt = Opt(PAYLOAD, dnssec_ok=question.dnssec_ok)
    header, answer = await _ask(resolver, question, opt, rng)
    if answer.rcode == Rcode.FORMERR:
        return await _ask(resolver, question, None, rng)
    return header, answer


async def _ask(resolver: Resolver, question: Question, opt: Opt | None, rng: random.Random) -> tuple[Header, Answer]:
    query = Query(rng.getrandbits(16), 0, question, True, question.checking_disabled, opt)
    wire = encode_query(query)
    loop = asyncio.get_running_loop()
    transport, once = await loop.create_datagram_endpoint(
        lambda: _Once(wire), remote_addr=(resolver.host, resolver.port)
    )
    try:
        transport.sendto(wire)
        header, answer = parse_message(await once.reply)
    finally:
        transport.close()
    if not answer.truncated:
        return header, answer
    return parse_message(await _over_tcp(resolver, wire))


async def _over_tcp(resolver: Resolver, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(resolver.host, resolver.port)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        while True:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            reply = await reader.readexactly(size)
            if answers(wire, reply):
                return reply
            if len(reply) >= 2 and reply[:2] == wire[:2]:
                raise FormatError("the reply is to another question")
    finally:
        writer.close()
