"""Fixed peers: a member knows the others' names before any of them runs, from the set's name and size alone.

python3 peers.py SET SERVICE REPLICAS PORT
"""

import socket
import sys
import urllib.request


def peers(workload: str, service: str, replicas: int) -> list[str]:
    """Return the names of all members but this one; names never change, addresses do."""
    names = [f"{workload}-{ordinal}.{service}" for ordinal in range(replicas)]
    return [name for name in names if name.split(".")[0] != socket.gethostname()]


def main(workload: str, service: str, replicas: str, port: str) -> None:
    for name in peers(workload, service, int(replicas)):
        with urllib.request.urlopen(f"http://{name}:{port}/", timeout=10) as reply:  # the name is resolved anew
            print(name, reply.read().decode().strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
