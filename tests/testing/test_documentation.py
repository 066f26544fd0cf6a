"""The examples of docs/testing.md run as they stand."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"
MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


def test_every_example_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    pytester.path.joinpath("statefulset.yaml").write_text(MANIFEST.read_text())
    pytester.makepyfile("\n\n".join(examples))
    count = sum(example.count("def test_") for example in examples)
    assert count >= 6
    result = pytester.runpytest_subprocess("-p", "homeport.testing.plugin", "-W", "error", "--strict-markers")
    result.assert_outcomes(passed=count)


def test_every_call_it_names_exists() -> None:
    from homeport.testing.cluster import SimulatedCluster
    from homeport.testing.handles import Node, Pod

    text = PAGE.read_text(encoding="utf-8")
    called = set(re.findall(r"[`.]([a-z_]+)\(", text))
    known = {name for kind in (SimulatedCluster, Pod, Node) for name in dir(kind)} | {"homeport"}
    assert called <= known
