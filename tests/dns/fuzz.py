"""Coverage-guided fuzzing of everything that reads octets from the network.

    python -m tests.dns.fuzz --seconds 3600 [--corpus DIRECTORY] [--seed N]

The fuzzer (Atheris, libFuzzer underneath) changes messages and keeps those that reach new code. Each message must get
a reply or silence, never an exception, and an independent decoder (dnspython) must be able to read every reply.
`--corpus` keeps what reached new code for the next run. A message that breaks a promise is printed and written to a
file `crash-…`; `python -m tests.dns.fuzz FILE` plays it again.
"""

import argparse
import random
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import atheris
import dns.exception
import dns.message

with atheris.instrument_imports(include=["homeport.dns"]):
    from homeport.dns import message as codec
    from homeport.dns.records import Answer, Question
    from homeport.dns.server import DnsServer
    from homeport.dns.settings import REVERSE_ROOTS, DnsSettings

from tests.dns.worked import WORKED
from tests.vectors.replay_dns import FixedClock, fill

LONGEST: Final = 600
QUESTIONS: Final = (
    "pg.db.svc.cluster.local. A",
    "pg-0.pg.db.svc.cluster.local. A",
    "dual.web.svc.cluster.local. AAAA",
    "_pg._tcp.pg-rw.db.svc.cluster.local. SRV",
    "ext.web.svc.cluster.local. A",
    "1.0.96.10.in-addr.arpa. PTR",
    "10-244-1-12.db.pod.cluster.local. A",
    "cluster.local. AXFR",
    "cluster.local. IXFR",
    "dns-version.cluster.local. TXT",
    "example.org. MX",
)

T = TypeVar("T")


class Broken(AssertionError):
    """A promise about replies does not hold."""


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise Broken("the server waits for something")


class Checks:
    """What must hold for any octets."""

    def __init__(self) -> None:
        settings = DnsSettings(transfer=True, own_addresses=("10.96.0.10",), fallthrough=REVERSE_ROOTS)
        self.server = DnsServer(settings, FixedClock(), random.Random(1), self._upstream, lambda: 0.0)
        fill(self.server, WORKED)
        self.server.synced()
        self.forwarded = False

    async def _upstream(self, question: Question) -> Answer | None:
        """Another server's word: octets that carry the question's own labels, as strange as they may be."""
        self.forwarded = True
        try:
            return codec.parse_message(b"\0\0\x80\0\0\0\0\1\0\0\0\0" + b"".join(question.name))[1]
        except codec.FormatError:
            return None

    def datagram(self, data: bytes) -> None:
        """A message over UDP, asked twice: the second reply comes from the memo where the first was kept."""
        first = _finish(self.server.respond(data, False))
        if first is None:
            self._silence(data)
            return
        self._reply(data, first)
        kept = self.server.memo.table.get(data[2:]) or self.server.memo.absent.get(data[2:])
        if kept is not None:
            again = data[:2] + kept()
            self._reply(data, again)
            if len(again) != len(first):
                raise Broken(f"kept {again.hex()} instead of {first.hex()}")
        self.server.memo.clear()

    def stream(self, data: bytes) -> None:
        """A message over TCP, which may ask for a whole zone."""
        replies = _finish(self.server.respond_stream(data))
        if not replies:
            self._silence(data)
        for reply in replies:
            self._reply(data, reply)

    def foreign(self, data: bytes) -> None:
        """A reply of another server: read or refused; what is read can be told on."""
        try:
            _, answer = codec.parse_message(data)
        except codec.FormatError:
            return
        query = codec.Query(7, 0, Question((b"a",), 1, 1), True, False)
        told = codec.encode(query, answer, limit=1232)
        if len(told) > 1232:
            raise Broken("a reply over its limit")
        codec.parse_message(told)

    def _silence(self, data: bytes) -> None:
        header = codec.peek_header(data)
        if header is not None and not header.is_response:
            raise Broken(f"no reply to {data.hex()}")

    def _reply(self, data: bytes, reply: bytes) -> None:
        if reply[:2] != data[:2] or not reply[2] & 0x80:
            raise Broken(f"{reply.hex()} does not belong to {data.hex()}")
        try:
            # the data of foreign records is told on as it came; all else is ours and must be right
            read = dns.message.from_wire(reply, continue_on_error=self.forwarded)
        except dns.exception.DNSException as error:
            raise Broken(f"{data.hex()} → {reply.hex()}: {error!r}") from error
        try:
            asked = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        if read.question and read.question != asked.question:
            raise Broken(f"{read.question} is not what was asked: {asked.question}")


def play(checks: Checks, data: bytes) -> None:
    """Try one input: the first octet chooses the check, the rest is the message."""
    tries: tuple[Callable[[bytes], None], ...] = (checks.datagram, checks.stream, checks.foreign)
    checks.forwarded = False
    if data:
        tries[data[0] % len(tries)](data[1:])


def seeds(directory: Path) -> None:
    """Write ordinary questions to begin from."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(QUESTIONS):
        name, kind = text.split()
        for way in range(3):
            query = dns.message.make_query(name, kind, use_edns=0 if way else None, id=number)
            (directory / f"question-{number}-{way}").write_bytes(bytes([way]) + query.to_wire())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="play these inputs and nothing else")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    arguments = parser.parse_args()
    checks = Checks()
    options = [f"-max_total_time={arguments.seconds}", f"-max_len={LONGEST}", f"-seed={arguments.seed}"]
    options += ["-timeout=5", "-print_final_stats=1"]
    if arguments.files:
        places = [str(file) for file in arguments.files]
    else:
        corpus = arguments.corpus or Path(".hypothesis/dns-fuzz")
        seeds(corpus)
        places = [str(corpus)]
    atheris.Setup([sys.argv[0], *options, *places], lambda data: play(checks, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
