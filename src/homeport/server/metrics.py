"""`/metrics` in Prometheus text form (api-machinery 2). Counting costs a dictionary entry per request."""

from collections import Counter
from collections.abc import Iterator, Mapping

from homeport.api.exchange import Request, Response
from homeport.server.addressbook import AddressBook
from homeport.server.hub import Hub
from homeport.server.pools import PortPool, Tally
from homeport.server.routing import Target
from homeport.server.watch import Watches

__all__ = ["Metrics"]

_Key = tuple[str, str, str, str, str, str, int]
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts answers and knows where to look for the rest."""

    def __init__(self, hub: Hub, watches: Watches, book: AddressBook, ports: PortPool) -> None:
        self._hub, self._watches = hub, watches
        self._book, self._ports = book, ports
        self._answers: Counter[_Key] = Counter()
        self.in_flight = 0

    def count(self, target: Target | None, method: str, status: int) -> None:
        """Take note of one answer."""
        if target is None:
            self._answers[method, "", "", "", "", "", status] += 1
            return
        resource = target.resource
        scope = "resource" if target.name else "namespace" if target.namespace else "cluster"
        self._answers[
            target.verb.upper(), resource.group, resource.version, resource.plural, target.subresource, scope, status
        ] += 1

    def answer(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Return the page, or None for any other path."""
        if request.path != "/metrics":
            return None
        return Response(200, [("content-type", _CONTENT_TYPE)], "".join(self._lines()).encode())

    def _lines(self) -> list[str]:
        lines = [
            "# HELP apiserver_request_total Answers by verb, resource and HTTP code.\n",
            "# TYPE apiserver_request_total counter\n",
        ]
        for (verb, group, version, resource, sub, scope, code), count in sorted(self._answers.items()):
            lines.append(
                f'apiserver_request_total{{code="{code}",component="apiserver",group="{group}",resource="{resource}",'
                f'scope="{scope}",subresource="{sub}",verb="{verb}",version="{version}"}} {count}\n'
            )
        lines += [
            "# HELP apiserver_current_inflight_requests Requests being answered.\n",
            "# TYPE apiserver_current_inflight_requests gauge\n",
            f"apiserver_current_inflight_requests {self.in_flight}\n",
            "# HELP apiserver_longrunning_requests Open watches.\n",
            "# TYPE apiserver_longrunning_requests gauge\n",
            f'apiserver_longrunning_requests{{verb="WATCH"}} {self._watches.open_count}\n',
            "# HELP apiserver_storage_objects Stored objects by resource.\n",
            "# TYPE apiserver_storage_objects gauge\n",
        ]
        for cache in self._hub.caches:
            name = cache.codec.resource.group_resource
            lines.append(f'apiserver_storage_objects{{resource="{name}"}} {len(cache.entries)}\n')
        lines += _addresses(self._book)
        lines += _ports(self._ports)
        return lines


def _addresses(book: AddressBook) -> Iterator[str]:
    """Yield the figures of every range of cluster addresses (services-dns 3.2)."""
    name, ranges = "kube_apiserver_clusterip_allocator", book.ranges()
    used = {one: sum(address in one for address in book.holders) for one in ranges}
    yield from _head(f"{name}_allocated_ips", "gauge", "Cluster addresses Services have.")
    for one in ranges:
        yield f'{name}_allocated_ips{{cidr="{one.network}"}} {used[one]}\n'
    yield from _head(f"{name}_available_ips", "gauge", "Cluster addresses nobody has.")
    for one in ranges:
        yield f'{name}_available_ips{{cidr="{one.network}"}} {one.last - one.first + 1 - used[one]}\n'
    yield from _tallies(name, {f'cidr="{network}",': tally for network, tally in book.tallies.items()})


def _ports(ports: PortPool) -> Iterator[str]:
    """Yield the figures of the node ports (services-dns 3.2)."""
    name, used = "kube_apiserver_nodeport_allocator", len(ports)
    yield from _head(f"{name}_allocated_ports", "gauge", "Node ports Services have.")
    yield f"{name}_allocated_ports {used}\n"
    yield from _head(f"{name}_available_ports", "gauge", "Node ports nobody has.")
    yield f"{name}_available_ports {ports.last - ports.first + 1 - used}\n"
    yield from _tallies(name, {"": ports.tally})


def _tallies(name: str, tallies: Mapping[str, Tally]) -> Iterator[str]:
    yield from _head(f"{name}_allocation_total", "counter", "Numbers given to writes.")
    for labels, tally in tallies.items():
        for scope, count in sorted(tally.given.items()):
            yield f'{name}_allocation_total{{{labels}scope="{scope}"}} {count}\n'
    yield from _head(f"{name}_allocation_errors_total", "counter", "Numbers that could not be given.")
    for labels, tally in tallies.items():
        for scope, count in sorted(tally.refused.items()):
            yield f'{name}_allocation_errors_total{{{labels}scope="{scope}"}} {count}\n'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}\n"
    yield f"# TYPE {name} {kind}\n"
