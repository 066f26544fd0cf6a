"""Clusters of real pods come and go whole, whatever happens to the test run; what they cannot do they say."""

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from homeport.testing.hands import Unsupported
from homeport.testing.real import RealCluster
from tests.isolated import run_isolated

pytest_plugins = ["pytester"]
MANIFEST = Path(__file__).parent / "manifests" / "real.yaml"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

pytestmark = [pytest.mark.real, pytest.mark.timeout(200)]

TEST = f"""
import sys

def test_it(homeport):
    with homeport.real() as real:
        real.apply({str(MANIFEST)!r})
        real.wait("sts/db", ready=2)
        print("STATE", real.engine.data.parents[1], flush=True)
        sys.stdin.readline()
        assert False
"""


@pytest.fixture(autouse=True)
def needs_nft() -> None:
    if shutil.which("nft", path=PATH) is None and not os.environ.get("CI"):
        pytest.skip("not installed: nft (tools/test-packages installs it)")


def processes_of(state: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if state in words:
                found.append(f"{entry.name} {words}")
    return found


def guardian_of(state: str) -> int:
    """Return a descriptor that turns readable when the cluster's guardian has ended."""
    pids = [line.split()[0] for line in processes_of(state) if "homeport.testing.guardian" in line]
    return os.pidfd_open(int(pids[0]))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, None], ids=["interrupted", "killed", "failed"])
def test_nothing_is_left(tmp_path: Path, how: signal.Signals | None) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    words = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "homeport.testing.plugin", "test_it.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdin is not None
        state = next((line.split()[1] for line in run.stdout if "STATE" in line), "")
        assert state, "the cluster did not start"
        assert len(processes_of(state)) > 3
        guardian = guardian_of(state)
        if how is None:
            run.stdin.write("\n")
            run.stdin.flush()
        else:
            run.send_signal(how)
        said = run.stdout.read()
        run.wait()
    assert select.select([guardian], [], [], 60)[0], "the guardian still works"
    os.close(guardian)
    assert not Path(state).exists()
    assert processes_of(state) == []
    if how is None:
        assert "1 failed" in said


def test_what_real_pods_cannot_do_is_said(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = RealCluster()
    for name in ("snapshot", "fork", "running", "fail_requests", "jump", "history"):
        with pytest.raises(Unsupported, match=f"{name} needs a simulated cluster; with real pods, "):
            getattr(cluster, name)
    with pytest.raises(Unsupported, match="let the program wait"):
        cluster.pods["db-0"].slow_start(3)
    with pytest.raises(Unsupported, match="its exit code is 137, not 3"):
        cluster.pods["db-0"].crash(code=3)
    with pytest.raises(Unsupported, match="crash\\(\\) kills a program"):
        cluster.pods["db-0"].run_out_of_memory()
    assert not cluster.begun
    cluster.close()


def test_the_same_tests_run_on_real_pods(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.path.joinpath("real.yaml").write_text(MANIFEST.read_text())
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.homeport(scope="module")

        def test_names(homeport):
            homeport.apply("real.yaml")
            homeport.wait("sts/db", ready=2)
            assert homeport.resolve("db-1.db") == (homeport.pods["db-1"].ip,)

        def test_only_simulated(homeport):
            homeport.fail_image("x")

        def test_fails(homeport):
            node = next(iter(homeport.nodes))
            node.cut()
            node.join()
            assert homeport.pods["db-0"].restarts == 7
        """
    )
    result = pytester.runpytest_subprocess("-p", "homeport.testing.plugin", "--homeport-real", "-rs")
    result.assert_outcomes(passed=1, skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*Homeport objects (real pods)*", "statefulset/db: 2/2, ready"])
    result.stdout.fnmatch_lines(["*fail_image needs a simulated cluster*"])


@pytest.mark.rootless
def test_an_ordinary_user_has_real_pods() -> None:
    run_isolated("tests.testing.real_scenarios", "rootless", "ordinary user", unshare=False)
