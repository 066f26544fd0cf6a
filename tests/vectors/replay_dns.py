"""Replay the recorded DNS questions and compare whole answers.

    python tests/vectors/replay_dns.py [--topic T] [-v]

Answers are decoded by dnspython, which shares no code with the server.
"""

import argparse
import asyncio
import contextlib
import random
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

sys.path.insert(0, str(Path(__file__).parents[2]))

from homeport.dns import objects
from homeport.dns.index import Index
from homeport.dns.message import parse_message
from homeport.dns.name import fold, from_text, to_text
from homeport.dns.records import Answer, Question, Rcode
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings, Emulation, PodRecords, reverse_zone
from tests.vectors.load import load, topics

OWN_ADDRESS = "10.244.0.53"
SPELL_SECONDS = 0.3
"""Between the last write of a step and its questions, when they were recorded."""


class FixedClock:
    def now(self) -> float:
        return 1_700_000_000.0


class Monotonic:
    """Seconds that move when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def settings_of(corefile: str) -> tuple[DnsSettings, str]:
    """Read the few directives the recordings use; also return where the rest is forwarded."""
    block, *_ = re.findall(r"^(.*?) \{", corefile)
    plugin = re.search(r"kubernetes ?(.*?) \{(.*?)\n  \}", corefile, re.S)
    assert plugin is not None
    options = [line.split() for line in plugin[2].strip().splitlines()]
    named = plugin[1].split() or block.split()
    values: dict[str, Any] = {}
    for option, *words in options:
        match option:
            case "pods":
                values["pods"] = PodRecords(words[0])
            case "ttl":
                values["ttl"] = int(words[0])
            case "endpoint_pod_names":
                values["endpoint_pod_names"] = True
            case "ignore":
                values["ignore_empty"] = True
            case "namespaces":
                values["namespaces"] = frozenset(words)
            case "fallthrough":
                values["fallthrough"] = tuple(fold(from_text(word)) for word in words) or ((),)
    forward = re.search(r"forward \. (\S+)", corefile)
    cache = re.search(r"^  cache (\d+)", corefile, re.M)
    uncached = re.findall(r"disable success (\S+)", corefile)
    emulation = Emulation(int(cache[1]) if cache else 0, tuple(fold(from_text(zone)) for zone in uncached))
    settings = DnsSettings(
        zones=tuple(reverse_zone(zone) if "/" in zone else fold(from_text(zone)) for zone in named),
        own_addresses=() if "bind" in corefile else (OWN_ADDRESS,),
        unserved=Rcode.SERVFAIL if block == "." else Rcode.REFUSED,
        shuffle="loadbalance" in corefile,
        transfer="transfer {" in corefile,
        emulation=emulation,
        **values,
    )
    return settings, forward[1] if forward else ""


class RecordedUpstream:
    """The other servers of the recordings: a few zones; everything else is refused."""

    def __init__(self, zones: Mapping[str, str], kind: str) -> None:
        self.kind = kind
        self.zones = {
            dns.name.from_text(origin): dns.zone.from_text(text, origin=origin, relativize=False)
            for origin, text in zones.items()
        }

    async def ask(self, question: Question) -> Answer | None:
        if not self.kind:
            return None
        if self.kind == "DEAD":
            return Answer(Rcode.SERVFAIL, authoritative=False)
        name = dns.name.from_text(to_text(question.name))
        origin = max((z for z in self.zones if name.is_subdomain(z)), key=len, default=None)
        query = dns.message.make_query(name, question.type)
        reply = dns.message.make_response(query)
        if origin is None:
            reply.set_rcode(dns.rcode.REFUSED)
        else:
            self._fill(reply, self.zones[origin], name, question.type)
        return parse_message(reply.to_wire())[1]

    def _fill(self, reply: dns.message.Message, zone: dns.zone.Zone, name: dns.name.Name, kind: int) -> None:
        reply.flags |= dns.flags.AA
        while True:
            node = zone.get_node(name)
            if node is None:
                if not reply.answer and not any(owner.is_subdomain(name) for owner in zone.nodes):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                break
            found = node.get_rdataset(dns.rdataclass.IN, kind)
            alias = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.CNAME)
            chosen = found or alias
            if chosen is None:
                break
            reply.answer.append(dns.rrset.from_rdata_list(name, chosen.ttl, list(chosen)))
            if found is not None or alias is None:
                self._adorn(reply, zone, found, kind)
                return
            name = alias[0].target
            if not name.is_subdomain(zone.origin):
                return
        soa = zone.get_rdataset(zone.origin, dns.rdatatype.SOA)
        reply.authority.append(dns.rrset.from_rdata_list(zone.origin, soa.ttl, list(soa)))

    def _adorn(self, reply: dns.message.Message, zone: dns.zone.Zone, found: Any, kind: int) -> None:
        """Add what this kind of server adds: its name servers, and the addresses of mail exchangers."""
        servers = zone.get_rdataset(zone.origin, dns.rdatatype.NS)
        reply.authority.append(dns.rrset.from_rdata_list(zone.origin, servers.ttl, list(servers)))
        for exchanger in found or () if kind == dns.rdatatype.MX else ():
            for family in (dns.rdatatype.A, dns.rdatatype.AAAA):
                there = zone.get_rdataset(exchanger.exchange, family)
                if there is not None:
                    reply.additional.append(dns.rrset.from_rdata_list(exchanger.exchange, there.ttl, list(there)))


def fill(server: DnsServer, trees: list[Mapping[str, Any]]) -> None:
    index = server.index
    for tree in trees:
        match tree["kind"]:
            case "Namespace":
                index.put_namespace(tree["metadata"]["name"])
            case "Service":
                index.put_service(objects.service(tree))
            case "EndpointSlice":
                part = objects.slice_of(tree, use_pod_names=server.settings.endpoint_pod_names)
                if part is not None:
                    index.put_slice(part)
            case "Pod":
                pod = objects.pod(tree)
                if pod is not None:
                    index.put_pod(pod)


def message_of(vector: Mapping[str, Any]) -> bytes | None:
    name, kind = vector["q"].rsplit(" ", 1)
    try:
        query = dns.message.make_query(
            dns.name.from_text(name), dns.rdatatype.from_text(kind), dns.rdataclass.from_text(vector.get("class", "IN"))
        )
    except dns.exception.DNSException:
        return None
    query.flags = 0
    for flag, default in (("rd", 1), ("ad", 0), ("cd", 0)):
        if vector.get(flag, default):
            query.flags |= dns.flags.from_text(flag.upper())
    if "since" in vector:
        soa = f"{name} 0 IN SOA . . {vector['since']} 0 0 0 0"
        query.authority.append(dns.rrset.from_text(name, 0, "IN", "SOA", soa.split(" SOA ")[1]))
    opt = vector.get("opt")
    if opt is not None:
        options = [dns.edns.GenericOption(code, bytes.fromhex(text)) for code, text in opt.get("options", ())]
        flags = (opt.get("do", False) << 15) | opt.get("zflags", 0)
        query.use_edns(opt.get("version", 0), flags, opt["payload"], options=options)
    return query.to_wire()


def lines(section: list[Any]) -> list[str]:
    out = []
    for rrset in section:
        for rdata in rrset:
            text = f"{rrset.name} {rrset.ttl} {dns.rdataclass.to_text(rrset.rdclass)}"
            text += f" {dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
            if rrset.rdtype == dns.rdatatype.SOA and rdata.serial > 1_000_000:
                text = text.replace(f" {rdata.serial} ", " SERIAL ")
            out.append(text)
    return sorted(out)


def unsorted(wire: bytes) -> list[str]:
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    return [line for rrset in message.answer for line in lines([rrset])]


def seen(wire: bytes, query: bytes) -> dict[str, Any]:
    message = dns.message.from_wire(wire, one_rr_per_rrset=True, continue_on_error=True)
    question = query[: query.index(0, 12) + 5]
    flags = message.flags & ~0xF
    out: dict[str, Any] = {
        "rcode": dns.rcode.to_text(message.rcode()),
        "flags": " ".join(flag.lower() for flag in dns.flags.to_text(flags).split() if flag),
    }
    for key, section in (
        ("answer", message.answer),
        ("authority", message.authority),
        ("additional", message.additional),
    ):
        if section:
            out[key] = lines(section)
    if message.edns >= 0:
        options = [[option.otype, option.to_wire().hex()] for option in message.options]
        out["edns"] = {"version": message.edns, "payload": message.payload, "do": bool(message.ednsflags & 0x8000)}
        out["edns"]["options"] = options
    if len(wire) > 12 and wire[12 : len(question)] != question[12:]:
        out["question"] = "not as asked"
    return out


async def check(server: DnsServer, vector: Mapping[str, Any]) -> str | None:
    """Return None when the answer is equal, else what differs."""
    if "raw" in vector:
        wire = bytes.fromhex(vector["raw"])
        for transport in ("udp", "tcp"):
            reply = await server.respond(wire, transport == "tcp")
            got = "no answer" if reply is None else reply.hex()
            want = vector[transport]
            pattern = re.escape(want).replace(r"\*" * 8, "[0-9a-f]{8}")
            if not re.fullmatch(pattern, got):
                return f"{transport}: wanted {want} got {got}"
        return None
    if "stream" in vector:
        return await check_stream(server, vector)
    if vector.get("since") == "current":
        vector = {**vector, "since": server.index.serial}
    query = message_of(vector)
    if query is None:
        return None if "unsendable" in vector else "not replayed"
    if "transfer" in vector:
        return check_transfer(await server.respond_stream(query), query, vector)
    reply = await server.respond(query, bool(vector.get("tcp")))
    if "order" in vector:
        return None if reply is not None else "no answer"
    if reply is None:
        return None if vector.get("answer", 0) is None else "no answer"
    got = seen(reply, query)
    if "counts" in vector:
        limit = max(512, vector.get("opt", {}).get("payload", 0))
        if "tc" not in got["flags"].split() or len(reply) > limit:
            return f"wanted a cut answer, got {got['flags']} in {len(reply)} octets"
        return None
    want = {
        key: vector[key] for key in ("rcode", "flags", "answer", "authority", "additional", "edns") if key in vector
    }
    for key in ("answer", "authority", "additional"):
        if want.get(key) == []:
            del want[key]
    if want != got:
        return f"\n    wanted {want}\n    got    {got}"
    return None


def check_transfer(messages: Sequence[bytes], query: bytes, vector: Mapping[str, Any]) -> str | None:
    """Compare a zone transfer: first and last record in place, the rest as a set."""
    found = [seen(message, query) for message in messages]
    records = [line for message in messages for line in unsorted(message)]
    got = {key: found[0][key] for key in ("rcode", "flags")}
    got["messages"] = len(messages)
    got["transfer"] = [*records[:1], *sorted(records[1:-1]), *records[1:][-1:]]
    want = {key: vector[key] for key in ("rcode", "flags", "messages", "transfer")}
    return None if got == want else f"\n    wanted {want}\n    got    {got}"


async def check_stream(server: DnsServer, vector: Mapping[str, Any]) -> str | None:
    """Write pieces to a real connection; compare the answers, and whether it is then left open."""
    with contextlib.closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        await server.serve_tcp(listening)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        answers: list[str] = []
        try:
            for piece in vector["sent"]:
                if piece == "shutdown":
                    writer.write_eof()
                else:
                    writer.write(bytes.fromhex(piece))
                await writer.drain()
            with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
                while True:
                    async with asyncio.timeout(0.2):
                        (size,) = struct.unpack("!H", await reader.readexactly(2))
                        message = dns.message.from_wire(await reader.readexactly(size), ignore_trailing=True)
                    answers.append(f"id {message.id} {dns.rcode.to_text(message.rcode())}")
            state = "closed" if reader.at_eof() else "open"
        finally:
            writer.close()
            await server.close()
    got, want = (answers, state), (vector["answers"], vector["connection-after-1s"])
    return None if got == want else f"wanted {want} got {got}"


def served(document: Mapping[str, Any], case: Mapping[str, Any], config: str, time: Monotonic) -> DnsServer:
    settings, forward = settings_of(document["configs"][config])
    upstream = RecordedUpstream(document.get("upstream", {}), forward)
    server = DnsServer(settings, FixedClock(), random.Random(1), upstream.ask, time)
    if not case["id"].startswith("unsynced/never"):
        server.synced()
    return server


def cases(topic: str) -> Iterator[tuple[str, DnsServer, Mapping[str, Any]]]:
    """Give every vector with a server in the state it was asked in.

    States follow each other in one server where it may remember the last one; else each has a server of its own.
    """
    document = load("dns", topic)
    for case in document["cases"]:
        kept: dict[str, tuple[DnsServer, Monotonic]] = {}
        for step in case["steps"]:
            for config, vectors in step.get("answers", {}).items():
                if config not in kept or topic != "cache":
                    time = Monotonic()
                    kept[config] = served(document, case, config, time), time
                server, time = kept[config]
                time.now += step.get("wait", 0.0) + SPELL_SECONDS
                if server.index.synced:
                    server.index = Index(server.index.serial)
                    fill(server, [*document["base"], *step["objects"]])
                server.changed(())
                server.memo.clear()
                for vector in vectors:
                    yield f"{case['id']} [{config}]", server, vector


async def replay(topic: str, *, verbose: bool = False) -> tuple[int, int]:
    """Return (equal, all) of a topic."""
    outcome: Counter[bool] = Counter()
    for where, server, vector in cases(topic):
        problem = await check(server, vector)
        outcome[problem is None] += 1
        if verbose and problem is not None:
            print(
                where, vector.get("q", vector.get("note", "")), vector.get("opt", ""), vector.get("class", ""), problem
            )
    return outcome[True], sum(outcome.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", action="append")
    parser.add_argument("-v", action="store_true")
    arguments = parser.parse_args()
    total = Counter[str]()
    for topic in arguments.topic or topics("dns"):
        equal, count = asyncio.run(replay(topic, verbose=arguments.v))
        total.update(equal=equal, count=count)
        print(f"{topic:14} {equal:5} / {count}")
    print(f"{'all':14} {total['equal']:5} / {total['count']}")


if __name__ == "__main__":
    main()


__all__ = ["replay"]
