"""`python -m homeport.testing.guardian STATE NAME`: take a cluster down once its owner closes our input, or is gone.

A process of its own, out of the reach of the terminal's Ctrl-C: however a test run ends, no cluster outlives it.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["main"]


def main(state: Path, name: str) -> int:
    """Wait for the end of standard input, then take the cluster and its directory away; returns the exit code."""
    while os.read(0, 4096):
        pass
    words = [sys.executable, "-m", "homeport", "down", "--name", name, "--purge"]
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    if done.returncode == 0:
        shutil.rmtree(state)
        return 0
    with suppress(BrokenPipeError):  # the owner may be gone
        os.write(2, done.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
