"""Asking other servers: names outside the cluster, for the pods' sake.

Plain DNS over UDP with a fresh port and id per question (RFC 5452), over TCP when the answer was cut. Runs in the
network namespace of whoever runs the loop, so a host-side process forwards with the host's own routes.
"""

import asyncio
import random
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from homeport.dns.message import FormatError, Header, Opt, Query, encode, parse_message
from homeport.dns.records import Answer, Question, Rcode

__all__ = ["Resolver", "Upstream", "host_resolvers"]

TIMEOUT_SECONDS: Final = 2.0
PAYLOAD: Final = 1232
MAX_CONCURRENT: Final = 1000


@dataclass(frozen=True, slots=True)
class Resolver:
    """Where another server listens."""

    host: str
    port: int = 53


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> list[Resolver]:
    """Return the name servers the host itself asks; an unreadable file means none."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    found: list[Resolver] = []
    for match in re.finditer(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE):
        try:
            ip_address(match[1].partition("%")[0])
        except ValueError:
            continue
        found.append(Resolver(match[1]))
    return found


class _Once(asyncio.DatagramProtocol):
    """Waits for the reply to one datagram, and ignores what does not answer it."""

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done() and _answers(self.wire, data):
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


def _answers(query: bytes, reply: bytes) -> bool:
    """Tell whether a message is a reply to that query: same id, and the same question echoed."""
    if len(reply) < 12 or reply[:2] != query[:2] or not reply[2] & 0x80:
        return False
    end = query.index(0, 12) + 5 if reply[4:6] == b"\x00\x01" else 12
    return reply[12:end].lower() == query[12:end].lower()


class Upstream:
    """A small stub resolver over a list of servers, tried in order."""

    def __init__(self, resolvers: Sequence[Resolver], rng: random.Random) -> None:
        self._resolvers, self._rng = tuple(resolvers), rng
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def ask(self, question: Question) -> Answer | None:
        """Return the answer; SERVFAIL when no server gave one, None when there are no servers at all."""
        if not self._resolvers:
            return None
        if self._slots.locked():
            return Answer(Rcode.REFUSED, authoritative=False)
        async with self._slots:
            for resolver in self._resolvers:
                try:
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        header, answer = await self._ask_one(resolver, question)
                except (OSError, TimeoutError, FormatError, asyncio.IncompleteReadError):
                    continue
                if header.flags & 0xF != Rcode.SERVFAIL:
                    return answer
        return Answer(Rcode.SERVFAIL, authoritative=False, recursion_available=True)

    async def _ask_one(self, resolver: Resolver, question: Question) -> tuple[Header, Answer]:
        query = Query(self._rng.getrandbits(16), 0, question, True, False)
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
        reader, writer = await asyncio.open_connection(resolver.host, resolver.port)
        try:
            writer.write(struct.pack("!H", len(wire)) + wire)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            return parse_message(await reader.readexactly(size))
        finally:
            writer.close()


def encode_query(query: Query) -> bytes:
    """Return a query's wire form, with an OPT record asking for answers that fit one packet."""
    wire = bytearray(encode(query, Answer(authoritative=False), limit=MAX_QUERY, opt=Opt(PAYLOAD)))
    wire[2] &= 0x7F  # a question, not a reply
    return bytes(wire)


MAX_QUERY: Final = 512
