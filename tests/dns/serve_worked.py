"""The worked zone on real sockets: `python -m tests.dns.serve_worked ADDRESS PORT` prints the port."""

import asyncio
import random
import sys

from homeport.clock import WallClock
from homeport.dns.server import DnsServer
from homeport.dns.settings import REVERSE_ROOTS, DnsSettings
from homeport.dns.sockets import open_sockets
from tests.dns.test_zone import upstream
from tests.dns.worked import WORKED
from tests.vectors.replay_dns import fill


async def main(address: str, port: int) -> None:
    settings = DnsSettings(transfer=True, own_addresses=("10.96.0.10",), fallthrough=REVERSE_ROOTS)
    server = DnsServer(settings, WallClock(), random.Random(), upstream)
    fill(server, WORKED)
    server.synced()
    sockets = open_sockets(address, port)
    await server.serve_udp(sockets.udp)
    await server.serve_tcp(sockets.tcp)
    print(sockets.resolver.port, flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
