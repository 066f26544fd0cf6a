"""DNS answers per second and their latency, beside the least a C program can do and servers of the distribution.

    python -m bench.dns [--seconds 3] [--rounds 3] [--quick]

Needs dnsperf and a C compiler; nsd and knotd are asked where they are installed. The servers take turns, so that a
noisy machine troubles all alike. Every server has one worker, but for the line that says two. Rates are what dnsperf
gets; latencies are measured by `asker.c`, at half the rate Homeport reached, from a question's being sent to the
kernel's having the answer.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.dns_server import TEN
from bench.report import median, say, write
from homeport.dns.exchange import encode_query
from homeport.dns.message import Query
from homeport.dns.name import from_text
from homeport.dns.records import Question, RRType

HERE = Path(__file__).parent
ASKED = 500
"""Names in turn; the zone may hold more."""

RECORDS = 1000
SIZES: tuple[int, ...] = (10, 1_000, 100_000)
CHANGES = 5_000
WARM_SECONDS = 0.3
"""Of questions that are not measured: what a server is asked first it has still to look up."""

QUICK_SECONDS = 0.5
QUICK_SIZES: tuple[int, ...] = (10, 1_000)
OURS_NAME, TWO_NAME, LIMIT_NAME = "homeport, one worker", "homeport, two workers", "minimal C responder"
OTHERS = ("nsd", "knotd")
OURS = (sys.executable, "-m", "bench.dns_server")

NSD = """server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  rrl-ratelimit: 0
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  username: ""
zone:
  name: cluster.local
  zonefile: zone
"""

KNOT = """server:
  listen: 127.0.0.1@{port}
  rundir: "{folder}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{folder}/knot"
zone:
  - domain: cluster.local
    storage: "{folder}"
    file: zone
"""


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked: as lines for dnsperf, and as messages for `asker`."""

    lines: Path
    messages: Path

    @classmethod
    def of(cls, folder: Path, name: str, asked: Sequence[tuple[str, str]]) -> "Questions":
        """Write the questions, each a name and a type."""
        made = cls(folder / f"{name}.txt", folder / f"{name}.bin")
        made.lines.write_text("".join(f"{name} {kind}\n" for name, kind in asked))
        wires = [
            encode_query(Query(0, 0, Question(from_text(name), RRType[kind]), True, False)) for name, kind in asked
        ]
        made.messages.write_bytes(b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires))
        return made

    @classmethod
    def of_pods(cls, folder: Path, count: int) -> "Questions":
        asked = [(f"pg-{number}.pg.db.svc.cluster.local", "A") for number in range(count)]
        return cls.of(folder, f"pods-{count}", asked)


def dnsperf(port: int, questions: Questions, seconds: float, *options: str) -> float:
    """Return answers per second, asked for as fast as possible."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions.lines), "-l", str(seconds)]
    said = subprocess.run(
        [*command, "-c", "4", "-q", "200", *options], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Queries per second:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(said[-2000:])
    return float(found[1])


def compiled(folder: Path, name: str) -> Path:
    subprocess.run(["cc", "-O2", "-o", folder / name, HERE / f"{name}.c"], check=True)
    return folder / name


@contextmanager
def running(command: Sequence[str | Path]) -> Iterator[subprocess.Popen[str]]:
    """Run a server, and whatever it starts, until the block ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def spent(group: int) -> float:
    """Return the processor seconds a server has taken so far, with everything it started."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended between being listed and being looked at
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(pid: int, port: int, questions: Questions, seconds: float) -> tuple[float, float]:
    """Return answers per second, and the processor's microseconds per answer, which a busy machine spoils least."""
    before = spent(pid)
    rate = dnsperf(port, questions, seconds)
    return rate, (spent(pid) - before) / (rate * seconds) * 1e6


@contextmanager
def ours(records: int, *options: str) -> Iterator[tuple[int, dict[str, Any], subprocess.Popen[str]]]:
    with running([*OURS, str(records), *options]) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield told["port"], told, process


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Tell our server that it is over; return its last words."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    said: dict[str, Any] = json.loads(process.stdout.readline())
    return said


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def of_distribution(name: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Run nsd or knotd over the zone in a folder; give its port and process."""
    port = free_port()
    config = folder / f"{name}.conf"
    text, flags = (NSD, ["-d", "-c"]) if name == "nsd" else (KNOT, ["-c"])
    (folder / "knot").mkdir(exist_ok=True)
    config.write_text(text.format(port=port, folder=folder))
    with running([_found(name), *flags, config]) as process:
        ask = ["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+timeout=1", "cluster.local", "SOA"]
        for _ in range(100):
            if subprocess.run(ask, capture_output=True).returncode == 0:
                break
            time.sleep(0.05)
        yield port, process.pid


def _found(name: str) -> str:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or ""


def zone_file(records: int) -> str:
    """Return the zone the server is filled with, for others."""
    head = "$ORIGIN cluster.local.\n@ 5 IN SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ 5 IN NS ns.dns\n"
    lines = [head, "ns.dns 5 IN A 127.0.0.1\n"]
    lines += [f"pg-{n}.pg.db.svc 5 IN A 10.128.{n // 256}.{n % 256}\n" for n in range(records)]
    for n in range(TEN):
        lines += [
            f"ten-{n}.ten.db.svc 5 IN A 10.64.255.{n}\n",
            f"_pg._tcp.ten.db.svc 5 IN SRV 0 10 5432 ten-{n}.ten.db.svc\n",
        ]
    return "".join(lines)


class Bench:
    """Servers, questions and how long each is asked."""

    def __init__(self, folder: Path, seconds: float, rounds: int, sizes: Sequence[int]) -> None:
        self._folder, self._seconds, self._rounds, self._sizes = folder, seconds, rounds, sizes
        self._responder, self._asker = compiled(folder, "responder"), compiled(folder, "asker")
        self._pods = Questions.of_pods(folder, ASKED)
        self._srv = Questions.of(folder, "srv", [("_pg._tcp.ten.db.svc.cluster.local", "SRV")])
        (folder / "zone").write_text(zone_file(RECORDS))

    @contextmanager
    def server(self, name: str) -> Iterator[tuple[int, int]]:
        """Run one of the servers; give its port and process."""
        if name == OURS_NAME:
            with ours(RECORDS) as (port, _, process):
                yield port, process.pid
        elif name == LIMIT_NAME:
            with running([self._responder]) as process:
                assert process.stdout is not None
                yield int(process.stdout.readline()), process.pid
        else:
            with of_distribution(name.partition(",")[0], self._folder) as found:
                yield found

    def servers(self) -> list[str]:
        return [OURS_NAME, LIMIT_NAME, *(f"{name}, one worker" for name in OTHERS if _found(name))]

    def p99(self, name: str, port: int, rate: int) -> tuple[int, int]:
        """Return the 50th and 99th percentile of latency at a rate, in microseconds; what is lost is told."""
        self._asked(port, WARM_SECONDS, 0)
        said = self._asked(port, self._seconds, rate)
        if said["answered"] < said["sent"]:
            say(f"{name}: {said['sent'] - said['answered']} of {said['sent']} questions were not answered")
        return said["p50_us"], said["p99_us"]

    def _asked(self, port: int, seconds: float, rate: int) -> dict[str, int]:
        command = [str(self._asker), str(port), str(self._pods.messages), str(seconds), str(rate)]
        said: dict[str, int] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return said

    def most(self) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Ask every server as fast as it answers: answers per second, and the processor's microseconds per answer."""
        rates: dict[str, list[float]] = {}
        costs: dict[str, list[float]] = {}
        for _ in range(self._rounds):
            for name in self.servers():
                with self.server(name) as (port, pid):
                    rate, cost = measured(pid, port, self._pods, self._seconds)
                say(f"{name}: {rate:,.0f} answers/s, {cost:.2f} us each")
                rates.setdefault(name, []).append(rate)
                costs.setdefault(name, []).append(cost)
            shared = str(free_port())
            with ours(RECORDS, "--port", shared), ours(RECORDS, "--port", shared) as (port, _, _):
                rates.setdefault(TWO_NAME, []).append(dnsperf(port, self._pods, self._seconds))
        return rates, costs

    def srv(self) -> dict[str, float]:
        """Return answers per second to the question for a Service's ten endpoints, with EDNS, so that all fit."""
        rates: dict[str, list[float]] = {}
        for _ in range(self._rounds):
            for name in self.servers():
                if name != LIMIT_NAME:
                    with self.server(name) as (port, _):
                        rates.setdefault(name, []).append(dnsperf(port, self._srv, self._seconds, "-e"))
        return {name: median(values) for name, values in rates.items()}

    def latencies(self, rate: int) -> dict[str, dict[str, float]]:
        """Return the latencies of every server at one and the same rate, in microseconds: medians of rounds."""
        found: dict[str, list[tuple[int, int]]] = {}
        for _ in range(self._rounds):
            for name in self.servers():
                with self.server(name) as (port, _):
                    found.setdefault(name, []).append(self.p99(name, port, rate))
        p50 = {name: median([one for one, _ in values]) for name, values in found.items()}
        p99 = {name: median([one for _, one in values]) for name, values in found.items()}
        say(f"p99 at {rate:,} a second: {p99}")
        return {"p50_us": p50, "p99_us": p99}

    def sizes(self) -> dict[str, dict[str, float]]:
        """Return, per zone size, answers per second, and the microseconds of processor time a change costs."""
        rates: dict[int, list[float]] = {size: [] for size in self._sizes}
        costs: dict[int, dict[str, float]] = {}
        for _ in range(self._rounds):
            for size in self._sizes:
                few = Questions.of_pods(self._folder, min(size, ASKED))
                with ours(size) as (port, told, _):
                    rates[size].append(dnsperf(port, few, self._seconds))
                    costs[size] = told["change_us"]
                say(f"{size:,} records: {rates[size][-1]:,.0f} answers/s, a change {costs[size]['p50']} us")
        return {
            str(size): {
                "answers_per_second": median(rates[size]),
                "change_p50_us": costs[size]["p50"],
                "change_p99_us": costs[size]["p99"],
            }
            for size in self._sizes
        }

    def changing(self, rate: int) -> dict[str, float]:
        """Return what answering is like while endpoints change."""
        with ours(RECORDS, "--changes", str(CHANGES)) as (port, _, process):
            fast = dnsperf(port, self._pods, self._seconds)
            _, p99 = self.p99(OURS_NAME, port, rate)
            made = ended(process)["changes_per_second"]
        say(f"{made:,} changes/s: {fast:,.0f} answers/s, p99 {p99} us at {rate:,}")
        return {"changes_per_second": made, "answers_per_second": float(f"{fast:.3g}"), "p99_us_at_half_load": p99}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round; nothing is written")
    arguments = parser.parse_args()
    seconds, rounds, sizes = arguments.seconds, arguments.rounds, SIZES
    if arguments.quick:
        seconds, rounds, sizes = QUICK_SECONDS, 1, QUICK_SIZES
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), seconds, rounds, sizes)
        every, costs = bench.most()
        rates = {name: median(values) for name, values in every.items()}
        cost = {name: median(values) for name, values in costs.items()}
        half = int(rates[OURS_NAME] / 2)
        by_size = bench.sizes()
        flat = [one["answers_per_second"] for one in by_size.values()]
        figures = {
            "answers_per_second": rates,
            "processor_us_per_answer": cost,
            "ratio": round(rates[OURS_NAME] / rates[LIMIT_NAME], 3),
            "ratio_by_processor_time": round(cost[LIMIT_NAME] / cost[OURS_NAME], 3),
            "half_load": half,
            "at_half_load": bench.latencies(half),
            "zones_by_records": by_size,
            "slowest_to_fastest_zone": round(min(flat) / max(flat), 3),
            "while_changing": bench.changing(half),
            "srv_of_ten_answers_per_second": bench.srv(),
            "rounds": every,
            "cores": os.cpu_count(),
        }
        write("dns", figures, quick=arguments.quick)


if __name__ == "__main__":
    main()
