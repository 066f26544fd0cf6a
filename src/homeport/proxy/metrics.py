"""What the proxy counts, in Prometheus' text form and under upstream's names. Source: `services-dns` 17.5."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from homeport.proxy.model import ServiceRules, Via

__all__ = ["FamilyMetrics", "Histogram", "ProcessMetrics", "render", "without_local"]

_SYNC_BUCKETS: Final = tuple(0.001 * 2**power for power in range(15))
_PROGRAMMING_BUCKETS: Final = (
    *(0.25, 0.5),
    *map(float, range(1, 60)),
    *map(float, range(60, 120, 5)),
    *map(float, range(120, 301, 30)),
)


class Histogram:
    """Observed seconds by upper bounds, which grow."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Yield its samples; each bucket counts all up to its bound."""
        total = 0
        for bound, count in zip((*self._bounds, None), self._counts, strict=True):
            total += count
            text = "+Inf" if bound is None else f"{bound:.12g}"
            yield f'{name}_bucket{{{labels + "," if labels else ""}le="{text}"}} {total}'
        among = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{among} {self._sum:.17g}"
        yield f"{name}_count{among} {total}"


class FamilyMetrics:
    """Counts of one address family. All times are epoch seconds.

    started  when the proxy was: changes of before say nothing about how fast it is
    """

    def __init__(self, version: int, started: float) -> None:
        self.version, self._started = version, started
        self.sync, self.full, self.partial = (Histogram(_SYNC_BUCKETS) for _ in range(3))
        self.programming = Histogram(_PROGRAMMING_BUCKETS)
        self.last_sync = self.last_queued = 0.0
        self.services = self.endpoints = self.services_pending = self.endpoints_pending = 0
        self.failures = 0
        self._triggers: list[float] = []

    def service_changed(self, now: float) -> None:
        self.services += 1
        self.services_pending += 1
        self.last_queued = now

    def endpoints_changed(self, now: float, trigger: float | None) -> None:
        """Take note of a changed slice; `trigger` is when what it tells happened, None when it does not say."""
        self.endpoints += 1
        self.endpoints_pending += 1
        self.last_queued = now
        if trigger is not None and trigger >= self._started:
            self._triggers.append(trigger)

    def take_pending(self) -> tuple[int, int, list[float]]:
        """Return the changes the next synchronisation covers, to be given to `synced` when it succeeded."""
        triggers, self._triggers = self._triggers, []
        return self.services_pending, self.endpoints_pending, triggers

    def synced(self, began: float, now: float, covered: tuple[int, int, list[float]]) -> None:
        """Take note of a synchronisation; the first one is a full one."""
        services, endpoints, triggers = covered
        (self.partial if self.last_sync else self.full).observe(now - began)
        self.sync.observe(now - began)
        self.services_pending -= services
        self.endpoints_pending -= endpoints
        self.last_sync = now
        for trigger in triggers:
            self.programming.observe(max(now - trigger, 0.0))

    def failed(self, covered: tuple[int, int, list[float]]) -> None:
        """Take note of a synchronisation that did not succeed: what it covered stays pending."""
        self.failures += 1
        self._triggers = covered[2] + self._triggers


_HISTOGRAMS: Final = (
    ("kubeproxy_sync_proxy_rules_duration_seconds", "sync", "Duration of a synchronisation."),
    ("kubeproxy_sync_full_proxy_rules_duration_seconds", "full", "Duration of a full synchronisation."),
    ("kubeproxy_sync_partial_proxy_rules_duration_seconds", "partial", "Duration of one of changes alone."),
    ("kubeproxy_network_programming_duration_seconds", "programming", "From a change of endpoints to its effect."),
)
_SYNC: Final = "kubeproxy_sync_proxy_rules"
_NUMBERS: Final = (
    (f"{_SYNC}_last_timestamp_seconds", "gauge", "last_sync", "When rules were last synchronised."),
    (f"{_SYNC}_last_queued_timestamp_seconds", "gauge", "last_queued", "When a change last came."),
    (f"{_SYNC}_service_changes_total", "counter", "services", "Changes of Services."),
    (f"{_SYNC}_service_changes_pending", "gauge", "services_pending", "Those that wait for their effect."),
    (f"{_SYNC}_endpoint_changes_total", "counter", "endpoints", "Changes of EndpointSlices."),
    (f"{_SYNC}_endpoint_changes_pending", "gauge", "endpoints_pending", "Those that wait for their effect."),
    (f"{_SYNC}_nftables_sync_failures_total", "counter", "failures", "Synchronisations that did not succeed."),
)


_HEALTH: Final = (("/healthz", "healthz"), ("/livez", "livez"))


class ProcessMetrics:
    """What is counted for the proxy as a whole. `forgetting` is the time flows took to be looked at and deleted."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.forgetting = Histogram(_SYNC_BUCKETS)
        self.flows_forgotten = 0

    def answered(self, path: str, status: int) -> None:
        """Take note of an answer about the proxy's own health."""
        self.answers[path, status] += 1


def without_local(rules: Iterable[ServiceRules]) -> Mapping[str, int]:
    """Count the Service ports that ask for endpoints here and have none, by the policy that asks."""
    found = {"internal": 0, "external": 0}
    for port in (port for one in rules for port in one.ports):
        vias = {frontend.via for frontend in port.frontends}
        found["internal"] += Via.DROP in vias
        found["external"] += Via.EXTERNAL_LOCAL in vias and not port.local
    return found


def render(
    families: Sequence[FamilyMetrics], process: ProcessMetrics, lacking: Sequence[Mapping[str, int]] = ()
) -> str:
    """Return the text a scraper reads. `lacking` is what `without_local` says of each family."""
    return "".join(f"{line}\n" for line in _lines(families, process, lacking))


def _lines(
    families: Sequence[FamilyMetrics], process: ProcessMetrics, lacking: Sequence[Mapping[str, int]]
) -> Iterator[str]:
    for name, attribute, text in _HISTOGRAMS:
        yield from (f"# HELP {name} {text}", f"# TYPE {name} histogram")
        for family in families:
            yield from getattr(family, attribute).lines(name, f'ip_family="IPv{family.version}"')
    for name, kind, attribute, text in _NUMBERS:
        yield from (f"# HELP {name} {text}", f"# TYPE {name} {kind}")
        for family in families:
            yield f'{name}{{ip_family="IPv{family.version}"}} {getattr(family, attribute):.17g}'
    name = f"{_SYNC}_no_local_endpoints_total"
    yield from (f"# HELP {name} Service ports that ask for endpoints here and have none.", f"# TYPE {name} gauge")
    for family, counts in zip(families, lacking, strict=False):
        for policy, count in counts.items():
            yield f'{name}{{ip_family="IPv{family.version}",traffic_policy="{policy}"}} {count}'
    yield from _process_lines(process)


def _process_lines(process: ProcessMetrics) -> Iterator[str]:
    for path, short in _HEALTH:
        name = f"kubeproxy_proxy_{short}_total"
        yield from (f"# HELP {name} Answers to {path}.", f"# TYPE {name} counter")
        for (asked, status), count in sorted(process.answers.items()):
            if asked == path:
                yield f'{name}{{code="{status}"}} {count}'
    name = "kubeproxy_conntrack_reconciler_sync_duration_seconds"
    yield from (f"# HELP {name} Duration of looking for flows whose endpoint went.", f"# TYPE {name} histogram")
    yield from process.forgetting.lines(name, "")
    name = "kubeproxy_conntrack_reconciler_deleted_entries_total"
    yield from (f"# HELP {name} Flows deleted because their endpoint went.", f"# TYPE {name} counter")
    yield f"{name} {process.flows_forgotten}"
