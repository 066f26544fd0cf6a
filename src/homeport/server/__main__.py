"""`python -m homeport.server`: the API server alone, for experiments and clients' tests."""

import argparse
import asyncio
import json
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

from homeport.clock import WallClock
from homeport.server.app import Server
from homeport.server.authentication import read_token_file
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener, server_names
from homeport.server.pki import Pki, server_context
from homeport.server.settings import Settings
from homeport.store.contract import Store
from homeport.store.memory import MemoryStore


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m homeport.server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder for certificates, kubeconfig and sockets")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--token-file", type=Path, help='lines of token,user,uid,"group1,group2"')
    parser.add_argument("--disable-admission", action="append", default=[], metavar="PLUGIN")
    parser.add_argument("--store", choices=("memory", "sqlite"), default="memory")
    arguments = parser.parse_args()
    runner = asyncio.run
    if sys.platform != "win32":
        import uvloop

        runner = uvloop.run
    runner(serve(arguments))


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until interrupted; prints one JSON line once ready."""
    clock, rng = WallClock(), random.Random()
    data: Path = arguments.data
    settings = Settings()
    if arguments.disable_admission:
        off = settings.disabled_admission | frozenset(arguments.disable_admission)
        settings = replace(settings, disabled_admission=off)
    pki = Pki(data / "pki", clock, rng)
    tokens = read_token_file(arguments.token_file.read_text()) if arguments.token_file else {}
    store = await _store(arguments.store, data)
    server = Server(store, clock, rng, settings, static_tokens=tokens, token_key=pki.token_key)
    listener = Listener(server.handle, settings.max_body_bytes)
    names = server_names(settings.advertise[0], settings.kubernetes_address, settings.cluster_domain, arguments.host)
    host, port = await listener.listen_tls(arguments.host, arguments.port, server_context(pki, names))
    server.discovery.use_address(f"{host}:{port}")
    await listener.listen_unix(data / "run" / "api.sock")
    admin = pki.client("admin", "homeport:admin", ("system:masters",))
    url, kubeconfig = f"https://{host}:{port}", data / "kubeconfig"
    write_kubeconfig(kubeconfig, "homeport", url, pki.ca_pem, admin)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    async with server:
        print(json.dumps({"url": url, "kubeconfig": str(kubeconfig)}), flush=True)
        await stop.wait()
    await listener.close()
    await store.close()


async def _store(kind: str, data: Path) -> Store:
    if kind == "memory":
        return MemoryStore()
    from homeport.store.sqlite import SqliteStore

    return await SqliteStore.open(data / "state.db")


if __name__ == "__main__":
    main()
