"""A network namespace for a measurement: nothing it sets up outlives it, and the host's network is not touched."""

import os
import subprocess
import sys
from typing import Final

__all__ = ["in_own_network"]

_INSIDE: Final = "HOMEPORT_BENCH_INSIDE"


def in_own_network(module: str) -> bool:
    """Run `python -m MODULE` with this process's options in a network of its own, root or not.

    Returns whether that is where the caller is already; else it has been done when this returns.
    """
    if os.environ.get(_INSIDE) == module:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return True
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *mapped, "--net", sys.executable, "-m", module, *sys.argv[1:]]
    subprocess.run(command, env={**os.environ, _INSIDE: module}, check=True)
    return False
