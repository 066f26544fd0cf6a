"""The examples of docs/testing.md run as they stand."""

import os
import re
import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"
MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


def examples(kind: str) -> str:
    found = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return "\n\n".join(found)


def run(pytester: pytest.Pytester, code: str, *words: str) -> None:
    pytester.path.joinpath("statefulset.yaml").write_text(MANIFEST.read_text())
    pytester.path.joinpath("real.yaml").write_text(MANIFEST.with_name("real.yaml").read_text())
    pytester.makepyfile(code)
    result = pytester.runpytest_subprocess("-p", "homeport.testing.plugin", "-W", "error", "--strict-markers", *words)
    result.assert_outcomes(passed=code.count("def test_") + 2 * code.count("parametrize"))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_every_example_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytest_asyncio")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    code = examples("python")
    assert code.count("def test_") >= 12
    run(pytester, code, "-p", "pytest_asyncio.plugin")


@pytest.mark.real
@pytest.mark.timeout(200)
def test_examples_of_real_pods_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if shutil.which("nft", path=path) is None and not os.environ.get("CI"):
        pytest.skip("not installed: nft (tools/test-packages installs it)")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    run(pytester, examples("python real"))


def test_every_call_it_names_exists() -> None:
    from homeport.testing.aio import AsyncCluster
    from homeport.testing.claims import Claim
    from homeport.testing.cluster import SimulatedCluster
    from homeport.testing.handles import Node, Pod
    from homeport.testing.snapshot import Snapshot

    text = re.sub(r"^```.*?^```$", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    called = set(re.findall(r"[`.]([a-z_]+)\(", text))
    kinds = (SimulatedCluster, Pod, Node, Claim, Snapshot, AsyncCluster)
    known = {name for kind in kinds for name in dir(kind)} | {"homeport", "main", "sleep"}
    assert called <= known
