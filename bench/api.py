"""The API over TLS with 32 keep-alive connections: creations, reads, lists of 500 pods; and watches under load.

    python -m bench.api [--seconds 3] [--rounds 3]

Needs `wrk`. The server runs as a process of its own, over each store; figures are medians of rounds. `fan_out` is
the time from a write's answer to the last of 100 watchers having read its event.
"""

import argparse
import asyncio
import json
import re
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import median, write

TOKEN = "bench"
CONNECTIONS = 32
LISTED = 500
WATCHERS = 100

CREATE = """
local thread_count = 0
function setup(thread) thread:set("mark", thread_count .. "-" .. os.time()); thread_count = thread_count + 1 end
local count = 0
function request()
  count = count + 1
  local body = '{"metadata":{"name":"p-' .. mark .. '-' .. count .. '","labels":{"app":"bench"}},' ..
    '"spec":{"containers":[{"name":"c","image":"nginx:1","ports":[{"containerPort":80}],' ..
    '"resources":{"requests":{"cpu":"100m","memory":"64Mi"}}}]}}'
  return wrk.format("POST", "/api/v1/namespaces/default/pods",
    {["Authorization"]="Bearer %s", ["Content-Type"]="application/json"}, body)
end
"""


class Server:
    """A server process in a folder of its own."""

    def __init__(self, folder: Path, store: str) -> None:
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        started = time.perf_counter()
        command = [sys.executable, "-m", "homeport.server", "--data", str(folder / "data"), "--token-file", str(tokens)]
        command += ["--disable-admission", "ServiceAccount", "--store", store]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        self.ready_seconds = time.perf_counter() - started
        self.ca = folder / "data" / "pki" / "ca.crt"

    def rss_megabytes(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found.group(1)) / 1024 if found else 0.0

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def wrk(url: str, seconds: float, script: Path | None = None) -> float:
    """Return requests per second; raises when any answer is not 2xx."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s"]
    command += ["-s", str(script)] if script else ["-H", f"Authorization: Bearer {TOKEN}"]
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(output)
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None:
        raise RuntimeError(output)
    return float(found.group(1))


class Connection:
    """One HTTPS connection that speaks just enough HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, url: str, context: ssl.SSLContext) -> "Connection":
        host, port = url.removeprefix("https://").split(":")
        return cls(*await asyncio.open_connection(host, int(port), ssl=context))

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        headers = f"host: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n"
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{headers}\r\n".encode() + body)

    async def head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> bytes:
        found = re.search(rb"content-length: (\d+)", await self.head())
        return await self._reader.readexactly(int(found.group(1))) if found else b""

    async def chunk(self) -> bytes:
        size = int(await self._reader.readline(), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    def close(self) -> None:
        self._writer.close()


async def fan_out(server: Server, writes: int) -> float:
    """Return the median milliseconds from a write's answer to the last watcher's event."""
    context = ssl.create_default_context(cafile=str(server.ca))
    writer = await Connection.open(server.url, context)
    watchers = [await Connection.open(server.url, context) for _ in range(WATCHERS)]
    for watcher in watchers:
        watcher.send("GET", "/api/v1/namespaces/default/configmaps?watch=1")
    await asyncio.gather(*(watcher.head() for watcher in watchers))
    delays = []
    for number in range(writes):
        body = json.dumps({"metadata": {"name": f"w-{number}"}}).encode()
        writer.send("POST", "/api/v1/namespaces/default/configmaps", body)
        await writer.answer()
        answered = time.perf_counter()
        await asyncio.gather(*(watcher.chunk() for watcher in watchers))
        delays.append((time.perf_counter() - answered) * 1000)
    for connection in (writer, *watchers):
        connection.close()
    return median(delays)


async def fill(server: Server, count: int) -> None:
    """Create the pods that lists return, in a namespace of their own."""
    context = ssl.create_default_context(cafile=str(server.ca))
    connection = await Connection.open(server.url, context)
    connection.send("POST", "/api/v1/namespaces", b'{"metadata":{"name":"listed"}}')
    await connection.answer()
    for number in range(count):
        pod: dict[str, Any] = {
            "metadata": {"name": f"p-{number}", "labels": {"app": "bench"}},
            "spec": {"containers": [{"name": "c", "image": "nginx:1", "ports": [{"containerPort": 80}]}]},
        }
        connection.send("POST", "/api/v1/namespaces/listed/pods", json.dumps(pod).encode())
        await connection.answer()
    connection.close()


def measure(seconds: float, rounds: int, store: str) -> dict[str, float]:
    """Return every figure."""
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "create.lua"
            script.write_text(CREATE.replace("%s", TOKEN))
            server = Server(Path(folder), store)
            try:
                note("ready_seconds", server.ready_seconds)
                note("idle_rss_megabytes", server.rss_megabytes())
                asyncio.run(fill(server, LISTED))
                note("gets_per_second", wrk(f"{server.url}/api/v1/namespaces/listed/pods/p-7", seconds))
                note("lists_of_500_per_second", wrk(f"{server.url}/api/v1/namespaces/listed/pods", seconds))
                note("fan_out_to_100_milliseconds", asyncio.run(fan_out(server, 50)))
                note("creates_per_second", wrk(server.url, seconds, script))
            finally:
                server.close()
    return {name: round(median(values), 3) for name, values in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    stores = ("memory", "sqlite")
    write("api", {store: measure(arguments.seconds, arguments.rounds, store) for store in stores})


if __name__ == "__main__":
    main()
