"""One question to a real socket on loopback."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from homeport.dns.exchange import Resolver, answers, exchange
from homeport.dns.name import from_text
from homeport.dns.records import Question, Rcode, RRType

WWW = Question(from_text("Www.example.net"), RRType.A)
Reply = Callable[[dns.message.Message], list[bytes]]


def filled(query: dns.message.Message, address: str = "192.0.2.53") -> dns.message.Message:
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", address))
    return reply


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for wire in self.reply(dns.message.from_wire(data)):
            self.transport.sendto(wire, addr)


@asynccontextmanager
async def other(udp: Reply, tcp: Reply | None = None) -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(udp), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert tcp is not None
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        for wire in tcp(dns.message.from_wire(await reader.readexactly(size))):
            writer.write(struct.pack("!H", len(wire)) + wire)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port) if tcp else None
    try:
        yield Resolver("127.0.0.1", port)
    finally:
        transport.close()
        if server is not None:
            server.close()
            await server.wait_closed()


async def ask(resolver: Resolver, question: Question = WWW) -> Any:
    async with asyncio.timeout(5):
        return await exchange(resolver, question, random.Random(5))


async def test_the_reply_is_read() -> None:
    async with other(lambda query: [filled(query).to_wire()]) as resolver:
        _, answer = await ask(resolver)
    assert answer.answer[0].data == (bytes((192, 0, 2, 53)),)


async def test_replies_that_do_not_fit_are_ignored() -> None:
    def forge(query: dns.message.Message) -> list[bytes]:
        wrong_id = filled(query, "203.0.113.1")
        wrong_id.id ^= 1
        wrong_name = filled(dns.message.make_query("other.example.net.", "A", id=query.id), "203.0.113.2")
        wrong_type = filled(dns.message.make_query("Www.example.net.", "AAAA", id=query.id), "203.0.113.3")
        wrong_type.answer.clear()
        return [b"\x00", wrong_id.to_wire(), wrong_name.to_wire(), wrong_type.to_wire(), filled(query).to_wire()]

    async with other(forge) as resolver:
        _, answer = await ask(resolver)
    assert answer.answer[0].data == (bytes((192, 0, 2, 53)),)


async def test_a_reply_may_spell_the_name_otherwise() -> None:
    def shout(query: dns.message.Message) -> list[bytes]:
        wire = filled(query).to_wire()
        return [wire[:12] + wire[12:29].upper() + wire[29:]]

    async with other(shout) as resolver:
        _, answer = await ask(resolver)
    assert len(answer.answer) == 1


async def test_a_cut_reply_is_asked_for_again_over_tcp() -> None:
    def cut(query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.TC
        return [reply.to_wire()]

    async with other(cut, lambda query: [filled(query).to_wire()]) as resolver:
        _, answer = await ask(resolver)
    assert (len(answer.answer), answer.truncated) == (1, False)


async def test_a_server_without_edns_is_asked_without() -> None:
    def old(query: dns.message.Message) -> list[bytes]:
        reply = filled(query)
        if query.edns >= 0:
            reply = dns.message.make_response(query)
            reply.use_edns(False)
            reply.set_rcode(dns.rcode.FORMERR)
        return [reply.to_wire()]

    async with other(old) as resolver:
        _, answer = await ask(resolver)
    assert (answer.rcode, len(answer.answer)) == (Rcode.NOERROR, 1)


async def test_the_flags_of_the_question_are_sent_on() -> None:
    seen: list[dns.message.Message] = []

    def note(query: dns.message.Message) -> list[bytes]:
        seen.append(query)
        return [filled(query).to_wire()]

    async with other(note) as resolver:
        await ask(resolver, Question(WWW.name, RRType.A, dnssec_ok=True, checking_disabled=True))
        await ask(resolver)
    assert [(bool(q.ednsflags & 0x8000), bool(q.flags & dns.flags.CD), q.payload) for q in seen] == [
        (True, True, 1232),
        (False, False, 1232),
    ]
    assert all(query.flags & dns.flags.RD for query in seen)


async def test_a_closed_port_is_known_at_once() -> None:
    async with other(lambda query: []) as resolver:
        pass
    with pytest.raises(OSError):
        await ask(resolver)


def test_a_refusal_may_come_without_its_question() -> None:
    query = dns.message.make_query("www.example.net.", "A").to_wire()
    bare = query[:2] + bytes.fromhex("8105") + bytes(8)
    assert answers(query, bare)
    assert not answers(query, query[:2] + bytes.fromhex("8100") + bytes(8))
