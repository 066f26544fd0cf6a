"""The commands and the file of docs/simulation.md work as they stand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from homeport.testing.histories import parse_history

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")


def test_its_commands_run(tmp_path: Path) -> None:
    file = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[0]
    assert len(parse_history(file).steps) == 6
    (tmp_path / "history.yaml").write_text(file, encoding="utf-8")
    commands = re.findall(r"^```\n(python .*?)\n```$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True, timeout=100)
