"""Names and virtual addresses of a simulated cluster, decided by the real DNS and proxy rules, without sockets."""

import random
from collections.abc import Sequence
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.informer import InformerFactory
from homeport.clock import Clock
from homeport.dns.feed import Feed
from homeport.dns.presentation import parse_type, rdata_text
from homeport.dns.records import Answer, Question, RRType
from homeport.dns.search import candidates
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings
from homeport.dns.zone import resolve
from homeport.node.network.settings import IPV4, Family
from homeport.proxy import codec
from homeport.proxy.model import ProxySettings, ServiceRules
from homeport.proxy.rules import decide

__all__ = ["DOMAIN", "SERVICES", "SLICES", "Names", "ServerFailure", "decided", "reachable"]

DOMAIN: Final = "cluster.local"
SERVICES: Final = find("Service")
SLICES: Final = find("EndpointSlice", "discovery.k8s.io")


class ServerFailure(Exception):
    """The DNS server answers SERVFAIL."""


class Names:
    """Follows the cluster through informers that somebody else runs; so does `feed`.

    dns, proxy  informers of the DNS server and of the node's proxy
    failing     whether every question is answered with SERVFAIL
    """

    def __init__(
        self, dns: InformerFactory, proxy: InformerFactory, clock: Clock, rng: random.Random, node: str,
        ranges: Sequence[Family] = (IPV4,),
    ) -> None:  # fmt: skip
        self.failing = False
        self._server = DnsServer(DnsSettings(shuffle=False), clock, rng, _nobody)
        self.feed = Feed(dns, self._server)
        self._services = proxy.informer(SERVICES)
        self._slices = proxy.informer(SLICES)
        self._settings = [ProxySettings(one.pods, one.services, (one.gateway,), node=node) for one in ranges]

    def resolve(self, name: str, kind: str = "A", namespace: str = "default") -> tuple[str, ...]:
        """Return what a name stands for as a pod of a namespace sees it, in order; () when there is nothing.

        Records other than addresses come in master-file form. Raises ValueError for what is no name or type,
        ServerFailure while the server fails.
        """
        if self.failing:
            raise ServerFailure(f"{name}: SERVFAIL")
        wanted = parse_type(kind)
        for candidate in candidates(name, namespace, DOMAIN):
            steps = resolve(Question(candidate, wanted), self._server.index, self._server.settings)
            try:
                while True:
                    next(steps)  # nobody outside answers
            except StopIteration as stop:
                answer: Answer = stop.value
            found = [record for record in answer.answer if record.type == wanted or wanted == RRType.ANY]
            if found:
                return tuple(rdata_text(record) for record in found)
        return ()

    def rules(self, namespace: str, name: str) -> list[ServiceRules]:
        """Return what the proxy decides for a Service in each family it has a virtual address of."""
        tree, slices = self._services.get(namespace, name), self._slices.list(namespace)
        found = (decided(tree, slices, settings) for settings in self._settings)
        return [rules for rules in found if rules is not None]

    def endpoints(self, namespace: str, name: str) -> tuple[str, ...]:
        """Return `address:port` of every pod a connection to a Service may reach, in order, family by family."""
        return tuple(text for rules in self.rules(namespace, name) for text in reachable(rules))


def decided(tree: Any | None, slices: Sequence[Any], settings: ProxySettings) -> ServiceRules | None:
    """Return what the proxy decides for a Service object in one family, from the slices of its namespace."""
    service = codec.service(tree, settings.version) if tree is not None else None
    if service is None:
        return None
    own: list[Any] = [one for one in slices if codec.slice_service(one) == service.key]
    return decide(service, {port: codec.endpoints(own, port, settings.version) for port in service.ports}, settings)


def reachable(rules: ServiceRules | None) -> tuple[str, ...]:
    """Return `address:port` of every pod that rules lead to, in order."""
    targets = {target for port in rules.ports for target in port.cluster or port.local} if rules is not None else ()
    return tuple(str(one) for one in sorted(targets, key=lambda target: target.order))


async def _nobody(question: Question) -> None:
    """There is no world outside."""
