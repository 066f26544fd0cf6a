"""Every command the documents show works as shown, in their order."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, SYSTEM_PATH
from tests.e2e.conftest import needs

DOCUMENTS = {"README.md": "$ ", "examples/README.md": "", "docs/discovery.md": "$ "}
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.M | re.S)


def commands(document: str, prompt: str) -> list[str]:
    """Return the command lines of a document's code blocks; comments and output are not among them."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    shown = [line.removeprefix(prompt) for line in lines if line.startswith(prompt)]
    return [
        line
        for line in shown
        if re.match(r"(KUBECONFIG=\$\([^)]*\) )?(\.venv/bin/)?(homeport|kubectl|curl|\$\()", line)
    ]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    shims = tmp_path / "bin"
    shims.mkdir()
    shim = shims / "homeport"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m homeport "$@"\n')
    shim.chmod(0o755)
    path = f"{shims}:{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    environment = {**os.environ, "PATH": path, "XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
    yield environment
    subprocess.run([str(shim), "down", "--purge"], env=environment, check=True, capture_output=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_run(document: str, environment: dict[str, str]) -> None:
    needs("kubectl", "dig", "curl", "nft")
    shown = commands(document, DOCUMENTS[document])
    assert len(shown) >= 3
    for line in shown:
        line = line.replace(".venv/bin/homeport", "homeport")
        done = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, env=environment, text=True, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip() or done.stderr.strip(), f"{line} says nothing"


def test_the_demo_runs_and_leaves_nothing(environment: dict[str, str]) -> None:
    needs("nft")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "web-2.web.default.svc.cluster.local" in done.stdout
    assert not (Path(environment["XDG_STATE_HOME"]) / "homeport" / "demo").exists()
