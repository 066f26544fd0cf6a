"""Run a scenario in network namespaces of its own, as root or as an ordinary user, and fail with its output."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ORDINARY_UID: Final = 65000
ROOT: Final = Path(__file__).parents[1]
PRIVILEGES: Final = ("root", "ordinary user")


def run_isolated(module: str, scenario: str, privilege: str, *, unshare: bool = True) -> str:
    """Run `python -m module scenario` and return what it printed; in a fresh network namespace unless told not to."""
    command: list[str] = []
    if os.geteuid() != 0 and privilege == "root":
        pytest.skip("needs root")
    if os.geteuid() == 0 and privilege != "root":
        command += ["setpriv", f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups"]
    if unshare:
        command += ["unshare", "--net"] if privilege == "root" else ["unshare", "--map-root-user", "--net"]
    done = subprocess.run(
        [*command, sys.executable, "-X", "dev", "-W", "error", "-m", module, scenario],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, f"{scenario} as {privilege} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout
