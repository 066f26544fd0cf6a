"""What the slice controller remembers of topology hints: the zones' shares, and who has which (services-dns 11.2)."""

from collections.abc import Callable, Mapping
from typing import Final

from homeport.api import pods as conditions
from homeport.api.quantity import parse_quantity
from homeport.client.contract import Object
from homeport.client.events import EventRecorder
from homeport.client.informer import Informer, Key
from homeport.controllers.backends import Service
from homeport.controllers.endpointslice.topology import NodeFacts, Spread, Zones, overloaded, zones_of

__all__ = ["ZONE_LABEL", "HintKeeper", "node_facts"]

ZONE_LABEL: Final = "topology.kubernetes.io/zone"
_CONTROL_PLANES: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def node_facts(node: Object) -> NodeFacts:
    labels = node["metadata"].get("labels") or {}
    status = node.get("status") or {}
    ready = (conditions.condition(node, "Ready") or {}).get("status") == "True"
    cpu = (status.get("allocatable") or {}).get("cpu", "0")
    takes_part = ready and not any(label in labels for label in _CONTROL_PLANES)
    return NodeFacts(labels.get(ZONE_LABEL, ""), parse_quantity(cpu).milli, takes_part)


class HintKeeper:
    """Follows the nodes, and tells people when their Services begin and cease to have hints.

    again  is given the Services that have to be looked at, as a zone has too few endpoints for its new share
    """

    def __init__(self, nodes: Informer, events: EventRecorder, again: Callable[[Key], None]) -> None:
        self.shares: Zones = {}
        self._events, self._again = events, again
        self._facts: dict[str, NodeFacts] = {}
        self._allotted: dict[Key, dict[str, Mapping[str, int]]] = {}
        self._hinted: set[Key] = set()
        nodes.add_handler(add=self._seen, update=lambda _, node: self._seen(node), delete=self._gone)

    def tell(self, key: Key, obj: Object, service: Service, hints: Mapping[str, Spread]) -> None:
        """Take note of what came of a Service's hints, and record an event where that is news."""
        if not service.topology_hints:
            for family in service.families if key in self._hinted else ():
                self._disabled(obj, "Topology Aware Hints has been disabled", family)
            self.forget(key)
            return
        for family, found in hints.items():
            if found.allotted is None:
                self._disabled(obj, found.problem, family)
                self._hinted.discard(key)
                self._allotted.get(key, {}).pop(family, None)
                continue
            self._allotted.setdefault(key, {})[family] = found.allotted
            if key not in self._hinted:
                self._hinted.add(key)
                message = f"Topology Aware Hints has been enabled, addressType: {family}"
                self._events.normal(obj, "TopologyAwareHintsEnabled", message)

    def forget(self, key: Key) -> None:
        """A Service has no hints any more."""
        self._hinted.discard(key)
        self._allotted.pop(key, None)

    def _disabled(self, obj: Object, why: str, family: str) -> None:
        self._events.warning(obj, "TopologyAwareHintsDisabled", f"{why}, addressType: {family}")

    def _seen(self, node: Object) -> None:
        name, facts = node["metadata"]["name"], node_facts(node)
        if self._facts.get(name) != facts:
            self._facts[name] = facts
            self._weigh()

    def _gone(self, node: Object) -> None:
        if self._facts.pop(node["metadata"]["name"], None) is not None:
            self._weigh()

    def _weigh(self) -> None:
        self.shares = zones_of(self._facts.values())
        for key, families in self._allotted.items():
            if any(overloaded(allotted, self.shares) for allotted in families.values()):
                self._again(key)
