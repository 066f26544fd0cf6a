"""The pod network in real namespaces, with and without privilege."""

import pytest

from tests.isolated import PRIVILEGES, run_isolated

pytestmark = pytest.mark.real


@pytest.mark.parametrize("privilege", PRIVILEGES)
@pytest.mark.parametrize(
    "scenario",
    [
        "the_contract_is_kept",
        "the_contract_is_kept_in_both_families",
        "pods_reach_each_other",
        "pods_reach_each_other_over_ipv6",
        "sandboxes_leave_together",
        "addresses_survive_the_agent",
        "a_restarted_sandbox_is_wired_anew",
        "failures_are_told",
    ],
)
def test_in_a_namespace(scenario: str, privilege: str) -> None:
    run_isolated("tests.node.network.scenarios", scenario, privilege)
