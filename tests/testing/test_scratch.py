"""Files of simulated nodes do not outlive their process for long, however it ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from homeport.testing import scratch

_MAKE = """
import sys
from pathlib import Path
from homeport.testing import scratch
scratch.MEMORY = Path(sys.argv[1])
path = scratch.scratch_directory()
(path / "kept").write_text("x")
print(path, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "MEMORY", tmp_path)
    other = tmp_path / "homeport-of-somebody"
    other.mkdir()
    own = scratch.scratch_directory()
    command = [sys.executable, "-c", _MAKE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        scratch.sweep(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted((other, own, theirs)), "its process lives"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        scratch.sweep(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted((other, own))


def test_numbers_of_another_namespace_say_nothing(tmp_path: Path) -> None:
    foreign = tmp_path / f"{scratch.PREFIX}1-999999999-1-abc"
    foreign.mkdir()
    scratch.sweep(tmp_path)
    assert foreign.exists()
