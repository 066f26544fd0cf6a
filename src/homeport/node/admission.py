"""What a node refuses though it was bound to it. Source: `node` sections 1.2, 10 (sysctls), 15.1."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from homeport.api.scalars import quantity_value
from homeport.node.lifecycle import Waiting
from homeport.node.pod import Kind, Pod
from homeport.node.status import TERMINAL

__all__ = ["SAFE_SYSCTLS", "admit", "pod_requests"]

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


def admit(
    pod: Pod, others: Iterable[Pod], allocatable: Mapping[str, str], node_labels: Mapping[str, str] | None
) -> Waiting | None:
    """Return why the node refuses the pod, with its reason and the bare detail; None when it is welcome.

    others       the pods already admitted here; those that have ended hold nothing any more
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
    active = [other for other in others if other.uid != pod.uid and other.status.get("phase") not in TERMINAL]
    return _resources(pod, active, allocatable) or _ports(pod, active)


def _resources(pod: Pod, active: list[Pod], allocatable: Mapping[str, str]) -> Waiting | None:
    limit = int(quantity_value(allocatable.get("pods", "110")))
    if len(active) >= limit:
        detail = f"Node didn't have enough resource: pods, requested: 1, used: {len(active)}, capacity: {limit}"
        return Waiting("OutOfpods", detail)
    wanted = pod_requests(pod)
    for name in COUNTED:
        if not wanted[name] or name not in allocatable:
            continue
        scale = 1000 if name == "cpu" else 1
        used = sum((pod_requests(other)[name] for other in active), Decimal(0))
        capacity = quantity_value(allocatable[name])
        if used + wanted[name] > capacity:
            return Waiting(
                f"OutOf{name}",
                f"Node didn't have enough resource: {name}, requested: {int(wanted[name] * scale)}, "
                f"used: {int(used * scale)}, capacity: {int(capacity * scale)}",
            )
    return None


def _host_ports(pod: Pod) -> set[tuple[str, str, int]]:
    return {
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"]))
        for container in (*pod.init, *pod.containers)
        for port in container.tree.get("ports") or ()
        if port.get("hostPort")
    }


def _ports(pod: Pod, active: list[Pod]) -> Waiting | None:
    taken = {port for other in active for port in _host_ports(other)}
    for address, protocol, number in _host_ports(pod):
        for other_address, other_protocol, other_number in taken:
            overlap = "0.0.0.0" in (address, other_address) or address == other_address
            if overlap and (protocol, number) == (other_protocol, other_number):
                detail = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
                return Waiting("NodePorts", detail)
    return None
