"""Real connections through the rules, in namespaces, with and without privilege."""

import pytest

from tests.isolated import PRIVILEGES, run_isolated

pytestmark = pytest.mark.real

EVERYWHERE = (
    "connections_spread_evenly",
    "a_client_keeps_its_backend",
    "affinity_ends_after_its_time",
    "nobody_home_is_said_at_once",
    "peers_see_whom_they_should",
    "the_api_server_has_a_virtual_address",
    "the_name_server_is_not_balanced",
    "source_ranges_keep_others_out",
    "changes_under_load_lose_nothing",
    "a_udp_client_moves_on",
    "each_way_of_balancing",
    "the_least_burdened_is_next",
)
"""What holds in user space as well."""


@pytest.mark.parametrize("privilege", PRIVILEGES)
@pytest.mark.parametrize(
    "scenario",
    [
        "connections_spread_evenly",
        "a_client_keeps_its_backend",
        "affinity_ends_after_its_time",
        "a_new_proxy_keeps_the_clients",
        "nobody_home_is_said_at_once",
        "peers_see_whom_they_should",
        "the_api_server_has_a_virtual_address",
        "the_name_server_is_not_balanced",
        "source_ranges_keep_others_out",
        "changes_under_load_lose_nothing",
        "a_udp_client_moves_on",
        "nothing_is_left_behind",
        "the_proxy_alone_serves_a_cluster_over_https",
        "a_client_keeps_its_backend:6",
        "a_new_proxy_keeps_the_clients:6",
        "nobody_home_is_said_at_once:6",
        "peers_see_whom_they_should:6",
        "the_api_server_has_a_virtual_address:6",
        "the_name_server_is_not_balanced:6",
        "source_ranges_keep_others_out:6",
        "changes_under_load_lose_nothing:6",
        "a_udp_client_moves_on:6",
        "nothing_is_left_behind:6",
        "each_way_of_balancing",
        "each_way_of_balancing:6",
        "the_least_burdened_is_next",
        "the_least_burdened_is_next:6",
        *(f"{scenario}:userspace" for scenario in EVERYWHERE),
        "each_way_of_balancing:6:userspace",
        "peers_see_whom_they_should:6:userspace",
    ],
)
def test_in_a_namespace(scenario: str, privilege: str) -> None:
    run_isolated("tests.proxy.scenarios", scenario, privilege)
