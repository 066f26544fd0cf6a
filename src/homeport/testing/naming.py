"""Names and virtual addresses, during a history and at rest (services-dns; KEP-752).

All the way, whenever a pod changes in what names depend on:
    a pod's name leads to addresses that ready pods of that name have, or had so lately that the news may be under way;
    a Service's name, and its virtual address, to those of pods it selects; and none of them leaves out a pod that has
    been ready for longer than news take.

News go from the pod to the controller that keeps the slices, and from there to DNS and proxy. While they are held up
answers may be as old as that; from the moment answers are right again, they have to stay so.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from homeport.api.resources import find
from homeport.testing.knowledge import STALE_SECONDS, Spells
from homeport.testing.names import ServerFailure
from homeport.testing.objects import is_ready, ordinal_of, says_ready

if TYPE_CHECKING:
    from homeport.testing.invariants import Invariants

__all__ = ["Naming"]

SETS: Final = find("StatefulSet", "apps")
PODS: Final = find("Pod")
SERVICES: Final = find("Service")

Name = tuple[str, str]


class Naming:
    """Asks DNS and the proxy's rules what they say, and compares it with the pods there are and were."""

    def __init__(self, invariants: "Invariants") -> None:
        self._invariants = invariants
        self._ready: Spells[Name, str] = Spells()  # pod → its address, while it is ready
        self._serving: Spells[Name, str] = Spells()  # the same, also while it ends
        self._labels: dict[Name, Any] = {}
        self._subdomains: dict[Name, str] = {}
        self._held_up_at: float | None = None
        self._changed_at = float("-inf")

    def pod_changed(self, name: Name, old: Any, new: Any) -> None:
        """A pod changed."""
        before, after = _facts(old), _facts(new)
        if before == after:
            return
        now = self._invariants.now
        if new is not None:
            self._labels[name] = (new["metadata"].get("labels") or {}).items()
            self._subdomains[name] = new["spec"].get("subdomain", "")
        self._ready.note(name, after[0] or None, now)
        self._serving.note(name, after[1] or None, now)
        self._changed_at = now
        self._invariants.look_again()
        self.look(name[0])

    def look(self, namespace: str | None = None) -> None:
        """Ask for every name there is to be."""
        since = self.since()
        if since is None:
            return
        for text in self._wrong(since, namespace):
            self._invariants.broken("names", text)

    @property
    def is_unsettled(self) -> bool:
        """Whether some change is still to show, or to be shown right for the first time."""
        return self._held_up_at is not None or self._invariants.now <= self._changed_at + 3 * STALE_SECONDS

    def since(self) -> float | None:
        """Return the moment from which on pods' changes may be under way; None while DNS says nothing at all."""
        invariants = self._invariants
        if not invariants.is_attached or invariants.simulation.names.failing:
            return None
        lately = invariants.now - 2 * STALE_SECONDS
        if invariants.news_is_late():
            if self._held_up_at is None:
                self._held_up_at = invariants.now
        elif self._held_up_at is not None and not list(self._wrong(lately, None)):
            self._held_up_at = None
        return lately if self._held_up_at is None else self._held_up_at - 2 * STALE_SECONDS

    def _wrong(self, since: float, namespace: str | None) -> Iterator[str]:
        simulation = self._invariants.simulation
        for service in simulation.objects(SERVICES, namespace):
            selector = (service["spec"].get("selector") or {}).items()
            if not selector:
                continue
            name, place = service["metadata"]["name"], service["metadata"]["namespace"]
            pods = [pod for pod in self._labels if pod[0] == place and selector <= self._labels[pod]]
            if service["spec"].get("clusterIP") == "None":
                yield from self._compare(name, self._resolve(name, place), pods, self._ready, since)
                for pod in pods:
                    if self._subdomains[pod] == name:
                        full = f"{pod[1]}.{name}"
                        yield from self._compare(full, self._resolve(full, place), [pod], self._ready, since)
            else:
                found = [text.rpartition(":")[0] for text in simulation.names.endpoints(place, name)]
                yield from self._compare(f"Service {name}", found, pods, self._serving, since)

    def _compare(
        self, name: str, found: Sequence[str], pods: Sequence[Name], may: Spells[Name, str], since: float
    ) -> Iterator[str]:
        allowed = {address for pod in pods for address in may.had(pod, since)}
        for address in found:
            if address not in allowed:
                yield f"{name} leads to {address}; of its pods none had that lately"
        for pod in pods:
            steady = self._ready.has_had(pod, since)
            if steady is not None and steady not in found:
                yield f"{name} leads to {found}, and not to {steady} of {pod[1]}, which has long been ready"

    def _resolve(self, name: str, namespace: str) -> Sequence[str]:
        try:
            return self._invariants.simulation.names.resolve(name, namespace=namespace)
        except ServerFailure:
            return ()

    def at_rest(self) -> Iterator[str]:
        """Yield names that are wrong although nothing moves."""
        names = self._invariants.simulation.names
        for tree in self._invariants.simulation.objects(SETS):
            service, namespace = tree["spec"]["serviceName"], tree["metadata"]["namespace"]
            wanted = tree["spec"]["selector"]["matchLabels"].items()
            addresses = []
            for pod in self._invariants.simulation.objects(PODS, namespace):
                if not wanted <= (pod["metadata"].get("labels") or {}).items():
                    continue
                address, name = (pod.get("status") or {}).get("podIP", ""), pod["metadata"]["name"]
                addresses.append(address)
                if ordinal_of(tree["metadata"]["name"], name) is None:
                    continue
                found = names.resolve(f"{name}.{service}", namespace=namespace)
                if found != (address,):
                    yield f"names: {name} has {address} and resolves to {found}"
            found = names.resolve(service, namespace=namespace)
            if sorted(found) != sorted(addresses):
                yield f"names: {service} resolves to {found}, pods have {addresses}"


def _facts(pod: Any) -> tuple[str, str]:
    """Return the address of a pod that is ready, and of one that says so, ended or not; empty when it is not."""
    if pod is None:
        return "", ""
    address = str((pod.get("status") or {}).get("podIP", ""))
    return address if is_ready(pod) else "", address if says_ready(pod) else ""
