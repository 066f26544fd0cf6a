"""The proxy's counters, as a scraper reads them."""

import asyncio
import socket
from ipaddress import IPv4Address

from homeport.proxy.health import HealthServer, metrics_answer
from homeport.proxy.metrics import FamilyMetrics, ProcessMetrics, render, without_local
from homeport.proxy.model import Frontend, PortRules, ServiceRules, Target, Via
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
    process = ProcessMetrics()
    process.flows_forgotten = 7
    found = samples(render([family], process))
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
    found = samples(render([family], ProcessMetrics()))
    assert found[label("sync_proxy_rules_nftables_sync_failures_total")] == 1
    assert found[label("sync_proxy_rules_endpoint_changes_pending")] == 0
    assert found[label("sync_full_proxy_rules_duration_seconds_count")] == 1
    assert found[label("sync_partial_proxy_rules_duration_seconds_count")] == 1
    assert found[label("network_programming_duration_seconds_count")] == 1


def test_buckets_are_upstreams() -> None:
    found = samples(render([FamilyMetrics(4, 0.0)], ProcessMetrics()))
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


def test_health_answers_and_clean_ups_are_counted() -> None:
    process = ProcessMetrics()
    for path, status in (("/healthz", 200), ("/healthz", 503), ("/healthz", 200), ("/livez", 200), ("/other", 404)):
        process.answered(path, status)
    process.forgetting.observe(0.003)
    found = samples(render([], process))
    assert found['kubeproxy_proxy_healthz_total{code="200"}'] == 2
    assert found['kubeproxy_proxy_healthz_total{code="503"}'] == 1
    assert found['kubeproxy_proxy_livez_total{code="200"}'] == 1
    assert found['kubeproxy_conntrack_reconciler_sync_duration_seconds_bucket{le="0.004"}'] == 1
    assert found["kubeproxy_conntrack_reconciler_sync_duration_seconds_count"] == 1


def test_ports_without_endpoints_here_are_counted_by_the_policy_that_asks_for_them() -> None:
    address, target = IPv4Address("10.96.0.7"), Target(IPv4Address("10.244.0.7"), 80)

    def port(via: Via, *local: Target) -> PortRules:
        return PortRules("http", "tcp", (Frontend(address, 80, via),), (target,), local)

    ports = (
        port(Via.DROP), port(Via.EXTERNAL_LOCAL), port(Via.EXTERNAL_LOCAL, target), port(Via.LOCAL, target),
        port(Via.CLUSTER), port(Via.REJECT), port(Via.DROP),
    )  # fmt: skip
    lacking = without_local([ServiceRules(("db", "pg"), (address,), ports)])
    assert lacking == {"internal": 2, "external": 1}
    found = samples(render([FamilyMetrics(4, 0.0)], ProcessMetrics(), [lacking]))
    assert found[label("sync_proxy_rules_no_local_endpoints_total", ',traffic_policy="internal"')] == 2
