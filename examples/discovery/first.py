"""Which address comes first when a headless name is asked for many times: most clients take that one.

python3 first.py NAME [TIMES]
"""

import socket
import sys
from collections import Counter


def main(name: str, times: str = "300") -> None:
    first = Counter(socket.getaddrinfo(name, None, socket.AF_INET)[0][4][0] for _ in range(int(times)))
    for address, count in sorted(first.items()):
        print(f"{address} first in {count} of {times}")


if __name__ == "__main__":
    main(*sys.argv[1:])
