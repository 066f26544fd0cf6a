"""The cluster as DNS sees it: Services, ready endpoints, namespaces, pods, each found in one step.

Mutable and owned by one task. Every change names the Services whose answers it touched, and moves the serial:
a serial is never repeated, so whoever polls the SOA misses no change (services-dns 14.5).
"""

from collections.abc import Iterable

from homeport.dns.objects import Address, Pod, Service, ServiceKey, Slice

__all__ = ["Index"]


class Index:
    """`synced` says that the first lists are complete; until then absence proves nothing."""

    def __init__(self, serial: int = 0, *, synced: bool = True) -> None:
        self.serial = serial
        self.synced = synced
        self._services: dict[ServiceKey, Service] = {}
        self._slices: dict[ServiceKey, dict[str, Slice]] = {}
        self._homes: dict[tuple[str, str], ServiceKey] = {}
        self._by_address: dict[Address, dict[ServiceKey, Service]] = {}
        self._by_endpoint: dict[Address, set[ServiceKey]] = {}
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

    def services_behind(self, address: Address) -> Iterable[ServiceKey]:
        """Return the Services, by slice, that have this address as a ready endpoint, in order."""
        return sorted(self._by_endpoint.get(address, ()))

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

    def put_slice(self, new: Slice) -> set[ServiceKey]:
        """Take a slice in; return the Services whose endpoints changed (two when it moved between them)."""
        touched: set[ServiceKey] = set()
        key = (new.namespace, new.name)
        home = self._homes.get(key)
        if home is not None:
            if home == new.service_key and self._slices[home][new.name] == new:
                return touched
            touched |= self.drop_slice(*key)
        self._homes[key] = new.service_key
        self._slices.setdefault(new.service_key, {})[new.name] = new
        for endpoint in new.endpoints:
            self._by_endpoint.setdefault(endpoint.address, set()).add(new.service_key)
        return touched | {new.service_key}

    def drop_slice(self, namespace: str, name: str) -> set[ServiceKey]:
        home = self._homes.pop((namespace, name), None)
        if home is None:
            return set()
        siblings = self._slices[home]
        gone = siblings.pop(name)
        left = {endpoint.address for other in siblings.values() for endpoint in other.endpoints}
        if not siblings:
            del self._slices[home]
        for endpoint in gone.endpoints:
            holders = self._by_endpoint.get(endpoint.address)
            if holders is not None and endpoint.address not in left:
                holders.discard(home)
                if not holders:
                    del self._by_endpoint[endpoint.address]
        return {home}

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
