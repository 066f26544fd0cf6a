"""Wait until a majority of the members can be found by name, as a member does that is about to vote.

python3 quorum.py SET SERVICE REPLICAS [SECONDS]
"""

import socket
import sys
import time


def found(name: str) -> str | None:
    """Return a name's address; None while nobody is ready under it."""
    try:
        return socket.gethostbyname(name)
    except socket.gaierror:
        return None


def main(workload: str, service: str, replicas: str, seconds: str = "60") -> None:
    names = [f"{workload}-{ordinal}.{service}" for ordinal in range(int(replicas))]
    needed = len(names) // 2 + 1
    deadline = time.monotonic() + float(seconds)
    pause = 0.05
    while len(members := {name: address for name in names if (address := found(name))}) < needed:
        if time.monotonic() > deadline:
            sys.exit(f"{len(members)} of {needed} members needed: {', '.join(members) or 'none'}")
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
    print(f"quorum of {needed}:", *members)


if __name__ == "__main__":
    main(*sys.argv[1:])
