"""At a terminal: live progress, shells in pods, Ctrl-C."""

import re
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import ECHO
from tests.e2e.typist import Typist


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nft")
    return make_cluster("terminal")


def at_terminal(cluster: Cluster, *words: str, columns: int = 80) -> Typist:
    return Typist(cluster.command(*words), cluster.env, columns=columns)


def test_up_shows_progress_and_then_what_there_is(cluster: Cluster) -> None:
    typist = at_terminal(cluster, "up", "-f", str(ECHO))
    assert typist.leaves(60) == 0
    assert "…" in typist.text
    assert "✓" in typist.text
    assert re.search(r"^echo-1\s+1/1\s+Running", typist.text, re.MULTILINE)
    assert typist.sent.count("\x1b[?25l") == typist.sent.count("\x1b[?25h"), "the cursor is shown again"


STUCK = """
apiVersion: v1
kind: Pod
metadata: {name: stuck}
spec:
  containers:
  - {name: main, image: "nothing/here:1", imagePullPolicy: Never}
"""


def test_ctrl_c_while_waiting_leaves_the_terminal_as_it_was(cluster: Cluster, tmp_path: Path) -> None:
    manifest = tmp_path / "stuck.yaml"
    manifest.write_text(STUCK)
    typist = at_terminal(cluster, "up", "-f", str(manifest))
    typist.sees("ErrImageNeverPull")
    typist.type("\x03")
    assert typist.leaves() == 130
    assert "Traceback" not in typist.text
    assert typist.sent.count("\x1b[?25l") == typist.sent.count("\x1b[?25h"), "the cursor is shown again"
    cluster.homeport("delete", "-f", str(manifest))


def test_a_shell_in_a_pod(cluster: Cluster) -> None:
    cluster.homeport("up", "-f", str(ECHO))
    typist = at_terminal(cluster, "exec", "-it", "echo-0", "--", "sh", columns=100)
    typist.type("echo $(hostname):$(stty size)\r")
    typist.sees("echo-0:24 100")
    typist.resize(120, 40)
    typist.type("while [ \"$(stty size)\" != '40 120' ]; do sleep 0.05; done; echo resi''zed\r")
    typist.sees("resized")
    typist.type("exit 4\r")
    assert typist.leaves() == 4


INTERRUPTIBLE = "trap 'exit 9' INT; echo re''ady; while :; do sleep 0.05; done"


def test_ctrl_c_reaches_the_program_in_the_pod(cluster: Cluster) -> None:
    cluster.homeport("up", "-f", str(ECHO))
    typist = at_terminal(cluster, "exec", "-it", "echo-0", "--", "sh", "-c", INTERRUPTIBLE)
    typist.sees("ready")
    typist.type("\x03")
    assert typist.leaves() == 9


def test_a_program_of_the_host_on_the_terminal(cluster: Cluster) -> None:
    typist = at_terminal(cluster, "run", "--", "sh", "-c", "test -t 0 && stty size; read -r line; echo got $line")
    typist.sees("24 80")
    typist.type("this\r")
    typist.sees("got this")
    assert typist.leaves() == 0
    typist = at_terminal(cluster, "run", "--", "sh", "-c", INTERRUPTIBLE)
    typist.sees("ready")
    typist.type("\x03")
    assert typist.leaves() == 9


def test_following_logs_ends_with_ctrl_c(cluster: Cluster) -> None:
    cluster.homeport("up", "-f", str(ECHO))
    typist = at_terminal(cluster, "logs", "-f", "echo-0")
    typist.sees("listening")
    typist.type("\x03")
    assert typist.leaves() == 130
    assert "Traceback" not in typist.text
