"""The pytest plugin, in a pytest of its own."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.path.joinpath("statefulset.yaml").write_text(MANIFEST.read_text())
    return pytester


def test_the_fixture_is_a_cluster(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        def test_rollout_waits_for_quorum(homeport):
            homeport.apply("statefulset.yaml")
            homeport.wait("statefulset/db", ready=3)
            homeport.pods["db-2"].fail_probe("readiness")
            homeport.patch("statefulset/db", image="db:2")
            homeport.advance(minutes=30)
            assert homeport.pods["db-0"].image == "db:1"

        @pytest.mark.homeport(nodes=3, seed=8)
        def test_made_to_measure(homeport):
            assert homeport.seed == 8
            assert [node.name for node in homeport.nodes] == ["node-1", "node-2", "node-3"]
        """
    )
    result = project.runpytest_subprocess("-p", "homeport.testing.plugin", "-W", "error", "--strict-markers")
    result.assert_outcomes(passed=2)


def test_a_failing_test_tells_the_story(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_never(homeport):
            homeport.apply("statefulset.yaml")
            homeport.wait("statefulset/db", ready=4, timeout=60)
        """
    )
    result = project.runpytest_subprocess("-p", "homeport.testing.plugin", "--homeport-seed=5")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Homeport story (seed 5)*", "*pod/db-0 created (db:1, Pending)*"])


def test_pytest_starts_without_the_engine(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import sys

        def test_nothing_is_imported():
            ours = {name for name in sys.modules if name.split(".")[0] == "homeport"}
            assert ours == {"homeport", "homeport.testing", "homeport.testing.plugin"}
        """
    )
    project.runpytest_subprocess("-p", "homeport.testing.plugin").assert_outcomes(passed=1)
