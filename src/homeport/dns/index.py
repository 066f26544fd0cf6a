"""The cluster as DNS sees it: Services, ready endpoints, namespaces, pods, each found in one step.

Mutable and owned by one task. Every change names the parts of Services whose answers it touched, and moves the serial:
a serial is never repeated, so whoever polls the SOA misses no change (services-dns 14.5).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from homeport.dns.objects import Address, Endpoint, Part, Pod, Service, ServiceKey, Slice

__all__ = ["Index"]

K = TypeVar("K")
N = TypeVar("N")


class Index:
    """`synced` says that the first lists are complete; until then absence proves nothing."""

    def __init__(self, serial: int = 0, *, synced: bool = True) -> None:
        self.serial = serial
        self.synced = synced
        self._services: dict[ServiceKey, Service] = {}
        self._slices: dict[ServiceKey, dict[str, Slice]] = {}
        self._homes: dict[tuple[str, str], ServiceKey] = {}
        self._by_address: dict[Address, dict[ServiceKey, Service]] = {}
        self._labelled: dict[ServiceKey, dict[str, dict[str, tuple[Endpoint, ...]]]] = {}
        self._holders: dict[Address, dict[tuple[ServiceKey, str], tuple[Endpoint, ...]]] = {}
        self._namespaces: set[str] = set()
        self._pods: dict[tuple[str, str], Pod] = {}
        self._pods_by_address: dict[Address, set[tuple[str, str]]] = {}

    # Reading

    def has_namespace(self, name: str) -> bool:
        return name in self._namespaces

    def service(self, key: ServiceKey) -> Service | None:
        return self._services.get(key)

    def slices(self, key: ServiceKey) -> Iterable[Slice]:
        """Return the slices of a Service in the order of their names."""
        found = self._slices.get(key)
        return [found[name] for name in sorted(found)] if found else ()

    def service_at(self, address: Address) -> Service | None:
        """Return the Service with this cluster address."""
        found = self._by_address.get(address)
        return next(iter(found.values())) if found else None

    def services(self) -> list[Service]:
        """Return all Services, by namespace and name."""
        return [self._services[key] for key in sorted(self._services)]

    def labelled(self, key: ServiceKey, label: str) -> Iterator[tuple[Slice, Endpoint]]:
        """Give a Service's endpoints with this folded label, and the slices they are of, in order."""
        found = self._labelled.get(key, {}).get(label, {})
        for name in sorted(found):
            part = self._slices[key][name]
            for endpoint in found[name]:
                yield part, endpoint

    def behind(self, address: Address) -> Iterator[tuple[ServiceKey, Slice, Endpoint]]:
        """Give the ready endpoints with this address and the Services, by slice, that have them, in order."""
        found = self._holders.get(address, {})
        for key, name in sorted(found):
            part = self._slices[key][name]
            for endpoint in found[key, name]:
                yield key, part, endpoint

    def addresses(self) -> list[Address]:
        """Return every address with a Service of its own or an endpoint on it, in order."""
        return sorted(self._by_address.keys() | self._holders.keys(), key=lambda one: (one.version, int(one)))

    def sizes(self) -> Mapping[str, int]:
        """Return how many objects of each kind there are."""
        return {
            "services": len(self._services),
            "slices": len(self._homes),
            "addresses": len(self._holders),
            "namespaces": len(self._namespaces),
            "pods": len(self._pods),
        }

    def count_pods(self, namespace: str, address: Address) -> int:
        """Return how many pods of a namespace have this address (more than one on the host's network)."""
        return sum(key[0].lower() == namespace for key in self._pods_by_address.get(address, ()))

    # Writing

    def touch(self, now: float) -> None:
        """Move the serial: unix seconds, or one more than the last."""
        self.serial = max(self.serial + 1, int(now))

    def put_service(self, new: Service) -> bool:
        """Return whether anything DNS-visible changed."""
        old = self._services.get(new.key)
        if old == new:
            return False
        if old is not None:
            self._forget_addresses(old)
        self._services[new.key] = new
        for address in new.addresses:
            self._by_address.setdefault(address, {})[new.key] = new
        return True

    def drop_service(self, key: ServiceKey) -> bool:
        old = self._services.pop(key, None)
        if old is None:
            return False
        self._forget_addresses(old)
        return True

    def _forget_addresses(self, old: Service) -> None:
        for address in old.addresses:
            holders = self._by_address[address]
            del holders[old.key]
            if not holders:
                del self._by_address[address]

    def put_slice(self, new: Slice) -> set[Part]:
        """Take a slice in; return what changed: the Service as a whole, and the labels that lead elsewhere now.

        Costs what the slice weighs, however many siblings it has.
        """
        touched: set[Part] = set()
        key, home = (new.namespace, new.name), new.service_key
        before = self._homes.get(key)
        old: Slice | None = None
        if before == home:
            old = self._slices[home][new.name]
            if old == new:
                return touched
        elif before is not None:
            touched |= self.drop_slice(*key)
        self._homes[key] = home
        self._slices.setdefault(home, {})[new.name] = new
        return touched | self._refile(home, new.name, old, new)

    def drop_slice(self, namespace: str, name: str) -> set[Part]:
        """Return what changed, as `put_slice` does."""
        home = self._homes.pop((namespace, name), None)
        if home is None:
            return set()
        siblings = self._slices[home]
        gone = siblings.pop(name)
        if not siblings:
            del self._slices[home]
        return self._refile(home, name, gone, None)

    def _refile(self, home: ServiceKey, name: str, old: Slice | None, new: Slice | None) -> set[Part]:
        """Bring the ways by label and by address to a slice's endpoints up to date; return what changed."""
        touched: set[Part] = {(*home, "")}
        before, after = old.endpoints if old else (), new.endpoints if new else ()
        labels = self._labelled.setdefault(home, {})
        for label, endpoints in _differences(_by_label(before), _by_label(after)):
            _file(labels, label, name, endpoints)
            touched.add((*home, label))
        if old is not None and new is not None and old.ports != new.ports:
            touched.update((*home, endpoint.label.lower()) for endpoint in after)
        if not labels:
            del self._labelled[home]
        for address, endpoints in _differences(_by_address(before), _by_address(after)):
            _file(self._holders, address, (home, name), endpoints)
        return touched

    def put_namespace(self, name: str) -> bool:
        known = name in self._namespaces
        self._namespaces.add(name)
        return not known

    def drop_namespace(self, name: str) -> bool:
        known = name in self._namespaces
        self._namespaces.discard(name)
        return known

    def put_pod(self, new: Pod) -> bool:
        key = (new.namespace, new.name)
        old = self._pods.get(key)
        if old == new:
            return False
        if old is not None:
            self.drop_pod(*key)
        self._pods[key] = new
        self._pods_by_address.setdefault(new.address, set()).add(key)
        return True

    def drop_pod(self, namespace: str, name: str) -> bool:
        old = self._pods.pop((namespace, name), None)
        if old is None:
            return False
        holders = self._pods_by_address[old.address]
        holders.discard((namespace, name))
        if not holders:
            del self._pods_by_address[old.address]
        return True


def _by_label(endpoints: Iterable[Endpoint]) -> dict[str, tuple[Endpoint, ...]]:
    found: dict[str, tuple[Endpoint, ...]] = {}
    for endpoint in endpoints:
        label = endpoint.label.lower()
        found[label] = (*found.get(label, ()), endpoint)
    return found


def _by_address(endpoints: Iterable[Endpoint]) -> dict[Address, tuple[Endpoint, ...]]:
    found: dict[Address, tuple[Endpoint, ...]] = {}
    for endpoint in endpoints:
        found[endpoint.address] = (*found.get(endpoint.address, ()), endpoint)
    return found


def _differences(
    old: Mapping[K, tuple[Endpoint, ...]], new: Mapping[K, tuple[Endpoint, ...]]
) -> Iterator[tuple[K, tuple[Endpoint, ...]]]:
    """Give what differs in its new form; an empty one means: gone."""
    for key in old.keys() - new.keys():
        yield key, ()
    for key, endpoints in new.items():
        if old.get(key) != endpoints:
            yield key, endpoints


def _file(under: dict[K, dict[N, tuple[Endpoint, ...]]], key: K, name: N, endpoints: tuple[Endpoint, ...]) -> None:
    if endpoints:
        under.setdefault(key, {})[name] = endpoints
        return
    found = under.get(key)
    if found is not None:
        found.pop(name, None)
        if not found:
            del under[key]
