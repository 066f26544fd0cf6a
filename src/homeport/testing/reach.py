"""Who reaches whom: names, the proxy's rules and partitions between pods, together, as a program would meet them."""

from typing import TYPE_CHECKING, Final

from homeport.api.resources import find

if TYPE_CHECKING:
    from homeport.testing.simulation import Simulation

__all__ = ["Reach"]

SERVICES: Final = find("Service")


class Reach:
    """The partitions between pods of one simulation, and what they leave reachable. Pods are `namespace/name`."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._parted: set[frozenset[str]] = set()

    def part(self, one: str, other: str) -> None:
        """Part two pods from each other."""
        self._parted.add(frozenset((one, other)))

    def reunite(self) -> None:
        """Lift every partition."""
        self._parted.clear()

    def are_parted(self, one: str, other: str) -> bool:
        return bool(self._parted) and frozenset((one, other)) in self._parted

    def running(self) -> list[tuple[str, str]]:
        """Return the pods whose containers run, and their addresses: what is, whatever the API says of it."""
        found: dict[str, str] = {}
        for machine in self._simulation.machines.values():
            for spec in machine.runtime.specs():
                attachment = machine.network.attached.get(spec.sandbox_id)
                if attachment is not None and machine.runtime.is_running(spec.id):
                    found[f"{spec.labels['pod-namespace']}/{spec.labels['pod-name']}"] = attachment.address
        return sorted(found.items())

    def reached(self, namespace: str, pod: str, name: str) -> tuple[str, ...]:
        """Return the pods a connection to a name or address may lead to, in order. Raises names.ServerFailure."""
        names = self._simulation.names
        addresses = {name} if name.replace(".", "").isdigit() else set(names.resolve(name, namespace=namespace))
        for service in self._simulation.objects(SERVICES) if addresses else ():
            virtual, metadata = service["spec"].get("clusterIP", ""), service["metadata"]
            if virtual in addresses:
                addresses.remove(virtual)
                targets = names.endpoints(metadata["namespace"], metadata["name"])
                addresses.update(target.rpartition(":")[0] for target in targets)
        here = f"{namespace}/{pod}"
        return tuple(
            there for there, address in self.running() if address in addresses and not self.are_parted(here, there)
        )

    def hears_enough(self, namespace: str, pod: str) -> bool:
        """Whether a pod reaches at least half of the other running pods of its controller; else it is not ready."""
        if not self._parted:
            return True
        here, stem = f"{namespace}/{pod}", f"{namespace}/{pod.rpartition('-')[0]}"
        peers = [there for there, _ in self.running() if there.rpartition("-")[0] == stem and there != here]
        return 2 * sum(not self.are_parted(here, there) for there in peers) >= len(peers)
