"""Services and EndpointSlices as the API has them → the proxy's values.

Source: `services-dns` 1, 6, 9 and 17; conditions that are null have the defaults of section 9.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from homeport.proxy.balance import ANNOTATION, Balance, balance_of
from homeport.proxy.model import Address, Endpoint, Key, Network, Service, ServicePort, Target

__all__ = ["SERVICE_NAME_LABEL", "eligible", "endpoints", "leaves", "pods", "service", "slice_service"]

Object = Mapping[str, Any]

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
_IGNORED_BY_LABEL: Final = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
_SOURCE_RANGES_ANNOTATION: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"
_DEFAULT_AFFINITY_SECONDS: Final = 10800
_TO_BE_DELETED: Final = "ToBeDeletedByClusterAutoscaler"


def service(obj: Object, version: int = 4) -> Service | None:
    """Return the Service to balance in one family; None for one without a virtual address there, or for another proxy.

    version  4 or 6: the family whose addresses count.
    """
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    labels = metadata.get("labels") or {}
    kind = spec.get("type") or "ClusterIP"
    if kind == "ExternalName" or any(label in labels for label in _IGNORED_BY_LABEL):
        return None
    addresses = _addresses(spec.get("clusterIPs") or [spec.get("clusterIP")], version)
    if not addresses:
        return None
    has_node_ports = kind in ("NodePort", "LoadBalancer")
    balanced = kind == "LoadBalancer"
    external_local = spec.get("externalTrafficPolicy") == "Local"
    return Service(
        key=(metadata.get("namespace", ""), metadata["name"]),
        ports=tuple(_port(port, has_node_ports) for port in spec.get("ports") or ()),
        cluster_addresses=addresses,
        external_addresses=_addresses(spec.get("externalIPs") or (), version),
        balancer_addresses=_ingress(obj, version) if balanced else (),
        source_ranges=_source_ranges(metadata, spec, version) if balanced else (),
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        external_local=external_local,
        affinity_seconds=_affinity_seconds(spec),
        health_check_port=(spec.get("healthCheckNodePort") or 0) if balanced and external_local else 0,
        balance=balance_of((metadata.get("annotations") or {}).get(ANNOTATION)) or Balance.RANDOM,
    )


def _port(port: Object, has_node_ports: bool) -> ServicePort:
    return ServicePort(
        name=port.get("name") or "",
        protocol=(port.get("protocol") or "TCP").lower(),
        port=port["port"],
        node_port=(port.get("nodePort") or 0) if has_node_ports else 0,
    )


def _affinity_seconds(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return client.get("timeoutSeconds") or _DEFAULT_AFFINITY_SECONDS


def _ingress(obj: Object, version: int) -> tuple[Address, ...]:
    """Addresses of the load balancer that behave as virtual ones; `Proxy` mode is the balancer's own business."""
    entries = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return _addresses((entry.get("ip") for entry in entries if entry.get("ipMode") != "Proxy"), version)


def _source_ranges(metadata: Object, spec: Object, version: int) -> tuple[Network, ...]:
    texts: Sequence[str] = spec.get("loadBalancerSourceRanges") or ()
    if not texts:
        annotation = (metadata.get("annotations") or {}).get(_SOURCE_RANGES_ANNOTATION) or ""
        texts = [text for text in annotation.split(",") if text.strip()]
    ranges = [network for text in texts if (network := _network(text.strip(), version)) is not None]
    return () if any(network.prefixlen == 0 for network in ranges) else tuple(ranges)


def _network(text: str, version: int) -> Network | None:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return network if network.version == version else None


def _addresses(texts: Iterable[Any], version: int) -> tuple[Address, ...]:
    """Return the addresses of one family among `texts`; empty, `None` and the other family's are left out."""
    found = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if address.version == version:
            found.append(address)
    return tuple(found)


def slice_service(obj: Object) -> Key | None:
    """Return the Service an EndpointSlice belongs to, or None."""
    metadata = obj["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL)
    return (metadata.get("namespace", ""), name) if name else None


def endpoints(slices: Iterable[Object], port: ServicePort, version: int = 4) -> list[Endpoint]:
    """Return the endpoints of one Service port over its slices of one family, each target once, in address order."""
    merged: dict[Target, Endpoint] = {}
    for obj in slices:
        for endpoint in _slice_endpoints(obj, port, version):
            known = merged.get(endpoint.target)
            if known is None or _rank(endpoint) > _rank(known):
                merged[endpoint.target] = endpoint
    return sorted(merged.values(), key=lambda endpoint: endpoint.target.order)


def _rank(endpoint: Endpoint) -> tuple[bool, bool, bool]:
    """While an endpoint moves between slices it is in two of them: the better word counts.

    So does the word of a pod that stays over that of one on its way out, which has had the address before.
    """
    return endpoint.ready, not endpoint.terminating, endpoint.serving


def _slice_endpoints(obj: Object, port: ServicePort, version: int) -> Iterator[Endpoint]:
    if obj.get("addressType") != f"IPv{version}":
        return
    numbers = [
        number
        for entry in obj.get("ports") or ()
        if (entry.get("name") or "") == port.name
        and (entry.get("protocol") or "TCP").lower() == port.protocol
        and (number := entry.get("port"))
    ]
    for entry in obj.get("endpoints") or ():
        found = _addresses((entry.get("addresses") or ())[:1], version)
        conditions = entry.get("conditions") or {}
        hints = entry.get("hints") or {}
        for number in numbers if found else ():
            yield Endpoint(
                target=Target(found[0], number),
                ready=_condition(conditions, "ready", True),
                serving=_condition(conditions, "serving", True),
                terminating=_condition(conditions, "terminating", False),
                node=entry.get("nodeName") or "",
                for_nodes=frozenset(hint["name"] for hint in hints.get("forNodes") or ()),
                for_zones=frozenset(hint["name"] for hint in hints.get("forZones") or ()),
            )


def _condition(conditions: Object, name: str, default: bool) -> bool:
    value = conditions.get(name)
    return default if value is None else bool(value)


def eligible(node: Object | None) -> bool:
    """Tell whether balancers may lead to a node: not to one that is on its way out (services-dns 17.3)."""
    if node is None:
        return True
    taints = (node.get("spec") or {}).get("taints") or ()
    return "deletionTimestamp" not in node["metadata"] and all(taint["key"] != _TO_BE_DELETED for taint in taints)


def pods(obj: Object) -> list[str]:
    """Return the uids of the pods an EndpointSlice names."""
    return [uid for entry in obj.get("endpoints") or () if (uid := _pod(entry))]


def leaves(obj: Object, uid: str) -> bool:
    """Tell whether an EndpointSlice shows a pod as terminating wherever it names it."""
    return all(
        _condition(entry.get("conditions") or {}, "terminating", False)
        for entry in obj.get("endpoints") or ()
        if _pod(entry) == uid
    )


def _pod(entry: Object) -> str:
    reference = entry.get("targetRef") or {}
    return (reference.get("uid") or "") if reference.get("kind") == "Pod" else ""
