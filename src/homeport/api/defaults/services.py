"""Static defaults of Services, Endpoints and EndpointSlices (services-dns 1, 9)."""

from typing import Any

__all__ = ["AFFINITY_SECONDS", "endpoint_slice", "endpoints", "externally_accessible", "service"]

Tree = dict[str, Any]

AFFINITY_SECONDS = 10800


def externally_accessible(spec: Tree) -> bool:
    """Return whether traffic may reach the Service from outside the cluster."""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def service(tree: Tree) -> None:
    spec = tree["spec"]
    kind = spec.setdefault("type", "ClusterIP")
    if spec.setdefault("sessionAffinity", "None") == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        _affinity(spec)
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if port["targetPort"] in (0, ""):
            port["targetPort"] = port["port"]
    if externally_accessible(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    elif spec.get("internalTrafficPolicy") in ("Cluster", "Local"):
        del spec["internalTrafficPolicy"]  # never shown of an ExternalName; what is no policy at all is refused
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in tree.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
            if "ip" in ingress:
                ingress.setdefault("ipMode", "VIP")


def _affinity(spec: Tree) -> None:
    config = spec.get("sessionAffinityConfig") or {}
    if (config.get("clientIP") or {}).get("timeoutSeconds") is None:
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}


def endpoints(tree: Tree) -> None:
    for subset in tree.get("subsets", ()):
        for port in subset.get("ports", ()):
            port.setdefault("protocol", "TCP")


def endpoint_slice(tree: Tree) -> None:
    for port in tree.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
