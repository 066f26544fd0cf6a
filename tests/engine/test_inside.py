"""A program of the host inside the cluster: what it sees, and what comes back."""

import pytest

from homeport.engine.inside import plain_hosts, resolver_text
from tests.isolated import PRIVILEGES, run_isolated


def test_the_resolver_is_a_pods() -> None:
    assert resolver_text(["10.96.0.10"], ["a.svc.cluster.local", "cluster.local"]) == (
        "search a.svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )
    both = resolver_text(["10.96.0.10", "fd00:10:96::a"], ["cluster.local"])
    assert both == "search cluster.local\nnameserver 10.96.0.10\nnameserver fd00:10:96::a\noptions ndots:5\n"


@pytest.mark.parametrize(
    ("sources", "plain"),
    [
        ("files dns", True),
        (" files dns  # as ever", True),
        ("files dns myhostname", True),
        ("files mdns4_minimal [NOTFOUND=return] dns", False),
        ("mymachines resolve [!UNAVAIL=return] files myhostname dns", False),
    ],
)
def test_sources_with_a_view_of_their_own_are_left_out(sources: str, plain: bool) -> None:
    text = f"passwd: files\nhosts:{sources}\nnetworks: files\n"
    assert plain_hosts(text) == (None if plain else "passwd: files\nhosts: files dns\nnetworks: files\n")


def test_no_hosts_line_means_the_library_default() -> None:
    assert plain_hosts("passwd: files\n") is None


@pytest.mark.real
@pytest.mark.parametrize("privilege", PRIVILEGES)
@pytest.mark.parametrize(
    "scenario",
    [
        "it_is_the_callers_own_process_elsewhere",
        "exit_codes_and_failures_come_back",
        "standard_streams_are_the_callers",
        "signals_reach_the_program",
        "a_stopped_program_stops_its_command",
        "capabilities_are_for_who_asks",
    ],
)
def test_a_program_inside(scenario: str, privilege: str) -> None:
    run_isolated("tests.engine.inside_scenarios", scenario, privilege, unshare=False)
