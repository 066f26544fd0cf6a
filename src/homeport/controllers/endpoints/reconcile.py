"""The subsets an Endpoints object should have.

Source: services-dns 10 of the specification.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from math import ceil
from typing import Final

from homeport.controllers.backends import HEADLESS_LABEL, Backend, Port, Service, resolve_ports

__all__ = [
    "CAPACITY",
    "MANAGED_BY_LABEL",
    "MANAGER",
    "OVER_CAPACITY_ANNOTATION",
    "Address",
    "Content",
    "Subset",
    "desired",
]

MANAGED_BY_LABEL: Final = "endpoints.kubernetes.io/managed-by"
MANAGER: Final = "endpoint-controller"
OVER_CAPACITY_ANNOTATION: Final = "endpoints.kubernetes.io/over-capacity"
CAPACITY: Final = 1000


@dataclass(frozen=True, slots=True)
class Address:
    """One pod: its address in the Service's primary family, and who it is."""

    ip: str
    node: str
    namespace: str
    pod: str
    uid: str
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Subset:
    """Addresses that all serve the same ports."""

    ready: tuple[Address, ...]
    not_ready: tuple[Address, ...]
    ports: tuple[Port, ...]

    def __len__(self) -> int:
        return len(self.ready) + len(self.not_ready)


@dataclass(frozen=True, slots=True)
class Content:
    """Everything the controller decides about an Endpoints object, but the time that triggered it."""

    subsets: tuple[Subset, ...]
    labels: Mapping[str, str]
    truncated: bool = False


def desired(service: Service, pods: Sequence[Backend], *, capacity: int = CAPACITY) -> Content:
    """Return what the Endpoints of `service` should say about `pods`, those its selector takes."""
    ready_on: dict[Port | None, dict[Address, bool]] = {}
    for pod in pods:
        if not pod.counts or (pod.terminating and not service.publish_not_ready):
            continue
        address = _address(service, pod)
        if address is None:
            continue
        ports: Sequence[Port | None] = resolve_ports(service.ports, pod)
        if not service.ports and service.headless:
            ports = (None,)
        for port in ports:
            ready_on.setdefault(port, {})[address] = service.publish_not_ready or pod.ready
    subsets, truncated = truncate(_repack(ready_on), capacity)
    return Content(subsets, _labels(service), truncated)


def _address(service: Service, pod: Backend) -> Address | None:
    ips = pod.addresses_of(service.families[0])
    if not ips:
        return None
    return Address(ips[0], pod.node, pod.namespace, pod.name, pod.uid, pod.hostname_under(service.name))


def _repack(ready_on: Mapping[Port | None, Mapping[Address, bool]]) -> tuple[Subset, ...]:
    """Join the ports that have the same addresses in the same state: the canonical form."""
    ports_of: dict[frozenset[tuple[Address, bool]], list[Port]] = {}
    for port, ready in ready_on.items():
        ports_of.setdefault(frozenset(ready.items()), []).extend([port] if port else [])
    subsets = [
        Subset(
            _in_order(address for address, ready in addresses if ready),
            _in_order(address for address, ready in addresses if not ready),
            tuple(sorted(ports)),
        )
        for addresses, ports in ports_of.items()
    ]
    return tuple(sorted(subsets, key=lambda subset: subset.ports))


def _in_order(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(addresses, key=lambda address: (_number(address.ip), address.uid)))


@lru_cache(maxsize=65536)
def _number(ip: str) -> int:
    return int(ip_address(ip))


def truncate(subsets: tuple[Subset, ...], capacity: int) -> tuple[tuple[Subset, ...], bool]:
    """Keep at most `capacity` addresses: ready ones first, each subset giving up its share."""
    if sum(map(len, subsets)) <= capacity:
        return subsets, False
    ready_total = sum(len(subset.ready) for subset in subsets)
    not_ready_total = sum(len(subset.not_ready) for subset in subsets)
    most_ready = min(capacity, ready_total)
    most_not_ready = capacity - most_ready
    ready_left, not_ready_left = most_ready, most_not_ready
    kept = []
    for subset in subsets:
        ready = subset.ready[: min(ready_left, _share(len(subset.ready), ready_total, most_ready))]
        not_ready = subset.not_ready[
            : min(not_ready_left, _share(len(subset.not_ready), not_ready_total, most_not_ready))
        ]
        ready_left -= len(ready)
        not_ready_left -= len(not_ready)
        if ready or not_ready:
            kept.append(Subset(ready, not_ready, subset.ports))
    return tuple(kept), True


def _share(count: int, total: int, most: int) -> int:
    return ceil(count / total * most) if total else 0


def _labels(service: Service) -> dict[str, str]:
    labels = {name: value for name, value in service.labels.items() if name != HEADLESS_LABEL}
    labels[MANAGED_BY_LABEL] = MANAGER
    if service.headless:
        labels[HEADLESS_LABEL] = ""
    return labels
