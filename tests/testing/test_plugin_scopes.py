"""Shared clusters, workers beside each other, async tests and reports, in a pytest of its own."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"
PLUGIN = ("-p", "homeport.testing.plugin", "-W", "error", "--strict-markers")

SHARED = """
    import pytest

    @pytest.fixture(scope="module")
    def db(homeport_module):
        homeport_module.apply("statefulset.yaml")
        homeport_module.wait("sts/db")
        homeport_module.claims["data-db-0"].write("rows", b"one")
        return homeport_module.pods["db-0"].uid

    pytestmark = pytest.mark.homeport(scope="module")

    @pytest.mark.parametrize("turn", range(3))
    def test_begins_where_the_fixture_left_it(homeport, db, turn, histories):
        assert homeport.pods["db-0"].uid == db
        assert homeport.claims["data-db-0"].read("rows") == b"one"
        homeport.claims["data-db-0"].write("rows", b"two")
        homeport.scale("sts/db", 0)
        homeport.advance(minutes=1)
        assert not list(homeport.pods)
        histories.add(homeport.history())
        assert len(histories) == 1

    @pytest.fixture(scope="session")
    def histories():
        return set()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.path.joinpath("statefulset.yaml").write_text(MANIFEST.read_text())
    return pytester


def test_tests_of_a_module_share_a_beginning(project: pytest.Pytester) -> None:
    project.makepyfile(
        SHARED
        + """
    def test_a_later_fixture_adds_to_the_beginning(homeport, more):
        assert len(homeport.pods) == 4

    @pytest.fixture(scope="module")
    def more(homeport_module, db):
        homeport_module.scale("sts/db", 4)
        homeport_module.wait("sts/db", ready=4)

    def test_what_was_added_stays(homeport):
        assert len(homeport.pods) == 4

    def test_clients_stay_connected(homeport):
        assert len(homeport.clients.httpx.get("/api/v1/namespaces/default/pods").json()["items"]) == 4
        homeport.delete("sts/db")

    def test_clients_are_still_connected(homeport):
        assert len(homeport.clients.httpx.get("/api/v1/namespaces/default/pods").json()["items"]) == 4
"""
    )
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=7)


def test_the_ini_file_says_who_shares(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nhomeport_scope = session\n")
    project.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def db(homeport_session):
            homeport_session.apply("statefulset.yaml")
            homeport_session.wait("sts/db")

        def test_one(homeport, homeport_session):
            assert homeport is homeport_session
            homeport.delete("sts/db")
            homeport.settle()
            assert not homeport.pods

        class TestMore:
            def test_two(self, homeport):
                assert len(homeport.pods) == 3

            @pytest.mark.homeport(scope="function")
            def test_alone(self, homeport):
                assert not homeport.pods

            @pytest.mark.homeport(scope="class")
            def test_of_a_class(self, homeport, homeport_class):
                assert homeport is homeport_class
                assert not homeport.pods
        """
    )
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=4)


def test_wishes_that_cannot_be_are_refused(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.homeport(scope="module", nodes=5)
        def test_other_nodes(homeport):
            pass

        @pytest.mark.homeport(scope="planet")
        def test_other_scope(homeport):
            pass

        @pytest.mark.homeport(sed=3)
        def test_misspelt(homeport):
            pass
        """
    )
    result = project.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*the cluster of this module is made with*", "*scope 'planet' is not one of*"])
    result.stdout.fnmatch_lines(["*the marker homeport takes *nodes, options, real, scope, seed by name; not*sed*"])


def test_workers_beside_each_other(project: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    for number in range(2):
        project.path.joinpath(f"test_part{number}.py").write_text(
            "\n".join(line[4:] for line in SHARED.splitlines()), encoding="utf-8"
        )
    project.path.joinpath("test_alone.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('turn', range(4))\n"
        "def test_alone(homeport, turn):\n"
        "    homeport.apply('statefulset.yaml')\n"
        "    homeport.wait('sts/db')\n"
        "    assert len(homeport.clients.httpx.get('/api/v1/pods').json()['items']) == 3\n",
        encoding="utf-8",
    )
    project.runpytest_subprocess(*PLUGIN, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=10)


ASYNC_TEST = """
    import asyncio
    import pytest

    {mark}
    async def test_of_a_loop(homeport):
        await homeport.aio.apply("statefulset.yaml")
        ready, reached = await asyncio.gather(
            homeport.aio.wait("sts/db", ready=3),
            homeport.aio.wait("pod/db-1"),
        )
        assert ready["status"]["readyReplicas"] == 3 and reached["metadata"]["name"] == "db-1"
        homeport.pods["db-2"].fail_probe("readiness")        # a plain call works too
        homeport.advance(minutes=1)
        assert not homeport.pods["db-2"].ready
        start = await homeport.aio.snapshot()
        await homeport.aio.delete("sts/db")
        await homeport.aio.restore(start)
        with await homeport.aio.fork() as other:
            await other.aio.wait("sts/db", ready=2)
        assert len(homeport.pods) == 3
"""


def test_async_tests_with_pytest_asyncio(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    project.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    project.makepyfile(ASYNC_TEST.format(mark="@pytest.mark.asyncio"))
    project.runpytest_subprocess(*PLUGIN, "-p", "pytest_asyncio.plugin").assert_outcomes(passed=1)


def test_async_tests_with_anyio(project: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    project.makepyfile(
        ASYNC_TEST.format(mark="@pytest.mark.anyio")
        + """
    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""
    )
    project.runpytest_subprocess(*PLUGIN, "-p", "anyio.pytest_plugin").assert_outcomes(passed=1)


def test_async_histories_repeat_themselves(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import asyncio

        async def play(homeport):
            await homeport.aio.apply("statefulset.yaml")
            await homeport.aio.wait("sts/db", ready=3)
            homeport.pods["db-1"].crash()
            homeport.nodes["node-1"].lose()
            await homeport.aio.advance(minutes=10)
            return homeport.history()

        def test_again(homeport):
            from homeport.testing.cluster import SimulatedCluster
            from pathlib import Path

            with SimulatedCluster(base=Path(__file__).parent) as other:
                assert asyncio.run(play(homeport)) == asyncio.run(play(other))
        """
    )
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_a_failing_test_shows_objects_events_and_story(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        def test_never(homeport):
            homeport.apply("statefulset.yaml")
            homeport.fail_image("db:1")
            homeport.advance(minutes=1)
            other = homeport.fork()
            other.advance(minutes=1)
            assert False

        @pytest.fixture(scope="module")
        def prepared(homeport_module):
            homeport_module.apply("statefulset.yaml")
            homeport_module.wait("sts/db", ready=9, timeout=5)

        @pytest.mark.homeport(scope="module")
        def test_not_begun(homeport, prepared):
            pass
        """
    )
    result = project.runpytest_subprocess("-p", "homeport.testing.plugin", "--homeport-seed=5")
    result.assert_outcomes(failed=1, errors=1)
    text = result.stdout.str()
    for line in (
        "Homeport objects (seed 5)",
        "statefulset/db: 0/3, waits for pod db-0: container db: ImagePullBackOff",
        "Homeport events (seed 5)",
        "Homeport story (seed 5)",
        "Homeport story (fork of seed 5)",
    ):
        assert line in text, line
    assert text.count("Homeport objects (seed 5)") == 2
