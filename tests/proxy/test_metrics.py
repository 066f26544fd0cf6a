"""The proxy's counters, as a scraper reads them."""

import asyncio
import socket
from ipaddress import IPv4Address

from homeport.proxy.health import HealthServer, metrics_answer
from homeport.proxy.metrics import FamilyMetrics, render
from homeport.testing.loop import VirtualClock


def samples(text: str) -> dict[str, float]:
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def label(name: str, more: str = "") -> str:
    return f'kubeproxy_{name}{{ip_family="IPv4"{more}}}'


def test_a_synchronisation_covers_what_came_before_it() -> None:
    family = FamilyMetrics(4, started=100.0)
    family.service_changed(101.0)
    family.endpoints_changed(102.0, 101.5)
    family.endpoints_changed(102.0, 99.0)  # happened before the proxy was
    covered = family.take_pending()
    family.endpoints_changed(102.5, None)
    family.synced(102.0, 102.003, covered)
    found = samples(render([family], 7))
    assert found[label("sync_proxy_rules_service_changes_total")] == 1
    assert found[label("sync_proxy_rules_service_changes_pending")] == 0
    assert found[label("sync_proxy_rules_endpoint_changes_total")] == 3
    assert found[label("sync_proxy_rules_endpoint_changes_pending")] == 1
    assert found[label("sync_proxy_rules_last_timestamp_seconds")] == 102.003
    assert found[label("sync_proxy_rules_last_queued_timestamp_seconds")] == 102.5
    assert found[label("sync_proxy_rules_duration_seconds_bucket", ',le="0.002"')] == 0
    assert found[label("sync_proxy_rules_duration_seconds_bucket", ',le="0.004"')] == 1
    assert found[label("sync_proxy_rules_duration_seconds_bucket", ',le="+Inf"')] == 1
    assert found[label("network_programming_duration_seconds_count")] == 1
    assert found[label("network_programming_duration_seconds_bucket", ',le="1"')] == 1
    assert found["kubeproxy_conntrack_reconciler_deleted_entries_total"] == 7


def test_the_first_one_is_full_and_a_failed_one_leaves_all_pending() -> None:
    family = FamilyMetrics(4, started=0.0)
    family.endpoints_changed(1.0, 1.0)
    family.failed(family.take_pending())
    family.synced(2.0, 2.0, family.take_pending())
    family.synced(3.0, 3.0, family.take_pending())
    found = samples(render([family], 0))
    assert found[label("sync_proxy_rules_nftables_sync_failures_total")] == 1
    assert found[label("sync_proxy_rules_endpoint_changes_pending")] == 0
    assert found[label("sync_full_proxy_rules_duration_seconds_count")] == 1
    assert found[label("sync_partial_proxy_rules_duration_seconds_count")] == 1
    assert found[label("network_programming_duration_seconds_count")] == 1


def test_buckets_are_upstreams() -> None:
    found = samples(render([FamilyMetrics(4, 0.0)], 0))
    assert sum(name.startswith("kubeproxy_sync_proxy_rules_duration_seconds_bucket") for name in found) == 16
    assert label("sync_proxy_rules_duration_seconds_bucket", ',le="16.384"') in found
    assert label("network_programming_duration_seconds_bucket", ',le="115"') in found
    assert label("network_programming_duration_seconds_bucket", ',le="300"') in found


def test_nothing_but_metrics_is_answered() -> None:
    assert metrics_answer(lambda: "a 1\n", "/metrics").body == "a 1\n"
    assert metrics_answer(lambda: "a 1\n", "/").status == 404


async def test_they_are_still_served_after_services_changed() -> None:
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        own, port = one.getsockname()[1], two.getsockname()[1]
    server = HealthServer(
        [IPv4Address("127.0.0.1")],
        VirtualClock(),
        lambda: (True, 0.0),
        port=own,
        metrics=lambda: "a 1\n",
        metrics_port=port,
    )
    await server.start()
    await server.update({})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    await server.close()
    assert answer.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    assert answer.endswith("\r\n\r\na 1\n")
