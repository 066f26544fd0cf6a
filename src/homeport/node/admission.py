"""What a node refuses though it was bound to it. Source: `node` sections 1.2, 10 (sysctls), 15.1."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from homeport.api.scalars import quantity_value
from homeport.node.lifecycle import Waiting
from homeport.node.pod import Kind, Pod
from homeport.node.status import TERMINAL

__all__ = ["SAFE_SYSCTLS", "Occupancy", "admit", "pod_requests"]

HostPort: TypeAlias = tuple[str, str, int]
"""Address, protocol and number."""

SAFE_SYSCTLS: Final = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    )
)
COUNTED: Final = ("cpu", "memory")


def pod_requests(pod: Pod) -> dict[str, Decimal]:
    """Return the pod's effective requests (`node` 3.2)."""
    out: dict[str, Decimal] = {}
    for name in COUNTED:
        regular = sum((_request(c.tree, name) for c in pod.containers), Decimal(0))
        sidecars = peak = Decimal(0)
        for container in pod.init:
            request = _request(container.tree, name)
            if container.kind is Kind.SIDECAR:
                sidecars += request
            else:
                peak = max(peak, sidecars + request)
        overhead = (pod.spec.get("overhead") or {}).get(name)
        out[name] = max(regular + sidecars, peak) + (quantity_value(overhead) if overhead else 0)
    return out


def _request(tree: Mapping[str, object], name: str) -> Decimal:
    resources = tree.get("resources")
    value = (resources.get("requests") or {}).get(name) if isinstance(resources, Mapping) else None
    return quantity_value(str(value)) if value is not None else Decimal(0)


@dataclass(frozen=True, slots=True)
class _Share:
    """What one pod holds of the node."""

    tree: Mapping[str, object]
    requests: Mapping[str, Decimal]
    ports: frozenset[HostPort]


class Occupancy:
    """What the pods admitted here hold; those that have ended hold nothing any more. Sums are kept, not made."""

    def __init__(self, pods: Iterable[Pod] = ()) -> None:
        self._shares: dict[str, _Share] = {}
        self._ports: Counter[HostPort] = Counter()
        self.requests: dict[str, Decimal] = dict.fromkeys(COUNTED, Decimal(0))
        for pod in pods:
            self.put(pod)

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def ports(self) -> Iterable[HostPort]:
        """The ports of the node that are taken."""
        return self._ports.keys()

    def put(self, pod: Pod) -> None:
        """Count a pod, or its newer form."""
        known = self._shares.get(pod.uid)
        if pod.status.get("phase") in TERMINAL:
            self.drop(pod.uid)
        elif known is None or known.tree != pod.spec:
            self.drop(pod.uid)
            share = self._shares[pod.uid] = _Share(pod.spec, pod_requests(pod), frozenset(_host_ports(pod)))
            self._move(share, 1)
            self._ports.update(share.ports)

    def drop(self, uid: str) -> None:
        """Count a pod no more."""
        share = self._shares.pop(uid, None)
        if share is not None:
            self._move(share, -1)
            for port in share.ports:
                self._ports[port] -= 1
                if not self._ports[port]:
                    del self._ports[port]

    def _move(self, share: _Share, sign: int) -> None:
        for name, amount in share.requests.items():
            if amount:
                self.requests[name] += sign * amount


def admit(
    pod: Pod, taken: Occupancy, allocatable: Mapping[str, str], node_labels: Mapping[str, str] | None
) -> Waiting | None:
    """Return why the node refuses the pod, with its reason and the bare detail; None when it is welcome.

    taken        what other pods hold
    node_labels  None while the node's own object is not known
    """
    if (operating := (pod.spec.get("os") or {}).get("name")) not in (None, "linux"):
        return Waiting("PodOSNotSupported", f"Failed to admit pod as the OS field ({operating}) doesn't match node OS")
    for entry in (pod.spec.get("securityContext") or {}).get("sysctls") or ():
        if entry["name"].replace("/", ".") not in SAFE_SYSCTLS:
            return Waiting("SysctlForbidden", f'forbidden sysctl: "{entry["name"]}" not allowlisted')
    selector = pod.spec.get("nodeSelector") or {}
    known = node_labels if node_labels is not None else selector
    if any(known.get(key) != value for key, value in selector.items()):
        return Waiting(
            "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    return _resources(pod, taken, allocatable) or _ports(pod, taken)


def _resources(pod: Pod, taken: Occupancy, allocatable: Mapping[str, str]) -> Waiting | None:
    limit = int(quantity_value(allocatable.get("pods", "110")))
    if len(taken) >= limit:
        detail = f"Node didn't have enough resource: pods, requested: 1, used: {len(taken)}, capacity: {limit}"
        return Waiting("OutOfpods", detail)
    wanted = pod_requests(pod)
    for name in COUNTED:
        if not wanted[name] or name not in allocatable:
            continue
        scale = 1000 if name == "cpu" else 1
        used = taken.requests[name]
        capacity = quantity_value(allocatable[name])
        if used + wanted[name] > capacity:
            return Waiting(
                f"OutOf{name}",
                f"Node didn't have enough resource: {name}, requested: {int(wanted[name] * scale)}, "
                f"used: {int(used * scale)}, capacity: {int(capacity * scale)}",
            )
    return None


def _host_ports(pod: Pod) -> set[HostPort]:
    return {
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"]))
        for container in (*pod.init, *pod.containers)
        for port in container.tree.get("ports") or ()
        if port.get("hostPort")
    }


def _ports(pod: Pod, taken: Occupancy) -> Waiting | None:
    for address, protocol, number in _host_ports(pod):
        for other_address, other_protocol, other_number in taken.ports:
            overlap = "0.0.0.0" in (address, other_address) or address == other_address
            if overlap and (protocol, number) == (other_protocol, other_number):
                detail = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
                return Waiting("NodePorts", detail)
    return None
