"""DNS answers per second and their latency, beside the least a C program can do and servers of the distribution.

    python -m bench.dns [--seconds 3] [--rounds 3]

Needs dnsperf and a C compiler; nsd and knotd are asked where they are installed. The servers take turns, so that a
noisy machine troubles all alike. Every server has one worker, but for the line that says two.
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

from bench.report import median, write

HERE = Path(__file__).parent
ASKED = 500
"""Names in turn; the zone may hold more."""

RECORDS = 1000
SIZES = (10, 1_000, 100_000)
CHANGES = 5_000
PATIENCE_SECONDS = 5.0
"""After which dnsperf counts a question as lost; so late is it then said to be."""

OURS_NAME, LIMIT_NAME, OTHERS = "homeport, one worker", "minimal C responder", ("nsd", "knotd")
OURS = (sys.executable, "-m", "bench.dns_server")

NSD = """server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
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
class Load:
    """What dnsperf saw: answers per second, and the 99th percentile of latency in microseconds (0: not asked for)."""

    rate: float
    p99_us: float = 0.0


def dnsperf(port: int, questions: Path, seconds: float, *, at_most: int = 0) -> Load:
    """Ask as fast as possible, or at a given rate and with every latency written down."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions), "-l", str(seconds)]
    command += ["-c", "4", "-q", "200", *(("-Q", str(at_most), "-v") if at_most else ())]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Queries per second:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(said[-2000:])
    lines = (line.split() for line in said.splitlines() if line.startswith("> "))
    taken = sorted(PATIENCE_SECONDS if words[1] == "T" else float(words[-1]) for words in lines)
    return Load(float(found[1]), taken[len(taken) * 99 // 100] * 1e6 if taken else 0.0)


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


def measured(pid: int, port: int, questions: Path, seconds: float) -> tuple[float, float]:
    """Return answers per second, and the processor's microseconds per answer, which a busy machine spoils least."""
    before = spent(pid)
    rate = dnsperf(port, questions, seconds).rate
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


@contextmanager
def responder(binary: Path) -> Iterator[tuple[int, int]]:
    """Run the C program; give its port and process."""
    with running([binary]) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid


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
    head = "$ORIGIN cluster.local.\n@ 5 IN SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ 5 IN NS ns.dns\n"
    return (
        head
        + "ns.dns 5 IN A 127.0.0.1\n"
        + "".join(f"pg-{n}.pg.db.svc 5 IN A 10.128.{n // 256}.{n % 256}\n" for n in range(records))
    )


@dataclass(frozen=True, slots=True)
class Most:
    """Per server, round by round: answers per second, and the processor's microseconds per answer."""

    rates: dict[str, list[float]]
    costs: dict[str, list[float]]

    def add(self, name: str, figures: tuple[float, float]) -> None:
        self.rates.setdefault(name, []).append(figures[0])
        self.costs.setdefault(name, []).append(figures[1])


def most(folder: Path, binary: Path, questions: Path, seconds: float, rounds: int) -> Most:
    """Ask every server as fast as it answers."""
    found = Most({}, {})
    for _ in range(rounds):
        with ours(RECORDS) as (port, _told, process):
            found.add(OURS_NAME, measured(process.pid, port, questions, seconds))
        shared = str(free_port())
        with ours(RECORDS, "--port", shared), ours(RECORDS, "--port", shared) as (port, _told, _process):
            found.rates.setdefault("homeport, two workers", []).append(dnsperf(port, questions, seconds).rate)
        with responder(binary) as (port, pid):
            found.add(LIMIT_NAME, measured(pid, port, questions, seconds))
        for name in OTHERS:
            if _found(name):
                with of_distribution(name, folder) as (port, pid):
                    found.add(f"{name}, one worker", measured(pid, port, questions, seconds))
    return found


def latencies(folder: Path, binary: Path, questions: Path, seconds: float, rate: int) -> dict[str, float]:
    """Return the 99th percentile of every server at one and the same rate, in microseconds."""
    with ours(RECORDS) as (port, _told, _process):
        found = {OURS_NAME: dnsperf(port, questions, seconds, at_most=rate).p99_us}
    with responder(binary) as (port, _pid):
        found[LIMIT_NAME] = dnsperf(port, questions, seconds, at_most=rate).p99_us
    for name in OTHERS:
        if _found(name):
            with of_distribution(name, folder) as (port, _pid):
                found[f"{name}, one worker"] = dnsperf(port, questions, seconds, at_most=rate).p99_us
    return {name: round(value) for name, value in found.items()}


def sizes(questions: Path, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Return, per zone size, answers per second, and the microseconds of the processor one changed endpoint costs."""
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    costs: dict[int, dict[str, float]] = {}
    for _ in range(rounds):
        for size in SIZES:
            few = questions.with_name(f"questions-{size}")
            few.write_text("".join(f"pg-{n}.pg.db.svc.cluster.local A\n" for n in range(min(size, ASKED))))
            with ours(size) as (port, told, _process):
                rates[size].append(dnsperf(port, few, seconds).rate)
                costs[size] = told["change_us"]
    return {
        str(size): {
            "answers_per_second": median(rates[size]),
            "change_p50_us": costs[size]["p50"],
            "change_p99_us": costs[size]["p99"],
        }
        for size in SIZES
    }


def changing(questions: Path, seconds: float, rate: int) -> dict[str, float]:
    """Return what answering is like while endpoints change."""
    with ours(RECORDS, "--changes", str(CHANGES)) as (port, _told, process):
        fast = dnsperf(port, questions, seconds)
        slow = dnsperf(port, questions, seconds, at_most=rate)
        made = ended(process)["changes_per_second"]
    return {
        "changes_per_second": made,
        "answers_per_second": float(f"{fast.rate:.3g}"),
        "p99_us_at_half_load": round(slow.p99_us),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    seconds, rounds = arguments.seconds, arguments.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        binary, questions = folder / "responder", folder / "questions"
        subprocess.run(["cc", "-O2", "-o", binary, HERE / "responder.c"], check=True)
        questions.write_text("".join(f"pg-{n}.pg.db.svc.cluster.local A\n" for n in range(ASKED)))
        (folder / "zone").write_text(zone_file(RECORDS))
        found = most(folder, binary, questions, seconds, rounds)
        rates = {name: median(values) for name, values in found.rates.items()}
        half = int(rates[OURS_NAME] / 2)
        write(
            "dns",
            {
                "answers_per_second": rates,
                "processor_us_per_answer": {name: median(values) for name, values in found.costs.items()},
                "ratio": round(rates[OURS_NAME] / rates[LIMIT_NAME], 3),
                "p99_us_at_half_load": latencies(folder, binary, questions, seconds, half),
                "half_load": half,
                "zones_by_records": sizes(questions, seconds, rounds),
                "while_changing": changing(questions, seconds, half),
                "rounds": found.rates,
                "cores": os.cpu_count(),
            },
        )


if __name__ == "__main__":
    main()
