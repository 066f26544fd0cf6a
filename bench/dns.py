"""DNS answers per second, beside the least a C program can do. Needs dnsperf and a C compiler.

    python -m bench.dns [--seconds 3] [--rounds 3]

The servers take turns, so that a noisy machine troubles both alike.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.report import median, write

HERE = Path(__file__).parent
ZONE_PODS = 500

SERVER = """
import asyncio, random, socket, sys
from homeport.clock import WallClock
from homeport.dns import objects
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings

async def main():
    async def ask(question):
        return None
    server = DnsServer(DnsSettings(), WallClock(), random.Random(1), ask)
    server.index.put_namespace("db")
    service = {"metadata": {"namespace": "db", "name": "pg"}, "spec": {"clusterIP": "None", "ports": []}}
    server.index.put_service(objects.service(service))
    server.index.put_slice(objects.slice_of({
        "metadata": {"namespace": "db", "name": "pg-1", "labels": {"kubernetes.io/service-name": "pg"}},
        "addressType": "IPv4", "ports": [{"name": "pg", "port": 5432}],
        "endpoints": [{"addresses": [f"10.244.{n // 250}.{n % 250 + 1}"], "hostname": f"pg-{n}"} for n in range(PODS)],
    }))
    server.synced()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    await server.serve_udp(sock)
    print(sock.getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
""".replace("PODS", str(ZONE_PODS))


def rate(port: int, questions: Path, seconds: int) -> tuple[float, float]:
    """Return answers per second and the average latency in milliseconds, as dnsperf saw them."""
    command = [
        "dnsperf",
        "-s",
        "127.0.0.1",
        "-p",
        str(port),
        "-d",
        str(questions),
        "-l",
        str(seconds),
        "-c",
        "4",
        "-q",
        "200",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Queries per second:\s+([\d.]+)", said)
    latency = re.search(r"Average Latency \(s\):\s+([\d.]+)", said)
    if found is None or latency is None:
        raise RuntimeError(said)
    return float(found[1]), float(latency[1]) * 1000


def started(command: Sequence[str]) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        responder, questions = Path(folder) / "responder", Path(folder) / "questions"
        subprocess.run(["cc", "-O2", "-o", responder, HERE / "responder.c"], check=True)
        questions.write_text("".join(f"pg-{n}.pg.db.svc.cluster.local A\n" for n in range(ZONE_PODS)))
        rates: dict[str, list[float]] = {"homeport": [], "c": []}
        commands = {"homeport": [sys.executable, "-c", SERVER], "c": [str(responder)]}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                process, port = started(command)
                try:
                    rates[name].append(rate(port, questions, arguments.seconds)[0])
                finally:
                    process.kill()
                    process.wait()
    ours, limit = median(rates["homeport"]), median(rates["c"])
    write(
        "dns",
        {
            "answers_per_second": {"homeport, one worker": ours, "minimal C responder": limit},
            "ratio": round(ours / limit, 3),
            "rounds": rates,
            "cores": os.cpu_count(),
        },
    )


if __name__ == "__main__":
    main()
